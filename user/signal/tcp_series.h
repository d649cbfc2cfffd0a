/* What the kernel half has counted of TCP becomes series. A group is what one key of its tables tells: one container,
 * one kind of other end.
 *
 * Of a connection some things are counted when it has ended and read by the walk while it lives. The tables are
 * therefore read in this order: tcp_series_stat() for each entry, the walk, tcp_series_live() for each entry,
 * tcp_series_publish(). A connection that ends in between shows in the next round: never twice, never less than before. */
#ifndef WEIR_SIGNAL_TCP_SERIES_H
#define WEIR_SIGNAL_TCP_SERIES_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "model/aggregate.h"
#include "tcp.h"

struct tcp_series;

/* @table_max: keys of each of the kernel's tables. @jiffy_ns: length of the kernel's tick. NULL: no memory. */
struct tcp_series *tcp_series_new(struct aggregate *aggregate, unsigned table_max, __u64 start_ns, __u64 jiffy_ns);
void tcp_series_free(struct tcp_series *s);

void tcp_series_stat(struct tcp_series *s, const struct tcp_key *key, const struct tcp_stat *stat);
/* @walk: number of the walk; what an earlier one found is over. */
void tcp_series_live(struct tcp_series *s, const struct tcp_key *key, const struct tcp_live *live, __u64 walk);
void tcp_series_rtt(struct tcp_series *s, const struct tcp_key *key, const struct tcp_rtt *rtt, __u64 walk);
void tcp_series_publish(struct tcp_series *s, __u64 walk);
/* The cgroup is gone: also as the other end of others. A group whose connections are still open is kept until they have
 * ended, or what they have carried would be counted again: a pool keeps connections whose other end has died. */
void tcp_series_forget(struct tcp_series *s, __u64 cgroup_id);
/* Is @key of a group that was to be forgotten and is kept? Then the kernel's counts must stay as well. */
bool tcp_series_keeps(const struct tcp_series *s, const struct tcp_key *key);
/* After tcp_series_publish(): forgets those that have ended since, and says which. */
void tcp_series_bury(struct tcp_series *s, void (*buried)(void *arg, const struct tcp_key *key), void *arg);

__u64 tcp_series_events(const struct tcp_series *s); /* delivered so far */
/* Segments sent again by this container so far. */
__u64 tcp_series_segments(const struct tcp_series *s, __u64 cgroup_id);
size_t tcp_series_bytes(const struct tcp_series *s);

/* Names as attributes and lines have them. Any number is valid. */
const char *tcp_role_name(unsigned role);
const char *tcp_retransmit_name(unsigned type);
const char *tcp_failure_name(unsigned failure);
const char *tcp_class_name(unsigned class);

extern const struct metric tcp_retransmits, tcp_retransmit_io, tcp_spurious, tcp_connections, tcp_active_connections,
	tcp_resets, tcp_io, tcp_out_of_order, tcp_window_limited, tcp_rtt_duration, tcp_rtt_min;

#endif
