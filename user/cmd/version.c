/* weir version. */
#include <stdio.h>

#include "cmd/cmd.h"

#ifndef WEIR_VERSION
#define WEIR_VERSION "unknown"
#endif

static enum exit_status version_run(const struct options *options)
{
	return printf("weir %s\n", WEIR_VERSION) < 0 || fflush(stdout) ? EXIT_FAILED : EXIT_OK;
}

const struct command version_command = {
	.name = "version",
	.summary = "print the version",
	.verb = VERB_VERSION,
	.text = "Prints one line.\n",
	.example = "  weir version\n",
	.run = version_run,
};
