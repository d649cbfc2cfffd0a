/* Latency histogram of user space: the slots of bpf/lib/hist.h, stored only where they are populated.
 * Counts are exact; a quantile lies in its slot, whose bounds are at most 9.05 % apart (4.4 % around its middle). */
#ifndef WEIR_MODEL_HIST_H
#define WEIR_MODEL_HIST_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#include "lib/hist.h"

/* Which explicit boundaries a histogram is exported with. */
enum hist_bounds {
	HIST_BOUNDS_REQUEST, /* 5 ms .. 10 s, advised for HTTP durations */
	HIST_BOUNDS_SHORT,   /* 10 us .. 1 s: round trips, waits for a CPU */
	HIST_BOUNDS_GC,	     /* 10 ms .. 10 s, advised for garbage collections */
	HIST_BOUNDS_MAX
};

#define HIST_EXPLICIT_MAX HIST_SHORT_COUNT /* boundaries of one set */

struct hist {
	__u64 count;
	__u64 sum_ns;
	__u64 max_ns; /* exact, over the life of this struct */
	__u16 low;    /* first stored slot */
	__u16 stored; /* stored slots; 0: nothing yet */
	__u64 *slots; /* owned; slots[i] is the count of slot low + i */
};

/* The thresholds of bpf/lib/hist.h in nanoseconds, HIST_TABLE entries, unused ones HIST_NO_BOUND. Computed on the first
 * call; never freed. T[i] = floor(2^((i+1)/8) * 1e9) for the exponential ones. */
const __u64 *hist_thresholds(void);
/* The explicit boundaries of the set in nanoseconds, ascending; *ret_count of them, at most HIST_EXPLICIT_MAX. */
const __u64 *hist_explicit(enum hist_bounds bounds, unsigned *ret_count);

void hist_done(struct hist *h);		      /* frees the slots; @h is empty afterwards */
int hist_add(struct hist *h, __u64 value_ns); /* 0 or -ENOMEM (then nothing has changed) */
int hist_add_slots(struct hist *h, const __u32 *slots, __u64 sum_ns, __u64 max_ns); /* HIST_SLOTS counts */
int hist_merge(struct hist *to, const struct hist *from);
int hist_copy(struct hist *to, const struct hist *from); /* @to is overwritten, must be initialised */
/* Takes @earlier (a previous copy of the same histogram) away from @h. max_ns stays: it is of the whole life. */
void hist_subtract(struct hist *h, const struct hist *earlier);
__u64 hist_slot_count(const struct hist *h, unsigned slot);
/* Value at quantile @q (0..1) in nanoseconds by linear interpolation inside the slot, capped by max_ns (0: not known);
 * 0 when empty. */
double hist_quantile_ns(const struct hist *h, double q);
/* Counts per explicit bucket of the set: one entry more than it has boundaries, not cumulative. */
void hist_explicit_counts(const struct hist *h, enum hist_bounds bounds, __u64 *ret_counts);
/* Base-2 exponential buckets of scale HIST_SCALE: *ret_offset is the index of ret_counts[0]; returns how many entries
 * are populated (at most HIST_EXP_COUNT + 1, room is the caller's). Values at or below the first boundary go to
 * *ret_zero; values above the last one are counted in the bucket above it. */
unsigned hist_exponential(const struct hist *h, __s32 *ret_offset, __u64 *ret_zero, __u64 *ret_counts);

#endif
