/* Probes and watchpoints on this program itself: every pass is counted, once, and none after the end. The kernel's own
 * count of a program's runs is the witness. Needs root; skipped without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "base/why.h"
#include "kernel/elf_file.h"
#include "kernel/features.h"
#include "kernel/loader.h"
#include "kernel/process_maps.h"
#include "kernel/uprobe.h"
#include "kernel/watch.h"

#include "probe.skel.h"

#define CALLS  1009 /* primes */
#define OTHERS 13
#define WRITES 2003

struct fixture {
	struct probe_bpf *skel;
	int stats_fd, file_fd;
	char path[64];	  /* of this program */
	__u64 offsets[2]; /* of the two functions */
	struct uprobe *uprobe;
	struct bpf_link *link;
};

__attribute__((noinline)) void probed_first(void);
__attribute__((noinline)) void probed_second(void);

void probed_first(void)
{
	asm volatile("");
}

void probed_second(void)
{
	asm volatile("" ::: "memory");
}

static void call(unsigned first, unsigned second)
{
	while (first--)
		probed_first();
	while (second--)
		probed_second();
}

/* --- fixture ------------------------------------------------------------------------------------------------ */

static bool is_this(const char *path)
{
	return path_ends_in(path, "attach_test");
}

/* The way of the agent: by the mapping to the file, by the file to the places. */
static void find_places(struct fixture *f)
{
	struct process_map maps[8];
	struct elf_site site;
	struct elf_file *elf;
	struct why why;

	assert_true(process_maps_find("/proc", (__u32)getpid(), is_this, maps, 8) > 0);
	f->file_fd = process_map_open("/proc", (__u32)getpid(), &maps[0]);
	assert_true(f->file_fd >= 0);
	snprintf(f->path, sizeof(f->path), "/proc/self/fd/%d", f->file_fd);
	if (elf_file_open(f->file_fd, &elf, &why))
		fail_msg("%s", why.text);
	assert_int_equal(0, elf_file_symbol(elf, "probed_first", &site));
	f->offsets[0] = site.offset;
	assert_int_equal(0, elf_file_symbol(elf, "probed_second", &site));
	f->offsets[1] = site.offset;
	elf_file_close(elf);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct features features;
	struct why why;

	*state = f;
	f->stats_fd = f->file_fd = -1;
	if (geteuid())
		return 0;
	features_probe(&features, NULL);
	f->stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
	f->skel = probe_bpf__open();
	assert_non_null(f->skel);
	bpf_map__set_autocreate(f->skel->maps.probe_ring, false);
	bpf_map__set_autocreate(f->skel->maps.probe_storage, false);
	bpf_program__set_autoload(f->skel->progs.probe_uprobe, features_have(&features, FEAT(UPROBE)));
	bpf_program__set_autoload(f->skel->progs.probe_uprobe_multi, features_have(&features, FEAT(UPROBE_MULTI)));
	bpf_program__set_autoload(f->skel->progs.probe_watch, features_have(&features, FEAT(WATCH)));
	assert_int_equal(0, uprobe_prepare(f->skel->progs.probe_uprobe_multi, true, &why));
	if (loader_load(f->skel->skeleton, &why))
		fail_msg("%s", why.text);
	find_places(f);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	uprobe_free(f->uprobe);
	bpf_link__destroy(f->link);
	probe_bpf__destroy(f->skel);
	close(f->stats_fd);
	close(f->file_fd);
	free(f);
	return 0;
}

static struct bpf_program *program(const struct fixture *f, bool multi)
{
	return multi ? f->skel->progs.probe_uprobe_multi : f->skel->progs.probe_uprobe;
}

#define NEED(f, prog)                                                 \
	if (!(f)->skel || bpf_program__fd((f)->skel->progs.prog) < 0) \
	skip()

static __u64 runs(const struct bpf_program *prog)
{
	struct bpf_prog_info info = {};
	__u32 bytes = sizeof(info);

	assert_int_equal(0, bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &bytes));
	return info.run_cnt;
}

