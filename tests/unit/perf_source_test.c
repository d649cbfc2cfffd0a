/* Where counters come from: of this very process, which maps a made-up file of a JVM, cuts it, and unmaps it; and what
 * kind of JVM it looks like. (Real JVMs and their memory: tests/e2e/test_jvm_perfdata.py.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/why.h"
#include "jvm/kind.h"
#include "jvm/perf_source.h"
#include "jvm/perfdata.h"
#include "perfdata_image.h"

#define MAPPED IMAGE_BYTES

struct lab {
	char dir[64], file[128];
	struct image image;
	char *map;
	struct perf_source *source;
	struct process_stat self;
	struct why why;
};

static int setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	strcpy(lab->dir, "/tmp/weir-test-XXXXXX");
	assert_non_null(mkdtemp(lab->dir));
	image_init(&lab->image);
	image_number(&lab->image, "sun.rt.safepoints", 7);
	assert_int_equal(process_stat_read("/proc", (__u32)getpid(), &lab->self), 0);
	*state = lab;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void unmap(struct lab *lab)
{
	if (lab->map)
		munmap(lab->map, MAPPED);
	lab->map = NULL;
}

static int teardown(void **state)
{
	struct lab *lab = *state;

	perf_source_close(lab->source);
	unmap(lab);
	nftw(lab->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(lab);
	return 0;
}

/* A file with the image, mapped as a JVM does it. */
static void map_file(struct lab *lab, const char *dir, const char *name, int protection)
{
	int fd;

	snprintf(lab->file, sizeof(lab->file), "%s/%s", lab->dir, dir);
	mkdir(lab->file, 0755);
	snprintf(lab->file, sizeof(lab->file), "%s/%s/%s", lab->dir, dir, name);
	fd = open(lab->file, O_RDWR | O_CREAT | O_CLOEXEC, 0700);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, lab->image.bytes, MAPPED, 0), MAPPED);
	lab->map = mmap(NULL, MAPPED, protection, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(lab->map, MAP_FAILED);
	close(fd);
}

static int lab_open(struct lab *lab)
{
	return perf_source_open("/proc", (__u32)getpid(), lab->self.start_ticks, &lab->source, &lab->why);
}

static __u64 safepoints(struct lab *lab)
{
	__u64 value = 0;

	assert_int_equal(perf_source_read(lab->source, &lab->why), 0);
	assert_true(perfdata_number(perf_source_data(lab->source), "sun.rt.safepoints", &value));
	return value;
}

static void the_file_is_found_and_read_anew(void **state)
{
	struct lab *lab = *state;
	__u64 address;

	map_file(lab, "hsperfdata_test", "1", PROT_READ | PROT_WRITE);
	assert_int_equal(lab_open(lab), 0);
	assert_string_equal(perf_source_way(lab->source), "hsperfdata file");
	assert_int_equal(safepoints(lab), 7);
	assert_int_equal(perf_source_bytes(lab->source), lab->image.used);
	/* Through the address that it tells. */
	assert_int_equal(perf_source_address(lab->source, "sun.rt.safepoints", &address), 0);
	*(volatile __u64 *)(uintptr_t)address = 11;
	assert_int_equal(safepoints(lab), 11);
	assert_int_equal(perf_source_address(lab->source, "sun.rt.safepoint", &address), -ENOENT);
}

static void a_block_that_grows_is_read_whole(void **state)
{
	struct lab *lab = *state;
	__u64 value;

	map_file(lab, "hsperfdata_test", "1", PROT_READ | PROT_WRITE);
	assert_int_equal(lab_open(lab), 0);
	for (__s64 i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "new.%lld", i);
		image_number(&lab->image, name, i);
		memcpy(lab->map, lab->image.bytes, lab->image.used);
		assert_int_equal(perf_source_read(lab->source, &lab->why), 0);
		assert_true(perfdata_number(perf_source_data(lab->source), name, &value));
		assert_int_equal(value, i);
	}
	assert_int_equal(safepoints(lab), 7);
}

static void a_file_without_name_is_read(void **state)
{
	struct lab *lab = *state;

	if (geteuid()) /* its link may be followed by CAP_CHECKPOINT_RESTORE only */
		skip();
	map_file(lab, "hsperfdata_test", "1", PROT_READ | PROT_WRITE);
	unlink(lab->file);
	assert_int_equal(lab_open(lab), 0);
	assert_int_equal(safepoints(lab), 7);
}

static void a_cut_file_is_a_reason(void **state)
{
	struct lab *lab = *state;
	__u64 value;

	map_file(lab, "hsperfdata_test", "1", PROT_READ | PROT_WRITE);
	assert_int_equal(lab_open(lab), 0);
	assert_int_equal(truncate(lab->file, 20), 0);
	assert_int_equal(perf_source_read(lab->source, &lab->why), -EBADMSG);
	assert_non_null(strstr(lab->why.text, "cut"));
	assert_false(perfdata_number(perf_source_data(lab->source), "sun.rt.safepoints", &value));
	/* Zeros from there on: no entries. */
	assert_int_equal(truncate(lab->file, MAPPED), 0);
	assert_int_equal(perf_source_read(lab->source, &lab->why), 0);
	assert_false(perfdata_number(perf_source_data(lab->source), "sun.rt.safepoints", &value));
	memcpy(lab->map, lab->image.bytes, lab->image.used);
	assert_int_equal(safepoints(lab), 7);
}

static void a_block_that_lies_about_its_size_is_read_to_its_end(void **state)
{
	struct lab *lab = *state;

	image_put_s32(&lab->image, 8, PERFDATA_BYTES_MAX);
	map_file(lab, "hsperfdata_test", "1", PROT_READ | PROT_WRITE);
	assert_int_equal(lab_open(lab), 0);
	assert_int_equal(safepoints(lab), 7);
	assert_int_equal(perf_source_bytes(lab->source), MAPPED);
}

