/* Order of attempts, cheapest first: the answer kept for this socket; the only process of the cgroup; the process among
 * them that holds the socket. The last takes the socket's inode and a search of their descriptors for it. The inode
 * comes from sock_diag, in constant time, for sockets of our own network namespace (the cookie proves that it is this
 * socket and not one of the same addresses elsewhere), else from /proc/PID/net/tcp, which walks the kernel's whole
 * table of connections. Foreign descriptors can only be looked at with CAP_SYS_PTRACE; without it the answer is 0. */
#include "identity/proc.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "base/time.h"

#define KEPT_MAX   1024		    /* sockets, a power of two */
#define LONE_MAX   256		    /* cgroups, a power of two */
#define LONE_NS	   NS_PER_S	    /* how long "one process only" is believed without looking */
#define UNKNOWN_NS (2 * NS_PER_S)   /* how long "cannot be told" is */
#define TOKEN_NS   (20 * NS_PER_US) /* CPU time that one token pays for: 500 a second are 1 % of a CPU */
#define PATH_ROOM  4352

/* An answer. Slots are overwritten by whoever hashes there next. */
struct kept {
	__u64 key; /* socket cookie or cgroup id; 0: empty */
	__u64 until_ns;
	__u32 pid;
};

struct proc_pids {
	char *proc;
	unsigned per_s;
	double tokens;
	__u64 tokens_ns;
	int diag_fd; /* negative: sock_diag cannot be had */
	struct kept sockets[KEPT_MAX];
	struct kept lone[LONE_MAX]; /* pid 0: several processes */
};

struct proc_pids *proc_pids_new(const char *proc, unsigned questions_per_s)
{
	struct proc_pids *pids = calloc(1, sizeof(*pids));

	if (!pids)
		return NULL;
	pids->proc = strdup(proc);
	pids->per_s = questions_per_s;
	pids->tokens = questions_per_s;
	pids->diag_fd = -1;
	if (!pids->proc) {
		proc_pids_free(pids);
		return NULL;
	}
	/* Sockets of a made-up /proc are not those of this machine. */
	if (!strcmp(proc, "/proc"))
		pids->diag_fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
	return pids;
}

void proc_pids_free(struct proc_pids *pids)
{
	if (!pids)
		return;
	if (pids->diag_fd >= 0)
		close(pids->diag_fd);
	free(pids->proc);
	free(pids);
}

/* --- parsers ------------------------------------------------------------------------------------------------ */

static void endpoint_from_v4(__u32 address, struct endpoint *ret)
{
	memset(ret->address, 0, 10);
	memset(ret->address + 10, 0xff, 2);
	memcpy(ret->address + 12, &address, 4);
}

int endpoint_read(const char *text, struct endpoint *ret)
{
	const char *colon = strrchr(text, ':');
	char address[INET6_ADDRSTRLEN];
	struct endpoint end = {};
	size_t bytes;
	__u64 port;
	__u32 v4;

	if (!colon || str_to_u64(colon + 1, 65535, &port))
		return -EINVAL;
	bytes = (size_t)(colon - text);
	if (bytes >= 2 && text[0] == '[' && text[bytes - 1] == ']') {
		text++;
		bytes -= 2;
	}
	if (bytes >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, bytes);
	address[bytes] = 0;
	if (inet_pton(AF_INET, address, &v4) == 1)
		endpoint_from_v4(v4, &end);
	else if (inet_pton(AF_INET6, address, end.address) != 1)
		return -EINVAL;
	end.port = (__u16)port;
	*ret = end;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* @least to @most (at most 8) hex digits; returns what follows them, NULL when there are too few. */
static const char *hex_read(const char *text, unsigned least, unsigned most, __u32 *ret)
{
	__u32 value = 0;
	unsigned digits = 0;

	while (digits < most && hex_digit(*text) >= 0) {
		value = value << 4 | (__u32)hex_digit(*text++);
		digits++;
	}
	if (digits < least)
		return NULL;
	*ret = value;
	return text;
}

/* "0100007F:1F90 ": each 32-bit word of the address is printed as the machine's own number. */
static const char *tcp_end_read(const char *text, bool v6, struct endpoint *ret)
{
	__u32 word[4], port;

	for (unsigned i = 0; i < (v6 ? 4 : 1); i++) {
		text = hex_read(text, 8, 8, &word[i]);
		if (!text)
			return NULL;
	}
	if (*text != ':')
		return NULL;
	text = hex_read(text + 1, 1, 4, &port);
	if (!text || *text != ' ')
		return NULL;
	if (v6)
		memcpy(ret->address, word, sizeof(word));
	else
		endpoint_from_v4(word[0], ret);
	ret->port = (__u16)port;
	return text;
}

static const char *spaces_skip(const char *text)
{
	return text + strspn(text, " \t");
}

int tcp_line_read(const char *line, bool v6, struct endpoint *ret_local, struct endpoint *ret_peer, __u64 *ret_inode)
{
	struct endpoint local, peer;
	const char *at = strchr(line, ':'); /* "  sl: local peer st tx:rx tr:when retransmits uid timeout inode" */
	size_t digits;
	__u64 inode;

	if (!at)
		return -EINVAL;
	at = tcp_end_read(spaces_skip(at + 1), v6, &local);
	if (!at)
		return -EINVAL;
	at = tcp_end_read(spaces_skip(at), v6, &peer);
	if (!at)
		return -EINVAL;
	for (int i = 0; i < 6; i++) {
		at = spaces_skip(at);
		if (!*at)
			return -EINVAL;
		at += strcspn(at, " \t");
	}
	at = spaces_skip(at);
	digits = strspn(at, "0123456789");
	if (mem_to_u64(at, digits, ~0ull, &inode))
		return -EINVAL;
	*ret_local = local;
	*ret_peer = peer;
	*ret_inode = inode;
	return 0;
}

unsigned cgroup_procs_read(const char *text, size_t bytes, __u32 *ret, unsigned room)
{
	unsigned count = 0;

	for (size_t at = 0; at < bytes && count < room;) {
		const char *end = memchr(text + at, '\n', bytes - at);
		size_t line_bytes = end ? (size_t)(end - text) - at : bytes - at;
		__u64 pid;

		if (!mem_to_u64(text + at, line_bytes, ~0u >> 1, &pid) && pid)
			ret[count++] = (__u32)pid;
		at += line_bytes + 1;
	}
	return count;
}

__u64 socket_link_read(const char *text, size_t bytes)
{
	static const char prefix[] = "socket:[";
	__u64 inode;

	if (bytes < sizeof(prefix) || memcmp(text, prefix, sizeof(prefix) - 1) || text[bytes - 1] != ']' ||
	    mem_to_u64(text + sizeof(prefix) - 1, bytes - sizeof(prefix), ~0ull, &inode))
		return 0;
	return inode;
}

/* --- sock_diag ---------------------------------------------------------------------------------------------- */

struct diag_request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 body;
};

