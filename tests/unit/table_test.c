/* Tables and bars as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

static void table_aligns_columns(void **state)
{
	static const struct table_column columns[] = {
		{ .title = "NAME" },
		{ .title = "COUNT", .right = true },
		{ .title = "PATH", .width_max = 8 },
	};
	static const char *const rows[][3] = {
		{ "web", "12", "/short" },
		{ "database", "1234567", "/much-too-long" },
		{ "\xe6\x97\xa5\xe6\x9c\xac", "7", NULL },
		{ "", "0", "/exactly" },
	};
	struct table t;
	struct buf out;

	buf_init(&out, 4096);
	table_init(&t, columns, 3);
	for (int i = 0; i < 4; i++)
		assert_int_equal(table_add(&t, rows[i]), 0);
	assert_int_equal(table_print(&t, &out), 0);
	assert_string_equal(out.data, "NAME        COUNT  PATH\n"
				      "web            12  /short\n"
				      "database  1234567  /much-t\xe2\x80\xa6\n"
				      "\xe6\x97\xa5\xe6\x9c\xac            7\n"
				      "                0  /exactly\n");
	table_done(&t);
	buf_done(&out);
}

static void table_without_rows_has_its_titles(void **state)
{
	static const struct table_column columns[] = { { .title = "A", .width_min = 5 }, { .title = "B" } };
	struct table t;
	struct buf out;

	buf_init(&out, 100);
	table_init(&t, columns, 2);
	assert_int_equal(table_print(&t, &out), 0);
	assert_string_equal(out.data, "A      B\n");
	table_done(&t);
	buf_done(&out);
}

static void table_never_cuts_a_title(void **state)
{
	static const struct table_column columns[] = { { .title = "TITLE", .width_max = 2 } };
	static const char *const row[] = { "abcdefgh" };
	struct table t;
	struct buf out;

	buf_init(&out, 100);
	table_init(&t, columns, 1);
	table_add(&t, row);
	table_print(&t, &out);
	assert_string_equal(out.data, "TITLE\nabcd\xe2\x80\xa6\n");
	table_done(&t);
	buf_done(&out);
}

static void table_refuses_a_row_whole(void **state)
{
	static const struct table_column columns[] = { { .title = "A" }, { .title = "B" } };
	char *big = malloc(20u << 20);
	const char *rows[][2] = { { "a", "b" }, { "c", big }, { "d", "e" } };
	struct table t;
	struct buf out;

	memset(big, 'x', (20u << 20) - 1);
	big[(20u << 20) - 1] = '\0';
	buf_init(&out, 1000);
	table_init(&t, columns, 2);
	assert_int_equal(table_add(&t, rows[0]), 0);
	assert_int_equal(table_add(&t, rows[1]), -ENOBUFS);
	assert_int_equal(table_add(&t, rows[2]), 0);
	table_print(&t, &out);
	assert_string_equal(out.data, "A  B\na  b\nd  e\n");
	table_done(&t);
	buf_done(&out);
	free(big);
}

static void bar_is_proportional_and_never_invisible(void **state)
{
	static const struct {
		__u64 value, max;
		unsigned width;
		const char *ascii, *blocks;
	} rows[] = {
		{ 0, 100, 4, "", "" },
		{ 100, 100, 4, "####", "\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88" },
		{ 50, 100, 4, "##", "\xe2\x96\x88\xe2\x96\x88" },
		{ 1, 1000000, 4, "#", "\xe2\x96\x8f" },
		{ 3, 8, 1, "#", "\xe2\x96\x8d" },
		{ 7, 16, 2, "#", "\xe2\x96\x89" },
		{ 200, 100, 2, "##", "\xe2\x96\x88\xe2\x96\x88" },
		{ ~0ull, ~0ull, 2, "##", "\xe2\x96\x88\xe2\x96\x88" },
		{ 5, 0, 2, "", "" },
		{ 5, 10, 0, "", "" },
	};
	struct buf out;

	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&out);
		bar_print(&out, rows[i].value, rows[i].max, rows[i].width, true);
		assert_string_equal(out.data, rows[i].ascii);
		buf_reset(&out);
		bar_print(&out, rows[i].value, rows[i].max, rows[i].width, false);
		assert_string_equal(out.data, rows[i].blocks);
	}
	buf_done(&out);
}

static void bars_leave_out_what_is_empty(void **state)
{
	static const struct bar bars[] = {
		{ 0, 1000, 0 },	      { 1000, 2000, 4 },     { 2000, 4000, 0 },	  { 4000, 8000, 0 },
		{ 8000, 1500000, 8 }, { 1500000, ~0ull, 1 }, { ~0ull, ~0ull, 0 },
	};
	struct buf out;

	buf_init(&out, 1000);
	assert_int_equal(bars_print(&out, bars, 7, 8, true), 0);
	assert_string_equal(out.data, "  1.00us .. 2.00us  4  ####\n"
				      "     ...\n"
				      "  8.00us .. 1.50ms  8  ########\n"
				      "  1.50ms ..   more  1  #\n");
	buf_reset(&out);
	assert_int_equal(bars_print(&out, bars, 1, 8, true), 0);
	assert_string_equal(out.data, "");
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_aligns_columns),
		cmocka_unit_test(table_without_rows_has_its_titles),
		cmocka_unit_test(table_never_cuts_a_title),
		cmocka_unit_test(table_refuses_a_row_whole),
		cmocka_unit_test(bar_is_proportional_and_never_invisible),
		cmocka_unit_test(bars_leave_out_what_is_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
