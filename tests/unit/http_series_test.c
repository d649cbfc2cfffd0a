#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/why.h"
#include "model/intern.h"
#include "model/snapshot.h"
#include "signal/http_series.h"

#define CGROUP	 4711
#define START_NS 1000

struct fixture {
	struct aggregate *aggregate;
	struct http_lookup *lookup;
};

static int setup_routes(void **state, bool off)
{
	static struct fixture f;
	struct why why;

	f.aggregate = aggregate_new(&(struct aggregate_options){ .series_max = 1000, .series_per_cgroup_max = 500 });
	assert_non_null(f.aggregate);
	assert_int_equal(0, http_lookup_new(f.aggregate, &(struct routes_options){ .off = off }, START_NS, &f.lookup,
					    &why));
	*state = &f;
	return 0;
}

static int setup(void **state)
{
	return setup_routes(state, false);
}

static int setup_off(void **state)
{
	return setup_routes(state, true);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_lookup_free(f->lookup);
	aggregate_free(f->aggregate);
	return 0;
}

static struct http_event event(__u8 role, const char *line, __u16 status)
{
	struct http_event e = {
		.hdr = { .signal = SIGNAL_http, .size_bytes = sizeof(e), .cgroup_id = CGROUP },
		.method = HTTP_METHOD_GET,
		.role = role,
		.status = status,
		.version = HTTP_VERSION_1_1,
		.peer_port = 8080,
		.peer = { [10] = 0xff, 0xff, 192, 0, 2, 7 },
	};

	e.line_bytes = strlen(line);
	memcpy(e.line, line, e.line_bytes);
	/* As different as the lines are; the kernel half's hash is its own affair. */
	for (size_t i = 0; line[i]; i++)
		e.path_hash = e.path_hash * 31 + line[i];
	return e;
}

/* "key=value key=value" of the one series with points. */
static void attributes(struct fixture *f, const char *metric, char *ret, size_t room)
{
	struct snapshot *snap = aggregate_take(f->aggregate, 2 * START_NS, 0);
	size_t used = 0;

	assert_non_null(snap);
	*ret = '\0';
	for (size_t i = 0; i < snap->points_count; i++) {
		const struct point *p = &snap->points[i];

		if (strcmp(p->metric->name, metric))
			continue;
		for (unsigned a = 0; a < p->attrs_count; a++) {
			used += snprintf(ret + used, room - used, "%s%s=", used ? " " : "", p->attrs[a].key);
			if (p->attrs[a].type == ATTR_STR)
				used += snprintf(ret + used, room - used, "%s", p->attrs[a].str);
			else
				used += snprintf(ret + used, room - used, "%lld", (long long)p->attrs[a].num);
		}
	}
	snapshot_unref(snap);
}

static void attributes_follow_the_conventions(void **state)
{
	static const struct {
		const char *name, *line, *want;
		__u8 role, method, error;
		__u16 status;
	} cases[] = {
		{ .name = "server",
		  .role = HTTP_ROLE_SERVER,
		  .method = HTTP_METHOD_GET,
		  .line = "GET /users/17",
		  .status = 200,
		  .want = "http.request.method=GET url.scheme=http http.response.status_code=200 http.route=/users/{id} "
			  "network.protocol.version=1.1" },
		{ .name = "404 is no error of the server",
		  .role = HTTP_ROLE_SERVER,
		  .method = HTTP_METHOD_POST,
		  .line = "POST /a",
		  .status = 404,
		  .want = "http.request.method=POST url.scheme=http http.response.status_code=404 http.route=/a "
			  "network.protocol.version=1.1" },
		{ .name = "503 is",
		  .role = HTTP_ROLE_SERVER,
		  .method = HTTP_METHOD_GET,
		  .line = "GET /a",
		  .status = 503,
		  .want = "http.request.method=GET url.scheme=http http.response.status_code=503 http.route=/a "
			  "network.protocol.version=1.1 error.type=503" },
		{ .name = "404 is an error of the client",
		  .role = HTTP_ROLE_CLIENT,
		  .method = HTTP_METHOD_GET,
		  .line = "GET /a",
		  .status = 404,
		  .want = "http.request.method=GET server.address=192.0.2.7 server.port=8080 url.scheme=http "
			  "http.response.status_code=404 url.template=/a network.protocol.version=1.1 error.type=404" },
		{ .name = "no answer",
		  .role = HTTP_ROLE_CLIENT,
		  .method = HTTP_METHOD_GET,
		  .line = "GET /a",
		  .status = 0,
		  .error = HTTP_ERROR_RESET,
		  .want = "http.request.method=GET server.address=192.0.2.7 server.port=8080 url.scheme=http "
			  "url.template=/a network.protocol.version=1.1 error.type=connection_reset" },
		{ .name = "unknown method, no path",
		  .role = HTTP_ROLE_SERVER,
		  .method = HTTP_METHOD_OTHER,
		  .line = "BREW",
		  .status = 200,
		  .want = "http.request.method=_OTHER url.scheme=http http.response.status_code=200 "
			  "network.protocol.version=1.1" },
	};
	char got[512];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_event e = event(cases[i].role, cases[i].line, cases[i].status);
		bool client = cases[i].role == HTTP_ROLE_CLIENT;

		setup(state);
		e.method = cases[i].method;
		e.error = cases[i].error;
		http_lookup_event(((struct fixture *)*state)->lookup, &e);
		attributes(*state, client ? "http.client.request.duration" : "http.server.request.duration", got,
			   sizeof(got));
		if (strcmp(got, cases[i].want))
			fail_msg("%s: %s", cases[i].name, got);
		teardown(state);
	}
}

