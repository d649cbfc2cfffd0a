/* JSON of snapshots and spans, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <jansson.h>

#include "base/buf.h"
#include "base/why.h"
#include "export/json.h"
#include "fake.h"

static void assert_same_point(const struct point *a, const struct point *b)
{
	assert_string_equal(a->metric->name, b->metric->name);
	assert_string_equal(a->metric->unit, b->metric->unit);
	assert_string_equal(a->metric->text, b->metric->text);
	assert_int_equal(a->metric->kind, b->metric->kind);
	assert_int_equal(a->metric->updown, b->metric->updown);
	assert_true(a->metric->scale == b->metric->scale);
	assert_int_equal(a->metric->bounds, b->metric->bounds);
	assert_int_equal(a->cgroup_id, b->cgroup_id);
	assert_int_equal(a->start_ns, b->start_ns);
	assert_int_equal(a->attrs_count, b->attrs_count);
	for (unsigned i = 0; i < a->attrs_count; i++) {
		assert_string_equal(a->attrs[i].key, b->attrs[i].key);
		assert_int_equal(a->attrs[i].type, b->attrs[i].type);
		if (a->attrs[i].type == ATTR_STR)
			assert_string_equal(a->attrs[i].str, b->attrs[i].str);
		else
			assert_int_equal(a->attrs[i].num, b->attrs[i].num);
	}
	switch (a->metric->kind) {
	case METRIC_HIST:
		assert_int_equal(a->hist.count, b->hist.count);
		assert_int_equal(a->hist.sum_ns, b->hist.sum_ns);
		assert_int_equal(a->hist.max_ns, b->hist.max_ns);
		for (unsigned slot = 0; slot < HIST_SLOTS; slot++)
			assert_int_equal(hist_slot_count(&a->hist, slot), hist_slot_count(&b->hist, slot));
		break;
	case METRIC_SUM:
		assert_int_equal(a->sum, b->sum);
		break;
	case METRIC_GAUGE:
		assert_int_equal(a->gauge, b->gauge);
		break;
	}
}

static void assert_same_who(const struct workload *a, const struct workload *b)
{
	assert_int_equal(!a, !b);
	if (!a)
		return;
	assert_int_equal(a->cgroup_id, b->cgroup_id);
	assert_string_equal(a->cgroup, b->cgroup);
	assert_string_equal(a->service_name, b->service_name);
	assert_string_equal(a->runtime, b->runtime);
	assert_string_equal(a->container_id, b->container_id);
	assert_string_equal(a->container_name, b->container_name);
	assert_string_equal(a->pod_uid, b->pod_uid);
	assert_string_equal(a->pod_qos, b->pod_qos);
	assert_string_equal(a->pod_name, b->pod_name);
	assert_string_equal(a->namespace_name, b->namespace_name);
}

static void snapshot_comes_back_as_it_was(void **state)
{
	struct json_reader *reader = json_reader_new();
	struct snapshot *snap = fake_snapshot(), *back = NULL, *again = NULL;
	struct why why = {};
	struct buf text;

	buf_init(&text, 1 << 20);
	assert_int_equal(snapshot_to_json(snap, &text), 0);
	if (snapshot_from_json(reader, text.data, text.used, &back, &why))
		fail_msg("%s in %s", why.text, text.data);
	assert_int_equal(back->time_ns, snap->time_ns);
	assert_int_equal(back->time_unix_ns, snap->time_unix_ns);
	assert_int_equal(back->start_ns, snap->start_ns);
	assert_int_equal(back->points_count, snap->points_count);
	for (size_t i = 0; i < snap->points_count; i++) {
		assert_same_point(&snap->points[i], &back->points[i]);
		assert_same_who(snap->points[i].who, back->points[i].who);
	}
	/* Views compare metrics of two snapshots by pointer. */
	assert_int_equal(snapshot_from_json(reader, text.data, text.used, &again, &why), 0);
	for (size_t i = 0; i < back->points_count; i++)
		assert_ptr_equal(back->points[i].metric, again->points[i].metric);
	snapshot_unref(again);
	snapshot_unref(back);
	snapshot_unref(snap);
	json_reader_free(reader);
	buf_done(&text);
}

