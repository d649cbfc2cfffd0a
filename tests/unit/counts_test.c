/* The conservation law as trace tells it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "cmd/counts.h"
#include "model/selfstat.h"
#include "view_fake.h"

static void says(const struct conservation *counts, bool settled, const char *want)
{
	struct buf out;

	buf_init(&out, 4096);
	counts_print(counts, settled, &out);
	assert_string_equal(out.data, want);
	buf_done(&out);
}

static void sums_are_told(void **state)
{
	struct conservation counts = { .seen = 412, .delivered = 380, .filtered = 30 };

	counts.lost[LOSS_RING] = 1;
	counts.lost[LOSS_REORDER] = 1;
	assert_true(counts_hold(&counts));
	says(&counts, true, "seen 412 = delivered 380 + filtered 30 + lost 2 (ring 1, reorder 1)");
	says(&counts, false, "seen 412 = delivered 380 + filtered 30 + lost 2 (ring 1, reorder 1)");
}

static void what_does_not_add_up_is_told(void **state)
{
	static const struct conservation short_of = { .seen = 12, .delivered = 10 };
	static const struct conservation too_many = { .seen = 10, .delivered = 12 };

	assert_false(counts_hold(&short_of));
	says(&short_of, true, "seen 12 IS NOT delivered 10 + filtered 0 + lost 0");
	says(&short_of, false, "seen 12 = delivered 10 + filtered 0 + lost 0 + 2 on their way");
	says(&too_many, false, "seen 10 IS NOT delivered 12 + filtered 0 + lost 0");
}

static void what_was_on_its_way_at_the_beginning_belongs_there(void **state)
{
	const struct conservation before = { .seen = 110, .delivered = 90, .filtered = 5 };
	struct conservation counts = { .seen = 150, .delivered = 143, .filtered = 7 };

	counts_subtract(&counts, &before); /* 15 were on their way: 53 - 15 of the 40 that came */
	says(&counts, false, "seen 40 = delivered 38 + filtered 2 + lost 0");
}

static void total(struct fake *fake, enum selfstat_id id, const char *signal, const char *reason, __u64 value)
{
	struct point *point = fake_point(fake, &selfstat_metrics[id], NULL, 0);

	fake_attr(point, "signal", signal);
	if (reason)
		fake_attr(point, "reason", reason);
	point->sum = value;
}

static void counts_come_from_the_agents_metrics(void **state)
{
	struct conservation counts, before = { .seen = 100, .delivered = 90, .filtered = 5 };
	struct fake snap;

	before.lost[LOSS_STEPS] = 5;
	fake_init(&snap, 1);
	total(&snap, SELFSTAT_signal_seen, "http", NULL, 112);
	total(&snap, SELFSTAT_signal_seen, "other", NULL, 9999);
	total(&snap, SELFSTAT_signal_delivered, "http", NULL, 97);
	total(&snap, SELFSTAT_signal_filtered, "http", NULL, 6);
	for (unsigned i = 0; i < LOSS_MAX; i++)
		total(&snap, SELFSTAT_signal_lost, "http", loss_reason_name(i), i == LOSS_STEPS ? 9 : 0);
	counts_from_snapshot(&snap.snap, "http", &counts);
	assert_int_equal(counts.seen, 112);
	assert_int_equal(counts_lost(&counts), 9);
	counts_subtract(&counts, &before);
	says(&counts, true, "seen 12 = delivered 7 + filtered 1 + lost 4 (steps 4)");
	fake_done(&snap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_told),
		cmocka_unit_test(what_does_not_add_up_is_told),
		cmocka_unit_test(what_was_on_its_way_at_the_beginning_belongs_there),
		cmocka_unit_test(counts_come_from_the_agents_metrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
