/* The table of options and its three readers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/why.h"
#include "cmd/config.h"
#include "cmd/options.h"

#define ARGS_MAX 16
#define ENV_MAX	 8

/* The environment of a test: "NAME=value". Static because the reader calls a getenv() without argument of its own. */
static const char *const *environment;

static char *fake_getenv(const char *name)
{
	size_t bytes = strlen(name);

	for (const char *const *item = environment; item && *item; item++)
		if (!strncmp(*item, name, bytes) && (*item)[bytes] == '=')
			return (char *)*item + bytes + 1;
	return NULL;
}

struct result {
	struct options options;
	struct why why;
	struct buf warnings;
	bool help;
	int err;
};

static void result_init(struct result *result, enum verb verb, const char *argument, const char *const *args,
			const char *const *env)
{
	char *argv[ARGS_MAX] = { "verb" };
	struct options_request request = { .verb = verb, .argument = argument, .argc = 1, .argv = argv };

	while (args && args[request.argc - 1]) {
		argv[request.argc] = (char *)args[request.argc - 1];
		request.argc++;
	}
	environment = env;
	buf_init(&result->warnings, 4096);
	request.getenv = fake_getenv;
	request.warnings = &result->warnings;
	result->why.text[0] = '\0';
	result->err = options_read(&result->options, &request, &result->help, &result->why);
}

static void result_done(struct result *result)
{
	options_done(&result->options);
	buf_done(&result->warnings);
}

static void rows_are_sane(void **state)
{
	for (unsigned verb = VERB_AGENT; verb < VERB_VERSION; verb *= 2) {
		for (unsigned a = 0; a < OPTIONS_COUNT; a++) {
			const struct option_row *row = &option_rows[a];

			assert_true(row->text && *row->text && row->text[strlen(row->text) - 1] != '.');
			assert_true(row->verbs && !(row->verbs & ~63u));
			assert_int_equal(row->type == OPTION_TYPE_FLAG, row->value == NULL);
			if (!(row->verbs & verb))
				continue;
			assert_int_equal(option_find(row->name, strlen(row->name), verb), a); /* unique */
			for (unsigned b = 0; b < a; b++)
				assert_false(row->letter && (option_rows[b].verbs & verb) &&
					     option_rows[b].letter == row->letter);
		}
	}
}

static void defaults_are_valid(void **state)
{
	for (unsigned verb = VERB_AGENT; verb < VERB_VERSION; verb *= 2) {
		struct result result;

		result_init(&result, verb, NULL, NULL, NULL);
		assert_int_equal(result.err, 0);
		result_done(&result);
	}
}

static void limits_are_valid(void **state)
{
	for (unsigned id = 0; id < OPTIONS_COUNT; id++) {
		struct options options = {};
		struct why why = {};

		if (option_rows[id].type != OPTION_TYPE_DURATION && option_rows[id].type != OPTION_TYPE_UINT)
			continue;
		/* Whatever the bounds are, this is either inside or named as outside: never a broken row. */
		if (option_set(&options, id, option_rows[id].type == OPTION_TYPE_UINT ? "1" : "1ns", ORIGIN_FLAG, &why))
			assert_non_null(strstr(why.text, "outside"));
		options_done(&options);
	}
}

static void flags_have_two_spellings(void **state)
{
	static const char *const spellings[][4] = {
		{ "--output=json" },
		{ "--output", "json" },
		{ "-o", "json" },
		{ "-ojson" },
	};

	for (size_t i = 0; i < 4; i++) {
		struct result result;

		result_init(&result, VERB_TOP, NULL, spellings[i], NULL);
		assert_int_equal(result.err, 0);
		assert_int_equal(result.options.format, FORMAT_JSON);
		result_done(&result);
	}
}

