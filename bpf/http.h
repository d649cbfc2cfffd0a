/* HTTP: the record of one exchange, the key and value of the in-kernel table, the configuration of the kernel half.
 * Shared with user space: only __u8..__u64, explicit padding. */
#ifndef WEIR_HTTP_H
#define WEIR_HTTP_H

#include "event.h"
#include "lib/hist.h"

#define HTTP_LINE_MAX	128 /* bytes kept of the request line: a power of two, a multiple of 8 */
#define HTTP_LABEL_NONE 0   /* label of a table entry whose route (and, for a client, server address) is not known */

enum http_role { HTTP_ROLE_NONE = 0, HTTP_ROLE_SERVER = 1, HTTP_ROLE_CLIENT = 2 };

/* Append only: these travel on the wire and are keys of the table. */
enum http_method {
	HTTP_METHOD_OTHER = 0,
	HTTP_METHOD_GET = 1,
	HTTP_METHOD_HEAD = 2,
	HTTP_METHOD_POST = 3,
	HTTP_METHOD_PUT = 4,
	HTTP_METHOD_DELETE = 5,
	HTTP_METHOD_OPTIONS = 6,
	HTTP_METHOD_PATCH = 7,
	HTTP_METHOD_TRACE = 8,
	HTTP_METHOD_CONNECT = 9,
	HTTP_METHOD_QUERY = 10,
	HTTP_METHOD_MAX = 11
};

enum http_version { HTTP_VERSION_1_0 = 0, HTTP_VERSION_1_1 = 1, HTTP_VERSION_MAX = 2 };

/* How an exchange ended when not with a whole response. Append only; error.type names in user/signal/http.c. */
enum http_error {
	HTTP_ERROR_NONE = 0,
	HTTP_ERROR_CLOSED = 1,	  /* connection closed (FIN) before the response was whole: connection_closed */
	HTTP_ERROR_RESET = 2,	  /* RST, either way: connection_reset */
	HTTP_ERROR_TIMEOUT = 3,	  /* the socket went away without a packet: connection_timeout */
	HTTP_ERROR_MALFORMED = 4, /* the response could not be understood: malformed_response */
	HTTP_ERROR_MAX = 5
};

#define HTTP_FLAG_LINE_CUT 1 /* the request line was longer than HTTP_LINE_MAX */
#define HTTP_FLAG_PARTIAL  2 /* some of it passed unseen (resynchronised): byte counts are a lower bound */

/* One exchange as it ended. hdr.time_ns is the time of the response's last byte (or of the abort).
 * Times are CLOCK_MONOTONIC; addresses are IPv6 or v4-mapped, network order; ports host order. */
struct http_event {
	struct event_hdr hdr;
	__u64 start_ns;	      /* arrival of the request's first byte, in order */
	__u64 ttfb_ns;	      /* start to first byte of the final (not 1xx) response; 0: none came */
	__u64 duration_ns;    /* start to last byte, or to the abort */
	__u64 stopped_ns;     /* of that, the JVM behind the socket stood still; 0 also when there is none */
	__u64 request_bytes;  /* body, as sent (chunk framing not counted) */
	__u64 response_bytes; /* the same */
	__u64 socket_cookie;
	__u64 path_hash;  /* key of the label map, see struct http_label_key */
	__u32 rtt_us;	  /* smoothed round-trip time of the connection at the end; 0: not known */
	__u16 status;	  /* 0: no status line came */
	__u16 line_bytes; /* valid bytes in line */
	__u8 method;
	__u8 role;
	__u8 version; /* of the response, or of the request when no response came */
	__u8 error;
	__u8 flags;
	__u8 pad[3];
	__u16 local_port;
	__u16 peer_port;
	__u32 pad2;
	__u8 local[16];
	__u8 peer[16];
	char line[HTTP_LINE_MAX]; /* the request line as it came: hostile bytes, no terminator */
};
_Static_assert(sizeof(struct http_event) == 24 + 8 * 8 + 8 + 8 + 8 + 32 + 128, "wire size");

