/* The stopped-time clock as the kernel half reads it (bpf/lib/clock.h). The writer below does what bpf/jvm.h says. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/clock.h"

static void clock_change(struct jvm_clock *c)
{
	__atomic_fetch_add(&c->seq, 1, __ATOMIC_SEQ_CST);
}

static void pause_begins(struct jvm_clock *c, __u64 now_ns)
{
	clock_change(c);
	*(volatile __u64 *)&c->open_ns = now_ns;
	clock_change(c);
}

static void pause_ends(struct jvm_clock *c, __u64 now_ns)
{
	volatile struct jvm_clock *to = c;

	clock_change(c);
	to->last[to->count % JVM_PAUSES].begin_ns = to->open_ns;
	to->last[to->count % JVM_PAUSES].end_ns = now_ns;
	to->count++;
	to->stopped_ns += now_ns - to->open_ns;
	to->open_ns = 0;
	clock_change(c);
}

static void pauses(struct jvm_clock *c, unsigned count, __u64 first_ns, __u64 every_ns, __u64 length_ns)
{
	for (unsigned i = 0; i < count; i++) {
		pause_begins(c, first_ns + i * every_ns);
		pause_ends(c, first_ns + i * every_ns + length_ns);
	}
}

/* Pauses 1000..1100, 2000..2300, 3000..3500; 4000 goes on. */
static void example(struct jvm_clock *c)
{
	*c = (struct jvm_clock){ .seq = 0 };
	for (__u64 i = 1; i <= 3; i++) {
		pause_begins(c, i * 1000);
		pause_ends(c, i * 1000 + 100 + (i - 1) * 200);
	}
	pause_begins(c, 4000);
}

static void value_at_any_time(void **state)
{
	static const struct {
		__u64 at_ns, want;
	} cases[] = {
		{ 4100, 1000 }, { 4001, 901 }, { 4000, 900 },  { 3700, 900 },
		{ 3500, 900 },	{ 3499, 899 }, { 3000, 400 },  { 2500, 400 },
		{ 2001, 101 },	{ 1500, 100 }, { 1050, 50 },   { 1000, 0 },
		{ 1, 0 },	{ 0, 0 },      { 5000, 1900 }, { 1ull << 62, (1ull << 62) - 3100 },
	};
	struct jvm_clock c;

	example(&c);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(clock_at(&c, cases[i].at_ns), cases[i].want);
}

static void overlap_with_what_is_kept(void **state)
{
	static const struct {
		__u64 start_ns, end_ns, want;
	} cases[] = {
		{ 0, 900, 0 },	     /* before */
		{ 1100, 2000, 0 },   /* between, edge to edge */
		{ 1010, 1050, 40 },  /* inside of one */
		{ 1000, 1100, 100 }, /* just one */
		{ 500, 1500, 100 },  /* around one */
		{ 1050, 2100, 150 }, /* the end of one, the beginning of the next */
		{ 0, 3600, 900 },    /* all */
		{ 3600, 3999, 0 },   /* after, before the open one */
		{ 3600, 4200, 200 }, /* begins running, ends in the open one */
		{ 4100, 4200, 100 }, /* inside of the open one */
		{ 3400, 4001, 101 }, { 4100, 4100, 0 },
	};
	struct jvm_clock c;

	example(&c);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		__u64 base_ns = clock_at(&c, cases[i].start_ns);

		assert_int_equal(clock_within(&c, cases[i].start_ns, cases[i].end_ns), cases[i].want);
		assert_int_equal(clock_stopped(&c, CLOCK_UNKNOWN, cases[i].start_ns, cases[i].end_ns), cases[i].want);
		assert_int_equal(clock_stopped(&c, base_ns, cases[i].start_ns, cases[i].end_ns), cases[i].want);
	}
}

/* 23 pauses of 3 within 1000..1230: the difference knows of all, what is kept are the last 8. */
static void difference_is_exact_where_pauses_are_forgotten(void **state)
{
	struct jvm_clock c = { .seq = 0 };
	__u64 base_ns;

	pauses(&c, 5, 100, 10, 7);
	base_ns = clock_at(&c, 1000);
	assert_int_equal(base_ns, 5 * 7);
	pauses(&c, 23, 1000, 10, 3);
	assert_int_equal(c.count, 28);
	assert_int_equal(clock_stopped(&c, base_ns, 1000, 2000), 23 * 3);
	assert_int_equal(clock_stopped(&c, CLOCK_UNKNOWN, 1000, 2000), 8 * 3);
	assert_int_equal(clock_stopped(&c, CLOCK_UNKNOWN, 0, 2000), 8 * 3);
	/* Ended long ago, and up to 8 pauses since are taken away again: 17 of them had begun and ended before. */
	assert_int_equal(clock_stopped(&c, base_ns, 1000, 1000 + 15 * 10 + 5), 16 * 3);
}

