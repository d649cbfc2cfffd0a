/* What is read before a JVM is asked, and what is said to it, without one: texts as the kernel and JVMs write them, and every
 * cut of them. (Real JVMs: tests/e2e/test_jvm_attach.py.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/time.h"
#include "base/why.h"
#include "jvm/attach.h"
#include "jvm/attach_protocol.h"
#include "jvm/attach_target.h"
#include "jvm/perf_source.h"

#define STATUS                                                                                               \
	"Name:\tjava\\nUid:\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4711\nNgid:\t0\nPid:\t4711\n"        \
	"PPid:\t1\nTracerPid:\t0\nUid:\t1000\t1001\t1002\t1003\nGid:\t2000\t2001\t2002\t2003\nFDSize:\t64\n" \
	"Groups:\t4 24 27 4294967295 \nNStgid:\t4711\t17\t7\nNSpid:\t4711\t17\t7\nNSpgid:\t4711\t17\t7\n"    \
	"SigBlk:\t0000000000000000\nSigIgn:\t0000000000001000\nSigCgt:\t2000000181005ccf\nCapInh:\t0\n"

/* Memory of exactly that size, so that reading on is found. */
static char *exact(const char *text, size_t bytes)
{
	char *copy = malloc(bytes ? bytes : 1);

	assert_non_null(copy);
	memcpy(copy, text, bytes);
	return copy;
}

static int status_of(const char *text, size_t bytes, struct process_status *ret)
{
	char *copy = exact(text, bytes);
	int err = process_status_parse(copy, bytes, ret);

	free(copy);
	return err;
}

static void status_takes_effective_ids_and_the_innermost_pid(void **state)
{
	struct process_status status;

	assert_int_equal(status_of(STATUS, strlen(STATUS), &status), 0);
	assert_int_equal(status.state, 'S');
	assert_int_equal(status.uid, 1001);
	assert_int_equal(status.gid, 2001);
	assert_int_equal(status.inner_pid, 7);
	assert_true(status.caught == 0x2000000181005ccfull);
	assert_int_equal(status.group_count, 4);
	assert_int_equal(status.groups[2], 27);
	assert_int_equal(status.groups[3], 4294967295u);
}

static void status_that_is_cut_is_refused_or_whole(void **state)
{
	const char *caught = strstr(STATUS, "SigCgt:\t");
	size_t whole = (size_t)(caught - STATUS) + strlen("SigCgt:\t2");
	struct process_status status = { 0 };

	for (size_t bytes = 0; bytes < whole; bytes++) {
		assert_int_equal(status_of(STATUS, bytes, &status), -EINVAL);
		assert_int_equal(status.inner_pid, 0); /* nothing was written */
	}
}

static void status_lines_that_lie_are_refused(void **state)
{
	static const struct {
		const char *good, *bad;
	} lies[] = {
		{ "1001", "4294967296" },
		{ "1001", "-1" },
		{ "\t1001\t1002\t1003", "" },
		{ "2001", "x" },
		{ "NSpid:\t4711\t17\t7", "NSpid:\t0" },
		{ "NSpid:\t4711\t17\t7", "NSpid:" },
		{ "2000000181005ccf", "" },
		{ "2000000181005ccf", "20000001810 5ccf" },
		{ "2000000181005ccf", "12000000181005ccf" },
		{ "State:\tS", "State:" },
	};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		const char *at = strstr(STATUS, lies[i].good);
		struct process_status status;
		char text[2048];

		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - STATUS), STATUS, lies[i].bad,
			 at + strlen(lies[i].good));
		if (!strcmp(lies[i].bad, "State:"))
			strstr(text, "State:")[6] = '\n';
		assert_int_equal(status_of(text, strlen(text), &status), -EINVAL);
	}
}

static void a_bad_line_does_not_undo_a_good_one(void **state)
{
	static const char text[] = STATUS "NSpid:\t0\nUid:\tx\nGid:\t1\nSigCgt:\t\n";
	struct process_status status;

	assert_int_equal(status_of(text, strlen(text), &status), 0);
	assert_int_equal(status.inner_pid, 7);
	assert_int_equal(status.uid, 1001);
	assert_int_equal(status.gid, 2001);
	assert_true(status.caught == 0x2000000181005ccfull);
}

