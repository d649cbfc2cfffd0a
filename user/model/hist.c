#include "model/hist.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S 1000000000ull
/* Boundaries of the exponential buckets: the lower one of the first bucket and the upper one of each. */
#define EXP_BOUNDS     (HIST_EXP_COUNT + 1)
#define HIST_UNBOUNDED (HIST_SLOTS - 1)

_Static_assert(HIST_SLOTS <= HIST_TABLE, "a slot for every threshold");

/* Constants of the definition in bpf/lib/hist.h, computed once from it because they must be exact in both halves. */
static struct {
	pthread_once_t once;
	__u64 threshold[HIST_TABLE];
	/* By slot: exponential bucket (0: at or below the first boundary, 1: first, ...) and explicit ones. */
	__u8 exponential[HIST_SLOTS];
	__u8 explicit[HIST_BOUNDS_MAX][HIST_SLOTS];
} tables = { .once = PTHREAD_ONCE_INIT };

static const __u64 request_ns[HIST_REQUEST_COUNT] = {
	5000000,   10000000,  25000000,	  50000000,   75000000,	  100000000,  250000000,
	500000000, 750000000, 1000000000, 2500000000, 5000000000, 7500000000, 10000000000,
};

static const __u64 short_ns[HIST_SHORT_COUNT] = {
	10000,	 25000,	   50000,    100000,   250000,	  500000,    1000000,	2500000,
	5000000, 10000000, 25000000, 50000000, 100000000, 250000000, 500000000, 1000000000,
};

static const __u64 gc_ns[] = { 10000000, 100000000, 1000000000, 10000000000 };

static const struct {
	const __u64 *ns;
	unsigned count;
} explicit_sets[HIST_BOUNDS_MAX] = {
	[HIST_BOUNDS_REQUEST] = { .ns = request_ns, .count = HIST_REQUEST_COUNT },
	[HIST_BOUNDS_SHORT] = { .ns = short_ns, .count = HIST_SHORT_COUNT },
	[HIST_BOUNDS_GC] = { .ns = gc_ns, .count = sizeof(gc_ns) / sizeof(gc_ns[0]) },
};

_Static_assert(HIST_REQUEST_COUNT <= HIST_EXPLICIT_MAX && HIST_SHORT_COUNT <= HIST_EXPLICIT_MAX, "room for any set");

/* floor(2^(eighths/8) * 10^9). The roots are floor(2^(j/8) * 2^62); what that floor loses is below 10^-7 of the result,
 * and no boundary of ours is that close above a whole number but the exact powers (the unit test proves each). */
static __u64 exp_bound_ns(int eighths)
{
	static const __u64 roots[8] = {
		0x4000000000000000, 0x45cae0f1f545eb73, 0x4c1bf828c6dc54b7, 0x52ff6b54d8a89c75,
		0x5a827999fcef3242, 0x62b39508aa836d6e, 0x6ba27e656b4eb57a, 0x75606373ee921c97,
	};
	int power = eighths >> 3; /* arithmetic: rounds down also below zero */

	return (__u64)((unsigned __int128)roots[eighths & 7] * NS_PER_S >> (62 - power));
}

