/* Tables of TCP become series: what is read of living connections and what is counted of ended ones is one sum, which
 * counts nothing twice and never falls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/snapshot.h"
#include "signal/tcp_series.h"

#define A	  101ull
#define B	  202ull
#define START_NS  1000
#define TABLE_MAX 100
#define JIFFY_NS  4000000ull

struct fixture {
	struct aggregate *aggregate;
	struct tcp_series *series;
	__u64 walk;
	/* The kernel's side of the one key that most cases need. */
	struct tcp_key key;
	struct tcp_stat stat;
	struct tcp_live live;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->aggregate = aggregate_new(&(struct aggregate_options){ .series_max = 1000, .series_per_cgroup_max = 500 });
	f->series = tcp_series_new(f->aggregate, TABLE_MAX, START_NS, JIFFY_NS);
	assert_non_null(f->series);
	f->walk = 1;
	f->key = (struct tcp_key){ .cgroup_id = A, .peer_cgroup = B, .class = TCP_CLASS_CONTAINER };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tcp_series_free(f->series);
	aggregate_free(f->aggregate);
	free(f);
	return 0;
}

/* Whether the point has "key=value", a number or text. */
static bool point_has(const struct point *p, const char *key, const char *value)
{
	char number[32];

	for (unsigned i = 0; i < p->attrs_count; i++) {
		const struct attr *a = &p->attrs[i];

		snprintf(number, sizeof(number), "%lld", a->type == ATTR_STR ? 0ll : (long long)a->num);
		if (!strcmp(a->key, key))
			return !strcmp(a->type == ATTR_STR ? a->str : number, value);
	}
	return false;
}

/* Sum over the series of a metric and cgroup with the attribute; @key NULL: all. -1: there is none. */
static long long value(struct fixture *f, const struct metric *metric, __u64 cgroup_id, const char *key,
		       const char *text)
{
	struct snapshot *snap = aggregate_take(f->aggregate, 2 * START_NS, 0);
	long long sum = -1;

	assert_non_null(snap);
	for (size_t i = 0; i < snap->points_count; i++) {
		const struct point *p = &snap->points[i];

		if (p->metric != metric || p->cgroup_id != cgroup_id || (key && !point_has(p, key, text)))
			continue;
		sum = (sum < 0 ? 0 : sum) + (metric->kind == METRIC_HIST    ? (long long)p->hist.count
					     : metric->kind == METRIC_GAUGE ? p->gauge
									    : (long long)p->sum);
	}
	snapshot_unref(snap);
	return sum;
}

/* One round in the order that the header asks for. @seen: the walk finds what is in .live. */
static void round_of(struct fixture *f, bool seen)
{
	tcp_series_stat(f->series, &f->key, &f->stat);
	f->live.walk = seen ? f->walk : f->live.walk;
	tcp_series_live(f->series, &f->key, &f->live, f->walk);
	tcp_series_publish(f->series, f->walk);
	f->walk++;
}

static long long sent(struct fixture *f)
{
	return value(f, &tcp_io, A, "network.io.direction", "transmit");
}

static void living_and_ended_are_one_sum(void **state)
{
	struct fixture *f = *state;

	f->live.count[TCP_ROLE_CLIENT] = 2;
	f->live.sums = (struct tcp_sums){ .opened = { 2, 0 }, .bytes_sent = 100, .bytes_received = 7 };
	round_of(f, true);
	assert_int_equal(sent(f), 100);
	assert_int_equal(value(f, &tcp_connections, A, "role", "client"), 2);
	assert_int_equal(value(f, &tcp_active_connections, A, "role", "client"), 2);

	/* One of them, with 60 of the bytes and 5 more, has ended; the other has sent 10 more. */
	f->stat.closed = (struct tcp_sums){ .opened = { 1, 0 }, .bytes_sent = 65, .bytes_received = 7 };
	f->live.count[TCP_ROLE_CLIENT] = 1;
	f->live.sums = (struct tcp_sums){ .opened = { 1, 0 }, .bytes_sent = 50 };
	round_of(f, true);
	assert_int_equal(sent(f), 115);
	assert_int_equal(value(f, &tcp_io, A, "network.io.direction", "receive"), 7);
	assert_int_equal(value(f, &tcp_connections, A, NULL, NULL), 2);
	assert_int_equal(value(f, &tcp_active_connections, A, "role", "client"), 1);

	/* The last one has ended; nothing lives, and the table of the living is as the last walk left it. */
	f->stat.closed = (struct tcp_sums){ .opened = { 2, 0 }, .bytes_sent = 115, .bytes_received = 7 };
	round_of(f, false);
	round_of(f, false);
	assert_int_equal(sent(f), 115);
	assert_int_equal(value(f, &tcp_connections, A, NULL, NULL), 2);
	assert_int_equal(value(f, &tcp_active_connections, A, "role", "client"), 0);
}

