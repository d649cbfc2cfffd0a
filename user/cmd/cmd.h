/* A verb of the command line: one file in cmd/ exports one const struct command, cmds.c lists them. What is common to
 * all (options, --help, the exit status) is done once, before run(). Exit status: 0, 1 for a failure, 2 for wrong usage. */
#ifndef WEIR_CMD_CMD_H
#define WEIR_CMD_CMD_H

#include "cmd/options.h"

enum exit_status { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
	const char *name;
	const char *summary;  /* one line of `weir --help` */
	const char *argument; /* "SIGNAL": one word must follow the verb; NULL: none may */
	const char *second;   /* "PID": one more word may follow that; NULL: none may */
	enum verb verb;	      /* which rows of options.def it takes */
	const char *text;     /* paragraph of `weir VERB --help`, ends with a newline */
	const char *example;  /* command lines with a sentence each, ends with a newline */
	enum exit_status (*run)(const struct options *options);
};

extern const struct command *const commands[]; /* NULL ends it */

/* Picks the verb, reads its options, runs it. All that main() does. */
int command_main(int argc, char **argv);

/* Prints "weir VERB: text" as one line on stderr. Returns @status, so that `return command_fail(...)` reads well. */
__attribute__((format(printf, 2, 3))) enum exit_status command_fail(enum exit_status status, const char *format, ...);

#endif
