/* JVM: the record of one safepoint, and the stopped-time clock of a process, which other signals read in the kernel.
 * Shared with user space: only __u8..__u64, explicit padding. All times are CLOCK_MONOTONIC. */
#ifndef WEIR_JVM_H
#define WEIR_JVM_H

#include "event.h"

#define JVM_PROCESSES_MAX 2048
#define JVM_OPERATION_MAX 48
#define JVM_PAUSES	  8 /* kept in the clock: a power of two */

/* How safepoints of a JVM are seen, best first. Append only. */
enum jvm_source {
	JVM_SOURCE_NONE = 0,
	JVM_SOURCE_USDT = 1,	    /* probes that its builder put in: with the operation's name */
	JVM_SOURCE_SYMBOLS = 2,	    /* functions of the same moments */
	JVM_SOURCE_WATCHPOINTS = 3, /* writes to its performance counters, by debug registers */
	JVM_SOURCE_COUNTERS = 4,    /* these counters read now and then: sums only */
	JVM_SOURCE_MAX = 5
};

enum jvm_event_kind {
	JVM_EVENT_SAFEPOINT = 0,
	JVM_EVENT_STARTED = 1, /* a program was started that may become a JVM: header only */
};

/* hdr.time_ns: when the threads went on. */
struct jvm_event {
	struct event_hdr hdr;
	__u64 duration_ns;
	__u64 sync_ns;	    /* until all threads had stopped, with USDT also the clean-up that follows; 0: not seen */
	__u64 operation_ns; /* all operations together; USDT only */
	__u64 argument;	    /* first argument register at the end; no part of any interface, see user/signal/jvm.c */
	__u32 tid;
	__u16 operations; /* one in newer JVMs */
	__u8 source;
	__u8 kind;
	char operation[JVM_OPERATION_MAX]; /* of the first: hostile bytes, 0-terminated unless full; "": not seen */
};
_Static_assert(sizeof(struct jvm_event) == 24 + 4 * 8 + 8 + JVM_OPERATION_MAX, "wire size");

/* seen = delivered to the ring + sum(lost), of safepoints that have ended. */
struct jvm_count {
	__u64 seen;
	__u64 lost_ring;
	__u64 lost_table; /* more JVMs than JVM_PROCESSES_MAX */
};

struct jvm_pause {
	__u64 begin_ns, end_ns;
};

/* How long the threads of one JVM have stood still at safepoints, since it was first seen to stop. Written by the one
 * thread of it that makes safepoints. A reader takes it as it is if @seq is even and the same before and after. */
struct jvm_clock {
	__u32 seq;
	__u32 count;	  /* pauses that have ended; the newest is last[(count - 1) % JVM_PAUSES] */
	__u64 stopped_ns; /* all of them together */
	__u64 open_ns;	  /* when the one that goes on began; 0: it runs */
	struct jvm_pause last[JVM_PAUSES];
};

/* The JVMs of a cgroup of which a safepoint has been seen. */
struct jvm_cgroup {
	__u32 jvms;
	__u32 pid; /* of the newest */
};

#endif
