/* storm COUNT: as many connections over loopback, one after the other from each of four clients, each carrying one byte
 * there and two back. Both ends are this process: the client's sockets are made in the cgroup of its directory argv[2], the
 * listener's in argv[3]. Prints how many were made. The destination address changes so that ports do not run out. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENTS	  4
#define SERVERS	  4
#define ADDRESSES 16

static void enter(const char *dir)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "0", 1) != 1)
		err(1, "%s", path);
	close(fd);
}

static void serve(int listener)
{
	char byte[2];

	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			err(1, "accept");
		if (read(fd, byte, 1) == 1 && write(fd, "ab", 2) != 2)
			err(1, "write");
		if (read(fd, byte, 1) > 0)
			errx(1, "more than was sent");
		close(fd);
	}
}

static int ask(struct sockaddr_in to, int count, int number)
{
	char bytes[2];
	int made = 0;

	while (made < count) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (made / 64 + number * ADDRESSES / CLIENTS) % ADDRESSES);
		if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
			err(1, "connect");
		if (write(fd, "x", 1) != 1 || recv(fd, bytes, 2, MSG_WAITALL) != 2)
			err(1, "exchange");
		close(fd);
		made++;
	}
	return made;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int listener, count = argc > 3 ? atoi(argv[1]) : 0, total = 0, pipes[2], made;
	socklen_t len = sizeof(at);
	pid_t servers[SERVERS];

	if (count <= 0)
		errx(2, "usage: storm COUNT CLIENT-CGROUP SERVER-CGROUP");
	enter(argv[3]);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 4096) ||
	    getsockname(listener, (struct sockaddr *)&at, &len) || pipe(pipes))
		err(1, "listen");
	for (int i = 0; i < SERVERS; i++) {
		servers[i] = fork();
		if (!servers[i])
			serve(listener);
	}
	enter(argv[2]);
	for (int i = 0; i < CLIENTS; i++)
		if (!fork()) {
			made = ask(at, count / CLIENTS + (i < count % CLIENTS), i);
			return write(pipes[1], &made, sizeof(made)) != sizeof(made);
		}
	for (int i = 0; i < CLIENTS; i++) {
		if (read(pipes[0], &made, sizeof(made)) != sizeof(made))
			err(1, "a client");
		total += made;
	}
	printf("%d\n", total);
	for (int i = 0; i < SERVERS; i++)
		kill(servers[i], 9);
	return 0;
}
