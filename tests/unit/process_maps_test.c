/* Mapped files: what lines of maps say, made-up ones at every cut, and files that this process has mapped, whose names
 * have since been taken away or given to others. */
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
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/process_maps.h"

#define LINE "7f0d6a2e3000-7f0d6b36f000 r-xp 002e3000 fe:1a 4026 /opt/jdk/lib/server/libjvm.so"

static const struct {
	const char *line;
	struct process_map map;
} good[] = {
	{ LINE,
	  { 0x7f0d6a2e3000, 0x7f0d6b36f000, 0x2e3000, 4026, 0xfe, 0x1a, true, false, false,
	    "/opt/jdk/lib/server/libjvm.so" } },
	{ "1000-2000 rw-p 00000000 00:2f 18446744073709551615                       /a b (deleted)",
	  { 0x1000, 0x2000, 0, ~0ull, 0, 0x2f, false, true, true, "/a b" } },
	{ "0-ffffffffffffffff --xs ffffffffffffffff ffffffff:ffffffff 1 / (deleted)",
	  { 0, ~0ull, ~0ull, 1, ~0u, ~0u, true, false, true, "/" } },
	{ "1000-2000 r--p 00000000 00:01 7 /(deleted)",
	  { 0x1000, 0x2000, 0, 7, 0, 1, false, false, false, "/(deleted)" } },
	{ "1000-2000 r--p 00000000 00:01 7 /x\\012y", { 0x1000, 0x2000, 0, 7, 0, 1, false, false, false, "/x\\012y" } },
};

static const struct {
	const char *line;
	int err;
} bad[] = {
	{ "1000-2000 rw-p 00000000 00:00 0 ", -ENOENT },
	{ "1000-2000 rw-p 00000000 00:00 0", -ENOENT },
	{ "1000-2000 rw-p 00000000 00:00 0                          [heap]", -ENOENT },
	{ "1000-2000 rw-p 00000000 00:0e 1044 anon_inode:[perf_event]", -ENOENT },
	{ "1000-2000 rw-p 00000000 00:00 0 /no/inode", -ENOENT },
	{ "2000-2000 r-xp 00000000 00:01 7 /a", -EINVAL },
	{ "2000-1000 r-xp 00000000 00:01 7 /a", -EINVAL },
	{ "10000000000000000-20000000000000000 r-xp 00000000 00:01 7 /a", -EINVAL },
	{ "1000-2000 r-xp 00000000 100000000:01 7 /a", -EINVAL },
	{ "1000-2000 r-xp 00000000 00:01 18446744073709551616 /a", -EINVAL },
	{ "1000-2000 r-xp 00000000 00:01 7f /a", -ENOENT },
	{ "1000-2000 r-x 00000000 00:01 7 /a", -EINVAL },
	{ "1000 -2000 r-xp 00000000 00:01 7 /a", -EINVAL },
	{ "-2000 r-xp 00000000 00:01 7 /a", -EINVAL },
	{ "1000-2000 r-xp  00:01 7 /a", -EINVAL },
	{ "0x1000-0x2000 r-xp 00000000 00:01 7 /a", -EINVAL },
	{ " 1000-2000 r-xp 00000000 00:01 7 /a", -EINVAL },
	{ "", -EINVAL },
};

static int parse(const char *line, size_t bytes, struct process_map *ret)
{
	char *exact = malloc(bytes ? bytes : 1); /* of exactly that size, so that reading on is found */
	int err;

	memcpy(exact, line, bytes);
	err = process_map_parse(exact, bytes, ret);
	free(exact);
	return err;
}

static void lines_are_understood_or_refused(void **state)
{
	struct process_map map = {};
	int err;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const struct process_map *wanted = &good[i].map;

		err = parse(good[i].line, strlen(good[i].line), &map);
		if (err || map.start != wanted->start || map.end != wanted->end || map.offset != wanted->offset ||
		    map.inode != wanted->inode || map.major != wanted->major || map.minor != wanted->minor ||
		    map.executable != wanted->executable || map.writable != wanted->writable ||
		    map.deleted != wanted->deleted || strcmp(map.path, wanted->path) != 0)
			fail_msg("%s: %d %s", good[i].line, err, map.path);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err = parse(bad[i].line, strlen(bad[i].line), &map);
		if (err != bad[i].err)
			fail_msg("%s: %d", bad[i].line, err);
	}
}

static void a_cut_line_is_refused_or_has_a_shorter_path(void **state)
{
	const size_t path = strlen(LINE) - strlen(strchr(LINE, '/'));

	for (size_t bytes = 0; bytes < strlen(LINE); bytes++) {
		struct process_map map = {};
		int err = parse(LINE, bytes, &map);

		assert_true(bytes <= path ? err == -EINVAL || err == -ENOENT : !err);
		if (!err)
			assert_int_equal(bytes - path, strlen(map.path));
	}
}