/* --- uprobes ------------------------------------------------------------------------------------------------ */

static void attach(struct fixture *f, bool multi)
{
	struct why why;

	if (uprobe_attach(program(f, multi), f->path, f->offsets, 2, multi, &f->uprobe, &why))
		fail_msg("%s", why.text);
}

static void counts_each_call_once(struct fixture *f, bool multi)
{
	const struct bpf_program *prog = program(f, multi);

	call(1, 1);
	attach(f, multi);
	call(CALLS, OTHERS);
	assert_int_equal(CALLS + OTHERS, runs(prog));
	uprobe_free(f->uprobe);
	f->uprobe = NULL;
	call(CALLS, OTHERS);
	assert_int_equal(CALLS + OTHERS, runs(prog));
}

static void one_link_counts_each_call_once(void **state)
{
	NEED((struct fixture *)*state, probe_uprobe_multi);
	counts_each_call_once(*state, true);
}

static void perf_events_count_each_call_once(void **state)
{
	NEED((struct fixture *)*state, probe_uprobe);
	counts_each_call_once(*state, false);
}

/* One process that runs already when we attach, and one that is made later. */
static void counts_calls_of_all_processes(struct fixture *f, bool multi)
{
	int start[2], status;
	pid_t before, after;
	char byte;

	assert_int_equal(0, pipe2(start, O_CLOEXEC));
	before = fork();
	if (!before) {
		if (read(start[0], &byte, 1) != 1)
			_exit(1);
		call(CALLS, 0);
		_exit(0);
	}
	attach(f, multi);
	assert_int_equal(1, write(start[1], "", 1));
	after = fork();
	if (!after) {
		call(0, OTHERS);
		_exit(0);
	}
	assert_int_equal(before, waitpid(before, &status, 0));
	assert_int_equal(0, status);
	assert_int_equal(after, waitpid(after, &status, 0));
	assert_int_equal(CALLS + OTHERS, runs(program(f, multi)));
	close(start[0]);
	close(start[1]);
}

static void one_link_counts_calls_of_all_processes(void **state)
{
	NEED((struct fixture *)*state, probe_uprobe_multi);
	counts_calls_of_all_processes(*state, true);
}

static void perf_events_count_calls_of_all_processes(void **state)
{
	NEED((struct fixture *)*state, probe_uprobe);
	counts_calls_of_all_processes(*state, false);
}

/* The second place is none: the first one is let go of, too. */
static void attaches_to_all_or_none(struct fixture *f, bool multi)
{
	__u64 offsets[2] = { f->offsets[0], 1ull << 40 };
	struct why why = { "" };

	assert_true(uprobe_attach(program(f, multi), f->path, offsets, 2, multi, &f->uprobe, &why) < 0);
	assert_null(f->uprobe);
	assert_non_null(strstr(why.text, f->path));
	assert_non_null(strstr(why.text, "at 0x"));
	call(CALLS, OTHERS);
	assert_int_equal(0, runs(program(f, multi)));
	why.text[0] = 0;
	assert_int_equal(-ENOENT, uprobe_attach(program(f, multi), "/none", offsets, 1, multi, &f->uprobe, &why));
	assert_non_null(strstr(why.text, "'/none'"));
	assert_int_equal(-E2BIG, uprobe_attach(program(f, multi), f->path, offsets, 0, multi, &f->uprobe, &why));
	uprobe_free(NULL);
}

static void one_link_is_to_all_or_none(void **state)
{
	NEED((struct fixture *)*state, probe_uprobe_multi);
	attaches_to_all_or_none(*state, true);
}

static void perf_events_are_to_all_or_none(void **state)
{
	NEED((struct fixture *)*state, probe_uprobe);
	attaches_to_all_or_none(*state, false);
}

/* --- watchpoints -------------------------------------------------------------------------------------------- */