static void boundaries_of_a_metric_come_back(void **state)
{
	struct json_reader *reader = json_reader_new();
	struct snapshot *snap = snapshot_new(2), *back = NULL;
	struct buf text;

	fake_point(snap, &fake_duration, &fake_pod);
	fake_point(snap, &fake_wait, &fake_pod);
	buf_init(&text, 4096);
	assert_int_equal(snapshot_to_json(snap, &text), 0);
	assert_int_equal(snapshot_from_json(reader, text.data, text.used, &back, NULL), 0);
	assert_int_equal(back->points[0].metric->bounds, HIST_BOUNDS_REQUEST);
	assert_int_equal(back->points[1].metric->bounds, HIST_BOUNDS_SHORT);
	snapshot_unref(back);
	snapshot_unref(snap);
	json_reader_free(reader);
	buf_done(&text);
}

/* What an agent that knows one set only writes. */
static void metric_without_boundaries_has_those_of_requests(void **state)
{
	static const char text[] =
		"{\"time_ns\":1,\"time_unix_ns\":1,\"start_ns\":1,"
		"\"metrics\":[{\"name\":\"a\",\"unit\":\"s\",\"text\":\"\",\"kind\":\"histogram\",\"scale\":1}],"
		"\"resources\":[{\"points\":[{\"metric\":0,\"cgroup_id\":0,\"start_ns\":1,\"attributes\":{},"
		"\"count\":0,\"sum_ns\":0,\"max_ns\":0,\"low\":0,\"slots\":[]}]}]}";
	struct json_reader *reader = json_reader_new();
	struct snapshot *back = NULL;

	assert_int_equal(snapshot_from_json(reader, text, strlen(text), &back, NULL), 0);
	assert_int_equal(back->points[0].metric->bounds, HIST_BOUNDS_REQUEST);
	snapshot_unref(back);
	json_reader_free(reader);
}

static void parts_of_any_size_make_the_same_text(void **state)
{
	struct snapshot *snap = fake_snapshot();
	struct buf whole;

	buf_init(&whole, 1 << 20);
	assert_int_equal(snapshot_to_json(snap, &whole), 0);
	for (size_t bytes = 1; bytes < 5000; bytes = bytes * 3 + 1) {
		struct buf parts;
		size_t at = 0;
		int more;

		buf_init(&parts, 1 << 20);
		do
			more = snapshot_to_json_part(snap, &at, &parts, bytes);
		while (more > 0);
		assert_int_equal(more, 0);
		assert_string_equal(parts.data, whole.data);
		buf_done(&parts);
	}
	buf_done(&whole);
	snapshot_unref(snap);
}

static void empty_snapshot_is_legal(void **state)
{
	struct json_reader *reader = json_reader_new();
	struct snapshot *snap = snapshot_new(0), *back = NULL;
	struct buf text;

	buf_init(&text, 4096);
	assert_int_equal(snapshot_to_json(snap, &text), 0);
	assert_int_equal(snapshot_from_json(reader, text.data, text.used, &back, NULL), 0);
	assert_int_equal(back->points_count, 0);
	snapshot_unref(back);
	snapshot_unref(snap);
	json_reader_free(reader);
	buf_done(&text);
}

/* Nothing that a peer sends may do more than fail. */
static void text_cut_anywhere_is_refused(void **state)
{
	struct json_reader *reader = json_reader_new();
	struct snapshot *snap = fake_snapshot(), *back = NULL;
	struct why why;
	struct buf text;

	buf_init(&text, 1 << 20);
	assert_int_equal(snapshot_to_json(snap, &text), 0);
	for (size_t bytes = 0; bytes + 2 < text.used; bytes += 1 + bytes % 7)
		assert_int_equal(snapshot_from_json(reader, text.data, bytes, &back, &why), -EBADMSG);
	assert_null(back);
	snapshot_unref(snap);
	json_reader_free(reader);
	buf_done(&text);
}

