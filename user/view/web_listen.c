#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "base/why.h"
#include "view/web_listen.h"

#define BACKLOG	  64
#define HOST_ROOM 256

/* Splits at the last colon; brackets around the host are taken off. */
static int split_address(const char *address, char *ret_host, char *ret_port, size_t port_room, struct why *why)
{
	const char *colon = strrchr(address, ':');
	size_t bytes = colon ? (size_t)(colon - address) : 0;
	__u64 port;

	if (colon && bytes >= 2 && address[0] == '[' && colon[-1] == ']') {
		address++;
		bytes -= 2;
	} else if (colon && memchr(address, ':', bytes)) {
		colon = NULL; /* an IPv6 address needs its brackets */
	}
	if (!colon || bytes >= HOST_ROOM || str_to_u64(colon + 1, 65535, &port))
		return why_set(why, -EINVAL,
			       "'%.100s' is no address to listen on: write HOST:PORT, [IPV6]:PORT or :PORT", address);
	memcpy(ret_host, address, bytes);
	ret_host[bytes] = '\0';
	str_copy(ret_port, port_room, colon + 1);
	return 0;
}

static int listen_on(const struct addrinfo *info)
{
	int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, info->ai_protocol);
	const int yes = 1, no = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (info->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	if (bind(fd, info->ai_addr, info->ai_addrlen) || listen(fd, BACKLOG)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

int web_listen_tcp(const char *address, struct why *why)
{
	const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
	char host[HOST_ROOM], port[8];
	struct addrinfo *found;
	int fd, code;

	fd = split_address(address, host, port, sizeof(port), why);
	if (fd)
		return fd;
	code = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
	if (code)
		return why_set(why, -EINVAL, "cannot listen on '%.100s': %s", address, gai_strerror(code));
	fd = -EADDRNOTAVAIL;
	for (const struct addrinfo *info = found; info && fd < 0; info = info->ai_next)
		fd = listen_on(info);
	freeaddrinfo(found);
	if (fd < 0)
		why_set(why, fd, "cannot listen on '%.100s': %s; %s", address, strerror(-fd),
			fd == -EADDRINUSE ? "is another agent running? choose another address with --prometheus, or off"
					  : "choose another address with --prometheus, or off");
	return fd;
}

/* Nobody answers on a socket whose process has ended. */
static int remove_stale(const char *path, const struct sockaddr_un *address, struct why *why)
{
	struct stat info;
	int fd, err = 0;

	if (lstat(path, &info))
		return errno == ENOENT
			       ? 0
			       : why_set(why, -errno, "cannot use the socket '%.100s': %s", path, strerror(errno));
	if (!S_ISSOCK(info.st_mode))
		return why_set(why, -EEXIST,
			       "'%.100s' is there and is no socket: remove it, or choose another with --socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return why_set(why, -errno, "cannot make a socket: %s", strerror(errno));
	/* EAGAIN: somebody listens and is busy. */
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		err = why_set(why, -EADDRINUSE,
			      "an agent answers on '%.100s' already: end it, or choose another with --socket", path);
	else if (errno != ECONNREFUSED)
		err = why_set(why, -errno, "cannot use the socket '%.100s': %s", path, strerror(errno));
	close(fd);
	if (!err && unlink(path))
		err = why_set(why, -errno, "cannot replace the stale socket '%.100s': %s", path, strerror(errno));
	return err;
}

int web_listen_unix(const char *path, struct why *why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(address.sun_path))
		return why_set(why, -ENAMETOOLONG, "socket path '%.200s' is longer than %zu bytes", path,
			       sizeof(address.sun_path) - 1);
	str_copy(address.sun_path, sizeof(address.sun_path), path);
	err = remove_stale(path, &address, why);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return why_set(why, -errno, "cannot make a socket: %s", strerror(errno));
	/* Linux gives the file the mode of the socket, so nobody can connect before it is right. */
	if (fchmod(fd, 0600) || bind(fd, (const struct sockaddr *)&address, sizeof(address)) || listen(fd, BACKLOG)) {
		err = why_set(why, -errno, "cannot make the socket '%.100s': %s; choose another with --socket, or off",
			      path, strerror(errno));
		close(fd);
		return err;
	}
	return fd;
}

void web_unlink_unix(const char *path, unsigned long inode)
{
	struct stat info;

	if (inode && lstat(path, &info) == 0 && S_ISSOCK(info.st_mode) && info.st_ino == inode)
		unlink(path);
}