static void one_that_ends_between_two_looks_waits(void **state)
{
	struct fixture *f = *state;

	f->live.count[TCP_ROLE_SERVER] = 1;
	f->live.sums = (struct tcp_sums){ .opened = { 0, 1 }, .bytes_sent = 1000 };
	round_of(f, true);
	/* Ended after the table was read and before the walk: in neither. */
	round_of(f, false);
	assert_int_equal(sent(f), 1000);
	assert_int_equal(value(f, &tcp_connections, A, "role", "server"), 1);
	/* Another has begun meanwhile, with less than what is missing: still nothing falls, nothing is told twice. */
	f->live.sums = (struct tcp_sums){ .opened = { 0, 1 }, .bytes_sent = 300 };
	round_of(f, true);
	assert_int_equal(sent(f), 1000);
	f->stat.closed = (struct tcp_sums){ .opened = { 0, 1 }, .bytes_sent = 1001 };
	round_of(f, true);
	assert_int_equal(sent(f), 1301);
	assert_int_equal(value(f, &tcp_connections, A, "role", "server"), 2);
}

static void random_lives_add_up(void **state)
{
	struct {
		__u64 bytes;
		bool alive;
	} conns[64] = {};
	struct fixture *f = *state;
	__u64 all = 0, told = 0;

	srand(4711);
	for (unsigned turn = 0; turn < 500; turn++) {
		bool late = rand() % 3 == 0; /* some end between table and walk */
		struct tcp_stat before = f->stat;

		memset(&f->live, 0, sizeof(f->live));
		for (unsigned i = 0; i < 64; i++) {
			if (!conns[i].alive && rand() % 4 == 0)
				conns[i].alive = true, conns[i].bytes = 0;
			if (!conns[i].alive)
				continue;
			__u64 more = rand() % 1000;
			conns[i].bytes += more;
			all += more;
			if (rand() % 5 == 0) {
				f->stat.closed.bytes_sent += conns[i].bytes;
				conns[i].alive = false;
				continue;
			}
			f->live.sums.bytes_sent += conns[i].bytes;
			f->live.count[0]++;
		}
		f->live.walk = f->walk;
		tcp_series_stat(f->series, &f->key, late ? &before : &f->stat);
		tcp_series_live(f->series, &f->key, &f->live, f->walk);
		tcp_series_publish(f->series, f->walk++);
		long long now = sent(f);
		assert_true(now >= (long long)told && now <= (long long)all);
		told = now < 0 ? 0 : now;
	}
	memset(&f->live.sums, 0, sizeof(f->live.sums));
	for (unsigned i = 0; i < 64; i++)
		if (conns[i].alive)
			f->stat.closed.bytes_sent += conns[i].bytes;
	round_of(f, false);
	assert_int_equal(sent(f), all);
}