static void malformed_snapshots_are_refused(void **state)
{
#define TIMES "\"time_ns\":1,\"time_unix_ns\":1,\"start_ns\":1,"
#define METRICS                                                                                          \
	"\"metrics\":[{\"name\":\"a\",\"unit\":\"s\",\"text\":\"\",\"kind\":\"histogram\",\"scale\":1}," \
	"{\"name\":\"b\",\"unit\":\"s\",\"text\":\"\",\"kind\":\"gauge\",\"scale\":1}],"
#define POINT(rest) \
	"{" TIMES METRICS "\"resources\":[{\"points\":[{\"cgroup_id\":1,\"start_ns\":1,\"attributes\":{}," rest "}]}]}"
	static const char *const rows[] = {
		"",
		"[]",
		"null",
		"{}",
		"{\"metrics\":[]}",
		"{" TIMES "\"metrics\":[],\"resources\":{}}",
		"{\"time_ns\":-1,\"time_unix_ns\":1,\"start_ns\":1,\"metrics\":[],\"resources\":[]}",
		"{" TIMES "\"metrics\":[{\"name\":\"a\"}],\"resources\":[]}",
		"{" TIMES
		"\"metrics\":[{\"name\":\"a\",\"unit\":\"s\",\"text\":\"\",\"kind\":\"x\"}],\"resources\":[]}",
		POINT("\"metric\":2,\"value\":1"),
		POINT("\"metric\":-1,\"value\":1"),
		POINT("\"metric\":1"),
		POINT("\"metric\":1,\"value\":\"1\""),
		POINT("\"metric\":0,\"sum_ns\":1,\"max_ns\":1,\"low\":0"),
		POINT("\"metric\":0,\"sum_ns\":1,\"max_ns\":1,\"low\":1000,\"slots\":[]"),
		POINT("\"metric\":0,\"sum_ns\":1,\"max_ns\":1,\"low\":205,\"slots\":[1,1,1,1,1,1,1,1,1]"),
		"{" TIMES
		"\"metrics\":[{\"name\":\"new\",\"unit\":\"s\",\"text\":\"\",\"kind\":\"histogram\",\"bounds\":\"x\"}],"
		"\"resources\":[]}",
		"{" TIMES
		"\"metrics\":[{\"name\":\"new\",\"unit\":\"s\",\"text\":\"\",\"kind\":\"histogram\",\"bounds\":1}],"
		"\"resources\":[]}",
		POINT("\"metric\":0,\"sum_ns\":1,\"max_ns\":1,\"low\":0,\"slots\":[1,-1]"),
		POINT("\"metric\":0,\"sum_ns\":1,\"max_ns\":1,\"low\":0,\"slots\":[1,\"1\"]"),
		POINT("\"metric\":0,\"sum_ns\":-1,\"max_ns\":1,\"low\":0,\"slots\":[1]"),
		"{" TIMES METRICS
		"\"resources\":[{\"points\":[{\"metric\":1,\"cgroup_id\":1,\"start_ns\":1,\"attributes\":{\"a\":[]},\"value\":1}]}]}",
		"{" TIMES METRICS
		"\"resources\":[{\"points\":[{\"metric\":1,\"cgroup_id\":1,\"start_ns\":1,\"attributes\":"
		"{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,\"k\":1},\"value\":1}]}]}",
		"{" TIMES METRICS "\"resources\":[{\"points\":[7]}]}",
	};
	struct json_reader *reader = json_reader_new();
	struct snapshot *back = NULL;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct why why = {};

		if (snapshot_from_json(reader, rows[i], strlen(rows[i]), &back, &why) != -EBADMSG || !why.text[0])
			fail_msg("taken, or without a reason: %s", rows[i]);
		assert_null(back);
	}
	json_reader_free(reader);
}

