/* Interned strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/intern.h"

static void equal_strings_have_equal_pointers(void **state)
{
	char text[16] = "hello";
	const char *a = intern_str(text);

	assert_string_equal(a, "hello");
	assert_ptr_not_equal(a, text);
	text[0] = 'j';
	assert_string_equal(a, "hello");
	assert_ptr_equal(intern_str("hello"), a);
	assert_ptr_equal(intern("hello world", 5), a);
	assert_ptr_equal(intern("hello\0world", 11), a);
	assert_ptr_not_equal(intern_str("hell"), a);
	assert_ptr_not_equal(intern_str("hello "), a);
	assert_string_equal(intern("", 0), "");
	assert_ptr_equal(intern_str(""), intern("x", 0));
}

static void *worker(void *arg)
{
	const char **strings = arg;
	char text[32];

	for (int i = 0; i < 2000; i++) {
		snprintf(text, sizeof(text), "thread-%d", i);
		strings[i] = intern_str(text);
	}
	return NULL;
}

static void threads_get_the_same_pointers(void **state)
{
	static const char *strings[3][2000];
	pthread_t threads[3];

	for (int t = 0; t < 3; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, worker, strings[t]), 0);
	for (int t = 0; t < 3; t++)
		pthread_join(threads[t], NULL);
	assert_memory_equal(strings[0], strings[1], sizeof(strings[0]));
	assert_memory_equal(strings[0], strings[2], sizeof(strings[0]));
	assert_string_equal(strings[0][1234], "thread-1234");
}

static void long_strings_are_kept_whole(void **state)
{
	char *text = malloc(100001);
	const char *kept;

	memset(text, 'x', 100000);
	text[100000] = '\0';
	kept = intern_str(text);
	assert_string_equal(kept, text);
	assert_ptr_equal(intern_str(text), kept);
	text[5] = 'y';
	assert_ptr_not_equal(intern_str(text), kept);
	free(text);
}

/* Last: afterwards the table is full. */
static void memory_is_bounded_and_the_rest_is_one_string(void **state)
{
	const char *before = intern_str("thread-7"), *overflow = NULL;
	char text[64];
	int i;

	for (i = 0; i < 10000000 && !overflow; i++) {
		const char *got;

		snprintf(text, sizeof(text), "a somewhat longer string number %d", i);
		got = intern_str(text);
		if (strcmp(got, text))
			overflow = got;
	}
	assert_true(i > 50000);
	assert_string_equal(overflow, INTERN_OVERFLOW);
	assert_ptr_equal(intern_str("a new one"), overflow);
	assert_ptr_equal(intern_str(INTERN_OVERFLOW), overflow);
	assert_true(intern_overflowed() >= 2);
	assert_true(intern_used_bytes() <= INTERN_BYTES_MAX);
	assert_ptr_equal(intern_str("thread-7"), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_strings_have_equal_pointers),
		cmocka_unit_test(threads_get_the_same_pointers),
		cmocka_unit_test(long_strings_are_kept_whole),
		cmocka_unit_test(memory_is_bounded_and_the_rest_is_one_string),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
