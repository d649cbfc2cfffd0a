/* The glue against the running kernel: features, the shared maps, the ring's reader, the draining of tables. Needs root
 * and a cgroup2 mount; skipped without. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "base/loop.h"
#include "base/time.h"
#include "base/why.h"
#include "control.h"
#include "http.h"
#include "identity/cgroup.h"
#include "kernel/drain.h"
#include "kernel/features.h"
#include "kernel/loader.h"
#include "kernel/maps.h"
#include "kernel/reader.h"

#include "l7.skel.h"

#define DEADLINE_NS (10 * NS_PER_S)
#define CGROUPS	    101 /* a prime */

struct fixture {
	struct features features;
	struct kernel_maps *maps;
	struct loop *loop;
	struct reader *reader;
	char dir[512]; /* a cgroup of ours */
	__u64 made, removed, bad;
	char last_path[600];
	__u64 last_id;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char mount[256];
	struct why why;

	assert_non_null(f);
	*state = f;
	if (geteuid() || cgroup_find_mount(NULL, mount, sizeof(mount), &why))
		return 0;
	features_probe(&f->features, mount);
	assert_int_equal(0, features_check(&f->features, FEAT(RINGBUF) | FEAT(TP_BTF) | FEAT(CGROUP_SKB), &why));
	if (kernel_maps_open(&(struct kernel_maps_options){ .ring_bytes = 16384 }, &f->features, &f->maps, &why))
		fail_msg("%s", why.text);
	assert_int_equal(0, loop_new(&f->loop, &why));
	snprintf(f->dir, sizeof(f->dir), "%s/weir-kernel-test-%d", mount, getpid());
	assert_int_equal(0, mkdir(f->dir, 0755));
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->reader)
		reader_close(f->reader);
	loop_free(f->loop);
	kernel_maps_close(f->maps);
	rmdir(f->dir);
	free(f);
	return 0;
}

#define NEED(f)       \
	if (!f->maps) \
	skip()

/* Other cgroups come and go on this machine: only ours count. */
static int decode(void *arg, const struct event_hdr *hdr)
{
	struct fixture *f = arg;
	struct cgroup_change change;

	if (hdr->signal != SIGNAL_NONE || kernel_maps_decode(hdr, &change)) {
		f->bad++;
		return -EBADMSG;
	}
	if (!strstr(change.path, strrchr(f->dir, '/') + 1) ||
	    strcmp(strrchr(change.path, '/'), strrchr(f->dir, '/')) == 0)
		return 0;
	if (change.made)
		f->made++;
	else
		f->removed++;
	snprintf(f->last_path, sizeof(f->last_path), "%s", change.path);
	f->last_id = change.cgroup_id;
	return 0;
}

static void open_reader(struct fixture *f)
{
	struct why why;

	if (reader_open(f->loop, f->maps, decode, f, &f->reader, &why))
		fail_msg("%s", why.text);
}

static void make_cgroups(const struct fixture *f, unsigned count)
{
	char path[600];

	for (unsigned i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/c%u", f->dir, i);
		assert_int_equal(0, mkdir(path, 0755));
		assert_int_equal(0, rmdir(path));
	}
}

static void turn_until(struct fixture *f, const __u64 *count, __u64 wanted)
{
	__u64 deadline = time_now_ns() + DEADLINE_NS;

	while (*count < wanted && time_now_ns() < deadline)
		assert_true(loop_turn(f->loop, 100) >= 0);
	assert_int_equal(wanted, *count);
}

static void probes_name_what_is_missing(void **state)
{
	struct features none;
	struct why why = { "" };

	features_probe(&none, NULL);
	assert_false(features_have(&none, FEAT(CGROUP2)));
	assert_int_equal(-ENOTSUP, features_check(&none, FEAT(CGROUP2), &why));
	assert_non_null(strstr(why.text, "cgroup v2"));
	assert_non_null(strstr(why.text, "remedy"));
}

