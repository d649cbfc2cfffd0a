/* Buffers: bounded, always a string, first failure sticks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void assert_string(const struct buf *b)
{
	assert_int_equal(strlen(b->data), b->used);
}

static void buf_is_a_string_from_the_start(void **state)
{
	struct buf b;

	buf_init(&b, 100);
	assert_string_equal(b.data, "");
	assert_int_equal(b.cap, 0);
	buf_done(&b);
	assert_string_equal(b.data, "");
}

static void buf_keeps_what_is_added(void **state)
{
	struct buf b;

	buf_init(&b, 100000);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(buf_printf(&b, "%d,", i), 0);
		assert_string(&b);
	}
	assert_int_equal(b.used, 10 * 2 + 90 * 3 + 900 * 4);
	assert_int_equal(strncmp(b.data, "0,1,2,3,", 8), 0);
	assert_string_equal(b.data + b.used - 8, "998,999,");
	buf_done(&b);
}

static void buf_holds_exactly_its_maximum(void **state)
{
	/* around the first allocation, and around a doubling */
	static const size_t sizes[] = { 0, 1, 2, 255, 256, 257, 511, 512, 513, 1000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf b;

		buf_init(&b, sizes[i]);
		for (size_t n = 0; n < sizes[i]; n++)
			assert_int_equal(buf_add_char(&b, 'x'), 0);
		assert_int_equal(b.used, sizes[i]);
		assert_string(&b);
		assert_int_equal(buf_add_char(&b, 'x'), -ENOBUFS);
		assert_int_equal(b.used, sizes[i]);
		assert_string(&b);
		buf_done(&b);
	}
}

static void buf_adds_whole_or_not_at_all(void **state)
{
	struct buf b;

	buf_init(&b, 10);
	assert_int_equal(buf_add_str(&b, "12345"), 0);
	assert_int_equal(buf_printf(&b, "%s", "678901"), -ENOBUFS);
	assert_string_equal(b.data, "12345");
	buf_done(&b);

	/* the same when the memory is there and only the maximum is not */
	buf_init(&b, 300);
	assert_int_equal(buf_add_repeat(&b, 'a', 290), 0);
	assert_int_equal(buf_printf(&b, "%s", "12345678901"), -ENOBUFS);
	assert_int_equal(b.used, 290);
	assert_string(&b);
	buf_done(&b);
}

static void buf_error_sticks_until_reset(void **state)
{
	struct buf b;

	buf_init(&b, 3);
	assert_int_equal(buf_add_str(&b, "1234"), -ENOBUFS);
	assert_int_equal(buf_add_str(&b, "1"), -ENOBUFS);
	assert_int_equal(buf_printf(&b, "1"), -ENOBUFS);
	assert_null(buf_take(&b));
	buf_reset(&b);
	assert_int_equal(buf_add_str(&b, "123"), 0);
	assert_string_equal(b.data, "123");
	buf_done(&b);
}

static void buf_does_not_overflow_on_huge_sizes(void **state)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	assert_int_equal(buf_add_str(&b, "x"), 0);
	assert_int_equal(buf_reserve(&b, SIZE_MAX - 1), -ENOBUFS);
	buf_done(&b);
}

static void buf_consume_keeps_the_rest(void **state)
{
	struct buf b;

	buf_init(&b, 100);
	buf_add_str(&b, "hello world");
	buf_consume(&b, 6);
	assert_string_equal(b.data, "world");
	buf_consume(&b, 99);
	assert_string_equal(b.data, "");
	buf_consume(&b, 1);
	buf_done(&b);
}

static void buf_take_gives_the_memory_away(void **state)
{
	struct buf b;
	char *text;

	buf_init(&b, 100);
	text = buf_take(&b);
	assert_string_equal(text, "");
	free(text);
	buf_add_str(&b, "abc");
	text = buf_take(&b);
	assert_string_equal(text, "abc");
	assert_string_equal(b.data, "");
	free(text);
	buf_done(&b);
}

static void buf_reserve_lets_the_caller_write(void **state)
{
	struct buf b;

	buf_init(&b, 100);
	assert_int_equal(buf_reserve(&b, 3), 0);
	memcpy(b.data + b.used, "xyz", 3);
	buf_commit(&b, 2);
	assert_string_equal(b.data, "xy");
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf_is_a_string_from_the_start),
		cmocka_unit_test(buf_keeps_what_is_added),
		cmocka_unit_test(buf_holds_exactly_its_maximum),
		cmocka_unit_test(buf_adds_whole_or_not_at_all),
		cmocka_unit_test(buf_error_sticks_until_reset),
		cmocka_unit_test(buf_does_not_overflow_on_huge_sizes),
		cmocka_unit_test(buf_consume_keeps_the_rest),
		cmocka_unit_test(buf_take_gives_the_memory_away),
		cmocka_unit_test(buf_reserve_lets_the_caller_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