/* Several sorted lists become one without repeats; each slot is told how far each list has come. */
static void tables_init(void)
{
	unsigned exp_at = 0, explicit_at[HIST_BOUNDS_MAX] = { 0 };
	__u64 exp_ns[EXP_BOUNDS];

	for (unsigned k = 0; k < EXP_BOUNDS; k++)
		exp_ns[k] = exp_bound_ns(HIST_EXP_MIN + (int)k);
	for (unsigned slot = 0; slot < HIST_SLOTS; slot++) {
		__u64 next = exp_at < EXP_BOUNDS ? exp_ns[exp_at] : HIST_NO_BOUND;

		for (unsigned set = 0; set < HIST_BOUNDS_MAX; set++) {
			unsigned at = explicit_at[set];

			if (at < explicit_sets[set].count && explicit_sets[set].ns[at] < next)
				next = explicit_sets[set].ns[at];
		}
		tables.threshold[slot] = next;
		tables.exponential[slot] = (__u8)exp_at;
		exp_at += exp_at < EXP_BOUNDS && exp_ns[exp_at] == next;
		for (unsigned set = 0; set < HIST_BOUNDS_MAX; set++) {
			unsigned at = explicit_at[set];

			tables.explicit[set][slot] = (__u8)at;
			explicit_at[set] += at < explicit_sets[set].count && explicit_sets[set].ns[at] == next;
		}
	}
	for (unsigned slot = HIST_SLOTS; slot < HIST_TABLE; slot++)
		tables.threshold[slot] = HIST_NO_BOUND;
	assert(exp_at == EXP_BOUNDS && tables.threshold[HIST_UNBOUNDED] == HIST_NO_BOUND);
	assert(tables.threshold[HIST_UNBOUNDED - 1] != HIST_NO_BOUND);
	for (unsigned set = 0; set < HIST_BOUNDS_MAX; set++)
		assert(explicit_at[set] == explicit_sets[set].count);
}

const __u64 *hist_thresholds(void)
{
	pthread_once(&tables.once, tables_init);
	return tables.threshold;
}

const __u64 *hist_explicit(enum hist_bounds bounds, unsigned *ret_count)
{
	*ret_count = explicit_sets[bounds].count;
	return explicit_sets[bounds].ns;
}

void hist_done(struct hist *h)
{
	free(h->slots);
	*h = (struct hist){ 0 };
}

/* Makes the slots low..high part of what is stored. Grows by at least half, towards the side that asked: latencies
 * that drift cost few reallocations, and a container with one latency costs a few slots. */