static void groups_beyond_the_room_are_left_out(void **state)
{
	struct process_status status;
	char text[4096];
	size_t used = (size_t)snprintf(text, sizeof(text), "%sGroups:\t", STATUS);

	for (unsigned i = 0; i < 2 * PROCESS_GROUPS_MAX; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%u ", 100 + i);
	assert_int_equal(status_of(text, used, &status), 0);
	assert_int_equal(status.group_count, PROCESS_GROUPS_MAX);
	assert_int_equal(status.groups[PROCESS_GROUPS_MAX - 1], 100 + PROCESS_GROUPS_MAX - 1);
}

enum { NONE, DISABLED = 1, REDUCED = 2, FILED = 4 };

static unsigned bits(const struct jvm_options *o)
{
	return (o->attach_disabled ? DISABLED : 0) | (o->signals_reduced ? REDUCED : 0) | (o->more_in_file ? FILED : 0);
}

#define TEXT(literal) literal, sizeof(literal) - 1

static void options_are_found_whole_and_in_their_place(void **state)
{
	static const struct {
		const char *text;
		size_t bytes;
		unsigned cmdline, environ;
	} cases[] = {
		{ TEXT(""), NONE, NONE },
		{ TEXT("java\0-Xmx1g\0Main\0"), NONE, NONE },
		{ TEXT("java\0-XX:+DisableAttachMechanism\0Main\0"), DISABLED, NONE },
		{ TEXT("java\0-XX:+DisableAttachMechanism"), DISABLED, NONE },
		{ TEXT("java\0-XX:+DisableAttachMechanisms\0-Xrss\0x-Xrs\0"), NONE, NONE },
		{ TEXT("java\0-XX:-DisableAttachMechanism\0"), NONE, NONE },
		/* What a program is told cannot take back what the JVM was told. */
		{ TEXT("java\0-XX:+DisableAttachMechanism\0Main\0-XX:-DisableAttachMechanism\0"), DISABLED, NONE },
		{ TEXT("java\0-Xrs\0"), REDUCED, NONE },
		{ TEXT("java\0-XX:+ReduceSignalUsage\0"), REDUCED, NONE },
		{ TEXT("java\0@/etc/options\0"), FILED, NONE },
		{ TEXT("java\0-XX:Flags=.hotspotrc\0"), FILED, NONE },
		{ TEXT("java\0-XX:VMOptionsFile=a\0"), FILED, NONE },
		{ TEXT("PATH=/bin\0JAVA_TOOL_OPTIONS=-Da=b  -Xrs\0"), NONE, REDUCED },
		{ TEXT("JDK_JAVA_OPTIONS=\"-XX:+DisableAttachMechanism\" @file\0"), NONE, DISABLED | FILED },
		{ TEXT("_JAVA_OPTIONS='-Xrs'"), NONE, REDUCED },
		{ TEXT("MY_JAVA_OPTIONS=-Xrs\0JAVA_TOOL_OPTIONS\0-Xrs\0"), REDUCED, NONE },
		{ TEXT("\0\0\0-Xrs\0\0"), REDUCED, NONE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct jvm_options cmdline = { false }, environ_ = { false };
		char *copy = exact(cases[i].text, cases[i].bytes);

		jvm_options_of_cmdline(copy, cases[i].bytes, &cmdline);
		jvm_options_of_environ(copy, cases[i].bytes, &environ_);
		assert_int_equal(bits(&cmdline), cases[i].cmdline);
		assert_int_equal(bits(&environ_), cases[i].environ);
		free(copy);
	}
}

static void requests_are_as_jvms_read_them(void **state)
{
	/* The last NUL is the literal's own. 36: from "jcmd" on. */
	static const char v1[] = "1\0jcmd\0VM.flags -all\0\0", v2[] = "2\00036\0jcmd streaming=0\0GC.heap_info 12345";
	struct buf b;

	buf_init(&b, 4096);
	attach_request_v1(&b, "jcmd", "VM.flags -all");
	assert_int_equal(b.used, sizeof(v1));
	assert_memory_equal(b.data, v1, sizeof(v1));
	buf_reset(&b);
	attach_request_v2(&b, "jcmd streaming=0", "GC.heap_info 12345");
	assert_int_equal(b.used, sizeof(v2));
	assert_memory_equal(b.data, v2, sizeof(v2));
	assert_int_equal(sizeof(v2) - sizeof("2\00036"), 36);
	buf_done(&b);
}

static int code_of(const char *text, size_t bytes, int *ret)
{
	char *copy = exact(text, bytes);
	int line = attach_code_parse(copy, bytes, ret);

	free(copy);
	return line;
}

static void codes_are_numbers_on_a_line(void **state)
{
	static const struct {
		const char *text;
		int line, code;
	} cases[] = {
		{ "0\n", 2, 0 },
		{ "0\nrest", 2, 0 },
		{ "101\n", 4, 101 },
		{ "-1\nno", 3, -1 },
		{ "2147483647\n", 11, 2147483647 },
		{ "-2147483647\n", 12, -2147483647 },
		{ "", 0, 0 },
		{ "0", 0, 0 },
		{ "-", 0, 0 },
		{ "\n", -EPROTO, 0 },
		{ "-\n", -EPROTO, 0 },
		{ "0x\n", -EPROTO, 0 },
		{ "2147483648\n", -EPROTO, 0 },
		{ " 0\n", -EPROTO, 0 },
		{ "000000000000\n", -EPROTO, 0 },
		{ "HTTP/1.1 200 OK", -EPROTO, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int code = 0;

		assert_int_equal(code_of(cases[i].text, strlen(cases[i].text), &code), cases[i].line);
		assert_int_equal(code, cases[i].code);
	}
}

static void versions_and_what_they_can(void **state)
{
	static const struct {
		const char *text;
		bool has;
	} cases[] = {
		{ "2\n streaming", true },
		{ "2 streaming\n", true },
		{ "3\n other,streaming\n", true },
		{ "2\n", false },
		{ "2", false },
		{ "", false },
		{ "1\n streaming", false },
		{ "streaming", false },
		{ "2\n streamings nostreaming", false },
		{ "x streaming", false },
		{ "-2 streaming", false },
		{ "\n\n2\n\n streaming \n", true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *copy = exact(cases[i].text, strlen(cases[i].text));

		assert_int_equal(attach_version_has(copy, strlen(cases[i].text), "streaming"), cases[i].has);
		free(copy);
	}
}

static void versions_that_listen_anew(void **state)
{
	static const struct {
		const char *version;
		bool anew;
	} cases[] = {
		{ "1.8.0_504", true },	{ "1.8.0_322", true },
		{ "1.8.0_312", false }, { "1.8.0_322-b06", true },
		{ "1.8.0", false },	{ "1.8.0_", false },
		{ "8", false },		{ "9.0.4", false },
		{ "10.0.2", false },	{ "11", false },
		{ "11.0", false },	{ "11.0.", false },
		{ "11.0.13", false },	{ "11.0.14.1", true },
		{ "11.0.24", true },	{ "11-internal", false },
		{ "13.0.2", false },	{ "14", true },
		{ "14-ea", true },	{ "17.0.15", true },
		{ "25.0.3", true },	{ "", false },
		{ "x", false },		{ "1.8.0_99999999999999999999", false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (jvm_listens_anew(cases[i].version) != cases[i].anew)
			fail_msg("'%s'", cases[i].version);
}

static void what_is_no_jvm_is_a_reason(void **state)
{
	struct jvm_attach_options options = { .proc = "/proc", .pid = (__u32)getpid() };
	struct process_stat stat;
	struct why why = { "" };
	struct buf answer;

	buf_init(&answer, 100);
	assert_int_equal(process_stat_read("/proc", options.pid, &stat), 0);
	assert_int_equal(jvm_attach_check(&options, &why), -ESRCH); /* start_ticks 0 */
	assert_non_null(strstr(why.text, "another one"));
	options.start_ticks = stat.start_ticks;
	assert_int_equal(jvm_attach_check(&options, &why), -ENOENT);
	assert_non_null(strstr(why.text, "no Java virtual machine"));
	assert_int_equal(jvm_attach(&options, "VM.flags", &answer, &why), -ENOENT);
	options.proc = "/nowhere";
	assert_int_equal(jvm_attach(&options, "VM.flags", &answer, NULL), -ESRCH);
	assert_int_equal(answer.used, 0);
	buf_done(&answer);
}

static void time_left_is_rounded_up_and_ends(void **state)
{
	assert_int_equal(attach_timeout_ms(0), 0);
	assert_int_equal(attach_timeout_ms(time_now_ns()), 0);
	assert_in_range(attach_timeout_ms(time_now_ns() + 100 * NS_PER_MS), 1, 100);
	assert_int_equal(attach_timeout_ms(~0ull), 2147483647);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_takes_effective_ids_and_the_innermost_pid),
		cmocka_unit_test(status_that_is_cut_is_refused_or_whole),
		cmocka_unit_test(status_lines_that_lie_are_refused),
		cmocka_unit_test(a_bad_line_does_not_undo_a_good_one),
		cmocka_unit_test(groups_beyond_the_room_are_left_out),
		cmocka_unit_test(options_are_found_whole_and_in_their_place),
		cmocka_unit_test(requests_are_as_jvms_read_them),
		cmocka_unit_test(codes_are_numbers_on_a_line),
		cmocka_unit_test(versions_and_what_they_can),
		cmocka_unit_test(versions_that_listen_anew),
		cmocka_unit_test(what_is_no_jvm_is_a_reason),
		cmocka_unit_test(time_left_is_rounded_up_and_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
