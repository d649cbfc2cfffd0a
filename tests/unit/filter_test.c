/* Filters of trace: from text, to a query and back, and what they match. Also the lines they let through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/why.h"
#include "view/filter.h"
#include "view/trace.h"
#include "view_fake.h"

static const struct span request = {
	.signal = 1,
	.pid = 4711,
	.time_ns = 5000000000ull,
	.fields_count = 6,
	.fields = {
		{ .name = "role", .type = FIELD_STR, .str = "server" },
		{ .name = "path", .type = FIELD_STR, .str = "/orders/17" },
		{ .name = "status", .type = FIELD_UINT, .unum = 503 },
		{ .name = "duration_ns", .type = FIELD_UINT, .unum = 20000000 },
		{ .name = "response_bytes", .type = FIELD_UINT, .unum = 2048 },
		{ .name = "error", .type = FIELD_STR, .str = NULL },
	},
};

struct condition {
	const char *key, *value;
	bool matches;
};

static const struct condition conditions[] = {
	{ "status", "503", true },	 { "status", "5xx", true },	  { "status", "5XX", true },
	{ "status", "500-599", true },	 { "status", "404", false },	  { "status", "4xx", false },
	{ "status", "none", false },	 { "status", "", true },	  { "role", "server", true },
	{ "role", "client", false },	 { "role", "both", true },	  { "role", "", true },
	{ "path", "/orders/*", true },	 { "path", "/orders", false },	  { "path", "*", true },
	{ "min", "20ms", true },	 { "min", "21ms", false },	  { "min", "0", true },
	{ "min_ns", "20000000", true },	 { "min_ns", "20000001", false }, { "container", "shop", true },
	{ "container", "sh?p", true },	 { "container", "1111*", true },  { "container", "111111111111", true },
	{ "container", "other", false }, { "pod", "shop-*", true },	  { "pod", "8b1e2c5a*", true },
	{ "pod", "x", false },		 { "namespace", "prod", true },	  { "namespace", "test", false },
};

static void conditions_match(void **state)
{
	for (size_t i = 0; i < sizeof(conditions) / sizeof(*conditions); i++) {
		struct span_filter filter = {};
		struct why why = {};

		assert_int_equal(span_filter_set(&filter, conditions[i].key, conditions[i].value, &why), 0);
		if (span_filter_match(&filter, &request, &fake_shop) != conditions[i].matches)
			fail_msg("%s=%s", conditions[i].key, conditions[i].value);
	}
}

static int hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

static void percent_decode(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (*text == '%') {
			*to++ = hex(text[1]) * 16 + hex(text[2]);
			text += 2;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

/* What the command line asked for is what the agent understands. */
static void a_query_means_the_same(void **state)
{
	static const char hostile[] = "a b&c=d%/?#+\"\xc3\xa9*";
	struct span_filter filter = {}, back = {};
	struct buf query;
	char *part, *rest;

	assert_int_equal(span_filter_set(&filter, "path", hostile, NULL), 0);
	assert_int_equal(span_filter_set(&filter, "container", "shop", NULL), 0);
	assert_int_equal(span_filter_set(&filter, "pod", "p", NULL), 0);
	assert_int_equal(span_filter_set(&filter, "namespace", "n", NULL), 0);
	assert_int_equal(span_filter_set(&filter, "status", "4xx", NULL), 0);
	assert_int_equal(span_filter_set(&filter, "role", "client", NULL), 0);
	assert_int_equal(span_filter_set(&filter, "min", "1.5s", NULL), 0);
	assert_int_equal(span_filter_set(&filter, "closed", "1", NULL), 0);
	buf_init(&query, 4096);
	span_filter_query(&filter, &query);
	for (part = strtok_r(query.data, "&", &rest); part; part = strtok_r(NULL, "&", &rest)) {
		char *value = strchr(part, '=');

		assert_non_null(value);
		*value++ = '\0';
		percent_decode(value);
		assert_int_equal(span_filter_set(&back, part, value, NULL), 0);
	}
	assert_memory_equal(&filter, &back, sizeof(filter));
	buf_done(&query);
}

static void nothing_asked_is_no_query(void **state)
{
	struct span_filter filter = {};
	struct buf query;

	buf_init(&query, 4096);
	span_filter_query(&filter, &query);
	assert_int_equal(query.used, 0);
	filter.status = true; /* none: 0 .. 0 */
	span_filter_query(&filter, &query);
	assert_string_equal(query.data, "status=none");
	buf_done(&query);
}