static void paths_with_nul_or_too_long_are_refused(void **state)
{
	char line[PROCESS_MAP_PATH_ROOM + 100];
	struct process_map map = {};
	int used = sprintf(line, "1000-2000 r-xp 00000000 00:01 7 ");

	memset(line + used, '/', PROCESS_MAP_PATH_ROOM);
	assert_int_equal(-ENAMETOOLONG, parse(line, (size_t)used + PROCESS_MAP_PATH_ROOM, &map));
	assert_int_equal(0, parse(line, (size_t)used + PROCESS_MAP_PATH_ROOM - 1, &map));
	line[used + 3] = 0;
	assert_int_equal(-EINVAL, parse(line, (size_t)used + 5, &map));
}

static void names_match_whole_components(void **state)
{
	assert_true(path_ends_in("/usr/lib/libjvm.so", "libjvm.so"));
	assert_true(path_ends_in("/libjvm.so", "libjvm.so"));
	assert_false(path_ends_in("/usr/lib/xlibjvm.so", "libjvm.so"));
	assert_false(path_ends_in("/usr/libjvm.so/x", "libjvm.so"));
	assert_false(path_ends_in("/usr/libjvm.so.1", "libjvm.so"));
	assert_true(path_has_prefix("/tmp/hsperfdata_root/1", "hsperfdata_"));
	assert_true(path_has_prefix("/hsperfdata_", "hsperfdata_"));
	assert_false(path_has_prefix("/tmp/xhsperfdata_root/1", "hsperfdata_"));
	assert_false(path_has_prefix("/tmp/hsperfdata", "hsperfdata_"));
	assert_false(path_has_prefix("/", "hsperfdata_"));
}

/* --- made-up processes -------------------------------------------------------------------------------------- */

struct fixture {
	char dir[64];
	FILE *maps; /* of process 7 */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[128];