static void sleeping_reader_is_woken_with_path_and_id(void **state)
{
	struct fixture *f = *state;
	__u64 id;

	NEED(f);
	open_reader(f);
	/* At rest: the flag is set and nothing but the last look is due. */
	while (loop_turn(f->loop, 50) > 0)
		;
	assert_int_equal(1, kernel_maps_control(f->maps)->reader_sleeps);
	char path[600];
	snprintf(path, sizeof(path), "%s/woken", f->dir);
	assert_int_equal(0, mkdir(path, 0755));
	turn_until(f, &f->made, 1);
	assert_string_equal(strrchr(f->last_path, '/'), "/woken");
	assert_int_equal(0, cgroup_id_of(f->features.cgroup_mount, f->last_path, &id));
	assert_int_equal(id, f->last_id);
	assert_int_equal(0, rmdir(path));
	turn_until(f, &f->removed, 1);
	assert_int_equal(id, f->last_id);
}

static void every_record_is_read_or_counted_as_lost(void **state)
{
	struct fixture *f = *state;
	struct reader_counts counts;
	__u64 seen, lost;

	NEED(f);
	open_reader(f);
	/* Nobody reads meanwhile: 16 KiB hold about 30 records. */
	make_cgroups(f, CGROUPS);
	reader_drain(f->reader);
	kernel_maps_counts(f->maps, &seen, &lost);
	reader_counts(f->reader, &counts);
	assert_true(lost > 0);
	assert_true(seen >= 2 * CGROUPS);
	assert_int_equal(seen, counts.records[SIGNAL_NONE] + lost);
	assert_int_equal(0, f->bad + counts.bad_record + counts.bad_size + counts.bad_signal);
	/* Empty again: nothing more is lost. */
	for (unsigned i = 0; i < CGROUPS; i++) {
		make_cgroups(f, 1);
		reader_drain(f->reader);
	}
	kernel_maps_counts(f->maps, &seen, &seen);
	assert_int_equal(lost, seen);
}

/* The record that woke us is taken by a drain before the loop comes to the wake-up: that must not be the last one. */
static void drain_between_wake_up_and_turn_loses_no_wake_up(void **state)
{
	struct fixture *f = *state;

	NEED(f);
	open_reader(f);
	while (loop_turn(f->loop, 50) > 0)
		;
	for (__u64 i = 1; i <= 23; i++) {
		make_cgroups(f, 1);
		reader_drain(f->reader);
		assert_int_equal(i, f->removed);
		while (loop_turn(f->loop, 50) > 0)
			;
		assert_int_equal(1, kernel_maps_control(f->maps)->reader_sleeps);
	}
	make_cgroups(f, 1);
	turn_until(f, &f->removed, 24);
}

static void reader_rests_when_nothing_comes(void **state)
{
	struct fixture *f = *state;
	struct reader_counts before, after;

	NEED(f);
	open_reader(f);
	make_cgroups(f, 1);
	turn_until(f, &f->removed, 1);
	for (int i = 0; i < 20; i++)
		loop_turn(f->loop, 10);
	reader_counts(f->reader, &before);
	for (int i = 0; i < 20; i++)
		loop_turn(f->loop, 10);
	reader_counts(f->reader, &after);
	/* Others may make cgroups on this machine; without them there is no turn at all. */
	assert_true(after.turns - before.turns <= 4 * (1 + after.records[SIGNAL_NONE] - before.records[SIGNAL_NONE]));
}

/* ---- drain */

struct drained {
	__u64 entries, sum;
	__u64 forgotten;
};

static void drained_entry(void *arg, const void *key, const void *value, void **mine)
{
	const struct http_stat *stat = value;
	struct drained *d = arg;

	d->entries++;
	/* The counter so far is kept where a signal would keep its copy. */
	d->sum += stat->count - (uintptr_t)*mine;
	*mine = (void *)(uintptr_t)stat->count;
}

