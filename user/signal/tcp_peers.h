/* The addresses to which a container had to send most again. An address is a label only for the first ones, and for
 * later ones that need it more than the average of those; all others are one series, "other". With it the series of a
 * container add up to all that it sent again. */
#ifndef WEIR_SIGNAL_TCP_PEERS_H
#define WEIR_SIGNAL_TCP_PEERS_H

#include <linux/types.h>
#include <stddef.h>

#include "model/aggregate.h"

#define TCP_PEERS_FIRST 10   /* addresses of one container that become labels unasked */
#define TCP_PEERS_MAX	50   /* and at all */
#define TCP_PEERS_ALL	2000 /* different labels in the life of the agent */

struct tcp_peers;
struct tcp_series;
struct why;

extern const struct metric tcp_peer_retransmits;

int tcp_peers_new(int map_fd, unsigned entries_max, struct aggregate *aggregate, __u64 start_ns, struct tcp_peers **ret,
		  struct why *why);
void tcp_peers_free(struct tcp_peers *p);
/* Reads the kernel's table; after the totals: what came between the two would be part of the rest for ever, since that is
 * what the total has more than the addresses. 0 or negative errno. */
int tcp_peers_read(struct tcp_peers *p);
/* The rest of each container. */
void tcp_peers_publish(struct tcp_peers *p, const struct tcp_series *totals);
void tcp_peers_forget(struct tcp_peers *p, __u64 cgroup_id);

#endif
