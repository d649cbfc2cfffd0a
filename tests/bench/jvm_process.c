/* jvm_process COUNT PAUSE_US: passes the probes of tests/bench/jvm_library.c so often, with that pause before each, and prints
 * the median nanoseconds of one pass, less reading the clock. With PAUSE_US 0 hot; else, and after spoiling the caches, cold.
 * jvm_process watch SECONDS: prints the longest stretch (ns) in which this process got nothing done, of one that only looks at the clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern void safepoint(const char *name, long size);

static long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000l + now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return (x > y) - (x < y);
}

static void spoil(char *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 64)
		data[i]++;
}

static void watch(long seconds)
{
	long end = now_ns() + seconds * 1000000000l, last = now_ns(), longest = 0;

	while (last < end) {
		long now = now_ns();

		if (now - last > longest)
			longest = now - last;
		last = now;
	}
	printf("%ld\n", longest);
}

int main(int argc, char **argv)
{
	static char data[32 << 20];
	long count, pause_us, *took;

	if (argc == 3 && !strcmp(argv[1], "watch")) {
		watch(atol(argv[2]));
		return 0;
	}
	if (argc != 3 || (count = atol(argv[1])) < 1 || (pause_us = atol(argv[2])) < 0)
		return 2;
	took = calloc(count, sizeof(*took));
	for (long i = 0; took && i < count; i++) {
		struct timespec pause = { .tv_nsec = pause_us * 1000 };
		long begin, clock;

		if (pause_us) {
			spoil(data, sizeof(data));
			nanosleep(&pause, NULL);
		}
		begin = now_ns();
		clock = now_ns() - begin;
		begin = now_ns();
		safepoint("G1CollectForAllocation", 22);
		took[i] = now_ns() - begin - clock;
	}
	qsort(took, count, sizeof(*took), compare);
	printf("%ld\n", took[count / 2]);
	return 0;
}
