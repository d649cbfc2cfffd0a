/* Listening sockets: what their accept queues hold and what found no room. The kernel keeps one counter for each socket,
 * in which accept-queue overflows and dropped SYNs are one. Sockets of one container at one address (SO_REUSEPORT) are
 * one listener here. */
#ifndef WEIR_SIGNAL_TCP_LISTEN_H
#define WEIR_SIGNAL_TCP_LISTEN_H

#include <linux/types.h>
#include <stdbool.h>

#include "model/aggregate.h"
#include "tcp.h"

#define TCP_LISTENERS_MAX 8192

struct bpf_program;
struct tcp_listen;
struct why;

extern const struct metric tcp_listen_drops, tcp_listen_queue, tcp_listen_limit;

struct tcp_listen_options {
	struct bpf_program *walk; /* writes struct tcp_listener */
	int walk_map_fd;
	int closed_map_fd; /* struct tcp_listener_key to drops */
	struct aggregate *aggregate;
	__u64 start_ns;
};

int tcp_listen_new(const struct tcp_listen_options *options, struct tcp_listen **ret, struct why *why);
void tcp_listen_free(struct tcp_listen *l);

/* Looks at all of them. Calls @dropped for each that has dropped since the last look; NULL is fine. 0 or negative errno. */
int tcp_listen_read(struct tcp_listen *l, void (*dropped)(void *arg, const struct tcp_listener *listener, __u64 drops),
		    void *arg);
void tcp_listen_forget(struct tcp_listen *l, __u64 cgroup_id);

#endif