static const struct span span = {
	.signal = 1,
	.pid = 4711,
	.time_ns = 5000000001,
	.cgroup_id = 42,
	.fields_count = 7,
	.fields = {
		{ .name = "role", .type = FIELD_STR, .str = "server" },
		{ .name = "method", .type = FIELD_STR, .str = "GET" },
		{ .name = "path", .type = FIELD_STR, .str = "/\"a\\b\"\x01\xc3\xa9" },
		{ .name = "error", .type = FIELD_STR, .str = NULL },
		{ .name = "status", .type = FIELD_UINT, .unum = 200 },
		{ .name = "offset", .type = FIELD_INT, .num = -5 },
		{ .name = "duration_ns", .type = FIELD_UINT, .unum = 9223372036854775807ull },
	},
};

#define WALL_OFFSET (1700000000000000000ll - 5000000000ll)

static void span_is_one_line_in_the_promised_order(void **state)
{
	struct buf line;

	buf_init(&line, 4096);
	assert_int_equal(span_to_json(&span, &fake_pod, "http", WALL_OFFSET, &line), 0);
	assert_string_equal(
		line.data,
		"{\"time\":\"2023-11-14T22:13:20.000000001Z\",\"signal\":\"http\",\"role\":\"server\","
		"\"container\":{\"id\":\"" FAKE_ID "\",\"name\":\"cart\","
		"\"pod_uid\":\"11111111-2222-3333-4444-555555555555\",\"runtime\":\"containerd\","
		"\"cgroup\":\"/kubepods.slice/cri-containerd-" FAKE_ID ".scope\",\"service_name\":\"cart\","
		"\"pod_name\":\"cart-7d9\",\"namespace\":\"shop\",\"pod_qos\":\"burstable\",\"cgroup_id\":42},"
		"\"pid\":4711,\"method\":\"GET\",\"path\":\"/\\\"a\\\\b\\\"\\u0001\xc3\xa9\",\"status\":200,"
		"\"offset\":-5,\"duration_ns\":9223372036854775807}");
	buf_done(&line);
}

static unsigned known_signal(const char *name)
{
	return strcmp(name, "http") == 0 ? 1 : 0;
}

static void span_comes_back_as_it_was(void **state)
{
	struct json_reader *reader = json_reader_new();
	const struct workload *who = NULL;
	struct span back;
	struct buf line;

	buf_init(&line, 4096);
	/* Twice: the second gives up what the first has borrowed. */
	for (int turn = 0; turn < 2; turn++) {
		buf_reset(&line);
		assert_int_equal(span_to_json(&span, &fake_pod, "http", WALL_OFFSET, &line), 0);
		assert_int_equal(
			span_from_json(reader, line.data, line.used, known_signal, WALL_OFFSET, &back, &who, NULL), 0);
		assert_same_who(&fake_pod, who);
		assert_int_equal(back.signal, 1);
		assert_int_equal(back.pid, 4711);
		assert_int_equal(back.time_ns, span.time_ns);
		assert_int_equal(back.cgroup_id, 42);
		assert_int_equal(back.fields_count, 6);
		for (unsigned i = 0, k = 0; i < back.fields_count; i++, k++) {
			k += span.fields[k].type == FIELD_STR && !span.fields[k].str;
			assert_string_equal(back.fields[i].name, span.fields[k].name);
			assert_int_equal(back.fields[i].type, span.fields[k].type);
			if (back.fields[i].type == FIELD_STR)
				assert_string_equal(back.fields[i].str, span.fields[k].str);
			else
				assert_int_equal(back.fields[i].num, span.fields[k].num);
		}
	}
	buf_done(&line);
	json_reader_free(reader);
}

static const struct workload fake_other = {
	.cgroup_id = 77,
	.cgroup = "/other",
	.service_name = "other",
	.runtime = "",
	.container_id = "",
	.container_name = "",
	.pod_uid = "",
	.pod_qos = "",
	.pod_name = "",
	.namespace_name = "",
};
#define OTHER                                                                                 \
	"{\"id\":\"\",\"name\":\"\",\"pod_uid\":\"\",\"runtime\":\"\",\"cgroup\":\"/other\"," \
	"\"service_name\":\"other\",\"cgroup_id\":77}"

