/* The log: levels, repeats, hostile text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/time.h"

static struct buf lines;

static void line_keep(void *arg, enum log_level level, const char *line)
{
	buf_printf(&lines, "%d:%s|", (int)level, line);
}

static int log_begin(void **state)
{
	buf_init(&lines, 1 << 20);
	log_set_level(LEVEL_INFO);
	log_set_sink(line_keep, NULL);
	return 0;
}

static int log_end(void **state)
{
	log_flush(~0ull);
	log_set_sink(NULL, NULL);
	buf_done(&lines);
	return 0;
}

static void levels_above_the_chosen_one_are_silent(void **state)
{
	log_error("e%d", 1);
	log_warn("w%d", 2);
	log_info("i%d", 3);
	log_debug("d%d", 4);
	assert_string_equal(lines.data, "0:e1|1:w2|2:i3|");
	buf_reset(&lines);
	log_set_level(LEVEL_ERROR);
	log_warn("w%d", 5);
	assert_string_equal(lines.data, "");
	log_set_level(LEVEL_DEBUG);
	log_debug("d%d", 6);
	assert_string_equal(lines.data, "3:d6|");
}

static void level_names_are_read(void **state)
{
	enum log_level level = LEVEL_MAX;

	assert_int_equal(log_level_from_str("debug", &level), 0);
	assert_int_equal(level, LEVEL_DEBUG);
	assert_int_equal(log_level_from_str("verbose", &level), -EINVAL);
	assert_int_equal(level, LEVEL_DEBUG);
}

static void repeats_are_counted_not_written(void **state)
{
	for (int i = 0; i < 1000; i++)
		log_warn("repeat number %d", i);
	assert_string_equal(lines.data, "1:repeat number 0|1:repeat number 1|1:repeat number 2|");
	buf_reset(&lines);
	log_flush(0); /* nothing has waited for long enough */
	assert_string_equal(lines.data, "");
	log_flush(~0ull);
	assert_string_equal(lines.data, "1:997 more like: repeat number 999|");
	buf_reset(&lines);
	log_flush(~0ull);
	assert_string_equal(lines.data, "");
}

static void waiting_repeats_are_written_with_their_time(void **state)
{
	__u64 later_ns = time_now_ns() + 60 * NS_PER_S;
	unsigned seconds = 0;
	int end = 0;

	for (int i = 0; i < 4; i++)
		log_warn("once more %d", i);
	buf_reset(&lines);
	log_flush(later_ns); /* a single one is written as it was */
	assert_string_equal(lines.data, "1:once more 3|");
	for (int i = 0; i < 13; i++)
		log_info("many more %d", i);
	buf_reset(&lines);
	log_flush(later_ns);
	assert_int_equal(sscanf(lines.data, "2:10 more in %u s like: many more 12|%n", &seconds, &end), 1);
	assert_int_equal(end, lines.used);
	assert_in_range(seconds, 31, 60);
}

static void without_a_sink_lines_go_to_standard_error(void **state)
{
	int fds[2], keep = dup(STDERR_FILENO);
	char text[100] = "";

	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	log_set_sink(NULL, NULL);
	log_warn("disk %d%% full", 99);
	dup2(keep, STDERR_FILENO);
	close(keep);
	close(fds[1]);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	close(fds[0]);
	assert_string_equal(text, "weir: warning: disk 99% full\n");
}

static void different_texts_behind_percent_s_are_no_repeats(void **state)
{
	static const char *const texts[] = { "disk full", "no route to host", "permission denied", "out of memory" };

	for (int i = 0; i < 4; i++)
		log_error("%s", texts[i]);
	assert_string_equal(lines.data, "0:disk full|0:no route to host|0:permission denied|0:out of memory|");
	buf_reset(&lines);
	for (int i = 0; i < 9; i++) {
		char text[32];

		snprintf(text, sizeof(text), "lost %d records", i);
		log_error("%s", text);
	}
	assert_string_equal(lines.data, "0:lost 0 records|0:lost 1 records|0:lost 2 records|");
}

static void more_places_than_are_kept_lose_no_line(void **state)
{
	unsigned count = 0;

	for (int round = 0; round < 3; round++)
		for (char a = 'a'; a <= 'z'; a++)
			for (char b = 'a'; b <= 'j'; b++) {
				char text[] = { 'x', a, b, '\0' };

				log_info("%s", text);
			}
	for (const char *p = lines.data; (p = strchr(p, '|')); p++)
		count++;
	assert_int_equal(count, 3 * 260);
}

static void hostile_text_cannot_reach_the_terminal(void **state)
{
	log_error("path '%s'", "\x1b]0;owned\x07\n\xff");
	assert_string_equal(lines.data, "0:path '\\x1b]0;owned\\x07\\x0a\xef\xbf\xbd'|");
}

static void long_lines_are_cut(void **state)
{
	static char text[5000];

	memset(text, 'x', sizeof(text) - 1);
	log_error("long %s", text);
	assert_in_range(lines.used, 200, 1100);
	buf_reset(&lines);
	memset(text, '\x01', sizeof(text) - 1);
	log_error("escaped %s", text);
	assert_in_range(lines.used, 200, 1100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(levels_above_the_chosen_one_are_silent, log_begin, log_end),
		cmocka_unit_test_setup_teardown(level_names_are_read, log_begin, log_end),
		cmocka_unit_test_setup_teardown(repeats_are_counted_not_written, log_begin, log_end),
		cmocka_unit_test_setup_teardown(waiting_repeats_are_written_with_their_time, log_begin, log_end),
		cmocka_unit_test_setup_teardown(without_a_sink_lines_go_to_standard_error, log_begin, log_end),
		cmocka_unit_test_setup_teardown(different_texts_behind_percent_s_are_no_repeats, log_begin, log_end),
		cmocka_unit_test_setup_teardown(more_places_than_are_kept_lose_no_line, log_begin, log_end),
		cmocka_unit_test_setup_teardown(hostile_text_cannot_reach_the_terminal, log_begin, log_end),
		cmocka_unit_test_setup_teardown(long_lines_are_cut, log_begin, log_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