static void count_that_wraps_keeps_its_order(void **state)
{
	struct jvm_clock c = { .count = UINT32_MAX - 3 };

	pauses(&c, 11, 1000, 100, 10);
	assert_int_equal(c.count, 7);
	assert_int_equal(clock_at(&c, 5000), 110);
	assert_int_equal(clock_at(&c, 2005), 105); /* the newest, 2000..2010, is found */
	assert_int_equal(clock_within(&c, 1000, 5000), 80);
}

static void never_more_than_the_duration(void **state)
{
	struct jvm_clock c = { .stopped_ns = 1 << 20 };

	/* The base is of an earlier time than is said: as when the segment was kept, and more than 8 pauses were since. */
	assert_int_equal(clock_stopped(&c, 0, 1000, 1100), 100);
	assert_int_equal(clock_stopped(&c, 0, 1000, 1000), 0);
}

static void clock_that_began_anew_is_no_difference(void **state)
{
	struct jvm_clock c = { .seq = 0 };

	pauses(&c, 2, 1000, 100, 10);
	assert_int_equal(clock_stopped(&c, /* of an earlier process */ 5000, 1050, 1500), 10);
}

static void what_is_being_written_is_unknown(void **state)
{
	struct jvm_clock c;

	example(&c);
	c.seq++;
	assert_int_equal(clock_at(&c, 4100), CLOCK_UNKNOWN);
	assert_int_equal(clock_within(&c, 0, 4100), CLOCK_UNKNOWN);
	assert_int_equal(clock_stopped(&c, 0, 0, 4100), 0);
	assert_int_equal(clock_stopped(&c, CLOCK_UNKNOWN, 0, 4100), 0);
	c.seq++;
	assert_int_equal(clock_at(&c, 4100), 1000);
}

static void clock_without_a_pause_shows_nothing(void **state)
{
	struct jvm_clock c = { .seq = 0 };

	assert_int_equal(clock_at(&c, 0), 0);
	assert_int_equal(clock_at(&c, 1000), 0);
	assert_int_equal(clock_stopped(&c, 0, 0, 1000), 0);
	assert_int_equal(clock_stopped(&c, CLOCK_UNKNOWN, 0, 1000), 0);
	pause_begins(&c, 500); /* the first one, and it goes on */
	assert_int_equal(clock_stopped(&c, 0, 0, 1000), 500);
	assert_int_equal(clock_stopped(&c, CLOCK_UNKNOWN, 0, 1000), 500);
}

struct race {
	struct jvm_clock clock;
	bool stop;
};

/* Pause i: i * 1000 .. i * 1000 + 10, from 1 on. */
static void *race_write(void *arg)
{
	struct race *r = arg;

	for (__u64 i = 1; !__atomic_load_n(&r->stop, __ATOMIC_RELAXED); i++) {
		pause_begins(&r->clock, i * 1000);
		pause_ends(&r->clock, i * 1000 + 10);
	}
	return NULL;
}

/* Far in the future the value is 10 a pause, or, with one open since i * 1000, 10 for each before it and the rest since:
 * both tell which pause it was, and nothing in between is ever seen. */
static void reader_sees_no_half_of_a_change(void **state)
{
	enum { READS = 200003 };
	const __u64 at_ns = 1ull << 60;
	struct race r = { .stop = false };
	unsigned taken = 0, tries = 0;
	pthread_t writer;
	__u64 before = 0;

	assert_int_equal(0, pthread_create(&writer, NULL, race_write, &r));
	while (taken < READS && tries < 1000 * READS) {
		__u64 value = clock_at(&r.clock, at_ns), ended, within;

		tries++;
		if (value == CLOCK_UNKNOWN)
			continue;
		if (value > at_ns / 2) { /* one is open: value = 10 * (i - 1) + at - 1000 * i */
			assert_int_equal(0, (at_ns - 10 - value) % 990);
			ended = (at_ns - 10 - value) / 990 - 1;
		} else {
			assert_int_equal(0, value % 10);
			ended = value / 10;
		}
		assert_true(ended >= before);
		before = ended;
		taken++;
		within = clock_within(&r.clock, 0, 1ull << 59);
		if (within != CLOCK_UNKNOWN && within < 1ull << 58)
			assert_true(within % 10 == 0 && within <= JVM_PAUSES * 10);
	}
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	pthread_join(writer, NULL);
	assert_int_equal(READS, taken);
	assert_true(before > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(value_at_any_time),
		cmocka_unit_test(overlap_with_what_is_kept),
		cmocka_unit_test(difference_is_exact_where_pauses_are_forgotten),
		cmocka_unit_test(count_that_wraps_keeps_its_order),
		cmocka_unit_test(never_more_than_the_duration),
		cmocka_unit_test(clock_that_began_anew_is_no_difference),
		cmocka_unit_test(what_is_being_written_is_unknown),
		cmocka_unit_test(clock_without_a_pause_shows_nothing),
		cmocka_unit_test(reader_sees_no_half_of_a_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
