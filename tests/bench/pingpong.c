/* pingpong CPU ROUNDS TIMES: two processes on one CPU pass a byte to and fro through pipes; each round is two switches and two
 * wake-ups and nothing else. Prints the nanoseconds of one round, TIMES times. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

int main(int argc, char **argv)
{
	int there[2], back[2];
	long rounds;
	cpu_set_t set;
	char byte = 0;

	if (argc != 4 || pipe(there) || pipe(back))
		return 2;
	rounds = atol(argv[2]);
	CPU_ZERO(&set);
	CPU_SET(atoi(argv[1]), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		return 1;
	if (!fork()) {
		close(there[1]);
		close(back[0]);
		while (read(there[0], &byte, 1) == 1)
			if (write(back[1], &byte, 1) != 1)
				break;
		_exit(0);
	}
	close(there[0]);
	close(back[1]);
	for (int times = atoi(argv[3]) + 1; times--;) {
		double begin = now_ns();

		for (long i = 0; i < rounds; i++)
			if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
				return 1;
		if (times < atoi(argv[3])) /* the first is to warm up */
			printf("%.1f\n", (now_ns() - begin) / rounds);
	}
	return 0;
}
