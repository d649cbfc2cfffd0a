/* What every record in the ring begins with, and the limits both sides share.
 * Compiled for the kernel half and for user space: only __u8..__u64, explicit padding.
 * A "pid" is what users call a process (the kernel's tgid); a thread is a "tid". */
#ifndef WEIR_EVENT_H
#define WEIR_EVENT_H

#include <linux/types.h>

enum signal_id {
	SIGNAL_NONE = 0,
#define SIGNAL(name, id, kind, text) SIGNAL_##name = id,
#include "signals.def"
#undef SIGNAL
	SIGNAL_MAX
};

/* First member of every record. @time_ns: CLOCK_MONOTONIC, when the thing the record tells of ended.
 * @cgroup_id: of the socket or task it is about, in the v2 hierarchy; 0 when not known. */
struct event_hdr {
	__u16 signal;
	__u16 size_bytes;
	__u32 pid; /* 0: not known */
	__u64 time_ns;
	__u64 cgroup_id;
};
_Static_assert(sizeof(struct event_hdr) == 24, "wire size");

/* Why something was seen and is not delivered. Append only; names in user/model/selfstat.c. */
enum loss_reason {
	LOSS_RING = 0,	    /* ring full, and no table to add to */
	LOSS_TABLE = 1,	    /* ring full and no memory for a table entry either */
	LOSS_BUSY = 2,	    /* no scratch free, or the same direction ran on two CPUs at once */
	LOSS_REORDER = 3,   /* more segments out of order than are kept */
	LOSS_STEPS = 4,	    /* more messages in one skb than the step budget */
	LOSS_DEPTH = 5,	    /* more requests in flight on one connection than are kept */
	LOSS_PARSE = 6,	    /* malformed message */
	LOSS_UNMATCHED = 7, /* a response without a request (connection older than the agent) */
	LOSS_MEMORY = 8,    /* the kernel had no memory for per-socket state */
	LOSS_MAX = 9
};

#endif