static bool endpoint_is_v4(const struct endpoint *end)
{
	static const __u8 mapped[12] = { [10] = 0xff, [11] = 0xff };

	return !memcmp(end->address, mapped, sizeof(mapped));
}

static void diag_request_fill(struct diag_request *request, const struct endpoint *local, const struct endpoint *peer)
{
	bool v4 = endpoint_is_v4(local) && endpoint_is_v4(peer);
	struct inet_diag_sockid *id = &request->body.id;

	*request = (struct diag_request){
		.header = { .nlmsg_len = sizeof(*request),
			    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_REQUEST },
		.body = { .sdiag_family = v4 ? AF_INET : AF_INET6, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u },
	};
	id->idiag_sport = htons(local->port);
	id->idiag_dport = htons(peer->port);
	memcpy(id->idiag_src, local->address + (v4 ? 12 : 0), v4 ? 4 : 16);
	memcpy(id->idiag_dst, peer->address + (v4 ? 12 : 0), v4 ? 4 : 16);
	id->idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
}

/* The inode of socket @cookie between @local and @peer in our own network namespace; 0: not there. The kernel answers
 * before sendto() returns. */
static __u64 diag_inode(const struct proc_pids *pids, __u64 cookie, const struct endpoint *local,
			const struct endpoint *peer)
{
	static const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	_Alignas(struct nlmsghdr) char answer[4096];
	const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
	const struct inet_diag_msg *msg = NLMSG_DATA(header);
	struct diag_request request;
	ssize_t got;

	if (pids->diag_fd < 0 || !cookie)
		return 0;
	diag_request_fill(&request, local, peer);
	if (sendto(pids->diag_fd, &request, sizeof(request), 0, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return 0;
	got = recv(pids->diag_fd, answer, sizeof(answer), 0);
	if (got < (ssize_t)NLMSG_LENGTH(sizeof(*msg)) || header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return 0;
	if (msg->id.idiag_cookie[0] != (__u32)cookie || msg->id.idiag_cookie[1] != (__u32)(cookie >> 32))
		return 0;
	return msg->idiag_inode;
}

/* --- files -------------------------------------------------------------------------------------------------- */

/* Processes of the cgroup; PROC_PIDS_MAX + 1 when there are more than are looked at, 0 when it is gone. */
static unsigned cgroup_procs(const char *cgroup_dir, __u32 *ret)
{
	char text[(PROC_PIDS_MAX + 1) * 12], path[PATH_ROOM];
	size_t used = 0;
	ssize_t got;
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup_dir) >= sizeof(path))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	while (used < sizeof(text) && (got = read(fd, text + used, sizeof(text) - used)) > 0)
		used += (size_t)got;
	close(fd);
	return cgroup_procs_read(text, used, ret, PROC_PIDS_MAX + 1);
}

static bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && !memcmp(a->address, b->address, sizeof(a->address));
}