static void no_answer_is_status_none(void **state)
{
	struct span span = request;
	struct span_filter filter = {};

	assert_int_equal(span_filter_set(&filter, "status", "none", NULL), 0);
	span.fields[2].unum = 0;
	assert_true(span_filter_match(&filter, &span, &fake_shop));
	span.fields[2].name = "other"; /* left out */
	assert_true(span_filter_match(&filter, &span, &fake_shop));
}

/* There are as many as there are connections: they are lines only for who asks. */
static void ends_of_connections_are_asked_for(void **state)
{
	static const struct {
		const char *event, *closed;
		bool matches;
	} rows[] = {
		{ "close", NULL, false }, { "close", "0", false },	{ "close", "", false },
		{ "close", "1", true },	  { "retransmit", NULL, true }, { "retransmit", "1", true },
		{ "", NULL, true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct span_filter filter = {};
		struct span span = request;

		span.fields[1] = (struct field){ .name = "event", .type = FIELD_STR, .str = rows[i].event };
		if (rows[i].closed)
			assert_int_equal(span_filter_set(&filter, "closed", rows[i].closed, NULL), 0);
		if (span_filter_match(&filter, &span, &fake_shop) != rows[i].matches)
			fail_msg("event %s, closed=%s", rows[i].event, rows[i].closed ? rows[i].closed : "not given");
	}
}

static void mistakes_are_refused(void **state)
{
	static const struct {
		const char *key, *value;
		int err;
	} rows[] = {
		{ "status", "xx", -EINVAL },	{ "status", "0xx", -EINVAL },  { "status", "5x", -EINVAL },
		{ "status", "500-", -EINVAL },	{ "status", "-500", -EINVAL }, { "status", "500-400", -EINVAL },
		{ "status", "1000", -EINVAL },	{ "status", "50 0", -EINVAL }, { "role", "proxy", -EINVAL },
		{ "min", "fast", -EINVAL },	{ "min_ns", "1s", -EINVAL },   { "colour", "red", -ENOENT },
		{ "status", "1-2-3", -EINVAL }, { "closed", "yes", -EINVAL },  { "closed", "2", -EINVAL },
	};
	char path[FILTER_TEXT_MAX + 1];
	struct span_filter filter = {};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct why why = {};

		assert_int_equal(span_filter_set(&filter, rows[i].key, rows[i].value, &why), rows[i].err);
		assert_true(why.text[0]);
	}
	memset(path, 'a', FILTER_TEXT_MAX);
	path[FILTER_TEXT_MAX] = '\0';
	assert_int_equal(span_filter_set(&filter, "path", path, NULL), -EINVAL);
}

static void the_agent_itself_matches_only_when_nothing_is_asked(void **state)
{
	struct span_filter filter = {};

	assert_true(span_filter_match_workload(&filter, NULL));
	assert_int_equal(span_filter_set(&filter, "container", "*", NULL), 0);
	assert_false(span_filter_match_workload(&filter, NULL));
}

/* ---- lines */

static const struct column columns[] = {
	{ .field = "time", .title = "TIME", .width = -12 },
	{ .field = "container", .title = "CONTAINER", .width = -16 },
	{ .field = "status", .title = "STATUS", .width = 6, .format = COLUMN_NUMBER },
	{ .field = "duration_ns", .title = "TOTAL", .width = 8, .format = COLUMN_DURATION_NS },
	{ .field = "response_bytes", .title = "OUT", .width = 6, .format = COLUMN_BYTES },
	{ .field = "error", .title = "ERROR", .width = -6 },
	{ .field = "path", .title = "PATH", .width = 0 },
	{},
};

/* Column in which the path begins. */
static size_t path_column(const char *line, const char *path)
{
	const char *at = strstr(line, path);
	char before[512];

	assert_non_null(at);
	memcpy(before, line, at - line);
	before[at - line] = '\0';
	return utf8_width(before);
}

static void lines_are_aligned(void **state)
{
	static const char *const names[] = { "shop", "\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34",
					     "a-very-long-name-that-is-cut" };
	struct workload who = fake_plain;
	struct buf out;
	size_t column;

	setenv("TZ", "UTC", 1);
	buf_init(&out, 1 << 16);
	trace_header(columns, &out);
	assert_string_equal(out.data, "TIME         CONTAINER        STATUS    TOTAL    OUT ERROR  PATH\n");
	column = path_column(out.data, "PATH");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		buf_reset(&out);
		who.container_name = names[i];
		trace_line(columns, &request, &who, 1000000000ull * 3661 + 123000000, &out);
		assert_int_equal(path_column(out.data, "/orders/17"), column);
		assert_true(str_starts(out.data, "01:01:01.123 "));
		assert_non_null(strstr(out.data, "    503   20.0ms  2.00K -      /orders/17\n"));
	}
	buf_done(&out);
}