static void mistakes_are_named(void **state)
{
	static const struct {
		enum verb verb;
		const char *argument;
		const char *args[4];
		const char *said;
	} rows[] = {
		{ VERB_TOP, NULL, { "--contianer=x" }, "--contianer" },
		{ VERB_TOP, NULL, { "-x" }, "'-x'" },
		{ VERB_TOP, NULL, { "--sort=latency" }, "none of rate|container" },
		{ VERB_TOP, NULL, { "--sort=rat" }, "none of" },
		{ VERB_TOP, NULL, { "--interval=5" }, "not a time" },
		{ VERB_TOP, NULL, { "--interval=1ms" }, "outside of 100ms..1h" },
		{ VERB_TOP, NULL, { "--interval" }, "needs a value" },
		{ VERB_TOP, NULL, { "--once=yes" }, "takes no value" },
		{ VERB_TOP, NULL, { "extra" }, "'extra' is one word too many" },
		{ VERB_TOP, NULL, { "--min=1s" }, "there is no option '--min=1s'" },
		{ VERB_TRACE, "SIGNAL", { "http", "tcp" }, "'tcp' is one word too many" },
		{ VERB_TRACE, "SIGNAL", { NULL }, "SIGNAL is missing" },
		{ VERB_TRACE, "SIGNAL", { "http", "--count=0" }, "outside" },
		{ VERB_TRACE, "SIGNAL", { "http", "--count=-1" }, "not a whole number" },
		{ VERB_TRACE, "SIGNAL", { "http", "--count=99999999999999999999" }, "not a whole number" },
		{ VERB_TRACE, "SIGNAL", { "http", "--role=proxy" }, "none of both|server|client" },
		{ VERB_AGENT, NULL, { "--routes=perhaps" }, "neither on nor off" },
		{ VERB_AGENT, NULL, { "--interval=2h" }, "outside" },
		{ VERB_AGENT, NULL, { "-c", "/nonexistent/weir.yaml" }, "cannot open" },
		{ VERB_AGENT, NULL, { "-c", "/tmp" }, "is not a configuration file" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct result result;

		result_init(&result, rows[i].verb, rows[i].argument, rows[i].args, NULL);
		assert_true(result.err < 0);
		if (!strstr(result.why.text, rows[i].said))
			fail_msg("row %zu: '%s' does not say '%s'", i, result.why.text, rows[i].said);
		assert_null(strchr(result.why.text, '\n'));
		result_done(&result);
	}
}

static void help_comes_before_mistakes(void **state)
{
	struct result result;

	result_init(&result, VERB_TOP, NULL, (const char *const[]){ "--nonsense", "--help", NULL }, NULL);
	assert_int_equal(result.err, 0);
	assert_true(result.help);
	result_done(&result);
	result_init(&result, VERB_TRACE, "SIGNAL", (const char *const[]){ "--", "--help", NULL }, NULL);
	assert_false(result.help);
	assert_string_equal(result.options.argument, "--help");
	result_done(&result);
}

static void a_second_word_may_follow(void **state)
{
	char *argv[] = { "jvm", "threads", "--raw", "4711", "one", NULL };
	struct options_request request = { .verb = VERB_JVM, .argument = "ACTION", .second = "PID", .argv = argv };
	struct options options;
	struct why why = {};
	bool help;

	environment = NULL;
	request.getenv = fake_getenv;
	request.argc = 2;
	assert_int_equal(options_read(&options, &request, &help, &why), 0);
	assert_string_equal(options.argument, "threads");
	assert_null(options.second);
	options_done(&options);
	request.argc = 4;
	assert_int_equal(options_read(&options, &request, &help, &why), 0);
	assert_string_equal(options.second, "4711");
	assert_true(options.jvm_raw);
	options_done(&options);
	request.argc = 5;
	assert_int_equal(options_read(&options, &request, &help, &why), -EINVAL);
	assert_non_null(strstr(why.text, "'one' is one word too many"));
	options_done(&options);
	request.argc = 4;
	request.second = NULL;
	assert_int_equal(options_read(&options, &request, &help, &why), -EINVAL);
	options_done(&options);
}

/* ---- the file, and who wins */

static void write_file(char path[32], const char *text, size_t bytes)
{
	int fd;

	strcpy(path, "/tmp/weir-options-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, bytes), bytes);
	close(fd);
}

static void file_is_weaker_than_environment_than_flag(void **state)
{
	static const char yaml[] = "interval: 30s\nprometheus: off\nroutes: off\n";
	char path[32], config[64];
	struct result result;

	write_file(path, yaml, strlen(yaml));
	snprintf(config, sizeof(config), "--config=%s", path);
	result_init(&result, VERB_AGENT, NULL, (const char *const[]){ config, "--routes=on", NULL },
		    (const char *const[]){ "WEIR_INTERVAL=20s", "WEIR_ROUTES=off", NULL });
	assert_int_equal(result.err, 0);
	assert_int_equal(result.options.interval, 20ull * 1000000000); /* environment over file */
	assert_string_equal(result.options.prometheus, "off");	       /* file over default */
	assert_true(result.options.routes);			       /* flag over both */
	assert_int_equal(result.options.origin[OPTION_interval], ORIGIN_ENV);
	assert_int_equal(result.options.origin[OPTION_prometheus], ORIGIN_FILE);
	assert_int_equal(result.options.origin[OPTION_routes], ORIGIN_FLAG);
	assert_int_equal(result.options.origin[OPTION_table_max], ORIGIN_DEFAULT);
	result_done(&result);
	unlink(path);
}

static void lists_grow_and_are_replaced(void **state)
{
	static const char yaml[] = "route:\n  - /a/{x}\n  - /b,c/{x}\nsignals: [http]\n";
	char path[32], config[64];
	struct result result;

	write_file(path, yaml, strlen(yaml));
	snprintf(config, sizeof(config), "-c%s", path);
	result_init(&result, VERB_AGENT, NULL, (const char *const[]){ config, NULL }, NULL);
	assert_int_equal(result.err, 0);
	assert_int_equal(result.options.route.count, 2);
	assert_string_equal(result.options.route.items[1], "/b,c/{x}"); /* a pattern may hold a comma */
	assert_null(result.options.route.items[2]);
	assert_int_equal(result.options.signals.count, 1);
	result_done(&result);

	result_init(&result, VERB_AGENT, NULL,
		    (const char *const[]){ config, "--route=/z", "--route=/y", "--signals=a,b,,c", NULL }, NULL);
	assert_int_equal(result.options.route.count, 2);
	assert_string_equal(result.options.route.items[0], "/z");
	assert_int_equal(result.options.signals.count, 3);
	assert_string_equal(result.options.signals.items[2], "c");
	result_done(&result);
	unlink(path);
}

static void broken_files_are_refused_with_the_line(void **state)
{
	static const struct {
		const char *yaml;
		const char *said; /* after the path */
	} rows[] = {
		{ "interval: 10s\nintervall: 5s\n", ":2: there is no option 'intervall'" },
		{ "interval: soon\n", ":1: interval: 'soon' is not a time" },
		{ "# comment\n\ninterval: 1ms\n", ":3: interval: '1ms' is outside" },
		{ "interval: 10s\ninterval: 10s\n", ":2: 'interval' is here for the second time" },
		{ "interval: [10s]\n", ":1: interval must be one plain value" },
		{ "signals: {http: on}\n", ":1: signals must be a value or a list" },
		{ "signals: [[http]]\n", ":1: signals: only plain values" },
		{ "- interval\n", ":1: expected 'option: value'" },
		{ "just text\n", ":1: expected 'option: value'" },
		{ "interval: 10s\n---\ninterval: 5s\n", ":2: a second document" },
		{ "interval: 10s\n  prometheus: off\n", ":1: interval: '10s prometheus'" }, /* so YAML folds it */
		{ "prometheus: \"127.0.0.1\n", ":2: " },
		{ "interval: &a 10s\nshutdown-timeout: *a\n", ":2: shutdown-timeout must be one plain value" },
		{ "signals: [http\nrole: server\n", ":" },
		{ "\tinterval: 10s\n", ":1: " },
		{ "config: other.yaml\n", ":1: there is no option 'config'" },
		{ "count: 5\n", ":1: there is no option 'count'" },
		{ "? [a, b]\n: c\n", ":1: a key must be" },
		{ "prometheus: \"a\\0b\"\n", ":1: prometheus: a NUL byte" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct options options = { .verb = VERB_AGENT };
		struct why why = {};
		char path[32];
		int err;

		write_file(path, rows[i].yaml, strlen(rows[i].yaml));
		err = config_read(&options, path, &why);
		assert_int_equal(err, -EINVAL);
		if (strncmp(why.text, path, strlen(path)) ||
		    strncmp(why.text + strlen(path), rows[i].said, strlen(rows[i].said)))
			fail_msg("row %zu: '%s' does not say '%s'", i, why.text, rows[i].said);
		assert_null(strchr(why.text, '\n'));
		options_done(&options);
		unlink(path);
	}
}

static void an_empty_file_says_nothing(void **state)
{
	static const char *const files[] = { "", "# only a comment\n", "---\n", "interval:\n" };

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		struct options options = { .verb = VERB_AGENT };
		struct why why = {};
		char path[32];

		write_file(path, files[i], strlen(files[i]));
		assert_int_equal(config_read(&options, path, &why), 0);
		assert_int_equal(options.origin[OPTION_interval], ORIGIN_NONE);
		options_done(&options);
		unlink(path);
	}
}

/* Every prefix, and every byte replaced by one that means something to YAML or to nobody: an answer, never a crash. */
static void damaged_files_are_survived(void **state)
{
	static const char yaml[] = "interval: 30s\nsignals: [http, 'x']\nroute:\n  - \"/a/{x}\"\nprometheus: off\n";
	static const char bytes[] = { '\0', '\xff', '\xc3', '{', ']', '"', '\t', '&', '*', '\n' };

	for (size_t cut = 0; cut < sizeof(yaml); cut++) {
		for (size_t i = 0; i < sizeof(bytes); i++) {
			struct options options = { .verb = VERB_AGENT };
			struct why why = {};
			char copy[sizeof(yaml)], path[32];

			memcpy(copy, yaml, sizeof(yaml));
			copy[cut] = bytes[i];
			write_file(path, copy, i ? sizeof(yaml) - 1 : cut);
			if (config_read(&options, path, &why))
				assert_true(why.text[0]);
			options_done(&options);
			unlink(path);
		}
	}
}

/* ---- variables of OpenTelemetry */

static void otel_rules(void **state)
{
	static const struct {
		const char *env[ENV_MAX];
		enum option_id id;
		enum option_origin origin;
		__u64 value; /* of a number or choice */
		const char *text;
		const char *warning;
	} rows[] = {
		/* milliseconds, as a number only */
		{ .env = { "OTEL_METRIC_EXPORT_INTERVAL=2500" },
		  .id = OPTION_interval,
		  .origin = ORIGIN_ENV,
		  .value = 2500000000ull },
		{ .env = { "OTEL_METRIC_EXPORT_INTERVAL=10s" },
		  .id = OPTION_interval,
		  .origin = ORIGIN_DEFAULT,
		  .value = 10000000000ull,
		  .warning = "OTEL_METRIC_EXPORT_INTERVAL: '10s'" },
		{ .env = { "OTEL_METRIC_EXPORT_INTERVAL=-5" },
		  .id = OPTION_interval,
		  .origin = ORIGIN_DEFAULT,
		  .value = 10000000000ull,
		  .warning = "ignoring" },
		{ .env = { "OTEL_METRIC_EXPORT_INTERVAL=" },
		  .id = OPTION_interval,
		  .origin = ORIGIN_DEFAULT,
		  .value = 10000000000ull },
		{ .env = { "OTEL_METRIC_EXPORT_INTERVAL=", "WEIR_INTERVAL=7s" },
		  .id = OPTION_interval,
		  .origin = ORIGIN_ENV,
		  .value = 7000000000ull },
		/* the signal's own wins over the general one */
		{ .env = { "OTEL_EXPORTER_OTLP_TIMEOUT=1000", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT=2000" },
		  .id = OPTION_otlp_timeout,
		  .origin = ORIGIN_ENV,
		  .value = 2000000000ull },
		{ .env = { "OTEL_EXPORTER_OTLP_TIMEOUT=0" },
		  .id = OPTION_otlp_timeout,
		  .origin = ORIGIN_ENV,
		  .value = 0 },
		/* names in any case; unknown ones are no choice */
		{ .env = { "OTEL_EXPORTER_OTLP_COMPRESSION=NONE" },
		  .id = OPTION_otlp_compression,
		  .origin = ORIGIN_ENV,
		  .value = 0 },
		{ .env = { "OTEL_EXPORTER_OTLP_COMPRESSION=zstd" },
		  .id = OPTION_otlp_compression,
		  .origin = ORIGIN_DEFAULT,
		  .value = 1,
		  .warning = "'zstd' is none of none|gzip" },
		{ .env = { "OTEL_EXPORTER_OTLP_PROTOCOL=grpc" },
		  .id = OPTION_otlp_protocol,
		  .origin = ORIGIN_DEFAULT,
		  .value = 0,
		  .warning = "'grpc' is none of http/protobuf, ignoring" },
		{ .env = { "OTEL_LOG_LEVEL=DEBUG" }, .id = OPTION_log_level, .origin = ORIGIN_ENV, .value = 3 },
		/* true is true, everything else is not */
		{ .env = { "OTEL_SDK_DISABLED=True" }, .id = OPTION_sdk_disabled, .origin = ORIGIN_ENV, .value = 1 },
		{ .env = { "OTEL_SDK_DISABLED=1" },
		  .id = OPTION_sdk_disabled,
		  .origin = ORIGIN_DEFAULT,
		  .value = 0,
		  .warning = "OTEL_SDK_DISABLED" },
		/* one address from two variables */
		{ .env = { "OTEL_EXPORTER_PROMETHEUS_PORT=9999" },
		  .id = OPTION_prometheus,
		  .origin = ORIGIN_ENV,
		  .text = "127.0.0.1:9999" },
		{ .env = { "OTEL_EXPORTER_PROMETHEUS_HOST=0.0.0.0" },
		  .id = OPTION_prometheus,
		  .origin = ORIGIN_ENV,
		  .text = "0.0.0.0:9464" },
		{ .env = { "OTEL_EXPORTER_PROMETHEUS_HOST=::1", "OTEL_EXPORTER_PROMETHEUS_PORT=1" },
		  .id = OPTION_prometheus,
		  .origin = ORIGIN_ENV,
		  .text = "[::1]:1" },
		{ .env = { "OTEL_EXPORTER_PROMETHEUS_PORT=70000" },
		  .id = OPTION_prometheus,
		  .origin = ORIGIN_ENV,
		  .text = "127.0.0.1:9464",
		  .warning = "'70000' is not a port" },
		{ .env = { "OTEL_EXPORTER_PROMETHEUS_PORT=1", "WEIR_PROMETHEUS=off" },
		  .id = OPTION_prometheus,
		  .origin = ORIGIN_ENV,
		  .text = "off" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct option_row *row = &option_rows[rows[i].id];
		struct result result;
		const void *member;

		result_init(&result, VERB_AGENT, NULL, NULL, rows[i].env);
		assert_int_equal(result.err, 0);
		member = (const char *)&result.options + row->offset;
		if (result.options.origin[rows[i].id] != rows[i].origin)
			fail_msg("row %zu: origin %d", i, result.options.origin[rows[i].id]);
		if (row->type == OPTION_TYPE_STR)
			assert_string_equal(*(char *const *)member, rows[i].text);
		else if (row->type == OPTION_TYPE_CHOICE)
			assert_int_equal(*(const unsigned *)member, rows[i].value);
		else if (row->type == OPTION_TYPE_SWITCH)
			assert_int_equal(*(const bool *)member, rows[i].value);
		else
			assert_int_equal(*(const __u64 *)member, rows[i].value);
		assert_int_equal(result.warnings.used != 0, rows[i].warning != NULL);
		if (rows[i].warning && !strstr(result.warnings.data, rows[i].warning))
			fail_msg("row %zu: '%s' does not say '%s'", i, result.warnings.data, rows[i].warning);
		result_done(&result);
	}
}

static void our_own_variables_are_strict(void **state)
{
	struct result result;

	result_init(&result, VERB_AGENT, NULL, NULL, (const char *const[]){ "WEIR_INTERVAL=soon", NULL });
	assert_int_equal(result.err, -EINVAL);
	assert_non_null(strstr(result.why.text, "WEIR_INTERVAL: 'soon' is not a time"));
	result_done(&result);
}

static void help_lists_every_option_of_the_verb(void **state)
{
	for (unsigned verb = VERB_AGENT; verb < VERB_VERSION; verb *= 2) {
		struct buf out;
		char name[64];

		buf_init(&out, 64 << 10);
		options_help(verb, &out);
		for (unsigned id = 0; id < OPTIONS_COUNT; id++) {
			snprintf(name, sizeof(name), "--%s%s", option_rows[id].name, option_rows[id].value ? "=" : "");
			if (option_rows[id].verbs & verb)
				assert_non_null(strstr(out.data, name));
			else if (option_find(option_rows[id].name, strlen(option_rows[id].name), verb) == OPTIONS_COUNT)
				assert_null(strstr(out.data, name));
		}
		for (const char *at = out.data; *at; at += strcspn(at, "\n") + 1)
			assert_true(strcspn(at, "\n") <= 160); /* names of variables cannot be broken */
		buf_done(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_sane),
		cmocka_unit_test(defaults_are_valid),
		cmocka_unit_test(limits_are_valid),
		cmocka_unit_test(flags_have_two_spellings),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(help_comes_before_mistakes),
		cmocka_unit_test(a_second_word_may_follow),
		cmocka_unit_test(file_is_weaker_than_environment_than_flag),
		cmocka_unit_test(lists_grow_and_are_replaced),
		cmocka_unit_test(broken_files_are_refused_with_the_line),
		cmocka_unit_test(an_empty_file_says_nothing),
		cmocka_unit_test(damaged_files_are_survived),
		cmocka_unit_test(otel_rules),
		cmocka_unit_test(our_own_variables_are_strict),
		cmocka_unit_test(help_lists_every_option_of_the_verb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
