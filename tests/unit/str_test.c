/* Text in and out: numbers, durations, hostile bytes, patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define U64_MAX	     (~0ull)

static void u64_takes_digits_only_and_within_the_limit(void **state)
{
	static const struct {
		const char *in;
		__u64 max;
		int err;
		__u64 want;
	} rows[] = {
		{ "0", U64_MAX, 0, 0 },
		{ "7", U64_MAX, 0, 7 },
		{ "007", U64_MAX, 0, 7 },
		{ "18446744073709551615", U64_MAX, 0, U64_MAX },
		{ "18446744073709551616", U64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999", U64_MAX, -ERANGE, 0 },
		{ "100", 99, -ERANGE, 0 },
		{ "99", 99, 0, 99 },
		{ "", U64_MAX, -EINVAL, 0 },
		{ "-1", U64_MAX, -EINVAL, 0 },
		{ "+1", U64_MAX, -EINVAL, 0 },
		{ " 1", U64_MAX, -EINVAL, 0 },
		{ "1 ", U64_MAX, -EINVAL, 0 },
		{ "0x10", U64_MAX, -EINVAL, 0 },
		{ "1e3", U64_MAX, -EINVAL, 0 },
		{ "99999999999999999999999x", U64_MAX, -EINVAL, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		__u64 value = 4711;

		assert_int_equal(str_to_u64(rows[i].in, rows[i].max, &value), rows[i].err);
		assert_int_equal(value, rows[i].err ? 4711 : rows[i].want);
	}
}

static void durations_are_read_with_their_units(void **state)
{
	static const struct {
		const char *in;
		int err;
		__u64 want;
	} rows[] = {
		{ "0", 0, 0 },
		{ "0s", 0, 0 },
		{ "1ns", 0, 1 },
		{ "250us", 0, 250000 },
		{ "10ms", 0, 10000000 },
		{ "1.5s", 0, 1500000000 },
		{ "0.000000001s", 0, 1 },
		{ "0.0000000019s", 0, 1 },
		{ "2m", 0, 120 * NS_PER_S },
		{ "1m30s", 0, 90 * NS_PER_S },
		{ "1h", 0, 3600 * NS_PER_S },
		{ "1h0.5m", 0, 3630 * NS_PER_S },
		{ "2d", 0, 172800ull * NS_PER_S },
		{ "213503d", 0, 213503ull * 86400 * NS_PER_S },
		{ "213504d", -ERANGE, 0 },
		{ "18446744073709551616ns", -ERANGE, 0 },
		{ "18446744073s1000ms", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "1", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "-1s", -EINVAL, 0 },
		{ "1.s", -EINVAL, 0 },
		{ ".5s", -EINVAL, 0 },
		{ "1 s", -EINVAL, 0 },
		{ "1s ", -EINVAL, 0 },
		{ "1sec", -EINVAL, 0 },
		{ "1S", -EINVAL, 0 },
		{ "1s1m", -EINVAL, 0 },
		{ "1s1s", -EINVAL, 0 },
		{ "1ns1ns", -EINVAL, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		__u64 value = 4711;

		assert_int_equal(str_to_duration_ns(rows[i].in, &value), rows[i].err);
		assert_int_equal(value, rows[i].err ? 4711 : rows[i].want);
	}
}

static void durations_are_written_with_three_digits(void **state)
{
	static const struct {
		__u64 in;
		const char *want;
	} rows[] = {
		{ 0, "0" },
		{ 1, "1ns" },
		{ 999, "999ns" },
		{ 1000, "1.00us" },
		{ 9994, "9.99us" },
		{ 9996, "10.0us" },
		{ 12345, "12.3us" },
		{ 99940, "99.9us" },
		{ 123456, "123us" },
		{ 999499, "999us" },
		{ 999500, "1.00ms" },
		{ 1234567, "1.23ms" },
		{ 999600000, "1.00s" },
		{ 45600000000, "45.6s" },
		{ 59949000000, "59.9s" },
		{ 59999999999, "1m00s" },
		{ 125 * NS_PER_S, "2m05s" },
		{ 3599 * NS_PER_S + 400000000, "59m59s" },
		{ 3599 * NS_PER_S + 600000000, "1h00m" },
		{ 11220 * NS_PER_S, "3h07m" },
		{ 86399 * NS_PER_S, "1d00h" },
		{ (4 * 24 + 2) * 3600ull * NS_PER_S, "4d02h" },
		{ (213503ull * 24 + 23) * 3600 * NS_PER_S, "213503d23h" },
	};
	char text[STR_NUMBER_ROOM];
	__u64 again;

	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_string_equal(str_format_duration(rows[i].in, text), rows[i].want);
		assert_int_equal(str_to_duration_ns(text, &again), 0); /* what we write we can read */
	}
}

