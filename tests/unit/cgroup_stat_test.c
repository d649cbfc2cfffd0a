/* The kernel's statistics of a cgroup: what the files say, every cut of them, and where they lie, on made-up trees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "base/why.h"
#include "kernel/cgroup_stat.h"

#define CPU_STAT_V2                                                         \
	"usage_usec 217146825\nuser_usec 157670759\nsystem_usec 59476066\n" \
	"nice_usec 0\ncore_sched.force_idle_usec 0\n"                       \
	"nr_periods 613\nnr_throttled 211\nthrottled_usec 48313977\nnr_bursts 0\nburst_usec 0\n"
#define CPU_STAT_V1 "nr_periods 613\nnr_throttled 211\nthrottled_time 48313977123\nnr_bursts 0\nburst_time 0\n"
#define PRESSURE                                                  \
	"some avg10=1.53 avg60=1.22 avg300=2.45 total=21568920\n" \
	"full avg10=0.00 avg60=0.00 avg300=0.00 total=1043\n"

enum format { V2, ACCT, USAGE, PSI };

static void parse(enum format format, const char *text, size_t bytes, struct cgroup_stat *ret)
{
	char *exact = malloc(bytes ? bytes : 1); /* of exactly that size, so that reading on is found */

	memcpy(exact, text, bytes);
	*ret = (struct cgroup_stat){ .known = 0 };
	switch (format) {
	case V2:
		cpu_stat_parse(exact, bytes, ret);
		break;
	case ACCT:
		cpuacct_stat_parse(exact, bytes, 100, ret);
		break;
	case USAGE:
		cpuacct_usage_parse(exact, bytes, CGROUP_CPU_SYSTEM, ret);
		break;
	case PSI:
		pressure_parse(exact, bytes, CGROUP_PRESSURE_MEMORY_SOME, ret);
		break;
	}
	free(exact);
}

#define US(n) ((n)*NS_PER_US)

static const struct {
	enum format format;
	const char *text;
	__u32 known;
	__u64 value[CGROUP_FIGURES_MAX];
} files[] = {
	{ V2, CPU_STAT_V2, 0x1f, { US(157670759ull), US(59476066ull), 613, 211, US(48313977ull) } },
	{ V2, "usage_usec 5\nuser_usec 3\nsystem_usec 2\n", 0x3, { US(3), US(2) } },
	{ V2, CPU_STAT_V1, 0x1c, { 0, 0, 613, 211, 48313977123ull } },
	{ V2, "", 0, {} },
	{ V2, "user_usec 0\n", 0x1, {} },
	{ V2, "user_usec\nsystem_usec \nnr_periods  1\nnr_throttled 1 \nthrottled_time -1\n", 0, {} },
	{ V2, "user_usec 1x\nsystem_usec 0x1\nnr_periods 1.5\nnr_throttled +1\nxnr_throttled 1\n", 0, {} },
	/* The greatest number of microseconds that is a number of nanoseconds, and the next. */
	{ V2, "user_usec 18446744073709551\nsystem_usec 18446744073709552\n", 0x1, { 18446744073709551000ull } },
	{ V2, "nr_periods 18446744073709551615\nnr_throttled 18446744073709551616\n", 0x4, { 0, 0, ~0ull } },
	{ ACCT, "user 23380\nsystem 7958\n", 0x3, { 233800000000ull, 79580000000ull } },
	{ ACCT, "user 18446744073709551615\nsystem 1\n", 0x2, { 0, 10000000 } },
	{ USAGE, "78157395312\n", 0x2, { 0, 78157395312ull } },
	{ USAGE, "\n", 0, {} },
	{ USAGE, "78157395312 1\n", 0, {} },
	{ PSI,
	  PRESSURE,
	  1 << CGROUP_PRESSURE_MEMORY_SOME | 1 << CGROUP_PRESSURE_MEMORY_FULL,
	  { [CGROUP_PRESSURE_MEMORY_SOME] = US(21568920ull), [CGROUP_PRESSURE_MEMORY_FULL] = US(1043ull) } },
	{ PSI, /* 5.10 has no "full" of cpu */
	  "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
	  1 << CGROUP_PRESSURE_MEMORY_SOME,
	  { [CGROUP_PRESSURE_MEMORY_SOME] = US(7) } },
	{ PSI, "some total=\nfull total=1 \nfull xtotal=1\nother total=5\nsome\ntotal=5\n", 0, {} },
};