static void same_route_is_one_series(void **state)
{
	struct fixture *f = *state;
	struct http_event one = event(HTTP_ROLE_SERVER, "GET /users/1", 200);
	struct http_event two = event(HTTP_ROLE_SERVER, "GET /users/2", 200);
	struct http_found *found = http_lookup_event(f->lookup, &one);
	struct series *series = found->series.duration;
	__u32 label = found->label;

	found = http_lookup_event(f->lookup, &two);
	assert_ptr_equal(series, found->series.duration);
	assert_int_equal(label, found->label);
	assert_int_not_equal(HTTP_LABEL_NONE, label);
	assert_int_equal(1, http_lookup_labels(f->lookup));
}

static void label_leads_to_the_series_of_its_record(void **state)
{
	struct fixture *f = *state;
	struct http_event e = event(HTTP_ROLE_CLIENT, "GET /users/1", 200);
	struct http_found *found = http_lookup_event(f->lookup, &e);
	struct http_key key = {
		.cgroup_id = CGROUP,
		.label = found->label,
		.status = 200,
		.method = HTTP_METHOD_GET,
		.role = HTTP_ROLE_CLIENT,
		.version = HTTP_VERSION_1_1,
	};
	struct http_series series;

	assert_true(http_lookup_key(f->lookup, &key, &series));
	assert_ptr_equal(found->series.duration, series.duration);
	/* The same label under another status is the same route, in a series of its own. */
	key.status = 500;
	assert_true(http_lookup_key(f->lookup, &key, &series));
	assert_ptr_not_equal(found->series.duration, series.duration);
}

static void foreign_labels_are_refused(void **state)
{
	struct fixture *f = *state;
	struct http_event e = event(HTTP_ROLE_SERVER, "GET /users/1", 200);
	__u32 label = http_lookup_event(f->lookup, &e)->label;
	struct http_key key = { .cgroup_id = CGROUP, .label = label, .status = 200, .role = HTTP_ROLE_SERVER };
	struct http_series series;

	assert_true(http_lookup_key(f->lookup, &key, &series));
	key.cgroup_id = CGROUP + 1;
	assert_false(http_lookup_key(f->lookup, &key, &series));
	key.cgroup_id = CGROUP;
	key.role = HTTP_ROLE_CLIENT;
	assert_false(http_lookup_key(f->lookup, &key, &series));
	key.role = HTTP_ROLE_SERVER;
	for (__u32 wrong = 0; wrong < 70000; wrong += 7) {
		key.label = wrong;
		if (wrong != label)
			assert_false(http_lookup_key(f->lookup, &key, &series));
	}
	key.label = 0xffffffff;
	assert_false(http_lookup_key(f->lookup, &key, &series));
}

static void label_of_a_forgotten_cgroup_means_nothing(void **state)
{
	struct fixture *f = *state;
	struct http_event e = event(HTTP_ROLE_SERVER, "GET /old", 200);
	struct http_key key = { .cgroup_id = CGROUP, .status = 200, .role = HTTP_ROLE_SERVER };
	struct http_series series;

	key.label = http_lookup_event(f->lookup, &e)->label;
	http_lookup_forget(f->lookup, CGROUP);
	aggregate_forget(f->aggregate, CGROUP);
	assert_int_equal(0, http_lookup_labels(f->lookup));
	assert_false(http_lookup_key(f->lookup, &key, &series));
	/* Its place is used again, by the same cgroup; the number handed out before still means nothing. */
	e = event(HTTP_ROLE_SERVER, "GET /new", 200);
	assert_int_not_equal(key.label, http_lookup_event(f->lookup, &e)->label);
	assert_false(http_lookup_key(f->lookup, &key, &series));
	assert_int_equal(1, http_lookup_labels(f->lookup));
}

