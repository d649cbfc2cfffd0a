/* TCP: the record of one event, keys and values of the in-kernel tables, the configuration of the kernel half.
 * Shared with user space: only __u8..__u64, explicit padding. Addresses are IPv6 or v4-mapped, in network order; ports
 * in host order; times CLOCK_MONOTONIC. */
#ifndef WEIR_TCP_H
#define WEIR_TCP_H

#include "event.h"
#include "lib/hist.h"

enum tcp_role { TCP_ROLE_CLIENT = 0, TCP_ROLE_SERVER = 1, TCP_ROLE_MAX = 2 };

/* What made the kernel send a segment again. Append only. */
enum tcp_retransmit {
	TCP_RETRANSMIT_FAST = 0,    /* acknowledgements told of the loss */
	TCP_RETRANSMIT_TIMEOUT = 1, /* none came within the retransmission time-out */
	TCP_RETRANSMIT_PROBE = 2,   /* tail loss probe (RFC 8985) */
	TCP_RETRANSMIT_SYN = 3,
	TCP_RETRANSMIT_SYN_ACK = 4,
	TCP_RETRANSMIT_MAX = 5
};

/* Why a connection was never established. Append only; error.type names in user/signal/tcp_series.c. */
enum tcp_failure {
	TCP_FAILURE_OTHER = 0,
	TCP_FAILURE_REFUSED = 1,
	TCP_FAILURE_TIMED_OUT = 2,
	TCP_FAILURE_HOST_UNREACHABLE = 3,
	TCP_FAILURE_NET_UNREACHABLE = 4,
	TCP_FAILURE_RESET = 5,
	TCP_FAILURE_ABORTED = 6,    /* the application closed it before an answer came */
	TCP_FAILURE_NO_ADDRESS = 7, /* no free local port */
	TCP_FAILURE_MAX = 8
};

/* Where the other end is. */
enum tcp_class {
	TCP_CLASS_NONE = 0, /* no other end is known: a listener */
	TCP_CLASS_LOOPBACK = 1,
	TCP_CLASS_LINK_LOCAL = 2,
	TCP_CLASS_PRIVATE = 3, /* RFC 1918, RFC 6598, unique local IPv6 */
	TCP_CLASS_PUBLIC = 4,
	TCP_CLASS_CONTAINER = 5, /* both ends are on this machine: tcp_key.peer_cgroup says whose */
	TCP_CLASS_OVERFLOW = 6,	 /* the key of what found no room in the table */
	TCP_CLASS_MAX = 7
};

enum tcp_event_kind {
	TCP_EVENT_RETRANSMIT = 1,
	TCP_EVENT_CONNECT_FAILED = 2,
	TCP_EVENT_RESET = 3,
	TCP_EVENT_CLOSE = 4,
	TCP_EVENT_MAX = 5
};

struct tcp_event {
	struct event_hdr hdr;
	__u64 peer_cgroup;    /* 0: not a container of this machine, or not known */
	__u64 duration_ns;    /* close: since it was established; connect_failed: since the first SYN; 0: not known */
	__u64 bytes_sent;     /* close: payload, each byte once; retransmit: payload sent again */
	__u64 bytes_received; /* close: payload, in order */
	__u64 lost_ns;	      /* close: time the connection lost to retransmissions, see tcp_conn */
	__u64 socket_cookie;  /* 0: it has none */
	__u32 segments;	      /* retransmit: sent again; close: sent again in its whole life */
	__u32 rtt_us;	      /* smoothed; 0: not known */
	__u32 rtt_min_us;     /* 0: not known */
	__u16 local_port;
	__u16 peer_port;
	__u8 kind;
	__u8 role;
	__u8 type;  /* retransmit: enum tcp_retransmit; connect_failed: enum tcp_failure; reset: 1 sent, 0 received */
	__u8 state; /* of the socket, as the kernel numbers them */
	__u8 class;
	__u8 pad[3];
	__u8 local[16];
	__u8 peer[16];
};
_Static_assert(sizeof(struct tcp_event) == 24 + 6 * 8 + 3 * 4 + 4 + 8 + 32, "wire size");

/* What belongs together in the tables. */
struct tcp_key {
	__u64 cgroup_id;   /* 0: no socket, so nobody's */
	__u64 peer_cgroup; /* with TCP_CLASS_CONTAINER, else 0 */
	__u64 class;
};

/* What belongs to one connection and is counted when it has ended, or read while it lives. */
struct tcp_sums {
	__u64 opened[TCP_ROLE_MAX]; /* established under our eyes */
	__u64 bytes_sent, bytes_received;
	__u64 spurious; /* segments sent again for nothing: the receiver told so (DSACK) */
	__u64 out_of_order;
	__u64 window_limited; /* jiffies in which the receiver's window kept it from sending */
};

/* Monotone: never reset, user space takes differences. */
struct tcp_stat {
	__u64 events; /* of the conservation law */
	__u64 segments[TCP_RETRANSMIT_MAX];
	__u64 bytes[TCP_RETRANSMIT_MAX];
	__u64 failed[TCP_ROLE_MAX][TCP_FAILURE_MAX];
	__u64 resets[2]; /* received, sent */
	struct tcp_sums closed;
};

/* Round-trip times, of the walk and of connections that ended. Monotone but for the least one. */
struct tcp_rtt {
	__u64 count, sum_ns;
	__u64 min_walk; /* number of the walk that min_ns belongs to */
	__u64 min_ns;
	__u32 slots[HIST_SLOTS];
	__u32 pad[HIST_SLOTS % 2];
};

/* Written by the walk alone: the sums over connections that were alive at walk number @walk. */
struct tcp_live {
	__u64 walk;
	__u64 count[TCP_ROLE_MAX]; /* established now */
	struct tcp_sums sums;
};

/* Histograms of whole connections. */
enum tcp_hist_kind { TCP_HIST_HANDSHAKE = 0, TCP_HIST_DURATION = 1, TCP_HIST_RECOVERY = 2, TCP_HIST_MAX = 3 };

struct tcp_hist_key {
	__u64 cgroup_id;
	__u32 kind;
	__u32 role;
};

struct tcp_hist {
	__u64 count, sum_ns;
	__u32 slots[HIST_SLOTS];
	__u32 pad[HIST_SLOTS % 2];
};

struct tcp_peer_key {
	__u64 cgroup_id;
	__u8 address[16];
};

struct tcp_peer {
	__u64 segments; /* sent again */
	__u64 bytes;
};

/* A listening socket as the walk over them writes it, and the key under which its last counts stay when it closes. */
struct tcp_listener {
	__u64 cgroup_id;
	__u8 address[16];
	__u32 port;
	__u32 pad;
	__u64 drops; /* since it was first seen */
	__u32 queue; /* connections that wait for accept(2) */
	__u32 limit; /* and how many may */
};

struct tcp_listener_key {
	__u64 cgroup_id;
	__u8 address[16];
	__u64 port;
};

/* Read-only to the kernel half, set before load. */
struct tcp_config {
	__u32 jiffy_ns;
	__u8 storage; /* 1: state in socket storage; else by the socket's address */
	__u8 pad[3];
};

/* Counters of the kernel half: seen = sum(tcp_stat.events) + lost. */
struct tcp_count {
	__u64 seen;
	__u64 lost_table;
	__u64 untold;	  /* records that did not fit into the ring: counted, but no line of trace */
	__u64 stateless;  /* connections that got no state (no memory, or the table full) */
	__u64 recovering; /* connections that wait for an acknowledgement of what was sent again */
};

#endif