static void what_is_not_accessible_yet_is_tried_again(void **state)
{
	struct lab *lab = *state;

	lab->image.bytes[7] = 0;
	map_file(lab, "hsperfdata_test", "1", PROT_READ | PROT_WRITE);
	assert_int_equal(lab_open(lab), -EAGAIN);
	lab->map[7] = 1;
	assert_int_equal(lab_open(lab), 0);
}

/* Those of others (jps maps them to read), and what only has a similar name. */
static void other_files_are_not_taken(void **state)
{
	static const struct {
		const char *dir, *name;
		int protection;
	} files[] = {
		{ "hsperfdata_test", "1", PROT_READ },
		{ "hsperfdata_test", "1x", PROT_READ | PROT_WRITE },
		{ "xhsperfdata_test", "1", PROT_READ | PROT_WRITE },
		{ "hsperfdata", "1", PROT_READ | PROT_WRITE },
	};
	struct lab *lab = *state;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		map_file(lab, files[i].dir, files[i].name, files[i].protection);
		assert_int_equal(lab_open(lab), -ENOENT);
		assert_non_null(strstr(lab->why.text, "no HotSpot JVM"));
		unmap(lab);
	}
}

static void another_process_of_the_same_id_is_not_read(void **state)
{
	struct lab *lab = *state;

	map_file(lab, "hsperfdata_test", "1", PROT_READ | PROT_WRITE);
	lab->self.start_ticks--;
	assert_int_equal(lab_open(lab), -ESRCH);
	assert_non_null(strstr(lab->why.text, "another one has its number"));
	assert_int_equal(perf_source_open("/nonexistent", 1, 1, &lab->source, &lab->why), -ESRCH);
}

/* As after exec: the same process, but not the JVM any more. */
static void a_file_that_is_not_mapped_any_more_is_the_end(void **state)
{
	struct lab *lab = *state;

	if (geteuid()) /* unprivileged processes cannot see the link */
		skip();
	map_file(lab, "hsperfdata_test", "1", PROT_READ | PROT_WRITE);
	assert_int_equal(lab_open(lab), 0);
	unmap(lab);
	assert_int_equal(perf_source_read(lab->source, &lab->why), -ESRCH);
	assert_non_null(strstr(lab->why.text, "another program"));
}

static void stat_is_start_and_cpu_time(void **state)
{
	static const char end[] = " 4194560 3 0 0 0 17 11 500 700 20 0 21 0 987654 2752512 9000\n";
	struct process_stat stat = { 1, 1 };
	char text[256];
	size_t bytes;
	__u64 ns = 28 * 1000000000ull / (__u64)sysconf(_SC_CLK_TCK);

	bytes = (size_t)snprintf(text, sizeof(text), "4711 (a) R 1 (b)) S 1 4711 4711 0 -1%s", end);
	assert_int_equal(process_stat_parse(text, bytes, &stat), 0);
	assert_int_equal(stat.start_ticks, 987654);
	assert_int_equal(stat.cpu_ns, ns);
	for (size_t cut = 0; cut < bytes; cut++) {
		char *exact = malloc(cut ? cut : 1);

		memcpy(exact, text, cut);
		if (!process_stat_parse(exact, cut, &stat))
			assert_int_equal(stat.start_ticks, 987654);
		free(exact);
	}
	assert_int_equal(process_stat_parse("1 (a) S -1 ", 11, &stat), -EINVAL);
	assert_int_equal(process_stat_read("/nonexistent", 1, &stat), -ESRCH);
}

static void *map_library(struct lab *lab, const char *name)
{
	map_file(lab, "lib", name, PROT_READ);
	return lab->map;
}

static enum jvm_kind kind(void)
{
	enum jvm_kind kind = JVM_KIND_NONE;

	assert_int_equal(jvm_kind_of("/proc", (__u32)getpid(), &kind), 0);
	return kind;
}

static void kinds_are_told_by_what_is_mapped(void **state)
{
	struct lab *lab = *state;
	enum jvm_kind found;
	void *libjvm;

	assert_int_equal(kind(), JVM_KIND_NONE);
	map_library(lab, "libjvm.so.1");
	assert_int_equal(kind(), JVM_KIND_NONE);
	unmap(lab);
	libjvm = map_library(lab, "libjvm.so");
	assert_int_equal(kind(), JVM_KIND_HOTSPOT);
	map_library(lab, "libj9vm29.so");
	assert_int_equal(kind(), JVM_KIND_OPENJ9); /* although it has a libjvm.so too */
	munmap(libjvm, MAPPED);
	assert_int_equal(kind(), JVM_KIND_OPENJ9);
	assert_int_equal(jvm_kind_of("/nonexistent", 1, &found), -ESRCH);
	for (found = JVM_KIND_NONE; found <= JVM_KIND_NATIVE_IMAGE; found++)
		assert_true(strlen(jvm_kind_sentence(found)) > 10);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_file_is_found_and_read_anew),
		TEST(a_block_that_grows_is_read_whole),
		TEST(a_file_without_name_is_read),
		TEST(a_cut_file_is_a_reason),
		TEST(a_block_that_lies_about_its_size_is_read_to_its_end),
		TEST(what_is_not_accessible_yet_is_tried_again),
		TEST(other_files_are_not_taken),
		TEST(another_process_of_the_same_id_is_not_read),
		TEST(a_file_that_is_not_mapped_any_more_is_the_end),
		TEST(stat_is_start_and_cpu_time),
		TEST(kinds_are_told_by_what_is_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