static void drained_forget(void *arg, void *mine)
{
	((struct drained *)arg)->forgotten++;
}

static bool cgroup_is_even(const void *key, const void *arg)
{
	return ((const struct http_key *)key)->cgroup_id % 2 == 0;
}

static void set_count(int fd, __u64 cgroup_id, __u64 count)
{
	struct http_key key = { .cgroup_id = cgroup_id };
	struct http_stat stat = { .count = count };

	assert_int_equal(0, bpf_map_update_elem(fd, &key, &stat, BPF_ANY));
}

static void drain_takes_differences(void **state)
{
	enum { KEYS = 1009 };
	struct fixture *f = *state;
	struct drained got = { 0 };
	struct drain_options options = {
		.key_bytes = sizeof(struct http_key),
		.value_bytes = sizeof(struct http_stat),
		.entries_max = 2 * KEYS,
		.entry = drained_entry,
		.forget = drained_forget,
		.arg = &got,
	};
	struct drain *d;
	struct l7_bpf *skel;
	struct why why;

	NEED(f);
	skel = l7_bpf__open();
	assert_non_null(skel);
	assert_int_equal(0, loader_share(skel->obj, f->maps, &why));
	if (loader_load(skel->skeleton, &why))
		fail_msg("%s", why.text);
	options.map_fd = bpf_map__fd(skel->maps.http_table);
	d = drain_new(&options);
	assert_non_null(d);
	assert_int_equal(0, drain_read(d));
	for (__u64 i = 1; i <= KEYS; i++)
		set_count(options.map_fd, i, i);
	assert_int_equal(KEYS, drain_read(d));
	assert_int_equal((__u64)KEYS * (KEYS + 1) / 2, got.sum);
	assert_int_equal(KEYS, drain_read(d));
	assert_int_equal((__u64)KEYS * (KEYS + 1) / 2, got.sum);
	set_count(options.map_fd, 7, 7 + 23);
	assert_int_equal(KEYS, drain_read(d));
	assert_int_equal((__u64)KEYS * (KEYS + 1) / 2 + 23, got.sum);
	assert_int_equal(KEYS / 2, drain_delete(d, cgroup_is_even, NULL));
	assert_int_equal(KEYS / 2, got.forgotten);
	assert_int_equal(KEYS - KEYS / 2, drain_read(d));
	drain_free(d);
	assert_int_equal(KEYS, got.forgotten);
	l7_bpf__destroy(skel);
}

static void refusal_names_the_program_and_the_reason(void **state)
{
	struct fixture *f = *state;
	struct why why = { "" };
	struct l7_bpf *skel;

	NEED(f);
	skel = l7_bpf__open();
	assert_non_null(skel);
	assert_int_equal(-ENOENT, loader_choose(skel->obj, "no_such", true, &why));
	assert_non_null(strstr(why.text, "no_such"));
	/* Socket storage has as many entries as there are sockets: every kernel refuses a number. */
	bpf_map__set_max_entries(skel->maps.l7_conns, 7);
	why.text[0] = '\0';
	assert_true(loader_load(skel->skeleton, &why) < 0);
	assert_non_null(strstr(why.text, "l7_bpf"));
	assert_non_null(strstr(why.text, "l7_conns"));
	l7_bpf__destroy(skel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probes_name_what_is_missing),
		cmocka_unit_test_setup_teardown(sleeping_reader_is_woken_with_path_and_id, setup, teardown),
		cmocka_unit_test_setup_teardown(every_record_is_read_or_counted_as_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(drain_between_wake_up_and_turn_loses_no_wake_up, setup, teardown),
		cmocka_unit_test_setup_teardown(reader_rests_when_nothing_comes, setup, teardown),
		cmocka_unit_test_setup_teardown(drain_takes_differences, setup, teardown),
		cmocka_unit_test_setup_teardown(refusal_names_the_program_and_the_reason, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
