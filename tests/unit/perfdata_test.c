/* The counters of HotSpot: blocks made by hand, every cut of one, and lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/why.h"
#include "jvm/perfdata.h"
#include "perfdata_image.h"

struct lab {
	struct image image;
	struct perfdata *data;
	struct why why;
};

static int setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	image_init(&lab->image);
	lab->data = perfdata_new();
	*state = lab;
	return 0;
}

static int teardown(void **state)
{
	struct lab *lab = *state;

	perfdata_free(lab->data);
	free(lab);
	return 0;
}

static int lab_set(struct lab *lab)
{
	return perfdata_set(lab->data, lab->image.bytes, lab->image.used, &lab->why);
}

static __u64 number(struct lab *lab, const char *name)
{
	__u64 value = 0;

	assert_true(perfdata_number(lab->data, name, &value));
	return value;
}

static bool has_number(struct lab *lab, const char *name)
{
	__u64 value;

	return perfdata_number(lab->data, name, &value);
}

static void values_are_found_by_name(void **state)
{
	struct lab *lab = *state;
	char text[32];
	size_t at, place;

	image_number(&lab->image, "sun.rt.safepoints", 7);
	at = image_number(&lab->image, "a", INT64_MAX);
	image_text(&lab->image, "java.version", "17.0.15");
	image_number(&lab->image, "sun.rt.safepointTime", 0);
	image_number(&lab->image, "undefined", -1);
	assert_int_equal(lab_set(lab), 0);
	assert_int_equal(perfdata_count(lab->data), 5);
	assert_int_equal(number(lab, "sun.rt.safepoints"), 7);
	assert_int_equal(number(lab, "a"), INT64_MAX);
	assert_int_equal(number(lab, "sun.rt.safepointTime"), 0);
	assert_false(has_number(lab, "undefined"));
	assert_false(has_number(lab, "sun.rt.safepoint"));
	assert_false(has_number(lab, "java.version"));
	assert_true(perfdata_text(lab->data, "java.version", text, sizeof(text)));
	assert_string_equal(text, "17.0.15");
	assert_false(perfdata_text(lab->data, "a", text, sizeof(text)));
	assert_string_equal(text, "");
	assert_true(perfdata_place(lab->data, "a", &place));
	assert_int_equal(place, at + 24);
}

static void texts_are_bounded_and_printable(void **state)
{
	struct lab *lab = *state;
	char text[64];

	image_entry(&lab->image, "open", 'B', "abcd", 4, 4); /* no end of its own */
	image_text(&lab->image, "wild", "a\x1b[2J\xff");
	image_entry(&lab->image, "long", 'B', "12345678\0rest", 14, 14);
	assert_int_equal(lab_set(lab), 0);
	assert_true(perfdata_text(lab->data, "open", text, sizeof(text)));
	assert_string_equal(text, "abcd");
	assert_true(perfdata_text(lab->data, "wild", text, sizeof(text)));
	assert_true(utf8_valid(text, strlen(text)) && !strchr(text, 0x1b));
	assert_true(perfdata_text(lab->data, "long", text, 5));
	assert_string_equal(text, "1234");
	assert_true(perfdata_text(lab->data, "long", text, sizeof(text)));
	assert_string_equal(text, "12345678");
}

static void values_are_of_the_newest_copy(void **state)
{
	struct lab *lab = *state;
	size_t at = image_number(&lab->image, "a", 1);
	__s64 value = 2;

	assert_int_equal(lab_set(lab), 0);
	assert_int_equal(number(lab, "a"), 1);
	image_put(&lab->image, at + 24, &value, sizeof(value));
	assert_int_equal(lab_set(lab), 0);
	assert_int_equal(number(lab, "a"), 2);
	assert_false(has_number(lab, "b"));
	image_number(&lab->image, "b", 3);
	assert_int_equal(lab_set(lab), 0);
	assert_int_equal(number(lab, "b"), 3);
	perfdata_clear(lab->data);
	assert_false(has_number(lab, "a"));
	assert_int_equal(perfdata_count(lab->data), 0);
}

/* HotSpot counts an entry before it writes it: it is found once it is there, though the prologue says nothing new. */
static void entries_not_written_yet_are_found_later(void **state)
{
	struct lab *lab = *state;
	char entry[48];
	size_t at;

	image_number(&lab->image, "a", 1);
	at = image_number(&lab->image, "b", 2);
	memcpy(entry, lab->image.bytes + at, sizeof(entry));
	memset(lab->image.bytes + at, 0, lab->image.used - at);
	assert_int_equal(lab_set(lab), 0);
	assert_int_equal(number(lab, "a"), 1);
	assert_false(has_number(lab, "b"));
	memcpy(lab->image.bytes + at, entry, lab->image.used - at);
	assert_int_equal(lab_set(lab), 0);
	assert_int_equal(number(lab, "b"), 2);
}

static void a_smaller_copy_has_fewer_values(void **state)
{
	struct lab *lab = *state;
	size_t at;

	image_number(&lab->image, "a", 1);
	at = image_number(&lab->image, "b", 2);
	assert_int_equal(lab_set(lab), 0);
	/* The prologue is as before, so the index is too. */
	assert_int_equal(perfdata_set(lab->data, lab->image.bytes, at + 24, NULL), 0);
	assert_int_equal(number(lab, "a"), 1);
	assert_false(has_number(lab, "b"));
}

