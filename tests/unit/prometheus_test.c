/* Text 0.0.4 and OpenMetrics. With WEIR_TEST_OUTPUT=dir the texts are written there, for other people's parsers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buf.h"
#include "export/prometheus.h"
#include "fake.h"

static void write_whole(struct snapshot *snap, enum prometheus_format format, size_t piece, struct buf *out)
{
	struct prometheus *prom = prometheus_new(snap, format);
	int more;

	assert_non_null(prom);
	do {
		more = prometheus_read(prom, out, piece);
		assert_true(more >= 0);
	} while (more);
	prometheus_free(prom);
}

static void assert_has(const struct buf *text, const char *line)
{
	if (!strstr(text->data, line))
		fail_msg("missing: %s\nin:\n%s", line, text->data);
}

#define ODD_LABELS(dir) \
	"service_name=\"\\\"od\\\\d\\\"\\n\xc3\xa9{}\",weir_cgroup=\"/" dir "/\\\"od\\\\d\\\"\\n\xc3\xa9{}\""
#define POD_LABELS                                                                                                 \
	"service_name=\"cart\",container_id=\"" FAKE_ID "\",k8s_pod_uid=\"11111111-2222-3333-4444-555555555555\"," \
	"container_name=\"cart\",k8s_pod_name=\"cart-7d9\",k8s_namespace_name=\"shop\""
#define GET_200 ",http_request_method=\"GET\",http_response_status_code=\"200\",url_scheme=\"http\""

static void text_has_every_series_with_its_identity(void **state)
{
	struct snapshot *snap = fake_snapshot();
	struct buf out;

	buf_init(&out, 1 << 20);
	write_whole(snap, PROMETHEUS_TEXT, 1 << 20, &out);
	assert_has(&out, "\nprocess_cpu_time_seconds_total{service_name=\"weir\"} 1.23456789\n");
	assert_has(&out, "\nweir_loop_load_ratio{service_name=\"weir\"} -0.75\n");
	assert_has(&out, "\nweir_signal_lost_total{service_name=\"weir\",signal=\"http\"} 4611686018427387889\n");
	assert_has(&out, "\nhttp_server_active_requests{" ODD_LABELS("a") "} -2\n");
	assert_has(&out, "\nhttp_server_request_duration_seconds_count{" ODD_LABELS("b") GET_200 "} 2\n");
	assert_has(&out, "\nhttp_server_request_body_size_bytes_total{" POD_LABELS "} 77\n");
	assert_has(&out, "# TYPE http_server_request_duration_seconds histogram\n");
	assert_has(
		&out,
		"# HELP http_server_request_duration_seconds Duration of HTTP requests served, by back\\\\slash and\\nnewline.\n");
	assert_has(&out, "# TYPE http_server_active_requests gauge\n");
	assert_has(&out, "# TYPE process_cpu_time_seconds_total counter\n");
	assert_has(&out, "target_info{" POD_LABELS ",weir_cgroup=\"/kubepods.slice/cri-containerd-" FAKE_ID
			 ".scope\",container_runtime_name=\"containerd\",weir_pod_qos=\"burstable\"");
	assert_null(strstr(out.data, "# EOF"));
	buf_done(&out);
	snapshot_unref(snap);
}

static void buckets_are_cumulative_and_exact_at_boundaries(void **state)
{
	static const char *const lines[] = {
		"le=\"0.005\"} 2\n", "le=\"0.01\"} 3\n", "le=\"0.025\"} 3\n", "le=\"0.05\"} 4\n", "le=\"0.075\"} 4\n",
		"le=\"0.1\"} 4\n",   "le=\"0.25\"} 4\n", "le=\"0.5\"} 4\n",   "le=\"0.75\"} 4\n", "le=\"1.0\"} 4\n",
		"le=\"2.5\"} 4\n",   "le=\"5.0\"} 4\n",	 "le=\"7.5\"} 4\n",   "le=\"10.0\"} 4\n", "le=\"+Inf\"} 5\n",
	};
	struct snapshot *snap = fake_snapshot();
	struct buf out, line;

	buf_init(&out, 1 << 20);
	buf_init(&line, 4096);
	write_whole(snap, PROMETHEUS_TEXT, 1 << 20, &out);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		buf_reset(&line);
		buf_printf(&line, "\nhttp_server_request_duration_seconds_bucket{%s,%s", POD_LABELS GET_200, lines[i]);
		assert_has(&out, line.data);
	}
	/* 5 ms + 5.000001 ms + 1 us + 30 ms + 250 s, to the nanosecond */
	assert_has(&out, "\nhttp_server_request_duration_seconds_sum{" POD_LABELS GET_200 "} 250.040001001\n");
	assert_has(&out, "\nhttp_server_request_duration_seconds_count{" POD_LABELS GET_200 "} 5\n");
	buf_done(&line);
	buf_done(&out);
	snapshot_unref(snap);
}

