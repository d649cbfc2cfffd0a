/* Request lines, whole, cut anywhere, and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/request_line.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool slice_is(struct slice s, const char *want)
{
	return s.bytes == strlen(want) && !memcmp(s.data, want, s.bytes);
}

static const struct row {
	const char *in;
	enum target_form form;
	const char *method, *target, *authority, *path, *query;
	bool path_cut, target_cut;
} rows[] = {
	{ "GET / HTTP/1.1\r\n", TARGET_ORIGIN, "GET", "/", "", "/", "", false, false },
	{ "GET /a/b?x=1&y#f HTTP/1.1\r\n", TARGET_ORIGIN, "GET", "/a/b?x=1&y#f", "", "/a/b", "x=1&y", false, false },
	{ "GET /a#f?x HTTP/1.1\r\n", TARGET_ORIGIN, "GET", "/a#f?x", "", "/a", "", false, false },
	{ "GET /? HTTP/1.1\r\n", TARGET_ORIGIN, "GET", "/?", "", "/", "", false, false },
	{ "\r\n\r\nGET /a HTTP/1.0\n", TARGET_ORIGIN, "GET", "/a", "", "/a", "", false, false },
	{ "GET   /a   HTTP/1.0\n", TARGET_ORIGIN, "GET", "/a", "", "/a", "", false, false },
	{ "GET /a\r\n", TARGET_ORIGIN, "GET", "/a", "", "/a", "", false, false }, /* HTTP/0.9 */
	{ "M-SEARCH * HTTP/1.1\r\n", TARGET_ASTERISK, "M-SEARCH", "*", "", "", "", false, false },
	{ "OPTIONS * HTTP/1.1\r\n", TARGET_ASTERISK, "OPTIONS", "*", "", "", "", false, false },
	{ "OPTIONS ** HTTP/1.1\r\n", TARGET_OTHER, "OPTIONS", "**", "", "", "", false, false },
	{ "CONNECT example.com:443 HTTP/1.1\r\n", TARGET_AUTHORITY, "CONNECT", "example.com:443", "example.com:443", "",
	  "", false, false },
	{ "GET http://example.com:80/a/b?q HTTP/1.1\r\n", TARGET_ABSOLUTE, "GET", "http://example.com:80/a/b?q",
	  "example.com:80", "/a/b", "q", false, false },
	{ "GET http://example.com HTTP/1.1\r\n", TARGET_ABSOLUTE, "GET", "http://example.com", "example.com", "/", "",
	  false, false },
	{ "GET http://example.com?q HTTP/1.1\r\n", TARGET_ABSOLUTE, "GET", "http://example.com?q", "example.com", "/",
	  "q", false, false },
	{ "GET http://user:secret@h/x HTTP/1.1\r\n", TARGET_ABSOLUTE, "GET", "http://user:secret@h/x", "h", "/x", "",
	  false, false },
	{ "GET http://[::1]:8080/x HTTP/1.1\r\n", TARGET_ABSOLUTE, "GET", "http://[::1]:8080/x", "[::1]:8080", "/x", "",
	  false, false },
	{ "GET index.html HTTP/1.1\r\n", TARGET_OTHER, "GET", "index.html", "", "", "", false, false },
	{ "GET ://x HTTP/1.1\r\n", TARGET_OTHER, "GET", "://x", "", "", "", false, false },
	{ "GET \r\n", TARGET_NONE, "GET", "", "", "", "", false, false },
	/* cut */
	{ "GE", TARGET_NONE, "GE", "", "", "", "", false, true },
	{ "GET ", TARGET_NONE, "GET", "", "", "", "", false, true },
	{ "GET /a/b", TARGET_ORIGIN, "GET", "/a/b", "", "/a/b", "", true, true },
	{ "GET /a/b?x", TARGET_ORIGIN, "GET", "/a/b?x", "", "/a/b", "x", false, true },
	{ "GET /a/b HT", TARGET_ORIGIN, "GET", "/a/b", "", "/a/b", "", false, false },
	{ "GET http://exam", TARGET_ABSOLUTE, "GET", "http://exam", "exam", "/", "", true, true },
	{ "GET http://h/p", TARGET_ABSOLUTE, "GET", "http://h/p", "h", "/p", "", true, true },
	{ "GET http:/", TARGET_OTHER, "GET", "http:/", "", "", "", false, true },
};

static void lines_are_taken_apart(void **state)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *row = &rows[i];
		struct request_line line;

		if (request_line_parse(row->in, strlen(row->in), &line))
			fail_msg("refused: %s", row->in);
		if (line.form != row->form || !slice_is(line.method, row->method) ||
		    !slice_is(line.target, row->target) || !slice_is(line.authority, row->authority) ||
		    !slice_is(line.path, row->path) || !slice_is(line.query, row->query) ||
		    line.path_cut != row->path_cut || line.target_cut != row->target_cut)
			fail_msg(
				"form %d, method '%.*s', target '%.*s', authority '%.*s', path '%.*s', query '%.*s' of: %s",
				line.form, (int)line.method.bytes, line.method.data, (int)line.target.bytes,
				line.target.data, (int)line.authority.bytes, line.authority.data, (int)line.path.bytes,
				line.path.data, (int)line.query.bytes, line.query.data, row->in);
	}
}

static void lines_without_a_method_are_refused(void **state)
{
	static const struct slice bad[] = {
		{ "", 0 },
		{ "\r\n", 2 },
		{ " GET / HTTP/1.1", 15 },
		{ "/ HTTP/1.1", 10 },
		{ "G\0T /", 5 },
		{ "\x16\x03\x01", 3 },
		{ "GET\t/ HTTP/1.1", 14 },
		{ "G\xc3\x84T / HTTP/1.1", 15 },
		{ "GET: / HTTP/1.1", 15 },
	};
	struct request_line line;

	for (size_t i = 0; i < COUNT(bad); i++) {
		memset(&line, 0x5a, sizeof(line));
		assert_int_equal(request_line_parse(bad[i].data, bad[i].bytes, &line), -EINVAL);
		assert_int_equal(line.method.bytes, 0x5a5a5a5a5a5a5a5a); /* untouched */
	}
}

/* In a block of its exact size, so that the sanitizer sees each byte read too much; and what is found in the part that is
 * there never contradicts the whole. */
static void cut_at_every_byte_stays_inside_and_agrees(void **state)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t bytes = strlen(rows[i].in);
		struct request_line whole, part;

		assert_int_equal(request_line_parse(rows[i].in, bytes, &whole), 0);
		for (size_t cut = 0; cut <= bytes; cut++) {
			char *block = malloc(cut ? cut : 1);

			memcpy(block, rows[i].in, cut);
			if (!request_line_parse(block, cut, &part)) {
				assert_true(part.method.bytes <= whole.method.bytes);
				assert_memory_equal(part.method.data, whole.method.data, part.method.bytes);
				assert_true(part.target.bytes <= whole.target.bytes);
				assert_memory_equal(part.target.data, whole.target.data, part.target.bytes);
				assert_true(part.target_cut || part.target.bytes == whole.target.bytes);
				if (part.form == TARGET_ORIGIN && !part.path_cut) {
					assert_int_equal(part.path.bytes, whole.path.bytes);
					assert_memory_equal(part.path.data, whole.path.data, part.path.bytes);
				}
			}
			free(block);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_taken_apart),
		cmocka_unit_test(lines_without_a_method_are_refused),
		cmocka_unit_test(cut_at_every_byte_stays_inside_and_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