static int window_cover(struct hist *h, unsigned low, unsigned high)
{
	unsigned end = h->low + h->stored; /* one behind the last */
	unsigned new_low = low, new_end = high + 1, need, want;
	__u64 *slots;

	if (h->stored) {
		if (low >= h->low && high < end)
			return 0;
		new_low = low < h->low ? low : h->low;
		new_end = high >= end ? high + 1 : end;
		need = new_end - new_low;
		want = h->stored + h->stored / 2;
		if (want > need && low < h->low)
			new_low -= want - need < new_low ? want - need : new_low;
		else if (want > need)
			new_end += want - need;
	}
	if (new_end > HIST_SLOTS)
		new_end = HIST_SLOTS;
	slots = realloc(h->slots, (new_end - new_low) * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	if (!h->stored) {
		memset(slots, 0, (new_end - new_low) * sizeof(*slots));
	} else {
		memmove(slots + (h->low - new_low), slots, h->stored * sizeof(*slots));
		memset(slots, 0, (h->low - new_low) * sizeof(*slots));
		memset(slots + (end - new_low), 0, (new_end - end) * sizeof(*slots));
	}
	h->slots = slots;
	h->low = (__u16)new_low;
	h->stored = (__u16)(new_end - new_low);
	return 0;
}

int hist_add(struct hist *h, __u64 value_ns)
{
	unsigned slot = hist_slot(hist_thresholds(), value_ns);
	int err = window_cover(h, slot, slot);

	if (err)
		return err;
	h->slots[slot - h->low]++;
	h->count++;
	h->sum_ns += value_ns;
	if (value_ns > h->max_ns)
		h->max_ns = value_ns;
	return 0;
}

int hist_add_slots(struct hist *h, const __u32 *slots, __u64 sum_ns, __u64 max_ns)
{
	unsigned low = 0, end = HIST_SLOTS;
	int err;

	while (low < end && !slots[low])
		low++;
	while (end > low && !slots[end - 1])
		end--;
	if (low < end) {
		err = window_cover(h, low, end - 1);
		if (err)
			return err;
	}
	for (unsigned slot = low; slot < end; slot++) {
		h->slots[slot - h->low] += slots[slot];
		h->count += slots[slot];
	}
	h->sum_ns += sum_ns;
	if (max_ns > h->max_ns)
		h->max_ns = max_ns;
	return 0;
}

/* The populated part of what is stored: *ret_low and how many; 0 when empty. */
static unsigned populated(const struct hist *h, unsigned *ret_low)
{
	unsigned first = 0, end = h->stored;

	while (first < end && !h->slots[first])
		first++;
	while (end > first && !h->slots[end - 1])
		end--;
	*ret_low = h->low + first;
	return end - first;
}

int hist_merge(struct hist *to, const struct hist *from)
{
	unsigned low, slots = populated(from, &low);
	int err;

	if (slots) {
		err = window_cover(to, low, low + slots - 1);
		if (err)
			return err;
	}
	for (unsigned i = 0; i < slots; i++)
		to->slots[low + i - to->low] += from->slots[low + i - from->low];
	to->count += from->count;
	to->sum_ns += from->sum_ns;
	if (from->max_ns > to->max_ns)
		to->max_ns = from->max_ns;
	return 0;
}

int hist_copy(struct hist *to, const struct hist *from)
{
	unsigned low, slots = populated(from, &low);
	__u64 *copy = NULL;

	if (slots) {
		copy = malloc(slots * sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, from->slots + (low - from->low), slots * sizeof(*copy));
	}
	free(to->slots);
	*to = *from;
	to->slots = copy;
	to->low = (__u16)(slots ? low : 0);
	to->stored = (__u16)slots;
	return 0;
}

void hist_subtract(struct hist *h, const struct hist *earlier)
{
	for (unsigned i = 0; i < h->stored; i++) {
		__u64 before = hist_slot_count(earlier, h->low + i);

		assert(before <= h->slots[i]);
		h->slots[i] -= before;
	}
	h->count -= earlier->count;
	h->sum_ns -= earlier->sum_ns;
}

__u64 hist_slot_count(const struct hist *h, unsigned slot)
{
	return slot >= h->low && slot - h->low < h->stored ? h->slots[slot - h->low] : 0;
}

double hist_quantile_ns(const struct hist *h, double q)
{
	const __u64 *threshold = hist_thresholds();
	double rank, low, high, before = 0;
	__u64 bound;

	if (!h->count)
		return 0;
	rank = (q > 0 ? q < 1 ? q : 1 : 0) * (double)h->count;
	for (unsigned i = 0; i < h->stored; i++) {
		unsigned slot = h->low + i;

		if (!h->slots[i] || before + (double)h->slots[i] < rank) {
			before += (double)h->slots[i];
			continue;
		}
		low = slot ? (double)threshold[slot - 1] : 0;
		/* The greatest value is known exactly (0: not known), so no quantile lies above it. */
		bound = threshold[slot];
		if (h->max_ns && h->max_ns < bound)
			bound = h->max_ns;
		high = slot == HIST_UNBOUNDED && !h->max_ns ? low : (double)bound;
		if (high < low)
			return high;
		return low + (high - low) * (rank - before) / (double)h->slots[i];
	}
	return (double)h->max_ns; /* only rounding of the rank comes here */
}

void hist_explicit_counts(const struct hist *h, enum hist_bounds bounds, __u64 *ret_counts)
{
	hist_thresholds();
	memset(ret_counts, 0, (explicit_sets[bounds].count + 1) * sizeof(*ret_counts));
	for (unsigned i = 0; i < h->stored; i++)
		ret_counts[tables.explicit[bounds][h->low + i]] += h->slots[i];
}

unsigned hist_exponential(const struct hist *h, __s32 *ret_offset, __u64 *ret_zero, __u64 *ret_counts)
{
	unsigned first = 0, count = 0;
	__u64 zero = 0;

	hist_thresholds();
	for (unsigned i = 0; i < h->stored; i++) {
		unsigned bucket = tables.exponential[h->low + i];

		if (!h->slots[i])
			continue;
		if (!bucket) {
			zero += h->slots[i];
			continue;
		}
		if (!count)
			first = bucket;
		while (count <= bucket - first)
			ret_counts[count++] = 0;
		ret_counts[bucket - first] += h->slots[i];
	}
	*ret_zero = zero;
	*ret_offset = count ? HIST_EXP_MIN + (int)first - 1 : 0;
	return count;
}