static void short_durations_have_boundaries_of_their_own(void **state)
{
	static const char want[] = "le=\"1e-05\"} 1\nle=\"2.5e-05\"} 2\nle=\"5e-05\"} 2\nle=\"0.0001\"} 3\n"
				   "le=\"0.00025\"} 3\nle=\"0.0005\"} 3\nle=\"0.001\"} 3\nle=\"0.0025\"} 3\n"
				   "le=\"0.005\"} 3\nle=\"0.01\"} 3\nle=\"0.025\"} 3\nle=\"0.05\"} 3\n"
				   "le=\"0.1\"} 3\nle=\"0.25\"} 3\nle=\"0.5\"} 3\nle=\"1.0\"} 4\nle=\"+Inf\"} 5\n";
	static const __u64 durations[] = { 10000, 10001, 100000, 1000000000, 1000000001 };
	struct snapshot *snap = snapshot_new(1);
	struct point *point = fake_point(snap, &fake_wait, &fake_pod);
	struct buf out, got;

	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++)
		assert_int_equal(hist_add(&point->hist, durations[i]), 0);
	buf_init(&out, 1 << 20);
	buf_init(&got, 1 << 20);
	write_whole(snap, PROMETHEUS_TEXT, 1 << 20, &out);
	for (const char *at = out.data; (at = strstr(at, "_bucket{")); at++)
		buf_add(&got, strstr(at, "le="), (size_t)(strchr(at, '\n') + 1 - strstr(at, "le=")));
	assert_string_equal(got.data, want);
	buf_done(&got);
	buf_done(&out);
	snapshot_unref(snap);
}

static void openmetrics_has_units_and_an_end(void **state)
{
	struct snapshot *snap = fake_snapshot();
	struct buf out;

	buf_init(&out, 1 << 20);
	write_whole(snap, PROMETHEUS_OPENMETRICS, 1 << 20, &out);
	assert_has(&out, "# TYPE target info\n");
	assert_has(&out, "# TYPE process_cpu_time_seconds counter\n# UNIT process_cpu_time_seconds seconds\n");
	assert_has(&out, "\nprocess_cpu_time_seconds_total{service_name=\"weir\"} 1.23456789\n");
	assert_has(&out, "# UNIT http_server_request_body_size_bytes bytes\n");
	assert_has(&out, "# UNIT weir_loop_load_ratio ratio\n");
	assert_string_equal(out.data + out.used - 7, "\n# EOF\n");
	buf_done(&out);
	snapshot_unref(snap);
}

static void pieces_of_any_size_make_the_same_text(void **state)
{
	struct snapshot *snap = fake_snapshot();
	struct buf whole, pieces;

	for (int format = PROMETHEUS_TEXT; format <= PROMETHEUS_OPENMETRICS; format++) {
		buf_init(&whole, 1 << 20);
		write_whole(snap, format, 1 << 20, &whole);
		for (size_t piece = 1; piece < 3000; piece = piece * 3 + 1) {
			buf_init(&pieces, 1 << 20);
			write_whole(snap, format, piece, &pieces);
			assert_int_equal(pieces.used, whole.used);
			assert_memory_equal(pieces.data, whole.data, whole.used);
			buf_done(&pieces);
		}
		buf_done(&whole);
	}
	snapshot_unref(snap);
}

static void empty_snapshot_is_a_legal_text(void **state)
{
	struct snapshot *snap = snapshot_new(0);
	struct buf out;

	assert_non_null(snap);
	buf_init(&out, 4096);
	write_whole(snap, PROMETHEUS_TEXT, 100, &out);
	assert_int_equal(out.used, 0);
	write_whole(snap, PROMETHEUS_OPENMETRICS, 100, &out);
	assert_string_equal(out.data, "# EOF\n");
	buf_done(&out);
	snapshot_unref(snap);
}

static void a_full_buffer_is_an_error_and_not_half_a_text(void **state)
{
	struct snapshot *snap = fake_snapshot();
	struct prometheus *prom = prometheus_new(snap, PROMETHEUS_TEXT);
	struct buf out;

	buf_init(&out, 1000);
	assert_int_equal(prometheus_read(prom, &out, 1 << 20), -ENOBUFS);
	buf_done(&out);
	prometheus_free(prom);
	snapshot_unref(snap);
}

static void names_follow_the_specification(void **state)
{
	static const struct {
		struct metric metric;
		const char *want;
	} rows[] = {
		{ { .name = "http.server.request.duration", .unit = "s", .kind = METRIC_HIST },
		  "http_server_request_duration_seconds" },
		{ { .name = "http.server.request.body.size", .unit = "By", .kind = METRIC_HIST },
		  "http_server_request_body_size_bytes" },
		{ { .name = "container.cpu.time", .unit = "s", .kind = METRIC_SUM }, "container_cpu_time_seconds" },
		{ { .name = "container.memory.working_set", .unit = "By", .kind = METRIC_GAUGE, .updown = true },
		  "container_memory_working_set_bytes" },
		{ { .name = "jvm.cpu.recent_utilization", .unit = "1", .kind = METRIC_GAUGE },
		  "jvm_cpu_recent_utilization_ratio" },
		{ { .name = "a.count", .unit = "1", .kind = METRIC_SUM }, "a_count" },
		{ { .name = "process.context_switches", .unit = "{context_switch}", .kind = METRIC_SUM },
		  "process_context_switches" },
		{ { .name = "http.server.active_requests", .unit = "{request}", .kind = METRIC_GAUGE, .updown = true },
		  "http_server_active_requests" },
		{ { .name = "a.seconds.b", .unit = "s", .kind = METRIC_SUM }, "a_seconds_b" },
		{ { .name = "a.bseconds", .unit = "s", .kind = METRIC_SUM }, "a_bseconds_seconds" },
		{ { .name = "9a..b-c", .unit = NULL, .kind = METRIC_SUM }, "_9a_b_c" },
	};
	struct buf out;

	buf_init(&out, 256);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&out);
		assert_int_equal(prometheus_name(&rows[i].metric, &out), 0);
		assert_string_equal(out.data, rows[i].want);
	}
	buf_done(&out);
}