static volatile __u64 watched[2] __attribute__((aligned(16))); /* the second one is its neighbour */

static void *write_elsewhere(void *arg)
{
	for (unsigned i = 0; i < OTHERS; i++)
		watched[0] = i;
	return NULL;
}

static void watchpoint_counts_writes_of_its_thread(void **state)
{
	struct fixture *f = *state;
	const struct bpf_program *prog = f->skel ? f->skel->progs.probe_watch : NULL;
	pthread_t other;
	struct why why;
	__u64 sum = 0;
	int zero;

	NEED(f, probe_watch);
	if (watch_attach(prog, (__u32)gettid(), (uintptr_t)&watched[0], &f->link, &why))
		fail_msg("%s", why.text);
	for (unsigned i = 0; i < WRITES; i++) {
		watched[0] = i;
		watched[1] = i;
		sum += watched[0];
	}
	assert_int_equal((__u64)WRITES * (WRITES - 1) / 2, sum);
	assert_int_equal(WRITES, runs(prog));
	((volatile __u8 *)watched)[7] = 1; /* its last byte */
	assert_int_equal(WRITES + 1, runs(prog));
	/* By another thread, and by the kernel. */
	assert_int_equal(0, pthread_create(&other, NULL, write_elsewhere, NULL));
	assert_int_equal(0, pthread_join(other, NULL));
	zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	assert_int_equal(8, read(zero, (void *)&watched[0], 8));
	close(zero);
	assert_int_equal(WRITES + 1, runs(prog));
	bpf_link__destroy(f->link);
	f->link = NULL;
	watched[0] = 1;
	assert_int_equal(WRITES + 1, runs(prog));
}

static void watchpoints_end_with_the_registers(void **state)
{
	struct fixture *f = *state;
	struct bpf_link *links[17] = {};
	struct why why = { "" };
	unsigned count = 0;
	int err = 0;

	NEED(f, probe_watch);
	while (count < 17) {
		err = watch_attach(f->skel->progs.probe_watch, (__u32)gettid(), (uintptr_t)&watched[0], &links[count],
				   &why);
		if (err)
			break;
		count++;
	}
	for (unsigned i = 0; i < count; i++)
		bpf_link__destroy(links[i]);
	assert_int_equal(-ENOSPC, err);
	assert_true(count >= 2 && count <= 16);
	assert_non_null(strstr(why.text, "debug registers are taken"));
}

static void what_cannot_be_watched_is_said(void **state)
{
	struct fixture *f = *state;
	struct why why = { "" };
	pid_t gone;

	NEED(f, probe_watch);
	gone = fork();
	if (!gone)
		_exit(0);
	assert_int_equal(gone, waitpid(gone, NULL, 0));
	assert_int_equal(-ESRCH, watch_attach(f->skel->progs.probe_watch, (__u32)gone, 4096, &f->link, &why));
	assert_non_null(strstr(why.text, "0x1000"));
	assert_int_equal(-EINVAL, watch_attach(f->skel->progs.probe_watch, (__u32)gettid(), 4100, &f->link, &why));
	assert_null(f->link);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_link_counts_each_call_once, setup, teardown),
		cmocka_unit_test_setup_teardown(perf_events_count_each_call_once, setup, teardown),
		cmocka_unit_test_setup_teardown(one_link_counts_calls_of_all_processes, setup, teardown),
		cmocka_unit_test_setup_teardown(perf_events_count_calls_of_all_processes, setup, teardown),
		cmocka_unit_test_setup_teardown(one_link_is_to_all_or_none, setup, teardown),
		cmocka_unit_test_setup_teardown(perf_events_are_to_all_or_none, setup, teardown),
		cmocka_unit_test_setup_teardown(watchpoint_counts_writes_of_its_thread, setup, teardown),
		cmocka_unit_test_setup_teardown(watchpoints_end_with_the_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_watched_is_said, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