	strcpy(f->dir, "/tmp/weir-maps-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(0, chmod(f->dir, 0755));
	snprintf(path, sizeof(path), "%s/7", f->dir);
	assert_int_equal(0, mkdir(path, 0755));
	snprintf(path, sizeof(path), "%s/7/maps", f->dir);
	f->maps = fopen(path, "w");
	assert_non_null(f->maps);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fclose(f->maps);
	nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static bool is_wanted(const char *path)
{
	return path_ends_in(path, "wanted");
}

static void finds_the_wanted_ones_in_order_up_to_the_room(void **state)
{
	struct process_map maps[3];
	struct fixture *f = *state;

	for (unsigned i = 1; i <= 1009; i++)
		fprintf(f->maps, "%x000-%x000 r--p 00000000 00:01 %u    /%s\n", i, i + 1, i,
			i % 500 == 3 ? "wanted (deleted)" : "other");
	fputs("ffff0000-ffff1000 r-xp 00000000 00:01 2000 /wanted", f->maps); /* no newline: not a whole line */
	fflush(f->maps);
	assert_int_equal(3, process_maps_find(f->dir, 7, is_wanted, maps, 3));
	assert_int_equal(3, maps[0].inode);
	assert_int_equal(503, maps[1].inode);
	assert_int_equal(1003, maps[2].inode);
	assert_true(maps[2].deleted);
	assert_int_equal(1, process_maps_find(f->dir, 7, is_wanted, maps, 1));
	assert_int_equal(0, process_maps_find(f->dir, 7, is_wanted, maps, 0));
	assert_int_equal(-ESRCH, process_maps_find(f->dir, 8, is_wanted, maps, 3));
}

/* A name of 9000 bytes: the rest of its line looks like a line. */
static void the_end_of_a_long_line_is_no_line(void **state)
{
	for (unsigned pad = 8000; pad < 8300; pad++) {
		struct process_map maps[3];
		struct fixture *f = *state;

		rewind(f->maps);
		fprintf(f->maps, "1000-2000 r-xp 00000000 00:01 7 /%0*u", (int)pad, 0);
		fputs("3000-4000 r-xp 00000000 00:01 8 /wanted\n", f->maps);
		fputs("5000-6000 r-xp 00000000 00:01 9 /wanted\n", f->maps);
		fflush(f->maps);
		assert_int_equal(0, ftruncate(fileno(f->maps), ftell(f->maps)));
		assert_int_equal(1, process_maps_find(f->dir, 7, is_wanted, maps, 3));
		assert_int_equal(9, maps[0].inode);
	}
}

static void reading_ends_at_the_limit(void **state)
{
	struct process_map maps[3];
	struct fixture *f = *state;

	assert_int_equal(0, ftruncate(fileno(f->maps), PROCESS_MAPS_BYTES_MAX + 1)); /* one line of holes */
	assert_int_equal(-EFBIG, process_maps_find(f->dir, 7, is_wanted, maps, 3));
	fputs("1000-2000 r-xp 00000000 00:01 7 /wanted\n", f->maps);
	fflush(f->maps);
	assert_int_equal(1, process_maps_find(f->dir, 7, is_wanted, maps, 3));
}

static void the_link_is_named_by_the_addresses(void **state)
{
	struct process_map map = { .start = 0x7f0d6a2e3000, .end = 0x7f0d6b36f000 };
	char path[PROCESS_MAP_FILES_ROOM], cut[8];

	process_map_path("/proc", 4294967295u, &map, path, sizeof(path));
	assert_string_equal("/proc/4294967295/map_files/7f0d6a2e3000-7f0d6b36f000", path);
	process_map_path("/proc", 1, &map, cut, sizeof(cut));
	assert_string_equal("/proc/1", cut);
}

/* --- this process ------------------------------------------------------------------------------------------- */

static void file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(strlen(text), write(fd, text, strlen(text)));
	close(fd);
}

static void file_expect(int fd, const char *text)
{
	char got[64] = "";

	assert_true(fd >= 0);
	assert_int_equal(strlen(text), read(fd, got, sizeof(got) - 1));
	assert_string_equal(text, got);
	close(fd);
}

/* Maps dir/wanted with the text "old" and finds it. */
static void map_wanted(const struct fixture *f, char path[128], struct process_map *ret)
{
	struct stat st;
	void *at;
	int fd;

	snprintf(path, 128, "%s/wanted", f->dir);
	file_write(path, "old");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	assert_true(at != MAP_FAILED);
	assert_int_equal(0, fstat(fd, &st));
	close(fd);
	assert_int_equal(1, process_maps_find("/proc", (__u32)getpid(), is_wanted, ret, 1));
	assert_int_equal((uintptr_t)at, ret->start);
	assert_int_equal(st.st_ino, ret->inode);
	assert_true(ret->executable && !ret->writable && !ret->deleted);
	assert_string_equal(path, ret->path);
}

static void unmap(const struct process_map *map)
{
	assert_int_equal(0, munmap((void *)(uintptr_t)map->start, 4096));
}

static void opens_the_mapped_file_whoever_has_its_name(void **state)
{
	const __u32 pid = (__u32)getpid();
	struct fixture *f = *state;
	struct process_map map;
	char path[128];

	if (geteuid())
		skip();
	map_wanted(f, path, &map);
	file_expect(process_map_open("/proc", pid, &map), "old");
	assert_int_equal(0, unlink(path));
	file_write(path, "new");
	file_expect(process_map_open("/proc", pid, &map), "old");
	assert_int_equal(1, process_maps_find("/proc", pid, is_wanted, &map, 1));
	assert_true(map.deleted);
	assert_string_equal(path, map.path);
	unmap(&map);
	assert_int_equal(-ENOENT, process_map_open("/proc", pid, &map));
}

/* Without capabilities map_files is refused. What is asserted in the child is told by its status. */
static void without_privileges_the_path_must_lead_to_the_same_file(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t child;

	if (geteuid())
		skip();
	assert_int_equal(0, chmod(f->dir, 0777));
	child = fork();
	if (!child) {
		char path[128], other[140];
		struct process_map map;

		if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534) || prctl(PR_SET_DUMPABLE, 1))
			_exit(1);
		map_wanted(f, path, &map);
		snprintf(other, sizeof(other), "%s.other", path);
		file_expect(process_map_open("/proc", (__u32)getpid(), &map), "old");
		file_write(other, "new");
		if (rename(other, path))
			_exit(2);
		if (process_map_open("/proc", (__u32)getpid(), &map) != -ESTALE)
			_exit(3);
		if (unlink(path) || symlink("/etc/passwd", path))
			_exit(4);
		if (process_map_open("/proc", (__u32)getpid(), &map) != -ELOOP)
			_exit(5);
		if (unlink(path) || process_map_open("/proc", (__u32)getpid(), &map) != -ENOENT)
			_exit(6);
		_exit(0);
	}
	assert_int_equal(child, waitpid(child, &status, 0));
	assert_int_equal(0, status);
}

/* A made-up map_files: what it leads to is no regular file. */
static void devices_are_not_opened(void **state)
{
	struct process_map map = { .start = 0x1000, .end = 0x2000 };
	struct fixture *f = *state;
	char path[160];

	snprintf(path, sizeof(path), "%s/7/map_files", f->dir);
	assert_int_equal(0, mkdir(path, 0755));
	process_map_path(f->dir, 7, &map, path, sizeof(path));
	assert_int_equal(0, mkfifo(path, 0600)); /* opening it would wait for a writer */
	assert_int_equal(-ESTALE, process_map_open(f->dir, 7, &map));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_understood_or_refused),
		cmocka_unit_test(a_cut_line_is_refused_or_has_a_shorter_path),
		cmocka_unit_test(paths_with_nul_or_too_long_are_refused),
		cmocka_unit_test(names_match_whole_components),
		cmocka_unit_test(the_link_is_named_by_the_addresses),
		cmocka_unit_test_setup_teardown(finds_the_wanted_ones_in_order_up_to_the_room, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_a_long_line_is_no_line, setup, teardown),
		cmocka_unit_test_setup_teardown(reading_ends_at_the_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(opens_the_mapped_file_whoever_has_its_name, setup, teardown),
		cmocka_unit_test_setup_teardown(without_privileges_the_path_must_lead_to_the_same_file, setup,
						teardown),
		cmocka_unit_test_setup_teardown(devices_are_not_opened, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