/* Objects: at the begin, between, of one member left out, of nothing, two side by side, at the end. */
static const struct span nested = {
	.time_ns = 5000000001,
	.cgroup_id = 77,
	.fields_count = 15,
	.fields = {
		{ .name = "role", .type = FIELD_STR, .str = "server" },
		{ .name = "culprit.comm", .type = FIELD_STR, .str = "dd" },
		{ .name = "culprit.path", .type = FIELD_STR, .str = NULL },
		{ .name = "culprit.pid", .type = FIELD_UINT, .unum = 4712 },
		{ .name = "culprit.container", .type = FIELD_WHO, .cgroup_id = 77, .who = &fake_other },
		{ .name = "peer", .type = FIELD_WHO, .cgroup_id = 77, .who = &fake_other },
		{ .name = "nobody", .type = FIELD_WHO, .cgroup_id = 0, .who = NULL },
		{ .name = "a.x", .type = FIELD_INT, .num = -1 },
		{ .name = "ab.x", .type = FIELD_UINT, .unum = 2 },
		{ .name = "none.text", .type = FIELD_STR, .str = NULL },
		{ .name = "none.container", .type = FIELD_WHO, .who = NULL },
		{ .name = "plain", .type = FIELD_UINT, .unum = 3 },
		{ .name = "last.text", .type = FIELD_STR, .str = NULL },
		{ .name = "last.y", .type = FIELD_UINT, .unum = 4 },
		{ .name = "last.deep.z", .type = FIELD_UINT, .unum = 5 },
	},
};

static void names_with_a_dot_are_members_of_an_object(void **state)
{
	struct buf line;

	buf_init(&line, 4096);
	assert_int_equal(span_to_json(&nested, &fake_other, "tcp", WALL_OFFSET, &line), 0);
	assert_string_equal(line.data,
			    "{\"time\":\"2023-11-14T22:13:20.000000001Z\",\"signal\":\"tcp\",\"role\":\"server\","
			    "\"container\":" OTHER ",\"culprit\":{\"comm\":\"dd\",\"pid\":4712,\"container\":" OTHER
			    "},\"peer\":" OTHER ",\"a\":{\"x\":-1},\"ab\":{\"x\":2},\"plain\":3,"
			    "\"last\":{\"y\":4,\"deep.z\":5}}");
	buf_done(&line);
}

static void nested_span_comes_back_with_flat_names(void **state)
{
	struct json_reader *reader = json_reader_new();
	const struct workload *who = NULL;
	struct span back;
	struct buf line;

	buf_init(&line, 4096);
	for (int turn = 0; turn < 2; turn++) {
		unsigned i = 0;

		buf_reset(&line);
		assert_int_equal(span_to_json(&nested, &fake_other, "tcp", WALL_OFFSET, &line), 0);
		assert_int_equal(
			span_from_json(reader, line.data, line.used, known_signal, WALL_OFFSET, &back, &who, NULL), 0);
		for (unsigned k = 0; k < nested.fields_count; k++) {
			const struct field *want = &nested.fields[k], *have = &back.fields[i];

			if (!field_known(want))
				continue;
			assert_true(i++ < back.fields_count);
			assert_string_equal(have->name, want->name);
			assert_int_equal(have->type, want->type);
			if (want->type == FIELD_STR) {
				assert_string_equal(have->str, want->str);
			} else if (want->type == FIELD_WHO) {
				assert_int_equal(have->cgroup_id, want->cgroup_id);
				assert_same_who(want->who, have->who);
			} else {
				assert_int_equal(have->num, want->num);
			}
		}
		assert_int_equal(i, back.fields_count);
	}
	buf_done(&line);
	json_reader_free(reader);
}

