/* The one definition of a latency histogram, for kernel and user space.
 *
 * Slot s counts values v with T[s-1] < v <= T[s] (upper bound inclusive, as OTLP has it). T is the sorted union of
 *   - base-2 exponential boundaries of scale 3 in seconds, 2^((i+1)/8) for i = HIST_EXP_MIN-1 .. HIST_EXP_MAX,
 *   - the 14 explicit boundaries that semantic conventions advise for HTTP durations,
 *   - the 16 explicit boundaries of short durations (round trips, waits for a CPU), 10 us to 1 s,
 * rounded down to nanoseconds, so all histograms of the same data are exact. T[HIST_SLOTS-1] is HIST_NO_BOUND.
 * User space computes T (model/hist.c) and hands it to the kernel half as read-only data before load.
 * The slot number of a value is fixed for the life of the program. */
#ifndef WEIR_HIST_H
#define WEIR_HIST_H

#include <linux/types.h>

#define HIST_SCALE	    3
#define HIST_EXP_MIN	    (-136) /* first whole bucket: (2^-17, 2^(-135/8)] seconds; below 7.6 us is one slot */
#define HIST_EXP_MAX	    55	   /* last whole bucket: up to 128 s; above is one slot */
#define HIST_EXP_COUNT	    (HIST_EXP_MAX - HIST_EXP_MIN + 1)
#define HIST_REQUEST_COUNT  14
#define HIST_SHORT_COUNT    16
#define HIST_EXPLICIT_COUNT 22 /* different ones: from 5 ms on, the 8 short ones are in both sets */
/* Explicit boundaries coincide with exponential ones for 0.25, 0.5 and 1 s. */
#define HIST_SHARED_COUNT 3
#define HIST_SLOTS	  (1 + HIST_EXP_COUNT + HIST_EXPLICIT_COUNT - HIST_SHARED_COUNT + 1)
#define HIST_TABLE	  256 /* length of the threshold array: a power of two, the rest is HIST_NO_BOUND */
#define HIST_NO_BOUND	  0x7fffffffffffffffull /* values above count as this one: 292 years */

/* Slot of @value: the smallest s with value <= threshold[s]. @threshold has HIST_TABLE entries.
 * Without branches, each step is the sign of a difference: the verifier sees one way through the search and not 256, and
 * it knows of the offset which bits it can have. */
static inline __u32 hist_slot(const __u64 *threshold, __u64 value)
{
	const char *at = (const char *)threshold;
	__u64 low = 0; /* in bytes */

	if (value > HIST_NO_BOUND)
		value = HIST_NO_BOUND;
#ifdef __bpf__
#pragma clang loop unroll(full)
#endif
	for (__u32 half = HIST_TABLE * sizeof(*threshold) / 2; half >= sizeof(*threshold); half /= 2) {
		/* Volatile: user space fills in what the compiler of the kernel half sees as zeros. */
		__u64 bound = *(const volatile __u64 *)(at + low + half - sizeof(*threshold));

		low += (bound - value) >> 63 ? half : 0;
#ifdef __bpf__
		asm volatile("" : "+r"(low)); /* a sum, not an "or": 5.10 has no bounds for that */
#endif
	}
	low /= sizeof(*threshold);
	return low < HIST_SLOTS ? low : HIST_SLOTS - 1;
}

#endif
