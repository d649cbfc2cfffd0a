/* Histograms: exact bounds, exact counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/hist.h"

#define SECOND 1000000000ull

/* Whole numbers of 640 bits, least limb first: what the definition of a boundary needs to be checked exactly. */
#define LIMBS 20

struct big {
	uint32_t limb[LIMBS];
};

static struct big big_of(uint64_t value)
{
	return (struct big){ .limb = { (uint32_t)value, (uint32_t)(value >> 32) } };
}

static struct big big_mul(struct big a, uint64_t by)
{
	unsigned __int128 carry = 0;

	for (int i = 0; i < LIMBS; i++) {
		carry += (unsigned __int128)a.limb[i] * by;
		a.limb[i] = (uint32_t)carry;
		carry >>= 32;
	}
	assert_true(carry == 0); /* otherwise 640 bits were not enough */
	return a;
}

static int big_cmp(const struct big *a, const struct big *b)
{
	for (int i = LIMBS - 1; i >= 0; i--)
		if (a->limb[i] != b->limb[i])
			return a->limb[i] < b->limb[i] ? -1 : 1;
	return 0;
}

/* @value <= 2^(eighths/8) * 10^9, raised to the eighth power and cleared of fractions */
static bool at_most_bound(uint64_t value, int eighths)
{
	struct big left = big_of(1), right = big_of(1);

	for (int i = 0; i < 8; i++) {
		left = big_mul(left, value);
		right = big_mul(right, SECOND);
	}
	for (int i = 0; i < -eighths; i++)
		left = big_mul(left, 2);
	for (int i = 0; i < eighths; i++)
		right = big_mul(right, 2);
	return big_cmp(&left, &right) <= 0;
}

static bool is_threshold(uint64_t value)
{
	for (unsigned slot = 0; slot < HIST_SLOTS - 1; slot++)
		if (hist_thresholds()[slot] == value)
			return true;
	return false;
}

static bool is_explicit(uint64_t value)
{
	for (unsigned set = 0; set < HIST_BOUNDS_MAX; set++) {
		unsigned count;
		const __u64 *bounds = hist_explicit(set, &count);

		for (unsigned i = 0; i < count; i++)
			if (bounds[i] == value)
				return true;
	}
	return false;
}

/* Each threshold that is no explicit boundary is floor(2^(k/8) * 10^9) for the next k; with the explicit ones, and
 * the three that are both, that makes all of them. */
static void thresholds_meet_their_definition_exactly(void **state)
{
	const __u64 *threshold = hist_thresholds();
	int k = HIST_EXP_MIN;
	unsigned explicit_seen = 0, shared = 0;

	for (unsigned slot = 0; slot < HIST_SLOTS - 1; slot++) {
		bool exponential = k <= HIST_EXP_MAX + 1 && at_most_bound(threshold[slot], k) &&
				   !at_most_bound(threshold[slot] + 1, k);

		if (slot)
			assert_true(threshold[slot] > threshold[slot - 1]);
		assert_true(exponential || is_explicit(threshold[slot]));
		k += exponential;
		explicit_seen += is_explicit(threshold[slot]);
		shared += exponential && is_explicit(threshold[slot]);
	}
	assert_int_equal(k, HIST_EXP_MAX + 2); /* none left out */
	assert_int_equal(explicit_seen, HIST_EXPLICIT_COUNT);
	assert_int_equal(shared, HIST_SHARED_COUNT);
	assert_int_equal(HIST_SLOTS - 1, 193 + 14 + 8 - 3); /* exponential, request, short below 5 ms, shared */
	for (unsigned slot = HIST_SLOTS - 1; slot < HIST_TABLE; slot++)
		assert_true(threshold[slot] == HIST_NO_BOUND);
}

