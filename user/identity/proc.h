/* The process behind a socket: the only one in its cgroup, else the one of them that holds the socket open. Everything
 * is read from /proc without entering another namespace; every loop is bounded; answers are kept by socket cookie. */
#ifndef WEIR_IDENTITY_PROC_H
#define WEIR_IDENTITY_PROC_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct proc_pids;

/* One end of a connection: IPv6 or v4-mapped, network order; port in host order. */
struct endpoint {
	__u8 address[16];
	__u16 port;
};

#define PROC_PIDS_MAX	   256	      /* processes of one cgroup that are looked at */
#define PROC_FDS_MAX	   8192	      /* file descriptors, all of them together */
#define PROC_TCP_BYTES_MAX (4u << 20) /* of one /proc/PID/net/tcp: 27,000 sockets */

struct proc_pids *proc_pids_new(const char *proc, unsigned questions_per_s); /* NULL: no memory */
void proc_pids_free(struct proc_pids *pids);
/* @cgroup_dir: absolute. @local, @peer as text, see identity_pid(). 0: not known. */
__u32 proc_pids_find(struct proc_pids *pids, const char *cgroup_dir, __u64 cgroup_id, __u64 socket_cookie,
		     const char *local, const char *peer, __u64 now_ns);

/* "192.0.2.1:80" or "[2001:db8::1]:80". 0 or -EINVAL. */
int endpoint_read(const char *text, struct endpoint *ret);
/* A line of /proc/PID/net/tcp (@v6 false) or tcp6: 0 and the socket's ends and inode, or -EINVAL (the heading, too). */
int tcp_line_read(const char *line, bool v6, struct endpoint *ret_local, struct endpoint *ret_peer, __u64 *ret_inode);
/* Text of cgroup.procs; writes at most @room, returns how many. Zeroes (processes outside our pid namespace) are left out. */
unsigned cgroup_procs_read(const char *text, size_t bytes, __u32 *ret, unsigned room);
/* "socket:[123]" -> 123; 0: another kind of file. */
__u64 socket_link_read(const char *text, size_t bytes);

#endif