static void column_of_another_container_shows_and_cuts_its_name(void **state)
{
	static const struct column both[] = {
		{ .field = "container", .title = "CONTAINER", .width = -14 },
		{ .field = "culprit.container", .title = "CULPRIT", .width = -14 },
		{ .field = "culprit.pid", .title = "PID", .width = 5, .format = COLUMN_NUMBER },
		{},
	};
	struct workload other = fake_plain;
	struct span span = {
		.fields_count = 2,
		.fields = {
			{ .name = "culprit.container", .type = FIELD_WHO, .cgroup_id = 2, .who = &other },
			{ .name = "culprit.pid", .type = FIELD_UINT, .unum = 17 },
		},
	};
	struct buf out;

	buf_init(&out, 1 << 16);
	other.namespace_name = "ns";
	trace_line(both, &span, &fake_plain, 0, &out);
	assert_string_equal(out.data, "run            ns/run            17\n");
	buf_reset(&out);
	other.service_name = "much-longer-than-that";
	trace_line(both, &span, &fake_plain, 0, &out);
	assert_string_equal(out.data, "run            ns/much-longe\u2026    17\n");
	buf_reset(&out);
	span.fields[0].who = NULL;
	trace_line(both, &span, &fake_plain, 0, &out);
	assert_string_equal(out.data, "run            -                 17\n");
	buf_done(&out);
}

static void what_is_not_there_is_a_dash(void **state)
{
	struct span empty = { .signal = 1 };
	struct buf out;

	buf_init(&out, 1 << 16);
	trace_line(columns, &empty, &fake_shop, 0, &out);
	assert_true(str_ends(out.data, "     -        -      - -\n")); /* and nothing in the last column */
	buf_done(&out);
}

static void rare_number_stands_at_the_end_where_there_is_one(void **state)
{
	static const struct column with[] = {
		{ .field = "status", .title = "STATUS", .width = 6, .format = COLUMN_NUMBER },
		{ .field = "error", .title = "ERROR", .format = COLUMN_TEXT },
		{ .field = "stopped_ns", .title = "stopped", .rare = true, .format = COLUMN_DURATION_NS },
		{},
	};
	struct span span = {
		.fields_count = 3,
		.fields = {
			{ .name = "status", .type = FIELD_UINT, .unum = 503 },
			{ .name = "error", .type = FIELD_STR, .str = NULL },
			{ .name = "stopped_ns", .type = FIELD_UINT, .unum = 12300000 },
		},
	};
	struct buf out;

	buf_init(&out, 1 << 16);
	trace_header(with, &out);
	assert_string_equal(out.data, "STATUS ERROR\n");
	buf_reset(&out);
	trace_line(with, &span, &fake_plain, 0, &out);
	assert_string_equal(out.data, "   503 stopped=12.3ms\n");
	buf_reset(&out);
	span.fields[1].str = "503";
	trace_line(with, &span, &fake_plain, 0, &out);
	assert_string_equal(out.data, "   503 503 stopped=12.3ms\n");
	buf_reset(&out);
	span.fields[2].unum = 0;
	trace_line(with, &span, &fake_plain, 0, &out);
	assert_string_equal(out.data, "   503 503\n");
	buf_reset(&out);
	span.fields_count = 1; /* an older agent says nothing of it */
	trace_line(with, &span, &fake_plain, 0, &out);
	assert_string_equal(out.data, "   503\n");
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conditions_match),
		cmocka_unit_test(a_query_means_the_same),
		cmocka_unit_test(nothing_asked_is_no_query),
		cmocka_unit_test(no_answer_is_status_none),
		cmocka_unit_test(ends_of_connections_are_asked_for),
		cmocka_unit_test(mistakes_are_refused),
		cmocka_unit_test(the_agent_itself_matches_only_when_nothing_is_asked),
		cmocka_unit_test(lines_are_aligned),
		cmocka_unit_test(column_of_another_container_shows_and_cuts_its_name),
		cmocka_unit_test(what_is_not_there_is_a_dash),
		cmocka_unit_test(rare_number_stands_at_the_end_where_there_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