static void keys_that_become_one_label_share_it(void **state)
{
	struct snapshot *snap = snapshot_new(1);
	struct point *point;
	struct buf out;

	point = fake_point(snap, &fake_lost, NULL);
	fake_str(point, "a.b", "1");
	fake_str(point, "empty", "");
	fake_int(point, "a_b", 2);
	fake_str(point, "4th", "x");
	fake_str(point, "otel.metric.overflow", "true");
	buf_init(&out, 4096);
	write_whole(snap, PROMETHEUS_TEXT, 4096, &out);
	assert_has(
		&out,
		"\nweir_signal_lost_total{service_name=\"weir\",a_b=\"1;2\",key_4th=\"x\",otel_metric_overflow=\"true\"} 0\n");
	buf_done(&out);
	snapshot_unref(snap);
}

static void accept_header_chooses_the_format(void **state)
{
	static const struct {
		const char *accept;
		enum prometheus_format want;
	} rows[] = {
		{ NULL, PROMETHEUS_TEXT },
		{ "", PROMETHEUS_TEXT },
		{ "*/*", PROMETHEUS_TEXT },
		{ "text/html, image/png;q=0.9", PROMETHEUS_TEXT },
		{ "application/openmetrics-text", PROMETHEUS_OPENMETRICS },
		{ "application/openmetrics-text; version=0.0.1; q=0.5", PROMETHEUS_OPENMETRICS },
		{ "application/openmetrics-text; version=2.0.0", PROMETHEUS_TEXT },
		{ "application/openmetrics-text;q=0", PROMETHEUS_TEXT },
		{ "application/openmetrics-text;q=0.0, */*;q=0.1", PROMETHEUS_TEXT },
		{ "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.3", PROMETHEUS_TEXT },
		{ "text/plain;version=1.0.0;q=0.9,application/openmetrics-text;version=1.0.0;q=0.3",
		  PROMETHEUS_OPENMETRICS },
		/* what Prometheus 3 sends */
		{ "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
		  "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
		  "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
		  PROMETHEUS_OPENMETRICS },
		/* what it sends when native histograms are on */
		{ "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
		  "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
		  PROMETHEUS_OPENMETRICS },
		{ "APPLICATION/OpenMetrics-Text ; Version=\"1.0.0\"", PROMETHEUS_OPENMETRICS },
		{ ",,;;q=,application/openmetrics-text;q=7", PROMETHEUS_TEXT },
		{ "application/openmetrics-text;q=0.1234", PROMETHEUS_TEXT },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (prometheus_negotiate(rows[i].accept) != rows[i].want)
			fail_msg("%s", rows[i].accept);
}

static void texts_are_left_for_other_parsers(void **state)
{
	static const char *const names[] = { "metrics.txt", "metrics.openmetrics" };
	const char *dir = getenv("WEIR_TEST_OUTPUT");
	struct snapshot *snap = fake_snapshot();
	char path[4096];

	for (int format = PROMETHEUS_TEXT; dir && format <= PROMETHEUS_OPENMETRICS; format++) {
		struct buf out;
		FILE *file;

		buf_init(&out, 1 << 20);
		write_whole(snap, format, 1000, &out);
		snprintf(path, sizeof(path), "%s/%s", dir, names[format]);
		file = fopen(path, "w");
		assert_non_null(file);
		assert_int_equal(fwrite(out.data, 1, out.used, file), out.used);
		fclose(file);
		buf_done(&out);
	}
	snapshot_unref(snap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_has_every_series_with_its_identity),
		cmocka_unit_test(buckets_are_cumulative_and_exact_at_boundaries),
		cmocka_unit_test(short_durations_have_boundaries_of_their_own),
		cmocka_unit_test(openmetrics_has_units_and_an_end),
		cmocka_unit_test(pieces_of_any_size_make_the_same_text),
		cmocka_unit_test(empty_snapshot_is_a_legal_text),
		cmocka_unit_test(a_full_buffer_is_an_error_and_not_half_a_text),
		cmocka_unit_test(names_follow_the_specification),
		cmocka_unit_test(keys_that_become_one_label_share_it),
		cmocka_unit_test(accept_header_chooses_the_format),
		cmocka_unit_test(texts_are_left_for_other_parsers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
