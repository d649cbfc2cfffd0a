/* How a stopped-time clock (bpf/jvm.h) is read, by the kernel half and by tests in user space.
 *
 * Its writer may be at work on another CPU, or be what the reader has interrupted: what was read in between is not
 * taken, and after some tries it is CLOCK_UNKNOWN. BPF has no read barrier; a CPU that reorders loads can read past the
 * beginning or the end of a pause that happens in those nanoseconds, and what comes of that is bounded by who asks.
 *
 * All times are CLOCK_MONOTONIC, in nanoseconds. */
#ifndef WEIR_CLOCK_H
#define WEIR_CLOCK_H

#include "jvm.h"

#define CLOCK_TRIES   4
#define CLOCK_UNKNOWN (~0ull)
#define CLOCK_FOREVER (~0ull >> 1) /* times are below */

/* @difference, or 0 when it is negative. Without a branch: the verifier would go both ways, eight pauses long. */
static __always_inline __u64 clock_positive(__u64 difference)
{
	__u64 sign = (__s64)difference >> 63;

	asm volatile("" : "+r"(sign)); /* or the compiler makes a branch of it */
	return difference & ~sign;
}

/* How much of [begin, end] lies in [from, to]. */
static __always_inline __u64 clock_common(__u64 begin, __u64 end, __u64 from, __u64 to)
{
	begin += clock_positive(from - begin); /* the later one */
	end -= clock_positive(end - to);       /* the earlier one */
	return clock_positive(end - begin);
}

/* The same of all pauses that are kept and have ended. */
static __always_inline __u64 clock_common_kept(const volatile struct jvm_clock *clock, __u64 from, __u64 to)
{
	__u64 sum = 0;

#ifdef __bpf__
#pragma clang loop unroll(full)
#endif
	for (int i = 0; i < JVM_PAUSES; i++) /* one that never was is empty */
		sum += clock_common(clock->last[i].begin_ns, clock->last[i].end_ns, from, to);
	return sum;
}

static __always_inline __u64 clock_value(const volatile struct jvm_clock *clock, __u64 at_ns)
{
	__u64 value = clock->stopped_ns, open_ns = clock->open_ns;
	__u32 newest = clock->count - 1;

	if (open_ns && open_ns < at_ns)
		value += at_ns - open_ns;
	/* Asked about the past: a segment that was kept, a response that ended with its connection. */
	if (clock->last[newest & (JVM_PAUSES - 1)].end_ns > at_ns)
		value -= clock_common_kept(clock, at_ns, CLOCK_FOREVER);
	return value;
}
_Static_assert((JVM_PAUSES & (JVM_PAUSES - 1)) == 0, "a power of two");

/* What the clock showed at @at_ns: exact when at most JVM_PAUSES pauses have ended since. Or CLOCK_UNKNOWN. */
static __always_inline __u64 clock_at(const volatile struct jvm_clock *clock, __u64 at_ns)
{
	for (int i = 0; i < CLOCK_TRIES; i++) {
		__u32 seq = clock->seq;
		__u64 value = clock_value(clock, at_ns);

		if (!(seq & 1) && clock->seq == seq)
			return value;
	}
	return CLOCK_UNKNOWN;
}

/* How much of [start, end] it stood still, of the pauses that it still knows. Or CLOCK_UNKNOWN. */
static __always_inline __u64 clock_within(const volatile struct jvm_clock *clock, __u64 start_ns, __u64 end_ns)
{
	for (int i = 0; i < CLOCK_TRIES; i++) {
		__u32 seq = clock->seq;
		__u64 open_ns = clock->open_ns, sum = clock_common_kept(clock, start_ns, end_ns);

		if (open_ns)
			sum += clock_common(open_ns, end_ns, start_ns, end_ns);
		if (!(seq & 1) && clock->seq == seq)
			return sum;
	}
	return CLOCK_UNKNOWN;
}

/* How much of [start, end] it stood still. @base_ns: what it showed at @start_ns, if that is known, else CLOCK_UNKNOWN:
 * then of the pauses that it still knows. 0 when it cannot be read. */
static __always_inline __u64 clock_stopped(const volatile struct jvm_clock *clock, __u64 base_ns, __u64 start_ns,
					   __u64 end_ns)
{
	__u64 stopped = base_ns == CLOCK_UNKNOWN ? CLOCK_UNKNOWN : clock_at(clock, end_ns);

	if (stopped == CLOCK_UNKNOWN || stopped < base_ns) /* less: the clock has begun anew */
		stopped = clock_within(clock, start_ns, end_ns);
	else
		stopped -= base_ns;
	if (stopped == CLOCK_UNKNOWN)
		return 0;
	return stopped < end_ns - start_ns ? stopped : end_ns - start_ns;
}

#endif
