/* HTTP servers that do not use read() and write(): what system-call tracing does not see.
 *   io_uring_server uring  PORT      accept, recv and send through an io_uring
 *   io_uring_server splice PORT FILE sends FILE through a pipe by splice()
 *   io_uring_server sendfile PORT FILE
 * One thread, one connection at a time, keep-alive, requests of at most 4 KiB without a body. Answers /fail with 500.
 * A tool of the tests: it trusts its client. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define REQUEST_MAX 4096

static struct io_uring ring;
static bool by_ring;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* Submits the one prepared entry and waits for its result. */
static int ring_result(void)
{
	struct io_uring_cqe *cqe;
	int result;

	if (io_uring_submit_and_wait(&ring, 1) < 0 || io_uring_wait_cqe(&ring, &cqe))
		die("io_uring");
	result = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	return result;
}

static int accept_one(int listener)
{
	if (!by_ring)
		return accept(listener, NULL, NULL);
	io_uring_prep_accept(io_uring_get_sqe(&ring), listener, NULL, NULL, 0);
	return ring_result();
}

static int recv_some(int fd, char *buf, size_t room)
{
	if (!by_ring)
		return (int)recv(fd, buf, room, 0);
	io_uring_prep_recv(io_uring_get_sqe(&ring), fd, buf, room, 0);
	return ring_result();
}

static int send_some(int fd, const char *buf, size_t bytes, int flags)
{
	if (!by_ring)
		return (int)send(fd, buf, bytes, flags | MSG_NOSIGNAL);
	io_uring_prep_send(io_uring_get_sqe(&ring), fd, buf, bytes, flags | MSG_NOSIGNAL);
	return ring_result();
}

static bool send_whole(int fd, const char *buf, size_t bytes, int flags)
{
	while (bytes) {
		int done = send_some(fd, buf, bytes, flags);

		if (done <= 0)
			return false;
		buf += done;
		bytes -= (size_t)done;
	}
	return true;
}

static bool send_file(int fd, int file, size_t bytes, bool by_splice)
{
	int pipes[2];
	off_t from = 0;
	bool whole = true;

	if (!by_splice) {
		while ((size_t)from < bytes)
			if (sendfile(fd, file, &from, bytes - (size_t)from) <= 0)
				return false;
		return true;
	}
	if (pipe2(pipes, O_CLOEXEC))
		die("pipe");
	while (whole && (size_t)from < bytes) {
		ssize_t in = splice(file, &from, pipes[1], NULL, 65536, SPLICE_F_MOVE);

		if (in <= 0)
			whole = false;
		while (whole && in > 0) {
			unsigned more = (size_t)from < bytes ? SPLICE_F_MORE : 0;
			ssize_t out = splice(pipes[0], NULL, fd, NULL, (size_t)in, SPLICE_F_MOVE | more);

			if (out <= 0)
				whole = false;
			in -= out;
		}
	}
	close(pipes[0]);
	close(pipes[1]);
	return whole;
}

static void serve(int fd, int file, size_t file_bytes, bool by_splice)
{
	char buf[REQUEST_MAX + 1], head[128];
	size_t have = 0;

	for (;;) {
		char *end;
		int got;
		bool fail;

		buf[have] = '\0';
		end = strstr(buf, "\r\n\r\n");
		if (!end) {
			if (have == REQUEST_MAX)
				return;
			got = recv_some(fd, buf + have, REQUEST_MAX - have);
			if (got <= 0)
				return;
			have += (size_t)got;
			continue;
		}
		fail = !strncmp(buf, "GET /fail ", 10);
		end += 4;
		have -= (size_t)(end - buf);
		memmove(buf, end, have);

		snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nConnection: keep-alive\r\nContent-Length: %zu\r\n\r\n",
			 fail ? "500 Internal Server Error" : "200 OK",
			 fail	    ? 0
			 : file < 0 ? 6
				    : file_bytes);
		if (!send_whole(fd, head, strlen(head), file < 0 || fail ? 0 : MSG_MORE))
			return;
		if (fail)
			continue;
		if (file < 0 ? !send_whole(fd, "hello\n", 6, 0) : !send_file(fd, file, file_bytes, by_splice))
			return;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	int listener, fd, file = -1, one = 1, none = 0;
	size_t file_bytes = 0;
	struct stat st;

	if (argc < 3)
		return 2;
	by_ring = !strcmp(argv[1], "uring");
	if (by_ring && io_uring_queue_init(8, &ring, 0))
		die("io_uring_queue_init");
	if (argc > 3) {
		file = open(argv[3], O_RDONLY | O_CLOEXEC);
		if (file < 0 || fstat(file, &st))
			die(argv[3]);
		file_bytes = (size_t)st.st_size;
	}
	any.sin6_port = htons((unsigned short)atoi(argv[2]));
	listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &none, sizeof(none));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&any, sizeof(any)) || listen(listener, 128))
		die("listen");
	for (;;) {
		fd = accept_one(listener);
		if (fd < 0)
			die("accept");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		serve(fd, file, file_bytes, !strcmp(argv[1], "splice"));
		close(fd);
	}
}