static void each_counter_has_its_series(void **state)
{
	static const struct {
		const struct metric *metric;
		const char *key, *value;
		long long want;
	} cases[] = {
		{ &tcp_retransmits, "type", "fast", 2 },
		{ &tcp_retransmits, "type", "timeout", 3 },
		{ &tcp_retransmits, "type", "tail_loss_probe", 5 },
		{ &tcp_retransmits, "type", "syn", 7 },
		{ &tcp_retransmits, "type", "syn_ack", 11 },
		{ &tcp_retransmit_io, "type", "fast", 20 },
		{ &tcp_retransmit_io, "type", "syn", -1 },
		{ &tcp_connections, "error.type", "refused", 13 },
		{ &tcp_connections, "error.type", "aborted", 17 },
		{ &tcp_connections, "error.type", "_OTHER", -1 },
		{ &tcp_resets, "network.io.direction", "receive", 19 },
		{ &tcp_resets, "network.io.direction", "transmit", 23 },
		{ &tcp_spurious, NULL, NULL, 29 },
		{ &tcp_out_of_order, NULL, NULL, 31 },
		{ &tcp_window_limited, NULL, NULL, 37 * JIFFY_NS },
		{ &tcp_retransmits, "weir.peer.name", "202", 28 },
		{ &tcp_retransmits, "weir.peer.class", "container", 28 },
		{ &tcp_connections, "weir.peer.name", "202", 30 },
		{ &tcp_spurious, "weir.peer.name", "202", 29 },
	};
	struct fixture *f = *state;

	f->stat = (struct tcp_stat){
		.events = 41,
		.segments = { 2, 3, 5, 7, 11 },
		.bytes = { 20, 30, 50 },
		.failed = { [TCP_ROLE_CLIENT] = { [TCP_FAILURE_REFUSED] = 13, [TCP_FAILURE_ABORTED] = 17 } },
		.resets = { 19, 23 },
		.closed = { .spurious = 29, .out_of_order = 31, .window_limited = 37 },
	};
	for (unsigned turn = 0; turn < 3; turn++) {
		round_of(f, false);
		for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
			long long have = value(f, cases[i].metric, A, cases[i].key, cases[i].value);

			if (have != cases[i].want)
				fail_msg("%s %s: %lld and not %lld", cases[i].metric->name,
					 cases[i].value ? cases[i].value : "", have, cases[i].want);
		}
		assert_int_equal(tcp_series_events(f->series), 41);
		assert_int_equal(tcp_series_segments(f->series, A), 28);
		assert_int_equal(tcp_series_segments(f->series, B), 0);
	}
}

static void overflow_key_names_nobody(void **state)
{
	struct fixture *f = *state;

	f->key = (struct tcp_key){ .class = TCP_CLASS_OVERFLOW };
	f->stat = (struct tcp_stat){ .events = 3, .segments = { 3 } };
	f->live.count[TCP_ROLE_CLIENT] = 5;
	round_of(f, true);
	assert_int_equal(value(f, &tcp_active_connections, 0, "otel.metric.overflow", "true"), 5);
	assert_int_equal(value(f, &tcp_retransmits, 0, "otel.metric.overflow", "true"), 3);
	assert_int_equal(value(f, &tcp_retransmits, 0, "weir.peer.class", "overflow"), -1);
}

static void round_trips_are_taken_once(void **state)
{
	struct fixture *f = *state;
	struct tcp_rtt rtt = { .count = 3, .sum_ns = 3000, .min_walk = 1, .min_ns = 900, .slots = { [5] = 2, [9] = 1 } };

	tcp_series_rtt(f->series, &f->key, &rtt, 1);
	tcp_series_rtt(f->series, &f->key, &rtt, 2);
	assert_int_equal(value(f, &tcp_rtt_duration, A, "weir.peer.name", "202"), 3);
	assert_int_equal(value(f, &tcp_rtt_min, A, NULL, NULL), 900);
	rtt.slots[5] = 4;
	rtt.min_walk = 3;
	rtt.min_ns = 1200;
	tcp_series_rtt(f->series, &f->key, &rtt, 3);
	assert_int_equal(value(f, &tcp_rtt_duration, A, NULL, NULL), 5);
	assert_int_equal(value(f, &tcp_rtt_min, A, NULL, NULL), 1200);
}

static void buried_key(void *arg, const struct tcp_key *key)
{
	struct tcp_key *last = arg;

	assert_int_equal(last->cgroup_id, 0);
	*last = *key;
}