static void labels_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct http_event e = event(HTTP_ROLE_CLIENT, "GET /", 200);
	unsigned with = 0, without = 0;

	for (unsigned i = 0; i < HTTP_LABELS_MAX + 101; i++) {
		e.peer_port = 1 + i;
		e.path_hash = i;
		if (http_lookup_event(f->lookup, &e)->label == HTTP_LABEL_NONE)
			without++;
		else
			with++;
	}
	assert_int_equal(HTTP_LABELS_MAX, with);
	assert_int_equal(101, without);
	http_lookup_forget(f->lookup, CGROUP);
	assert_int_not_equal(HTTP_LABEL_NONE, http_lookup_event(f->lookup, &e)->label);
}

/* Sum of the series of @metric with that direction; -1: there is none. */
static long long bytes_of(struct fixture *f, const char *metric, const char *direction)
{
	struct snapshot *snap = aggregate_take(f->aggregate, 2 * START_NS, 0);
	long long ret = -1;

	assert_non_null(snap);
	for (size_t i = 0; i < snap->points_count; i++) {
		const struct point *p = &snap->points[i];

		if (!strcmp(p->metric->name, metric) && p->attrs_count == 1 && !strcmp(p->attrs[0].str, direction))
			ret = (long long)p->sum;
	}
	snapshot_unref(snap);
	return ret;
}

static void bytes_have_the_direction_of_the_container(void **state)
{
	static const struct {
		__u8 role;
		const char *metric, *request, *response;
	} cases[] = {
		{ HTTP_ROLE_SERVER, "weir.http.server.io", "receive", "transmit" },
		{ HTTP_ROLE_CLIENT, "weir.http.client.io", "transmit", "receive" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct http_event e = event(cases[i].role, "PUT /a", 200);
		struct http_found *found = http_lookup_event(f->lookup, &e);

		http_series_add_bytes(f->lookup, &found->series, 0, 0);
		assert_int_equal(-1, bytes_of(f, cases[i].metric, "receive")); /* made when the first byte comes */
		http_series_add_bytes(f->lookup, &found->series, 3, 0);
		http_series_add_bytes(f->lookup, &found->series, 20, 5);
		assert_int_equal(23, bytes_of(f, cases[i].metric, cases[i].request));
		assert_int_equal(5, bytes_of(f, cases[i].metric, cases[i].response));
	}
}

static void routes_off_leave_one_series(void **state)
{
	struct fixture *f = *state;
	struct http_event one = event(HTTP_ROLE_SERVER, "GET /a", 200), two = event(HTTP_ROLE_SERVER, "GET /b", 200);
	struct series *series = http_lookup_event(f->lookup, &one)->series.duration;

	assert_ptr_equal(series, http_lookup_event(f->lookup, &two)->series.duration);
	assert_null(http_lookup_event(f->lookup, &one)->route);
	/* Counted in the kernel all the same. */
	assert_int_not_equal(HTTP_LABEL_NONE, http_lookup_event(f->lookup, &one)->label);
}

static void path_is_cut_only_when_the_kernel_says_so(void **state)
{
	struct http_event e = event(HTTP_ROLE_SERVER, "GET /users/alice", 200);
	struct slice path;
	bool cut;

	assert_true(http_event_path(&e, &path, &cut));
	assert_false(cut);
	assert_int_equal(strlen("/users/alice"), path.bytes);
	e.flags = HTTP_FLAG_LINE_CUT;
	assert_true(http_event_path(&e, &path, &cut));
	assert_true(cut);
	e = event(HTTP_ROLE_SERVER, "CONNECT example.org:443", 200);
	assert_false(http_event_path(&e, &path, &cut));
	for (unsigned bytes = 0; bytes <= HTTP_LINE_MAX; bytes++) { /* any bytes, any length: no crash */
		memset(e.line, 0xff - bytes, sizeof(e.line));
		e.line_bytes = bytes;
		http_event_path(&e, &path, &cut);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attributes_follow_the_conventions),
		cmocka_unit_test_setup_teardown(same_route_is_one_series, setup, teardown),
		cmocka_unit_test_setup_teardown(label_leads_to_the_series_of_its_record, setup, teardown),
		cmocka_unit_test_setup_teardown(foreign_labels_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(label_of_a_forgotten_cgroup_means_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(labels_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(bytes_have_the_direction_of_the_container, setup, teardown),
		cmocka_unit_test_setup_teardown(routes_off_leave_one_series, setup_off, teardown),
		cmocka_unit_test(path_is_cut_only_when_the_kernel_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