/* The inode of the socket between @local and @peer in the network namespace of @pid; 0: not there. */
static __u64 socket_inode(const struct proc_pids *pids, __u32 pid, bool v6, const struct endpoint *local,
			  const struct endpoint *peer)
{
	char path[PATH_ROOM], line[512];
	size_t bytes = 0;
	__u64 found = 0;
	FILE *file;

	if ((size_t)snprintf(path, sizeof(path), "%s/%u/net/%s", pids->proc, pid, v6 ? "tcp6" : "tcp") >= sizeof(path))
		return 0;
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (!found && bytes < PROC_TCP_BYTES_MAX && fgets(line, sizeof(line), file)) {
		struct endpoint line_local, line_peer;
		__u64 inode;

		bytes += strlen(line);
		if (!tcp_line_read(line, v6, &line_local, &line_peer, &inode) && endpoint_equal(&line_local, local) &&
		    endpoint_equal(&line_peer, peer))
			found = inode;
	}
	fclose(file);
	return found;
}

/* Whether @pid holds a descriptor of socket @inode; takes what it looks at from *budget. */
static bool pid_holds(const struct proc_pids *pids, __u32 pid, __u64 inode, unsigned *budget)
{
	char path[PATH_ROOM], link[64];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	if ((size_t)snprintf(path, sizeof(path), "%s/%u/fd", pids->proc, pid) >= sizeof(path))
		return false;
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && *budget && (entry = readdir(dir))) {
		ssize_t got;

		if (entry->d_name[0] == '.')
			continue;
		(*budget)--;
		got = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link));
		found = got > 0 && socket_link_read(link, (size_t)got) == inode;
	}
	closedir(dir);
	return found;
}

/* Of several that hold it (a server that forks for each connection) the last: the one that was made to serve it. */
static __u32 pid_of_socket(const struct proc_pids *pids, const __u32 *pid, unsigned pid_count, __u64 cookie,
			   const char *local_text, const char *peer_text)
{
	struct endpoint local, peer;
	unsigned budget = PROC_FDS_MAX;
	__u64 inode;
	__u32 found = 0;

	if (!local_text || !peer_text || endpoint_read(local_text, &local) || endpoint_read(peer_text, &peer))
		return 0;
	inode = diag_inode(pids, cookie, &local, &peer);
	if (!inode && endpoint_is_v4(&local))
		inode = socket_inode(pids, pid[0], /* v6 */ false, &local, &peer);
	if (!inode)
		inode = socket_inode(pids, pid[0], /* v6 */ true, &local, &peer);
	if (!inode)
		return 0;
	for (unsigned i = 0; i < pid_count; i++)
		if (pid_holds(pids, pid[i], inode, &budget) && pid[i] > found)
			found = pid[i];
	return found;
}

/* --- the question ------------------------------------------------------------------------------------------- */

static bool token_take(struct proc_pids *pids, __u64 now_ns)
{
	if (pids->tokens_ns && now_ns > pids->tokens_ns)
		pids->tokens += (double)(now_ns - pids->tokens_ns) / (double)NS_PER_S * pids->per_s;
	if (pids->tokens > pids->per_s)
		pids->tokens = pids->per_s;
	pids->tokens_ns = now_ns;
	if (pids->tokens < 1)
		return false;
	pids->tokens--;
	return true;
}

/* Time of this thread on a CPU: waiting for one costs nobody anything. */
static __u64 thread_cpu_ns(void)
{
	struct timespec now = {};

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (__u64)now.tv_sec * NS_PER_S + (__u64)now.tv_nsec;
}

static void kept_set(struct kept *kept, __u64 key, __u32 pid, __u64 until_ns)
{
	*kept = (struct kept){ .key = key, .pid = pid, .until_ns = until_ns };
}

__u32 proc_pids_find(struct proc_pids *pids, const char *cgroup_dir, __u64 cgroup_id, __u64 socket_cookie,
		     const char *local, const char *peer, __u64 now_ns)
{
	struct kept *socket = &pids->sockets[socket_cookie & (KEPT_MAX - 1)];
	struct kept *lone = &pids->lone[cgroup_id & (LONE_MAX - 1)];
	__u32 list[PROC_PIDS_MAX + 1], pid = 0;
	__u64 begun_ns;
	unsigned count;

	if (socket_cookie && socket->key == socket_cookie && now_ns < socket->until_ns)
		return socket->pid;
	if (cgroup_id && lone->key == cgroup_id && lone->pid && now_ns < lone->until_ns)
		return lone->pid;
	if (!token_take(pids, now_ns))
		return 0;

	begun_ns = thread_cpu_ns();
	count = cgroup_procs(cgroup_dir, list);
	if (count == 1) {
		pid = list[0];
		kept_set(lone, cgroup_id, pid, now_ns + LONE_NS);
	} else if (count > 1 && count <= PROC_PIDS_MAX) {
		pid = pid_of_socket(pids, list, count, socket_cookie, local, peer);
	}
	pids->tokens -= (double)(thread_cpu_ns() - begun_ns) / (double)TOKEN_NS;
	/* A socket keeps its process: the answer holds as long as the slot does. */
	if (socket_cookie)
		kept_set(socket, socket_cookie, pid, pid ? ~0ull : now_ns + UNKNOWN_NS);
	return pid;
}
