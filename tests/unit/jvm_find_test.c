/* Which processes are looked at, how often, and when a number is another process's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "signal/jvm_find.h"

#define SECOND 1000000000ull

struct world {
	char dir[64];
	struct jvm_find *find;
	unsigned looks[100];
	bool is[100]; /* what the look finds */
};

static bool look(void *arg, __u32 pid)
{
	struct world *w = arg;

	assert_in_range(pid, 1, 99);
	w->looks[pid]++;
	return w->is[pid];
}

static void process(struct world *w, unsigned pid, bool there)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%u", w->dir, pid);
	assert_int_equal(there ? mkdir(path, 0755) : rmdir(path), 0);
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct jvm_find_options options = { .look = look, .arg = w };

	strcpy(w->dir, "/tmp/jvm_find_XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	options.proc = w->dir;
	w->find = jvm_find_new(&options);
	assert_non_null(w->find);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	char command[128];

	jvm_find_free(w->find);
	snprintf(command, sizeof(command), "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

static void a_new_process_is_looked_at_with_a_few_lists(void **state)
{
	struct world *w = *state;

	process(w, 7, true);
	for (unsigned i = 0; i < JVM_FIND_LOOKS + 2; i++)
		assert_int_equal(jvm_find_all(w->find, i * JVM_FIND_SCAN_NS), 0);
	assert_int_equal(w->looks[7], JVM_FIND_LOOKS);
	for (unsigned i = 0; i < JVM_FIND_ALL; i++) /* one of them is a list of all */
		assert_int_equal(jvm_find_all(w->find, i * JVM_FIND_SCAN_NS), 0);
	assert_int_equal(w->looks[7], JVM_FIND_LOOKS + 1);
}

static void what_is_known_is_left_alone(void **state)
{
	struct world *w = *state;

	process(w, 7, true);
	w->is[7] = true;
	for (unsigned i = 0; i < 20; i++)
		jvm_find_all(w->find, i);
	assert_int_equal(w->looks[7], 1);
	/* The number was given to another process between two lists that had neither. */
	process(w, 7, false);
	jvm_find_all(w->find, 21);
	process(w, 7, true);
	jvm_find_all(w->find, 22);
	assert_int_equal(w->looks[7], 2);
}

static void one_that_was_just_started_is_looked_at_until_it_is_old(void **state)
{
	struct world *w = *state;
	unsigned ticks = 0;

	jvm_find_tick(w->find, 0); /* the list; the next one is far */
	jvm_find_soon(w->find, 9, 0);
	for (__u64 now_ns = SECOND; now_ns < JVM_FIND_SCAN_NS; now_ns += SECOND, ticks++)
		jvm_find_tick(w->find, now_ns);
	assert_int_equal(w->looks[9], ticks);
	for (__u64 now_ns = JVM_FIND_SCAN_NS; now_ns < 3 * JVM_FIND_YOUNG_NS; now_ns += SECOND)
		jvm_find_tick(w->find, now_ns);
	assert_in_range(w->looks[9], ticks + 1, JVM_FIND_YOUNG_NS / SECOND + 1);
}

static void one_that_was_just_started_ends_as_what_it_is(void **state)
{
	struct world *w = *state;

	jvm_find_tick(w->find, 0);
	jvm_find_soon(w->find, 9, 0);
	w->is[9] = true;
	for (unsigned i = 1; i < 9; i++)
		jvm_find_tick(w->find, i * SECOND);
	assert_int_equal(w->looks[9], 1);
}

static void a_program_that_becomes_another_one_is_new(void **state)
{
	struct world *w = *state;

	process(w, 7, true);
	w->is[7] = true;
	jvm_find_all(w->find, 0);
	jvm_find_soon(w->find, 7, 1);
	jvm_find_tick(w->find, 2);
	assert_int_equal(w->looks[7], 2);
}

static void too_many_starts_at_once_are_no_harm(void **state)
{
	struct world *w = *state;

	jvm_find_tick(w->find, 0);
	for (unsigned i = 0; i < 2 * JVM_FIND_SOON_MAX; i++)
		jvm_find_soon(w->find, 1 + i % 99, 0);
	jvm_find_tick(w->find, 1);
	assert_in_range(w->looks[1], 1, JVM_FIND_SOON_MAX);
}

static void a_proc_that_is_not_there_is_an_error(void **state)
{
	struct jvm_find_options options = { .proc = "/nowhere", .look = look };
	struct jvm_find *find = jvm_find_new(&options);

	assert_non_null(find);
	assert_int_equal(jvm_find_all(find, 0), -ENOENT);
	jvm_find_free(find);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_new_process_is_looked_at_with_a_few_lists, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_known_is_left_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_was_just_started_is_looked_at_until_it_is_old, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(one_that_was_just_started_ends_as_what_it_is, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_program_that_becomes_another_one_is_new, set_up, tear_down),
		cmocka_unit_test_setup_teardown(too_many_starts_at_once_are_no_harm, set_up, tear_down),
		cmocka_unit_test(a_proc_that_is_not_there_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