static void figures_are_what_the_files_say(void **state)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct cgroup_stat got;

		parse(files[i].format, files[i].text, strlen(files[i].text), &got);
		assert_int_equal(got.known, files[i].known);
		assert_memory_equal(got.value, files[i].value, sizeof(got.value));
	}
}

/* A number that was cut is another number: it must not be taken for one. */
static void figures_of_a_cut_file_are_right_or_not_known(void **state)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		for (size_t bytes = 0; bytes < strlen(files[i].text); bytes++) {
			struct cgroup_stat got;

			parse(files[i].format, files[i].text, bytes, &got);
			assert_int_equal(got.known & ~files[i].known, 0);
			for (unsigned f = 0; f < CGROUP_FIGURES_MAX; f++)
				assert_int_equal(got.value[f], cgroup_stat_knows(&got, f) ? files[i].value[f] : 0);
		}
}

#define PROC_CGROUP(v1, v2) "12:pids:/\n4:cpuset:/wrong\n3:cpu,cpuacct:" v1 "\n1:name=systemd:/wrong\n0::" v2 "\n"

static const struct {
	const char *text, *path, *want; /* NULL: @err */
	int err;
} places[] = {
	{ PROC_CGROUP("/docker/a", "/docker/a"), "/docker/a", "/docker/a", 0 },
	{ PROC_CGROUP("/kube/pod/a", "/system.slice/pod/a"), "/system.slice/pod/a", "/kube/pod/a", 0 },
	/* The process lives below the container: in both hierarchies, in one. */
	{ PROC_CGROUP("/x/a/init.scope", "/docker/a/init.scope"), "/docker/a", "/x/a", 0 },
	{ PROC_CGROUP("/x/a", "/docker/a/init.scope"), "/docker/a", "/x/a", 0 },
	{ PROC_CGROUP("/x/a/b/c", "/docker/a"), "/docker/a", "/x/a", 0 },
	{ PROC_CGROUP("/a/a", "/a/a"), "/a/a", "/a/a", 0 },
	{ PROC_CGROUP("/a/a/a", "/a/a/a"), "/a/a", "/a/a", 0 },
	{ PROC_CGROUP("/a:b", "/a:b"), "/a:b", "/a:b", 0 },
	/* It shares a v1 cgroup with others. */
	{ PROC_CGROUP("/", "/system.slice/web.service"), "/system.slice/web.service", NULL, -ENOENT },
	{ PROC_CGROUP("/system.slice", "/system.slice/web.service"), "/system.slice/web.service", NULL, -ENOENT },
	{ PROC_CGROUP("/a2", "/a"), "/a", NULL, -ENOENT },
	{ PROC_CGROUP("/2a", "/a"), "/a", NULL, -ENOENT },
	/* Another process, another namespace. */
	{ PROC_CGROUP("/docker/a", "/docker/b"), "/docker/a", NULL, -ESRCH },
	{ PROC_CGROUP("/docker/a", "/docker/ab"), "/docker/a", NULL, -ESRCH },
	{ PROC_CGROUP("/../a", "/a"), "/a", NULL, -ESRCH },
	{ PROC_CGROUP("/a/..", "/a"), "/a", NULL, -ESRCH },
	{ PROC_CGROUP("", "/a"), "/a", NULL, -ESRCH },
	{ "0::/a\n", "/a", NULL, -ESRCH },
	{ "3:cpu:/a\n", "/a", NULL, -ESRCH },
	{ "", "/a", NULL, -ESRCH },
	{ PROC_CGROUP("/", "/"), "/", NULL, -ESRCH },
	{ PROC_CGROUP("/x/y/0123456789012345678901234567890123456789/a", "/a"), "/a", NULL, -ENAMETOOLONG },
};

static void v1_path_is_the_cgroups_own(void **state)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const char *controllers[] = { "cpu", "cpuacct" };

		for (unsigned c = 0; c < (strstr(places[i].text, "cpuacct") ? 2 : 1); c++) {
			char got[32] = "untouched";
			int err = cgroup_v1_path(places[i].text, strlen(places[i].text), controllers[c], places[i].path,
						 got, sizeof(got));

			assert_int_equal(err, places[i].err);
			assert_string_equal(got, places[i].want ? places[i].want : "untouched");
		}
	}
}

