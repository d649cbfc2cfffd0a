/* crowd N DIRECTORY: makes N cgroups that look like containers of pods below DIRECTORY (pod<uid>/<container id>), and in each
 * a connection over which one HTTP request was made and answered; both of its ends belong to that cgroup, because a
 * socket belongs to the cgroup that its creator is in at that moment. Says "ready" and holds them all until SIGTERM; then
 * everything is removed again. Static: it must run in a machine that has no libraries. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CROWD_MAX 20000

static void die(const char *what)
{
	fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void pod_path(char *path, size_t room, const char *directory, unsigned i)
{
	snprintf(path, room, "%s/pod%08x-0000-4000-8000-%012x", directory, i, i);
}

static void container_path(char *path, size_t room, const char *directory, unsigned i)
{
	snprintf(path, room, "%s/pod%08x-0000-4000-8000-%012x/%08x%056x", directory, i, i, i, i);
}

static void make_directories(char *path)
{
	for (char *at = path + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			die(path);
		*at = '/';
	}
	if (mkdir(path, 0755) && errno != EEXIST)
		die(path);
}

static void enter(const char *path)
{
	char procs[4200];
	int fd;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		die(procs);
	close(fd);
}

/* Both ends of one connection, with one exchange done. */
static void talk(void)
{
	static const char request[] = "GET /orders/17 HTTP/1.1\r\nHost: crowd\r\n\r\n";
	static const char response[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof(here);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[512];
	int server;

	if (listener < 0 || client < 0 || bind(listener, (struct sockaddr *)&here, sizeof(here)) ||
	    listen(listener, 1) || getsockname(listener, (struct sockaddr *)&here, &bytes) ||
	    connect(client, (struct sockaddr *)&here, sizeof(here)))
		die("connect");
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (server < 0)
		die("accept");
	close(listener);
	if (write(client, request, sizeof(request) - 1) != sizeof(request) - 1 ||
	    recv(server, text, sizeof(request) - 1, MSG_WAITALL) != sizeof(request) - 1 ||
	    write(server, response, sizeof(response) - 1) != sizeof(response) - 1 ||
	    recv(client, text, sizeof(response) - 1, MSG_WAITALL) != sizeof(response) - 1)
		die("talk");
}

int main(int argc, char **argv)
{
	unsigned count = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
	struct rlimit files = { .rlim_cur = 2 * count + 64, .rlim_max = 2 * count + 64 };
	char path[4096], home[4096];
	sigset_t set;
	int number;

	if (count == 0 || count > CROWD_MAX || strlen(argv[2]) > 3900) {
		fprintf(stderr, "usage: crowd N DIRECTORY\n");
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &files); /* where it is not allowed, socket() says so */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);

	for (unsigned i = 0; i < count; i++) {
		container_path(path, sizeof(path), argv[2], i);
		make_directories(path);
		enter(path);
		talk();
	}
	/* Out again, so that the cgroups can be removed; a controller below @argv[2] would forbid a process in it. */
	snprintf(home, sizeof(home), "%s/../..", argv[2]);
	enter(home);
	printf("ready\n");
	fflush(stdout);
	sigwait(&set, &number);

	for (unsigned i = 0; i < count; i++) {
		container_path(path, sizeof(path), argv[2], i);
		rmdir(path);
		pod_path(path, sizeof(path), argv[2], i);
		rmdir(path);
	}
	rmdir(argv[2]);
	return 0;
}
