#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/why.h"
#include "cmd/out.h"
#include "signal/signal.h"

#define HELP_MAX (256u << 10)

extern const struct command agent_command, trace_command, top_command, hist_command, doctor_command, jvm_command,
	version_command;

const struct command *const commands[] = {
	&agent_command,	 &trace_command, &top_command,	   &hist_command,
	&doctor_command, &jvm_command,	 &version_command, NULL,
};

/* For command_fail(), which is called from everywhere below a command: the verb being run. */
static const char *command_running;

enum exit_status command_fail(enum exit_status status, const char *format, ...)
{
	struct why line;
	va_list args;

	va_start(args, format);
	vsnprintf(line.text, sizeof(line.text), format, args);
	va_end(args);
	fprintf(stderr, "weir%s%s: %s\n", command_running ? " " : "", command_running ? command_running : "",
		line.text);
	return status;
}

/* ---- help */

static void signals_table(struct buf *out)
{
	buf_add_str(out, "\nSignals:\n");
	for (unsigned id = 1; id < SIGNAL_MAX; id++)
		if (signals[id])
			buf_printf(out, "  %-10s %s\n", signals[id]->name, signals[id]->text);
}

static void metrics_table(struct buf *out)
{
	static const char *const kinds[] = {
		[METRIC_HIST] = "histogram", [METRIC_SUM] = "counter", [METRIC_GAUGE] = "gauge"
	};

	buf_add_str(out, "\nMetrics:\n");
	for (unsigned id = 1; id < SIGNAL_MAX; id++)
		for (const struct metric *const *metric = signals[id] ? signals[id]->metrics : NULL; metric && *metric;
		     metric++)
			buf_printf(out, "  %-34s %-10s %-10s %s\n", (*metric)->name, kinds[(*metric)->kind],
				   (*metric)->unit, (*metric)->text);
}

static void command_help(const struct command *command, struct buf *out)
{
	buf_printf(out, "usage: weir %s%s%s%s%s%s [OPTION...]\n\n%s\nOptions:\n", command->name,
		   command->argument ? " " : "", command->argument ?: "", command->second ? " [" : "",
		   command->second ?: "", command->second ? "]" : "", command->text);
	options_help(command->verb, out);
	if (command->verb & (VERB_AGENT | VERB_TRACE))
		signals_table(out);
	if (command->verb & (VERB_AGENT | VERB_HIST))
		metrics_table(out);
	buf_printf(out, "\nExamples:\n%s", command->example);
}

static void usage(struct buf *out)
{
	buf_add_str(out,
		    "usage: weir COMMAND [OPTION...]\n\n"
		    "Which container serves and makes which requests, how fast, with what errors: seen in the kernel,\n"
		    "without a change to anything observed.\n\nCommands:\n");
	for (const struct command *const *command = commands; *command; command++)
		buf_printf(out, "  %-8s %s\n", (*command)->name, (*command)->summary);
	buf_add_str(out, "\n'weir COMMAND --help' tells about one of them.\n");
	signals_table(out);
}

static enum exit_status help_print(const struct command *command)
{
	struct buf out;
	int err;

	buf_init(&out, HELP_MAX);
	if (command)
		command_help(command, &out);
	else
		usage(&out);
	err = out_write(&out);
	buf_done(&out);
	return err && err != -EPIPE ? EXIT_FAILED : EXIT_OK;
}

/* ---- running */

static void log_level_apply(const struct options *options)
{
	_Static_assert(LEVEL_ERROR == 0 && LEVEL_DEBUG == 3, "the order of --log-level in options.def");

	if (option_rows[OPTION_log_level].verbs & options->verb)
		log_set_level((enum log_level)options->log_level);
}

static void warnings_print(const struct buf *warnings)
{
	const char *at = warnings->data;

	while (*at) {
		int bytes = strcspn(at, "\n");

		log_warn("%.*s", bytes, at);
		at += bytes + (at[bytes] == '\n');
	}
}

static int command_run(const struct command *command, int argc, char **argv)
{
	struct options *options = calloc(1, sizeof(*options)); /* several KiB: lists */
	struct buf warnings;
	struct options_request request = { .verb = command->verb,
					   .argument = command->argument,
					   .second = command->second,
					   .argc = argc,
					   .argv = argv,
					   .getenv = getenv,
					   .warnings = &warnings };
	struct why why = {};
	bool help;
	int err, status;

	command_running = command->name;
	if (!options)
		return command_fail(EXIT_FAILED, "no memory");
	buf_init(&warnings, 64 << 10);
	err = options_read(options, &request, &help, &why);
	if (err) {
		status = command_fail(err == -EINVAL ? EXIT_USAGE : EXIT_FAILED, "%s", why.text);
	} else if (help) {
		status = help_print(command);
	} else {
		log_level_apply(options);
		warnings_print(&warnings);
		status = command->run(options);
	}
	buf_done(&warnings);
	options_done(options);
	free(options);
	return status;
}

/* Started without them, the next three files opened would be taken for them, and written to. */
static void standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int command_main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : NULL;

	standard_files();
	signal(SIGPIPE, SIG_IGN); /* a reader that goes away is an error of write(), not the end */
	if (!verb) {
		command_fail(
			EXIT_USAGE,
			"which command? agent, trace, top, hist, doctor, jvm or version; 'weir --help' tells more");
		return EXIT_USAGE;
	}
	if (!strcmp(verb, "--help") || !strcmp(verb, "-h") || !strcmp(verb, "help"))
		return help_print(NULL);
	if (!strcmp(verb, "--version") || !strcmp(verb, "-V"))
		verb = "version", argc = 2;
	for (const struct command *const *command = commands; *command; command++)
		if (!strcmp((*command)->name, verb))
			return command_run(*command, argc - 1, argv + 1);
	return command_fail(EXIT_USAGE, "there is no command '%.50s'; 'weir --help' lists them", verb);
}