/* More containers than fields, an object that is neither, a dot where none is written: skipped. */
static void what_is_no_field_is_skipped(void **state)
{
	struct json_reader *reader = json_reader_new();
	const struct workload *who;
	struct span back;
	struct buf line;

	buf_init(&line, 1 << 20);
	buf_add_str(&line, "{\"time\":\"2023-11-14T22:13:20.1Z\",\"signal\":\"http\",\"container\":" OTHER
			   ",\"a.b\":1,\"f\":1.5,\"n\":null,\"o\":{\"o\":{\"x\":1}},\"l\":[1],\"last\":9");
	for (int i = 0; i < 2 * SPAN_FIELDS_MAX; i++)
		buf_printf(&line, ",\"w%d\":%s", i, OTHER);
	buf_add_char(&line, '}');
	assert_int_equal(span_from_json(reader, line.data, line.used, known_signal, 0, &back, &who, NULL), 0);
	assert_int_equal(back.fields_count, SPAN_FIELDS_MAX);
	assert_string_equal(back.fields[0].name, "last");
	assert_string_equal(back.fields[1].name, "w0");
	json_reader_free(reader);
	buf_done(&line);
}

static void malformed_spans_are_refused(void **state)
{
	static const char *const rows[] = {
		"",
		"{}",
		"[]",
		"{\"dropped\":5}",
		"{\"summary\":{}}",
		"{\"time\":\"2023-11-14T22:13:20Z\",\"signal\":\"http\",\"container\":{}}",
		"{\"time\":\"2023-11-14T22:13:20.1+01:00\",\"signal\":\"http\",\"container\":{}}",
		"{\"time\":7,\"signal\":\"http\",\"container\":{}}",
		"{\"time\":\"2023-11-14T22:13:20.1Z\",\"signal\":7,\"container\":{}}",
		"{\"time\":\"2023-11-14T22:13:20.1Z\",\"signal\":\"http\",\"container\":[]}",
	};
	struct json_reader *reader = json_reader_new();
	const struct workload *who = NULL;
	struct span back;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct why why = {};

		if (span_from_json(reader, rows[i], strlen(rows[i]), known_signal, 0, &back, &who, &why) != -EBADMSG ||
		    !why.text[0])
			fail_msg("taken, or without a reason: %s", rows[i]);
	}
	assert_null(who);
	json_reader_free(reader);
}

static void every_byte_is_escaped_so_that_a_parser_reads_it_back(void **state)
{
	char all[128], back[1024];
	struct buf out;
	json_t *json;

	for (int i = 0; i < 127; i++)
		all[i] = (char)(i + 1);
	all[127] = '\0';
	buf_init(&out, 4096);
	assert_int_equal(json_put_str(&out, all), 0);
	json = json_loadb(out.data, out.used, JSON_DECODE_ANY, NULL);
	assert_non_null(json);
	snprintf(back, sizeof(back), "%s", json_string_value(json));
	assert_string_equal(back, all);
	json_decref(json);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(snapshot_comes_back_as_it_was),
		cmocka_unit_test(boundaries_of_a_metric_come_back),
		cmocka_unit_test(metric_without_boundaries_has_those_of_requests),
		cmocka_unit_test(parts_of_any_size_make_the_same_text),
		cmocka_unit_test(empty_snapshot_is_legal),
		cmocka_unit_test(text_cut_anywhere_is_refused),
		cmocka_unit_test(malformed_snapshots_are_refused),
		cmocka_unit_test(span_is_one_line_in_the_promised_order),
		cmocka_unit_test(span_comes_back_as_it_was),
		cmocka_unit_test(names_with_a_dot_are_members_of_an_object),
		cmocka_unit_test(nested_span_comes_back_with_flat_names),
		cmocka_unit_test(what_is_no_field_is_skipped),
		cmocka_unit_test(malformed_spans_are_refused),
		cmocka_unit_test(every_byte_is_escaped_so_that_a_parser_reads_it_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
