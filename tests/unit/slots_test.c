#include "model/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void differences_are_what_is_new(void **state)
{
	__u32 now[HIST_SLOTS] = { [3] = 2, [90] = 1 }, new[HIST_SLOTS];
	struct slots s = { .sum = 0 };

	assert_int_equal(slots_take(&s, now, new), 3);
	assert_int_equal(new[3], 2);
	assert_int_equal(new[90], 1);
	assert_int_equal(slots_take(&s, now, new), 0);
	now[3]++;
	now[0] = 5;
	now[HIST_SLOTS - 1] = 7;
	assert_int_equal(slots_take(&s, now, new), 13);
	assert_int_equal(new[0], 5);
	assert_int_equal(new[3], 1);
	assert_int_equal(new[90], 0);
	assert_int_equal(new[HIST_SLOTS - 1], 7);
	assert_int_equal(s.sum, 16);
	slots_done(&s);
}

static void a_counter_that_wraps_is_no_jump(void **state)
{
	__u32 now[HIST_SLOTS] = { [8] = UINT32_MAX }, new[HIST_SLOTS];
	struct slots s = { .sum = 0 };

	assert_int_equal(slots_take(&s, now, new), UINT32_MAX);
	now[8] += 3;
	assert_int_equal(slots_take(&s, now, new), 3);
	slots_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(differences_are_what_is_new),
		cmocka_unit_test(a_counter_that_wraps_is_no_jump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