static void every_cut_is_refused_or_has_what_fits(void **state)
{
	struct lab *lab = *state;
	size_t b;

	image_number(&lab->image, "a", 1);
	b = image_number(&lab->image, "b", 2);
	image_text(&lab->image, "c", "text");
	for (size_t bytes = 0; bytes <= lab->image.used; bytes++) {
		char *exact = malloc(bytes ? bytes : 1); /* of exactly that size, so that reading on is found */
		struct perfdata *data = perfdata_new();
		char text[8];
		__u64 value;

		memcpy(exact, lab->image.bytes, bytes);
		assert_int_equal(perfdata_set(data, exact, bytes, NULL), bytes < 32 ? -EBADMSG : 0);
		assert_int_equal(perfdata_number(data, "a", &value), bytes >= b);
		assert_int_equal(perfdata_text(data, "c", text, sizeof(text)), bytes == lab->image.used);
		perfdata_free(data);
		free(exact);
	}
}

static const struct {
	size_t at;
	__u8 byte;
	int err;
	const char *reason;
} prologues[] = {
	{ 0, 0xcb, -EBADMSG, "no counters" }, { 3, 0, -EBADMSG, "no counters" },
	{ 4, 0, -EBADMSG, "byte order" },     { 4, 7, -EBADMSG, "byte order" },
	{ 5, 1, -EBADMSG, "version 1.0" },    { 5, 3, -EBADMSG, "version 3.0" },
	{ 7, 0, -EAGAIN, "accessible" },      { 7, 2, -EAGAIN, "accessible" },
	{ 11, 0x80, -EBADMSG, "bytes" }, /* negative */
	{ 11, 0x7f, -EBADMSG, "bytes" }, /* 2 GB */
};

static void prologues_are_checked(void **state)
{
	struct lab *lab = *state;
	size_t used;

	image_number(&lab->image, "a", 1);
	assert_int_equal(perfdata_used(lab->image.bytes, 32, &used, NULL), 0);
	assert_int_equal(used, lab->image.used);
	for (size_t i = 0; i < sizeof(prologues) / sizeof(prologues[0]); i++) {
		assert_int_equal(lab_set(lab), 0);
		image_seal(&lab->image);
		lab->image.bytes[prologues[i].at] = (char)prologues[i].byte;
		assert_int_equal(lab_set(lab), prologues[i].err);
		assert_non_null(strstr(lab->why.text, prologues[i].reason));
		assert_int_equal(perfdata_used(lab->image.bytes, 32, &used, NULL), prologues[i].err);
		assert_false(has_number(lab, "a"));
		image_seal(&lab->image);
	}
}

/* Of the second of three entries. All that comes before it stays. */
static const struct {
	size_t at;
	__s32 value;
	bool third; /* is there; the second never is */
} lies[] = {
	{ 0, 0, false },						       /* the next entry is this one */
	{ 0, -40, false },						       /* the one before */
	{ 0, 8, false },						       /* within its own header */
	{ 0, INT32_MAX, false }, { 0, INT32_MIN, false },  { 0, 4096, false }, /* behind the end */
	{ 4, -1, false },	 { 4, 0, true },   /* the name is its header: one of another name */
	{ 4, INT32_MAX, false }, { 4, 32, false }, /* behind it */
	{ 8, -1, false },	 { 8, 1, true },   /* an array of numbers: no number */
	{ 16, -1, false },	 { 16, INT32_MAX, false }, { 16, INT32_MIN, false },
	{ 16, 25, false }, /* its last byte is of the next entry */
};

static void lying_entries_end_the_walk(void **state)
{
	struct lab *lab = *state;

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		char *exact;
		size_t at;

		image_init(&lab->image);
		lab->image.stamp = (__s64)(10 * i);
		image_number(&lab->image, "a", 1);
		at = image_number(&lab->image, "b", 2);
		image_number(&lab->image, "c", 3);
		image_put_s32(&lab->image, at + lies[i].at, lies[i].value);
		exact = malloc(lab->image.used);
		memcpy(exact, lab->image.bytes, lab->image.used);
		assert_int_equal(perfdata_set(lab->data, exact, lab->image.used, NULL), 0);
		assert_int_equal(number(lab, "a"), 1);
		assert_false(has_number(lab, "b"));
		assert_int_equal(has_number(lab, "c"), lies[i].third);
		perfdata_clear(lab->data);
		free(exact);
	}
}

static void numbers_of_entries_are_bounded(void **state)
{
	static const __s32 counts[] = { INT32_MAX, INT32_MIN, -1, 0, 1, 100000 };
	struct lab *lab = *state;

	image_number(&lab->image, "a", 1);
	image_number(&lab->image, "b", 2);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		image_seal(&lab->image);
		image_put_s32(&lab->image, 28, counts[i]);
		assert_int_equal(lab_set(lab), 0);
		assert_int_equal(perfdata_count(lab->data), counts[i] > 1 ? 2 : counts[i] == 1);
	}
	image_seal(&lab->image);
	image_put_s32(&lab->image, 24, 16); /* the first entry is the prologue */
	assert_int_equal(lab_set(lab), 0);
	assert_int_equal(perfdata_count(lab->data), 0);
}

/* Two of one name: the first, each time. */
static void names_that_repeat_are_the_first(void **state)
{
	struct lab *lab = *state;

	for (__s64 i = 0; i < 101; i++)
		image_number(&lab->image, "same", i);
	assert_int_equal(lab_set(lab), 0);
	assert_int_equal(number(lab, "same"), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(values_are_found_by_name),	       TEST(texts_are_bounded_and_printable),
		TEST(values_are_of_the_newest_copy),   TEST(entries_not_written_yet_are_found_later),
		TEST(a_smaller_copy_has_fewer_values), TEST(every_cut_is_refused_or_has_what_fits),
		TEST(prologues_are_checked),	       TEST(lying_entries_end_the_walk),
		TEST(numbers_of_entries_are_bounded),  TEST(names_that_repeat_are_the_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