/* A pool keeps a connection whose other end, and the other end's cgroup, are gone. */
static void other_end_gone_is_not_counted_again(void **state)
{
	struct fixture *f = *state;
	struct tcp_key buried = {};

	f->live.count[TCP_ROLE_CLIENT] = 1;
	f->live.sums = (struct tcp_sums){ .opened = { 1, 0 }, .bytes_sent = 500 };
	f->stat.closed = (struct tcp_sums){ .opened = { 4, 0 }, .bytes_sent = 40 };
	f->stat.events = 4;
	round_of(f, true);
	assert_int_equal(sent(f), 540);
	tcp_series_forget(f->series, B);
	aggregate_forget_peer(f->aggregate, B);
	assert_true(tcp_series_keeps(f->series, &f->key));
	round_of(f, true);
	tcp_series_bury(f->series, buried_key, &buried);
	assert_int_equal(sent(f), 540);
	assert_int_equal(value(f, &tcp_connections, A, NULL, NULL), 5);

	/* It ends after all. What it had carried meanwhile is told of the one who is gone. */
	f->stat.closed = (struct tcp_sums){ .opened = { 5, 0 }, .bytes_sent = 541 };
	round_of(f, false);
	tcp_series_bury(f->series, buried_key, &buried);
	assert_int_equal(buried.cgroup_id, 0);
	round_of(f, false);
	tcp_series_bury(f->series, buried_key, &buried);
	assert_int_equal(buried.cgroup_id, A);
	assert_int_equal(buried.peer_cgroup, B);
	assert_int_equal(sent(f), 541);
	assert_int_equal(value(f, &tcp_io, A, "weir.peer.name", "-1"), 541);
	assert_int_equal(value(f, &tcp_connections, A, NULL, NULL), 5);
	assert_false(tcp_series_keeps(f->series, &f->key));
	assert_int_equal(tcp_series_events(f->series), 4);
	assert_int_equal(value(f, &tcp_active_connections, A, "role", "client"), 0);
}

static void own_cgroup_gone_is_not_counted_again(void **state)
{
	struct fixture *f = *state;
	struct tcp_key buried = {};

	f->live.count[TCP_ROLE_SERVER] = 1;
	f->live.sums = (struct tcp_sums){ .opened = { 0, 1 }, .bytes_sent = 500 };
	round_of(f, true);
	tcp_series_forget(f->series, A);
	aggregate_forget(f->aggregate, A);
	f->live.sums.bytes_sent = 503;
	round_of(f, true);
	assert_int_equal(sent(f), 3);
	assert_int_equal(value(f, &tcp_connections, A, NULL, NULL), -1);
	f->stat.closed = f->live.sums;
	round_of(f, false);
	round_of(f, false);
	tcp_series_bury(f->series, buried_key, &buried);
	assert_int_equal(buried.cgroup_id, A);
	assert_int_equal(sent(f), 3);
}

static void what_has_ended_is_forgotten_at_once(void **state)
{
	struct fixture *f = *state;

	f->stat = (struct tcp_stat){ .events = 2, .segments = { 2 } };
	f->live.sums = (struct tcp_sums){ .bytes_sent = 500 };
	round_of(f, true);
	round_of(f, false);
	tcp_series_forget(f->series, A);
	assert_false(tcp_series_keeps(f->series, &f->key));
	assert_int_equal(tcp_series_segments(f->series, A), 0);
}

static void names_of_any_number_are_valid(void **state)
{
	for (unsigned i = 0; i < 300; i++) {
		assert_non_null(tcp_role_name(i));
		assert_non_null(tcp_retransmit_name(i));
		assert_non_null(tcp_failure_name(i));
		assert_non_null(tcp_class_name(i));
	}
	assert_string_equal(tcp_failure_name(TCP_FAILURE_MAX), "_OTHER");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(living_and_ended_are_one_sum, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_ends_between_two_looks_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(random_lives_add_up, setup, teardown),
		cmocka_unit_test_setup_teardown(each_counter_has_its_series, setup, teardown),
		cmocka_unit_test_setup_teardown(overflow_key_names_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(round_trips_are_taken_once, setup, teardown),
		cmocka_unit_test_setup_teardown(other_end_gone_is_not_counted_again, setup, teardown),
		cmocka_unit_test_setup_teardown(own_cgroup_gone_is_not_counted_again, setup, teardown),
		cmocka_unit_test_setup_teardown(what_has_ended_is_forgotten_at_once, setup, teardown),
		cmocka_unit_test(names_of_any_number_are_valid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