static void sizes_and_counts_are_written_with_three_digits(void **state)
{
	static const struct {
		__u64 in;
		const char *bytes, *count;
	} rows[] = {
		{ 0, "0", "0" },
		{ 512, "512", "512" },
		{ 999, "999", "999" },
		{ 1000, "1000", "1.00k" },
		{ 1023, "1023", "1.02k" },
		{ 1024, "1.00K", "1.02k" },
		{ 1536, "1.50K", "1.54k" },
		{ 999999, "977K", "1.00M" },
		{ 1048575, "1.00M", "1.05M" },
		{ 12900000, "12.3M", "12.9M" },
		{ U64_MAX, "16.0E", "18.4E" },
	};
	char text[STR_NUMBER_ROOM];

	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_string_equal(str_format_bytes(rows[i].in, text), rows[i].bytes);
		assert_string_equal(str_format_count(rows[i].in, text), rows[i].count);
	}
}

static void sizes_are_read_with_their_units(void **state)
{
	static const struct {
		const char *in;
		int err;
		__u64 want;
	} rows[] = {
		{ "0", 0, 0 },
		{ "512", 0, 512 },
		{ "64K", 0, 65536 },
		{ "64KiB", 0, 65536 },
		{ "1.5M", 0, 3 << 19 },
		{ "1GiB", 0, 1 << 30 },
		{ "2B", 0, 2 },
		{ "64KB", -EINVAL, 0 }, /* 64000 or 65536? */
		{ "64k", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ "1K1K", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "99999999999T", -ERANGE, 0 },
		{ "2T", -ERANGE, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		__u64 value = 4711;

		assert_int_equal(str_to_bytes(rows[i].in, 1ull << 40, &value), rows[i].err);
		assert_int_equal(value, rows[i].err ? 4711 : rows[i].want);
	}
}

static void truth_has_four_spellings_each(void **state)
{
	static const char *const yes[] = { "true", "yes", "on", "1" }, *const no[] = { "false", "no", "off", "0" };
	static const char *const neither[] = { "", "TRUE", "2", "ja", "true ", "o" };
	bool value;

	for (size_t i = 0; i < 4; i++) {
		value = false;
		assert_int_equal(str_to_bool(yes[i], &value), 0);
		assert_true(value);
		assert_int_equal(str_to_bool(no[i], &value), 0);
		assert_false(value);
	}
	for (size_t i = 0; i < COUNT(neither); i++)
		assert_int_equal(str_to_bool(neither[i], &value), -EINVAL);
}

static void sanitise_leaves_no_byte_that_can_hurt(void **state)
{
	static const struct {
		const char *in;
		size_t bytes;
		const char *want;
	} rows[] = {
#define ROW(in, want) { in, sizeof(in) - 1, want }
		ROW("", ""),
		ROW("/plain", "/plain"),
		ROW("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"),
		ROW("\xe2\x82\xac\xf0\x9f\x98\x80", "\xe2\x82\xac\xf0\x9f\x98\x80"),
		ROW("a\0b", "a\\x00"
			    "b"),
		ROW("\x1b[2J", "\\x1b[2J"),
		ROW("\r\n\t", "\\x0d\\x0a\\x09"),
		ROW("\x7f", "\\x7f"),
		ROW("\xc2\x9b"
		    "31m",
		    "\\x9b31m"), /* CSI as one C1 character */
		ROW("\xe2\x80\xae"
		    "gpj.exe",
		    "\\u202egpj.exe"), /* right-to-left override */
		ROW("\xe2\x80\xa8", "\\u2028"),
		ROW("\xe2\x81\xa6", "\\u2066"),
		ROW("\xff", "\xef\xbf\xbd"),
		ROW("a\x80z", "a\xef\xbf\xbdz"),
		ROW("\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"), /* overlong slash */
		ROW("\xe0\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"),
		ROW("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"), /* surrogate */
		ROW("\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"),
		ROW("\xf5", "\xef\xbf\xbd"),
		ROW("\xe2\x82", "\xef\xbf\xbd"), /* cut: one replacement, as Unicode advises */
		ROW("\xe2\x82z", "\xef\xbf\xbdz"),
		ROW("\xf0\x9f\x98", "\xef\xbf\xbd"),
#undef ROW
	};
	char text[128];

	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t used = utf8_sanitise(rows[i].in, rows[i].bytes, text, sizeof(text));

		assert_string_equal(text, rows[i].want);
		assert_int_equal(used, strlen(rows[i].want));
		assert_true(utf8_valid(text, used));
	}
}

