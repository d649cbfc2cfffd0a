/* Clocks and how they are shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "base/time.h"

static void now_is_the_monotonic_clock(void **state)
{
	struct timespec ts;
	__u64 before, now, after;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	before = (__u64)ts.tv_sec * NS_PER_S + (__u64)ts.tv_nsec;
	now = time_now_ns();
	clock_gettime(CLOCK_MONOTONIC, &ts);
	after = (__u64)ts.tv_sec * NS_PER_S + (__u64)ts.tv_nsec;
	assert_true(before <= now && now <= after);
}

static void offset_leads_to_the_wall_clock(void **state)
{
	struct timespec ts;
	__s64 error;

	clock_gettime(CLOCK_REALTIME, &ts);
	error = (__s64)time_now_ns() + time_wall_offset_ns() - ((__s64)ts.tv_sec * (__s64)NS_PER_S + ts.tv_nsec);
	assert_true(llabs(error) < (__s64)NS_PER_S);
}

static void utc_is_written_as_rfc3339(void **state)
{
	char text[TIME_ROOM];

	assert_string_equal(time_format_utc(0, text), "1970-01-01T00:00:00.000000000Z");
	/* date -u -d @1709210096 : a leap day */
	assert_string_equal(time_format_utc(1709210096000000007, text), "2024-02-29T12:34:56.000000007Z");
	assert_string_equal(time_format_utc(~0ull, text), "2554-07-21T23:34:33.709551615Z");
}

static void clock_is_local_time(void **state)
{
	char text[TIME_ROOM];

	setenv("TZ", "UTC-2", 1); /* POSIX writes east of Greenwich with a minus */
	tzset();
	assert_string_equal(time_format_clock(1709210096789999999, text), "14:34:56.789");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(now_is_the_monotonic_clock),
		cmocka_unit_test(offset_leads_to_the_wall_clock),
		cmocka_unit_test(utc_is_written_as_rfc3339),
		cmocka_unit_test(clock_is_local_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