/* Computed elsewhere, with other tools. */
static void thresholds_contain_known_vectors(void **state)
{
	static const uint64_t known[] = {
		102648, 976562, 1064948, 500000000, 1000000000, 1090507732, 2000000000, 10374716437, 107634741152,
	};
	static const struct {
		unsigned count;
		double s[16];
	} sets[HIST_BOUNDS_MAX] = {
		{ 14, { 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10 } },
		{ 16,
		  { 10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
		    1 } },
		{ 4, { 0.01, 0.1, 1, 10 } },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		assert_true(is_threshold(known[i]));
	for (unsigned set = 0; set < HIST_BOUNDS_MAX; set++) {
		unsigned count = 0;
		const __u64 *bounds = hist_explicit(set, &count);

		assert_int_equal(count, sets[set].count);
		for (unsigned i = 0; i < count; i++) {
			assert_int_equal(bounds[i], (uint64_t)llround(sets[set].s[i] * 1e9));
			assert_true(is_threshold(bounds[i]));
		}
	}
	assert_int_equal(hist_thresholds()[0], 7629); /* floor(10^9 / 2^17) */
	assert_int_equal(hist_thresholds()[HIST_SLOTS - 2], 128 * SECOND);
}

static void slot_is_the_first_whose_bound_is_not_below(void **state)
{
	const __u64 *threshold = hist_thresholds();

	for (unsigned slot = 0; slot < HIST_SLOTS - 1; slot++) {
		assert_int_equal(hist_slot(threshold, threshold[slot]), slot);
		assert_int_equal(hist_slot(threshold, threshold[slot] + 1), slot + 1);
	}
	assert_int_equal(hist_slot(threshold, 0), 0);
	assert_int_equal(hist_slot(threshold, ~0ull), HIST_SLOTS - 1);
	assert_int_equal(hist_slot(threshold, ~0ull - 1), HIST_SLOTS - 1);
}

/* Index of a value in the exponential histogram, from the tables of the format's description. */
static void exponential_has_the_index_of_each_value(void **state)
{
	static const struct {
		uint64_t value_ns;
		int index;
	} rows[] = {
		{ 10000, -133 },      { 100000, -107 },		{ 1000000, -80 },      { SECOND, -1 },
		{ SECOND + 1, 0 },    { 10 * SECOND, 26 },	{ 100 * SECOND, 53 },  { 976562, -81 },
		{ 976563, -80 },      { 500000000, -9 },	{ 500000001, -8 },     { 2 * SECOND, 7 },
		{ 128 * SECOND, 55 }, { 128 * SECOND + 1, 56 }, { 3600 * SECOND, 56 }, { 7630, -136 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		__u64 counts[HIST_EXP_COUNT + 1] = { 0 }, zero = 1;
		struct hist h = { 0 };
		__s32 offset = 4711;

		assert_int_equal(hist_add(&h, rows[i].value_ns), 0);
		assert_int_equal(hist_exponential(&h, &offset, &zero, counts), 1);
		assert_int_equal(offset, rows[i].index);
		assert_int_equal(zero, 0);
		assert_int_equal(counts[0], 1);
		hist_done(&h);
	}
}

static void exponential_of_tiny_values_is_zero_count(void **state)
{
	__u64 counts[HIST_EXP_COUNT + 1], zero = 0;
	struct hist h = { 0 };
	__s32 offset;

	assert_int_equal(hist_exponential(&h, &offset, &zero, counts), 0);
	assert_int_equal(zero, 0);
	hist_add(&h, 0);
	hist_add(&h, 7629);
	assert_int_equal(hist_exponential(&h, &offset, &zero, counts), 0);
	assert_int_equal(zero, 2);
	hist_done(&h);
}

static uint64_t random_ns(void)
{
	return ((uint64_t)rand() << 20 ^ (uint64_t)rand()) >> (rand() % 45);
}

/* All histograms of the same values, against counting each value by itself. */
static void all_histograms_agree_with_counting(void **state)
{
	__u64 explicit_want[HIST_BOUNDS_MAX][HIST_EXPLICIT_MAX + 1] = { 0 };
	__u64 exponential_want[HIST_EXP_COUNT + 1] = { 0 }, exponential_got[HIST_EXP_COUNT + 1];
	__u64 zero_want = 0, zero_got, sum = 0, max = 0;
	struct hist h = { 0 };
	__s32 offset;
	unsigned used;

	srand(2);
	for (int i = 0; i < 20000; i++) {
		uint64_t value = random_ns();
		int k = HIST_EXP_MIN;

		assert_int_equal(hist_add(&h, value), 0);
		sum += value;
		max = value > max ? value : max;
		for (unsigned set = 0; set < HIST_BOUNDS_MAX; set++) {
			unsigned bucket = 0, bounds;

			while (hist_explicit(set, &bounds)[bucket] < value && ++bucket < bounds)
				;
			explicit_want[set][bucket]++;
		}
		if (i % 20)
			continue; /* the exact way is slow: those are compared below with a histogram of their own */
		while (k <= HIST_EXP_MAX + 1 && !at_most_bound(value, k))
			k++;
		if (k == HIST_EXP_MIN)
			zero_want++;
		else
			exponential_want[k - HIST_EXP_MIN - 1]++;
	}
	assert_int_equal(h.count, 20000);
	assert_int_equal(h.sum_ns, sum);
	assert_int_equal(h.max_ns, max);
	for (unsigned set = 0; set < HIST_BOUNDS_MAX; set++) {
		__u64 explicit_got[HIST_EXPLICIT_MAX + 1] = { 0 };

		hist_explicit_counts(&h, set, explicit_got);
		assert_memory_equal(explicit_got, explicit_want[set], sizeof(explicit_got));
	}
	hist_done(&h);

	srand(2);
	for (int i = 0; i < 20000; i++) {
		uint64_t value = random_ns();

		if (i % 20 == 0)
			hist_add(&h, value);
	}
	memset(exponential_got, 0xff, sizeof(exponential_got));
	used = hist_exponential(&h, &offset, &zero_got, exponential_got);
	assert_int_equal(zero_got, zero_want);
	assert_true(used > 100 && exponential_got[0] && exponential_got[used - 1]);
	for (int i = 0; i < HIST_EXP_COUNT + 1; i++) {
		int at = HIST_EXP_MIN + i - offset;

		assert_int_equal(exponential_want[i], at >= 0 && at < (int)used ? exponential_got[at] : 0);
	}
	hist_done(&h);
}

/* What is stored against an array of all slots. */
static void stored_window_counts_like_a_full_array(void **state)
{
	srand(3);
	for (int round = 0; round < 300; round++) {
		__u64 want[HIST_SLOTS] = { 0 }, total = 0;
		struct hist h = { 0 }, copy = { 0 }, sum = { 0 };
		__u32 slots[HIST_SLOTS];

		for (int step = 0; step < 20; step++) {
			memset(slots, 0, sizeof(slots));
			for (int n = rand() % 4; n > 0; n--) {
				unsigned slot = (unsigned)rand() % HIST_SLOTS;

				slots[slot] = (__u32)rand();
			}
			for (unsigned slot = 0; slot < HIST_SLOTS; slot++) {
				want[slot] += slots[slot];
				total += slots[slot];
			}
			assert_int_equal(hist_add_slots(&h, slots, 5, (__u64)step), 0);
			if (step == 9)
				assert_int_equal(hist_copy(&copy, &h), 0);
		}
		assert_int_equal(h.count, total);
		assert_int_equal(h.sum_ns, 100);
		assert_int_equal(h.max_ns, 19);
		for (unsigned slot = 0; slot < HIST_SLOTS; slot++)
			assert_int_equal(hist_slot_count(&h, slot), want[slot]);
		assert_int_equal(hist_slot_count(&h, HIST_SLOTS), 0);

		/* (h - copy) + copy = h, slot by slot */
		assert_int_equal(hist_copy(&sum, &h), 0);
		hist_subtract(&sum, &copy);
		assert_int_equal(sum.count, h.count - copy.count);
		assert_int_equal(sum.sum_ns, 50);
		assert_int_equal(hist_merge(&sum, &copy), 0);
		assert_int_equal(sum.count, h.count);
		assert_int_equal(sum.sum_ns, h.sum_ns);
		for (unsigned slot = 0; slot < HIST_SLOTS; slot++)
			assert_int_equal(hist_slot_count(&sum, slot), want[slot]);
		hist_done(&h);
		hist_done(&copy);
		hist_done(&sum);
	}
}

static void merge_into_empty_and_from_empty_change_nothing_else(void **state)
{
	struct hist a = { 0 }, b = { 0 };

	assert_int_equal(hist_merge(&a, &b), 0);
	assert_int_equal(a.count, 0);
	hist_add(&b, 1000000);
	assert_int_equal(hist_merge(&a, &b), 0);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.max_ns, 1000000);
	hist_done(&b);
	assert_int_equal(hist_merge(&a, &b), 0);
	assert_int_equal(a.count, 1);
	assert_int_equal(hist_copy(&a, &b), 0);
	assert_int_equal(a.count, 0);
	assert_null(a.slots);
	hist_done(&a);
}

static void one_latency_costs_few_bytes(void **state)
{
	struct hist h = { 0 }, copy = { 0 };

	for (int i = 0; i < 1000; i++)
		hist_add(&h, 1100000 + (unsigned)i);
	assert_int_equal(h.stored, 1);
	hist_add(&h, 550000);
	hist_add(&h, 2200000);
	assert_in_range(h.stored, 18, 36);
	hist_copy(&copy, &h);
	assert_int_equal(copy.stored, 18); /* trimmed: two powers of two, with both ends, and the bound of 1 ms */
	hist_done(&h);
	hist_done(&copy);
}

static void quantile_of_nothing_is_zero(void **state)
{
	struct hist h = { 0 };

	assert_true(hist_quantile_ns(&h, 0.5) == 0);
}

static void quantile_never_exceeds_the_maximum(void **state)
{
	struct hist h = { 0 };

	hist_add(&h, 1000001);
	for (int q = 0; q <= 10; q++) {
		double value = hist_quantile_ns(&h, q / 10.);

		assert_true(value <= 1000001 && value >= 1000001 / 1.0906);
	}
	hist_done(&h);
	hist_add(&h, 5000 * SECOND); /* beyond the last bound */
	assert_true(hist_quantile_ns(&h, 1) == 5000. * SECOND);
	assert_true(hist_quantile_ns(&h, 2) == 5000. * SECOND);
	assert_true(hist_quantile_ns(&h, NAN) >= 0);
	hist_done(&h);
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void quantile_lies_in_the_slot_of_the_true_one(void **state)
{
	static uint64_t values[5000];
	struct hist h = { 0 };

	srand(4);
	for (int i = 0; i < 5000; i++) {
		values[i] = 10000 + random_ns() % (100 * SECOND);
		hist_add(&h, values[i]);
	}
	qsort(values, 5000, sizeof(values[0]), compare_u64);
	for (int i = 1; i < 5000; i++) {
		double got = hist_quantile_ns(&h, i / 5000.);
		double want = (double)values[i - 1];

		assert_true(got >= want / 1.0906 && got <= want * 1.0906);
	}
	hist_done(&h);
}

static void quantile_interpolates_inside_the_slot(void **state)
{
	__u32 slots[HIST_SLOTS] = { 0 };
	struct hist h = { 0 };
	unsigned slot = hist_slot(hist_thresholds(), SECOND);
	double low = (double)hist_thresholds()[slot - 1];

	slots[slot] = 4;
	hist_add_slots(&h, slots, 4 * SECOND, 0); /* greatest value not known */
	assert_true(hist_quantile_ns(&h, 0.5) == low + (1e9 - low) / 2);
	assert_true(hist_quantile_ns(&h, 1) == 1e9);
	slots[slot] = 0;
	slots[0] = 4;
	hist_done(&h);
	hist_add_slots(&h, slots, 0, 0);
	assert_true(hist_quantile_ns(&h, 0.5) == 7629 / 2.);
	slots[HIST_SLOTS - 1] = 100;
	hist_add_slots(&h, slots, 0, 0);
	assert_true(hist_quantile_ns(&h, 0.99) == 128. * SECOND); /* no bound and no maximum: its lower end */
	hist_done(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thresholds_meet_their_definition_exactly),
		cmocka_unit_test(thresholds_contain_known_vectors),
		cmocka_unit_test(slot_is_the_first_whose_bound_is_not_below),
		cmocka_unit_test(exponential_has_the_index_of_each_value),
		cmocka_unit_test(exponential_of_tiny_values_is_zero_count),
		cmocka_unit_test(all_histograms_agree_with_counting),
		cmocka_unit_test(stored_window_counts_like_a_full_array),
		cmocka_unit_test(merge_into_empty_and_from_empty_change_nothing_else),
		cmocka_unit_test(one_latency_costs_few_bytes),
		cmocka_unit_test(quantile_of_nothing_is_zero),
		cmocka_unit_test(quantile_never_exceeds_the_maximum),
		cmocka_unit_test(quantile_lies_in_the_slot_of_the_true_one),
		cmocka_unit_test(quantile_interpolates_inside_the_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