static void sanitise_cuts_only_between_characters(void **state)
{
	static const char in[] = "a\xe2\x82\xac\x1b\xffz\xf0\x9f\x98\x80";
	/* lengths of the output after each character: a, euro, \x1b, replacement, z, emoji */
	static const size_t borders[] = { 0, 1, 4, 8, 11, 12, 16 };
	char text[32];

	for (size_t room = 0; room <= 20; room++) {
		size_t want = 0, used;

		memset(text, '#', sizeof(text));
		used = utf8_sanitise(in, sizeof(in) - 1, text, room);
		for (size_t i = 0; i < COUNT(borders); i++)
			if (borders[i] < room)
				want = borders[i];
		assert_int_equal(used, want);
		if (room)
			assert_int_equal(text[used], '\0');
		for (size_t i = room; i < sizeof(text); i++)
			assert_int_equal(text[i], '#');
	}
}

static void sanitise_survives_every_pair_of_bytes(void **state)
{
	char in[3], text[13];

	for (unsigned pair = 0; pair < 0x10000; pair++) {
		size_t used;

		in[0] = (char)(pair >> 8);
		in[1] = (char)pair;
		in[2] = 'z';
		used = utf8_sanitise(in, 3, text, sizeof(text));
		assert_true(used >= 2);
		assert_true(utf8_valid(text, used));
		for (size_t i = 0; i < used; i++)
			assert_true((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
		assert_int_equal(text[used - 1], 'z'); /* what follows bad bytes is never swallowed */
	}
}

/* The definition again, from the number's side: encode every code point and see it come back. */
static void utf8_takes_each_character_and_its_prefixes_fail(void **state)
{
	for (__u32 point = 0; point <= 0x10ffff; point += point < 0x20000 ? 1 : 97) {
		unsigned char text[4];
		unsigned bytes;
		__u32 got = 0;

		if (point < 0x80) {
			text[0] = (unsigned char)point;
			bytes = 1;
		} else if (point < 0x800) {
			text[0] = (unsigned char)(0xc0 | point >> 6);
			bytes = 2;
		} else if (point < 0x10000) {
			text[0] = (unsigned char)(0xe0 | point >> 12);
			bytes = 3;
		} else {
			text[0] = (unsigned char)(0xf0 | point >> 18);
			bytes = 4;
		}
		for (unsigned i = 1; i < bytes; i++)
			text[i] = (unsigned char)(0x80 | ((point >> 6 * (bytes - 1 - i)) & 0x3f));
		if (point >= 0xd800 && point < 0xe000) {
			assert_int_equal(utf8_decode(text, bytes, &got), 0);
			continue;
		}
		assert_int_equal(utf8_decode(text, bytes, &got), bytes);
		assert_int_equal(got, point);
		for (unsigned cut = 0; cut < bytes; cut++)
			assert_int_equal(utf8_decode(text, cut, &got), 0);
	}
}

static void width_counts_columns(void **state)
{
	static const struct {
		const char *in;
		size_t width;
	} rows[] = {
		{ "", 0 },
		{ "abc", 3 },
		{ "gr\xc3\xbc\xc3\x9f", 4 },
		{ "\xe6\x97\xa5\xe6\x9c\xac", 4 }, /* two wide characters */
		{ "e\xcc\x81", 1 },		   /* e and a combining accent */
		{ "\xf0\x9f\x98\x80", 2 },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(utf8_width(rows[i].in), rows[i].width);
	assert_int_equal(utf8_prefix("abc", 2), 2);
	assert_int_equal(utf8_prefix("abc", 9), 3);
	assert_int_equal(utf8_prefix("\xe6\x97\xa5\xe6\x9c\xac", 3), 3);
	assert_int_equal(utf8_prefix("e\xcc\x81x", 1), 3);
}

static void copy_cuts_between_characters(void **state)
{
	char text[5];

	assert_int_equal(str_copy(text, sizeof(text), "ab"), 2);
	assert_string_equal(text, "ab");
	assert_int_equal(str_copy(text, sizeof(text), "abcdef"), 4);
	assert_string_equal(text, "abcd");
	assert_int_equal(str_copy(text, sizeof(text), "ab\xe2\x82\xac"), 2);
	assert_string_equal(text, "ab");
	assert_int_equal(str_copy(text, 0, "ab"), 0);
	assert_string_equal(text, "ab");
}

static void starts_and_ends_compare_whole_parts(void **state)
{
	assert_true(str_starts("abc", ""));
	assert_true(str_starts("abc", "ab"));
	assert_false(str_starts("ab", "abc"));
	assert_true(str_ends("abc", ""));
	assert_true(str_ends("abc", "bc"));
	assert_false(str_ends("bc", "abc"));
	assert_false(str_ends("abcd", "bc"));
	assert_true(mem_equals_str("abc", 2, "ab"));
	assert_false(mem_equals_str("abc", 3, "ab"));
}

static void glob_matches_the_whole_text(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool want;
	} rows[] = {
		{ "", "", true },
		{ "", "a", false },
		{ "a", "", false },
		{ "a", "a", true },
		{ "a", "ab", false },
		{ "ab", "a", false },
		{ "*", "", true },
		{ "*", "anything/at all", true },
		{ "**", "", true },
		{ "a*", "a", true },
		{ "a*", "ba", false },
		{ "*a", "ba", true },
		{ "*a", "ab", false },
		{ "a*b*c", "abc", true },
		{ "a*b*c", "a--b--b--c", true },
		{ "a*b*c", "a--c--b", false },
		{ "?", "", false },
		{ "?", "a", true },
		{ "?", "ab", false },
		{ "?", "\xe2\x82\xac", true },
		{ "?\?", "\xe2\x82\xac", false },
		{ "a?c", "abc", true },
		{ "*?", "", false },
		{ "*?", "a", true },
		{ "/api/*", "/api/v1/x", true },
		{ "/api/*", "/api", false },
		{ "\\*", "*", true },
		{ "\\*", "a", false },
		{ "\\?", "?", true },
		{ "a\\", "a\\", true },
		{ "\\\\", "\\", true },
		{ "[a]", "a", false },
		{ "*.js", "app.js.js", true },
		{ "*ab", "aab", true },
		{ "*aab", "aaab", true },
		{ "web-*-?", "web-api-1", true },
		{ "web-*-?", "web-api-12", false },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		if (glob_match(rows[i].pattern, rows[i].text) != rows[i].want)
			fail_msg("glob_match(\"%s\", \"%s\")", rows[i].pattern, rows[i].text);
}

/* Backtracking into every star would need 30 over 15 steps here and never end. */
static void glob_needs_no_exponential_time(void **state)
{
	char pattern[101], text[20001];
	__u64 start_ns = time_now_ns();

	for (unsigned i = 0; i < 50; i++)
		memcpy(pattern + 2 * i, "*a", 2);
	pattern[99] = 'b';
	pattern[100] = '\0';
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_false(glob_match(pattern, text));
	assert_true(time_now_ns() - start_ns < 5 * NS_PER_S);
}

static void hash_depends_on_every_byte(void **state)
{
	char text[64] = { 0 };

	for (size_t bytes = 0; bytes < sizeof(text); bytes++) {
		__u64 hash = hash_bytes(text, bytes);

		assert_int_equal(hash_bytes(text, bytes), hash);
		assert_int_not_equal(hash_bytes(text, bytes + 1), hash);
		for (size_t i = 0; i < bytes; i++) {
			text[i] = 1;
			assert_int_not_equal(hash_bytes(text, bytes), hash);
			text[i] = 0;
		}
	}
	assert_int_not_equal(hash_mix(1, 2), hash_mix(2, 1));
	assert_int_not_equal(hash_mix(0, 1), hash_mix(0, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(u64_takes_digits_only_and_within_the_limit),
		cmocka_unit_test(durations_are_read_with_their_units),
		cmocka_unit_test(durations_are_written_with_three_digits),
		cmocka_unit_test(sizes_and_counts_are_written_with_three_digits),
		cmocka_unit_test(sizes_are_read_with_their_units),
		cmocka_unit_test(truth_has_four_spellings_each),
		cmocka_unit_test(sanitise_leaves_no_byte_that_can_hurt),
		cmocka_unit_test(sanitise_cuts_only_between_characters),
		cmocka_unit_test(sanitise_survives_every_pair_of_bytes),
		cmocka_unit_test(utf8_takes_each_character_and_its_prefixes_fail),
		cmocka_unit_test(width_counts_columns),
		cmocka_unit_test(copy_cuts_between_characters),
		cmocka_unit_test(starts_and_ends_compare_whole_parts),
		cmocka_unit_test(glob_matches_the_whole_text),
		cmocka_unit_test(glob_needs_no_exponential_time),
		cmocka_unit_test(hash_depends_on_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
