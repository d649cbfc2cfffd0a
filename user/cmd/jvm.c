/* weir jvm: the JVMs of this machine, and what they answer when they are asked. */
#include "cmd/jvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/why.h"
#include "cmd/cmd.h"
#include "cmd/jvm_target.h"
#include "cmd/out.h"
#include "identity/identity.h"

struct action {
	const char *name;
	int (*run)(const struct options *options, const struct jvm_target *target,
		   struct why *why); /* NULL: of no process */
};

static const struct action actions[] = {
	{ "list", NULL },
	{ "threads", jvm_threads },
	{ "histogram", jvm_histogram },
	{ "info", jvm_info },
};

/* Options that only one of them takes. */
static const struct {
	enum option_id option;
	const char *action;
} owned[] = {
	{ OPTION_jvm_raw, "threads" },
	{ OPTION_jvm_locks, "threads" },
	{ OPTION_jvm_live, "histogram" },
	{ OPTION_jvm_diff, "histogram" },
};

/* ---- shared */

int jvm_ask(const struct jvm_target *target, const char *command, struct buf *answer, struct why *why)
{
	struct jvm_attach_options options = jvm_target_attach(target);

	return jvm_attach(&options, command, answer, why);
}

int jvm_print(struct buf *out, struct why *why)
{
	int err = out_write(out);

	return err && err != -EPIPE ? why_set(why, err, "cannot write: %s", strerror(-err)) : 0;
}

int jvm_print_json(json_t *object, struct why *why)
{
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	struct buf out;
	int err;

	json_decref(object);
	if (!text)
		return why_set(why, -ENOMEM, "no memory");
	buf_init(&out, JVM_OUT_MAX);
	buf_add_str(&out, text);
	buf_add_char(&out, '\n');
	free(text);
	err = jvm_print(&out, why);
	buf_done(&out);
	return err;
}

static void line_add(const char *line, size_t bytes, struct buf *out)
{
	if (buf_reserve(out, 4 * bytes + 1))
		return;
	buf_commit(out, utf8_sanitise(line, bytes, out->data + out->used, 4 * bytes + 1));
}

void jvm_lines(const char *text, size_t bytes, unsigned indent, struct buf *out)
{
	while (bytes) {
		const char *end = memchr(text, '\n', bytes), *tab;
		size_t length = end ? (size_t)(end - text) : bytes, left = length;

		buf_add_repeat(out, ' ', indent);
		while ((tab = memchr(text, '\t', left))) {
			line_add(text, tab - text, out);
			buf_add_repeat(out, ' ', 8);
			left -= tab + 1 - text;
			text = tab + 1;
		}
		line_add(text, left, out);
		buf_add_char(out, '\n');
		text += left + (end != NULL);
		bytes -= length + (end != NULL);
	}
}

/* ---- the command */

static const struct action *action_of(const char *name)
{
	for (unsigned i = 0; i < sizeof(actions) / sizeof(*actions); i++)
		if (!strcmp(actions[i].name, name))
			return &actions[i];
	return NULL;
}

/* 0 or -EINVAL. */
static int usage_check(const struct options *options, const struct action *action, __u64 *ret_pid, struct why *why)
{
	for (unsigned i = 0; i < sizeof(owned) / sizeof(*owned); i++)
		if (option_given(options, owned[i].option) && strcmp(owned[i].action, action->name))
			return why_set(why, -EINVAL, "--%s is for 'weir jvm %s'", option_rows[owned[i].option].name,
				       owned[i].action);
	if (!action->run && options->second)
		return why_set(why, -EINVAL, "'%.100s' is one word too many: %s is of all JVMs", options->second,
			       action->name);
	if (!action->run)
		return 0;
	if (!options->second)
		return why_set(why, -EINVAL, "which JVM? weir jvm %s PID; 'weir jvm list' tells the pids",
			       action->name);
	if (str_to_u64(options->second, ~0u >> 1, ret_pid) || !*ret_pid)
		return why_set(why, -EINVAL, "'%.100s' is no pid", options->second);
	if (options->jvm_raw && options->format == FORMAT_JSON)
		return why_set(why, -EINVAL, "--raw is the JVM's text, not JSON");
	return 0;
}

static int target_run(const struct options *options, const struct action *action, __u32 pid, struct why *why)
{
	struct identity *id = jvm_identity(options);
	struct jvm_target *target = malloc(sizeof(*target));
	int err = target ? jvm_target_read(id, pid, target, why) : why_set(why, -ENOMEM, "no memory");

	if (!err && target->kind != JVM_KIND_HOTSPOT)
		err = why_set(why, -ENOENT, "process %u cannot be asked: %s", pid, jvm_kind_sentence(target->kind));
	if (!err)
		err = action->run(options, target, why);
	free(target);
	identity_free(id);
	return err;
}

static enum exit_status jvm_run(const struct options *options)
{
	const struct action *action = action_of(options->argument);
	struct why why = {};
	__u64 pid = 0;
	int err;

	if (!action)
		return command_fail(EXIT_USAGE, "there is no '%.50s'; there are list, threads, histogram and info",
				    options->argument);
	if (usage_check(options, action, &pid, &why))
		return command_fail(EXIT_USAGE, "%s", why.text);
	err = action->run ? target_run(options, action, pid, &why) : jvm_list(options, &why);
	return err ? command_fail(EXIT_FAILED, "%s", why.text) : EXIT_OK;
}

const struct command jvm_command = {
	.name = "jvm",
	.summary = "list the JVMs of this machine, and ask one of them for its threads or its objects",
	.argument = "list|threads|histogram|info",
	.second = "PID",
	.verb = VERB_JVM,
	.text = "list tells which JVMs run, in which containers, and whether they can be asked; it asks none of them. The\n"
		"others ask the JVM as jcmd does, which it notices: one that was never asked before is sent SIGQUIT, as jcmd\n"
		"does, but only where it is known that it expects it.\n"
		"  threads    threads by state, deadlocks, who holds the locks that others wait for, stacks that many share.\n"
		"             The JVM stands still for it, some milliseconds for a thousand threads\n"
		"  histogram  objects and bytes of each class. The JVM stands still for it. Without --live garbage is counted\n"
		"             too, and nothing is collected\n"
		"  info       version, command line, flags, time since the start, heap: none of these stops the JVM\n",
	.example = "  weir jvm list\n"
		   "  weir jvm threads 4711\n"
		   "  weir jvm threads 4711 --raw >dump.txt\n"
		   "  weir jvm threads 4711 -o json | jq '.deadlocks'\n"
		   "  weir jvm histogram 4711 --diff=30s\n",
	.run = jvm_run,
};