/* User space tells the kernel half which label (route, and for a client the server's address) belongs to a path, so
 * that a repeated path is counted in the kernel and needs no record. The hash is not collision-proof: it can mix up
 * two paths of one container, never two containers. */
struct http_label_key {
	__u64 cgroup_id;
	__u64 path_hash;
};

struct http_key {
	__u64 cgroup_id;
	__u32 label;
	__u16 status;
	__u8 method;
	__u8 role;
	__u8 version;
	__u8 error;
	__u8 pad[6];
};
_Static_assert(sizeof(struct http_key) == 24, "no hidden padding");

/* What comes often is counted in an array instead, which needs no hash: user space gives the cell with the number
 * label % HTTP_CELLS to one key, in its value, and a key that has no cell goes to the table. */
#define HTTP_CELLS 1024 /* a power of two */

/* Monotone: never reset, user space takes differences. Read with BPF_F_LOCK. */
struct http_stat {
#ifdef __bpf__
	struct bpf_spin_lock lock;
#else
	__u32 lock;
#endif
	__u32 pad;
	__u64 count;
	__u64 sum_ns;
	__u64 max_ns; /* of the interval numbered max_interval (see control.h) */
	__u64 max_interval;
	__u64 request_bytes;
	__u64 response_bytes;
	__u32 slots[HIST_SLOTS];
	__u32 pad2[HIST_SLOTS % 2];
	struct http_key key; /* of a cell; all zero: it is free */
};

/* For how long JVMs stood still while exchanges went on, of those for which that was not zero. Monotone but for the
 * maximum. */
struct http_stopped_key {
	__u64 cgroup_id;
	__u64 role;
};

struct http_stopped {
	__u64 count, sum_ns;
	__u64 max_ns; /* of the interval numbered max_interval (see control.h) */
	__u64 max_interval;
	__u32 slots[HIST_SLOTS];
	__u32 pad[HIST_SLOTS % 2];
};

/* Read-only to the kernel half, set before load. */
struct http_config {
	__u64 min_ns;	  /* trace filter: records of shorter exchanges are filtered */
	__u16 status_min; /* trace filter, 0 .. 0xffff: all */
	__u16 status_max;
	__u8 roles;   /* bit 1 << enum http_role */
	__u8 labels;  /* 1: look up labels and count known ones in the kernel */
	__u8 cgroups; /* 1: exchanges of cgroups in the map http_cgroups are filtered */
	__u8 shadow;  /* 1: this kernel shows no socket storage to l7_state: l7_state_cookie runs */
	__u8 tasks;   /* 1: packet programs may ask which process sends */
	__u8 pad[7];
};

/* One connection with requests in flight, as the iterator over socket storage writes it. */
struct http_inflight {
	__u64 cgroup_id;
	__u32 role;
	__u32 count;
};

/* Per-CPU counters of the kernel half. The conservation law, of exchanges:
 * seen = ring + table + filtered + sum(lost). What went into the table is also the sum of its entries' counts. */
struct http_count {
	__u64 seen;	      /* exchanges that ended */
	__u64 ring;	      /* given to the ring */
	__u64 table;	      /* counted in the table under their label */
	__u64 unlabelled;     /* counted in the table because the ring was full: route lost, the rest exact */
	__u64 filtered;	      /* trace filters */
	__u64 lost[LOSS_MAX]; /* exchanges */
	__u64 gaps[LOSS_MAX]; /* times one direction of a connection lost its place in the stream, by reason */
	__u64 resyncs;	      /* times it found it again */
	__u64 connections;    /* recognised as HTTP/1 */
	__u64 ignored;	      /* connections given up as something else */
	__u64 parked;	      /* first segments that arrived on a listener */
	__u64 adopted;	      /* of those, taken over by their connection */
};

#endif