static void v1_path_of_a_cut_file_is_not_told(void **state)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		for (size_t bytes = 0; bytes < strlen(places[i].text); bytes++) {
			char *exact = malloc(bytes ? bytes : 1), got[32];

			memcpy(exact, places[i].text, bytes);
			assert_int_not_equal(cgroup_v1_path(exact, bytes, "cpu", places[i].path, got, sizeof(got)), 0);
			free(exact);
		}
}

/* --- made-up trees ------------------------------------------------------------------------------------------ */

struct lab {
	char dir[64];
	struct cgroup_reader *reader;
	struct cgroup_place place;
	struct cgroup_stat stat;
	__u32 moved;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void lab_write(const struct lab *lab, const char *name, const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", lab->dir, name);
	for (char *at = path + strlen(lab->dir) + 1; (at = strchr(at, '/')); at++) {
		*at = 0;
		mkdir(path, 0755);
		*at = '/';
	}
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void lab_remove(const struct lab *lab, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", lab->dir, name);
	assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* @options: of the v1 mounts "v1" and, when not empty, "acct". */
static void lab_open(struct lab *lab, const char *options, const char *acct_options)
{
	char text[1024], mount[128], proc[128];
	struct why why = {};

	snprintf(text, sizeof(text),
		 "cgroup %s/none cgroup rw,cpu 0 0\ncgroup2 %s/v2 cgroup2 rw 0 0\n"
		 "cgroup %s/v1 cgroup rw,relatime,%s 0 0\ncgroup %s/acct cgroup rw,%s 0 0\n",
		 lab->dir, lab->dir, lab->dir, options, lab->dir, acct_options);
	lab_write(lab, "proc/mounts", text);
	snprintf(mount, sizeof(mount), "%s/v2", lab->dir);
	snprintf(proc, sizeof(proc), "%s/proc", lab->dir);
	lab->reader = cgroup_reader_open(mount, proc, &why);
	if (!lab->reader)
		fail_msg("%s", why.text);
}

static const struct cgroup_stat *lab_read(struct lab *lab, const char *path)
{
	cgroup_reader_read(lab->reader, path, &lab->place, &lab->stat, &lab->moved);
	return &lab->stat;
}

static int setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	strcpy(lab->dir, "/tmp/weir-cgroup-stat-XXXXXX");
	if (!mkdtemp(lab->dir))
		return -1;
	*state = lab;
	lab_write(lab, "v2/cgroup.procs", "");
	lab_write(lab, "v1/cgroup.procs", "");
	lab_write(lab, "acct/cgroup.procs", "");
	return 0;
}

static int teardown(void **state)
{
	struct lab *lab = *state;

	cgroup_place_done(&lab->place);
	cgroup_reader_close(lab->reader);
	nftw(lab->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(lab);
	return 0;
}

static void reader_takes_all_from_a_pure_v2_tree(void **state)
{
	struct lab *lab = *state;
	const struct cgroup_stat *stat;

	lab_write(lab, "v2/docker/a/cpu.stat", CPU_STAT_V2);
	lab_write(lab, "v2/docker/a/cpu.pressure", PRESSURE);
	lab_write(lab, "v2/docker/a/memory.pressure", "some total=3\nfull total=2\n");
	lab_write(lab, "v2/docker/a/io.pressure", "some total=5\nfull total=4\n");
	lab_open(lab, "memory", "pids");
	stat = lab_read(lab, "/docker/a");
	assert_int_equal(stat->known, (1u << CGROUP_FIGURES_MAX) - 1);
	assert_int_equal(stat->value[CGROUP_CPU_THROTTLED_TIME], US(48313977ull));
	assert_int_equal(stat->value[CGROUP_PRESSURE_CPU_SOME], US(21568920ull));
	assert_int_equal(stat->value[CGROUP_PRESSURE_MEMORY_FULL], US(2));
	assert_int_equal(stat->value[CGROUP_PRESSURE_IO_SOME], US(5));
	assert_int_equal(lab->moved, 0);

	/* What is gone is not known, and not 0. */
	lab_remove(lab, "v2/docker/a/io.pressure");
	assert_int_equal(lab_read(lab, "/docker/a")->known, (1u << CGROUP_PRESSURE_IO_SOME) - 1);
	lab_remove(lab, "v2/docker/a");
	assert_int_equal(lab_read(lab, "/docker/a")->known, 0);
	assert_int_equal(lab_read(lab, "/")->known, 0);
	assert_int_equal(lab_read(lab, "")->known, 0);
}

static void reader_takes_throttling_from_v1_where_the_process_is(void **state)
{
	struct lab *lab = *state;
	const struct cgroup_stat *stat;

	lab_write(lab, "v2/docker/a/cpu.stat", "usage_usec 5\nuser_usec 3\nsystem_usec 2\n");
	lab_write(lab, "v2/docker/a/cgroup.procs", "");
	lab_write(lab, "v2/docker/a/init.scope/cgroup.procs", "0\n77\n");
	lab_write(lab, "proc/77/cgroup", "2:cpu:/kube/a/init.scope\n0::/docker/a/init.scope\n");
	lab_write(lab, "v1/kube/a/cpu.stat", CPU_STAT_V1);
	lab_write(lab, "v1/docker/a/cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 1\n"); /* not ours */
	lab_open(lab, "cpu,cpuacct", "cpuset");
	stat = lab_read(lab, "/docker/a");
	assert_int_equal(stat->known, 0x1f);
	assert_int_equal(stat->value[CGROUP_CPU_USER], US(3));
	assert_int_equal(stat->value[CGROUP_CPU_PERIODS], 613);
	assert_int_equal(stat->value[CGROUP_CPU_THROTTLED_TIME], 48313977123ull);

	/* Nobody is asked a second time while it is there ... */
	lab_remove(lab, "proc/77");
	assert_int_equal(lab_read(lab, "/docker/a")->value[CGROUP_CPU_PERIODS], 613);
	assert_int_equal(lab->moved, 0);
	/* ... and when it has moved, a difference to what was read before means nothing. */
	lab_remove(lab, "v1/kube");
	lab_write(lab, "proc/77/cgroup", "2:cpu:/new/a/init.scope\n0::/docker/a/init.scope\n");
	lab_write(lab, "v1/new/a/cpu.stat", "nr_periods 7\nnr_throttled 2\nthrottled_time 1\n");
	assert_int_equal(lab_read(lab, "/docker/a")->value[CGROUP_CPU_PERIODS], 7);
	assert_int_equal(lab->moved, 0x1c);
	lab_read(lab, "/docker/a");
	assert_int_equal(lab->moved, 0);
}

static void reader_takes_the_same_path_when_nobody_can_be_asked(void **state)
{
	struct lab *lab = *state;

	lab_write(lab, "v2/docker/a/cpu.stat", "user_usec 3\nsystem_usec 2\n");
	lab_write(lab, "v2/docker/a/cgroup.procs", "");
	lab_write(lab, "v1/docker/a/cpu.stat", CPU_STAT_V1);
	lab_open(lab, "cpu", "cpuset");
	assert_int_equal(lab_read(lab, "/docker/a")->value[CGROUP_CPU_PERIODS], 613);
}

static void reader_takes_nothing_from_a_shared_v1_cgroup(void **state)
{
	struct lab *lab = *state;

	lab_write(lab, "v2/system.slice/web.service/cpu.stat", "user_usec 3\nsystem_usec 2\n");
	lab_write(lab, "v2/system.slice/web.service/cgroup.procs", "77\n");
	lab_write(lab, "proc/77/cgroup", "2:cpu:/system.slice\n0::/system.slice/web.service\n");
	lab_write(lab, "v1/system.slice/cpu.stat", CPU_STAT_V1);
	lab_write(lab, "v1/system.slice/web.service/cpu.stat", CPU_STAT_V1); /* left over, and not where it is */
	lab_open(lab, "cpu", "cpuset");
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(lab_read(lab, "/system.slice/web.service")->known, 0x3);
}

/* A runtime makes the v1 cgroup after that of v2: found late, but found. */
static void reader_looks_again_for_what_was_not_there(void **state)
{
	struct lab *lab = *state;
	unsigned readings = 0;

	lab_write(lab, "v2/docker/a/cpu.stat", "user_usec 3\nsystem_usec 2\n");
	lab_open(lab, "cpu", "cpuset");
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(lab_read(lab, "/docker/a")->known, 0x3);
	/* At once when its first process comes ... */
	lab_write(lab, "v2/docker/a/cgroup.procs", "77\n");
	lab_write(lab, "proc/77/cgroup", "2:cpu:/kube/a\n0::/docker/a\n");
	lab_write(lab, "v1/kube/a/cpu.stat", CPU_STAT_V1);
	assert_int_equal(lab_read(lab, "/docker/a")->value[CGROUP_CPU_PERIODS], 613);
	assert_int_equal(lab->moved, 0);
	/* ... and some time later when a process moves. */
	cgroup_place_done(&lab->place);
	lab_write(lab, "proc/77/cgroup", "2:cpu:/kube\n0::/docker/a\n");
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(lab_read(lab, "/docker/a")->known, 0x3);
	lab_write(lab, "proc/77/cgroup", "2:cpu:/kube/a\n0::/docker/a\n");
	while (!cgroup_stat_knows(lab_read(lab, "/docker/a"), CGROUP_CPU_PERIODS))
		assert_true(readings++ < 40);
	assert_int_equal(lab->moved, 0);
}

static void reader_takes_cpu_time_from_cpuacct_where_v2_has_none(void **state)
{
	struct lab *lab = *state;
	const struct cgroup_stat *stat;

	lab_write(lab, "v2/docker/a/cgroup.procs", "77\n");
	lab_write(lab, "proc/77/cgroup", "3:cpuacct:/other/a\n2:cpu:/docker/a\n0::/docker/a\n");
	lab_write(lab, "v1/docker/a/cpu.stat", CPU_STAT_V1);
	lab_write(lab, "acct/other/a/cpuacct.usage_user", "11\n");
	lab_write(lab, "acct/other/a/cpuacct.usage_sys", "13\n");
	lab_open(lab, "cpu", "cpuacct");
	stat = lab_read(lab, "/docker/a");
	assert_int_equal(stat->known, 0x1f);
	assert_int_equal(stat->value[CGROUP_CPU_USER], 11);
	assert_int_equal(stat->value[CGROUP_CPU_SYSTEM], 13);

	lab_remove(lab, "acct/other/a/cpuacct.usage_user");
	lab_write(lab, "acct/other/a/cpuacct.stat", "user 2\nsystem 3\n");
	assert_int_equal(lab_read(lab, "/docker/a")->value[CGROUP_CPU_SYSTEM],
			 3 * NS_PER_S / (__u64)sysconf(_SC_CLK_TCK));
	/* Counted by somebody else from now on. */
	lab_write(lab, "v2/docker/a/cpu.stat", "user_usec 3\nsystem_usec 2\n");
	assert_int_equal(lab_read(lab, "/docker/a")->value[CGROUP_CPU_USER], US(3));
	assert_int_equal(lab->moved, 0x3);
}

static void reader_open_says_what_is_missing(void **state)
{
	struct lab *lab = *state;
	struct why why = {};

	assert_null(cgroup_reader_open("/nonexistent", NULL, &why));
	assert_non_null(strstr(why.text, "/nonexistent"));
	assert_null(cgroup_reader_open(lab->dir, lab->dir, &why));
	assert_non_null(strstr(why.text, "mounts"));
	cgroup_reader_close(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_are_what_the_files_say),
		cmocka_unit_test(figures_of_a_cut_file_are_right_or_not_known),
		cmocka_unit_test(v1_path_is_the_cgroups_own),
		cmocka_unit_test(v1_path_of_a_cut_file_is_not_told),
		TEST(reader_takes_all_from_a_pure_v2_tree),
		TEST(reader_takes_throttling_from_v1_where_the_process_is),
		TEST(reader_takes_the_same_path_when_nobody_can_be_asked),
		TEST(reader_takes_nothing_from_a_shared_v1_cgroup),
		TEST(reader_looks_again_for_what_was_not_there),
		TEST(reader_takes_cpu_time_from_cpuacct_where_v2_has_none),
		TEST(reader_open_says_what_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
