/* The hash table of pointers against a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

struct item {
	__u64 key, hash;
	bool in;
};

static bool item_is(const void *item, const void *key)
{
	return ((const struct item *)item)->key == *(const __u64 *)key;
}

/* Hashes of few values: long chains, and chains that wrap around the end of the table. */
static void map_equals_an_array_under_random_use(void **state)
{
	struct item items[300] = { 0 };
	struct map m = { 0 };
	size_t count = 0;

	srand(1);
	for (__u64 i = 0; i < 300; i++)
		items[i] = (struct item){ .key = i, .hash = i % 7 ? ~0ull - i % 50 : 3 };
	for (int step = 0; step < 30000; step++) {
		struct item *item = &items[rand() % 300];

		if (item->in) {
			map_del(&m, item->hash, item);
			count--;
		} else {
			assert_int_equal(map_add(&m, item->hash, item), 0);
			count++;
		}
		item->in = !item->in;
		assert_int_equal(m.count, count);
		for (int i = 0; i < (step % 100 ? 3 : 300); i++) {
			struct item *other = &items[step % 100 ? rand() % 300 : i];
			void *found = map_find(&m, other->hash, item_is, &other->key);

			assert_ptr_equal(found, other->in ? other : NULL);
		}
	}
	map_done(&m);
}

static void map_next_gives_each_once(void **state)
{
	struct item items[100] = { 0 };
	struct map m = { 0 };
	struct item *item;
	size_t pos = 0, seen = 0;

	assert_null(map_next(&m, &pos));
	for (__u64 i = 0; i < 100; i++) {
		items[i].key = i;
		map_add(&m, i * i, &items[i]);
	}
	while ((item = map_next(&m, &pos))) {
		assert_false(item->in);
		item->in = true;
		seen++;
	}
	assert_int_equal(seen, 100);
	assert_true(map_bytes(&m) >= 100 * sizeof(struct map_slot));
	map_done(&m);
	assert_int_equal(m.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(map_equals_an_array_under_random_use),
		cmocka_unit_test(map_next_gives_each_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
