/* Any bytes as what is read before a JVM is asked, and as what it answers. The first byte chooses. */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "jvm/attach_protocol.h"
#include "jvm/attach_target.h"
#include "jvm/launch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void status_check(const char *text, size_t bytes)
{
	struct process_status status;

	if (process_status_parse(text, bytes, &status))
		return;
	assert(status.inner_pid && status.group_count <= PROCESS_GROUPS_MAX);
	assert(memmem(text, bytes, "NSpid:", 6) && memmem(text, bytes, "SigCgt:", 7));
}

static void options_check(const char *text, size_t bytes)
{
	struct jvm_options options = { false };

	jvm_options_of_cmdline(text, bytes, &options);
	assert(!options.attach_disabled || memmem(text, bytes, "+DisableAttachMechanism", 23));
	options = (struct jvm_options){ false };
	jvm_options_of_environ(text, bytes, &options);
	assert(!options.attach_disabled || memmem(text, bytes, "_OPTIONS=", 9));
}

static void answer_check(const char *text, size_t bytes)
{
	int code, line = attach_code_parse(text, bytes, &code);

	assert(line == -EPROTO || (line >= 0 && line <= ATTACH_CODE_BYTES_MAX && (size_t)line <= bytes));
	assert(line <= 0 || text[line - 1] == '\n');
	assert(line != 0 || bytes < ATTACH_CODE_BYTES_MAX);
	if (attach_version_has(text, bytes, "streaming"))
		assert(memmem(text, bytes, "streaming", 9));
}

static void launch_check(const char *text, size_t bytes)
{
	char ret[32];

	jvm_main_of_cmdline(text, bytes, ret, sizeof(ret));
	assert(strlen(ret) < sizeof(ret) && utf8_valid(ret, strlen(ret)));
	assert(jvm_version_of_release(text, bytes, ret, sizeof(ret)) == (*ret != '\0'));
	assert(strlen(ret) < sizeof(ret) && utf8_valid(ret, strlen(ret)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *exact;

	if (!size)
		return 0;
	exact = malloc(size);
	memcpy(exact, data + 1, size - 1);
	exact = realloc(exact, size > 1 ? size - 1 : 1);
	if (data[0] == 's')
		status_check(exact, size - 1);
	else if (data[0] == 'o')
		options_check(exact, size - 1);
	else if (data[0] == 'l')
		launch_check(exact, size - 1);
	else
		answer_check(exact, size - 1);
	free(exact);
	return 0;
}
