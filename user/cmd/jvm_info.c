/* weir jvm info */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/why.h"
#include "cmd/cmd.h"
#include "cmd/jvm.h"
#include "cmd/jvm_target.h"

/* None of them stops the JVM. */
static const struct part {
	const char *key, *title, *command;
} parts[] = {
	{ "vm", "Version", "VM.version" },  { "command_line", "Command line", "VM.command_line" },
	{ "flags", "Flags", "VM.flags" },   { "uptime", "Time since the start", "VM.uptime" },
	{ "heap", "Heap", "GC.heap_info" }, /* not in the first updates of JDK 8 */
};

#define PARTS (sizeof(parts) / sizeof(*parts))
/* A few KiB, unless arguments are long. The kernel admits 6 MiB of these at most. */
#define PART_BYTES_MAX (8u << 20)

/* An array of lines. */
static json_t *lines_json(const struct buf *text)
{
	json_t *array = json_array();
	const char *at = text->data;

	while (*at) {
		size_t bytes = strcspn(at, "\n");

		json_array_append_new(array, json_stringn(at, bytes));
		at += bytes + (at[bytes] == '\n');
	}
	return array;
}

/* Printable into @ret. What this JVM does not know is said in its place, others may answer. */
static int part_ask(const struct jvm_target *target, const struct part *part, struct buf *ret, bool *ret_known,
		    struct why *why)
{
	struct why inner = {};
	struct buf answer;
	int err;

	buf_init(&answer, PART_BYTES_MAX);
	err = jvm_ask(target, part->command, &answer, &inner);
	*ret_known = !err;
	if (err == -EIO)
		jvm_lines(inner.text, strlen(inner.text), 0, ret);
	else if (err)
		why_set(why, err, "%s", inner.text);
	else
		jvm_lines(answer.data, answer.used, 0, ret);
	buf_done(&answer);
	return err == -EIO ? 0 : err;
}

int jvm_info(const struct options *options, const struct jvm_target *target, struct why *why)
{
	bool json = options->format == FORMAT_JSON;
	json_t *object = json ? jvm_target_json(target) : NULL;
	unsigned known_count = 0;
	struct buf out, text;
	int err = 0;

	buf_init(&out, JVM_OUT_MAX);
	buf_init(&text, JVM_OUT_MAX);
	jvm_target_text(target, &out);
	buf_add_char(&out, '\n');
	for (unsigned i = 0; !err && i < PARTS; i++) {
		bool known;

		buf_reset(&text);
		err = part_ask(target, &parts[i], &text, &known, why);
		known_count += known;
		if (json)
			json_object_set_new(object, parts[i].key, known ? lines_json(&text) : json_null());
		buf_printf(&out, "\n%s\n", parts[i].title);
		jvm_lines(text.data, text.used, 2, &out);
	}
	if (!err && !known_count)
		err = why_set(why, -EIO, "%.400s", text.data);
	if (!err)
		err = json ? jvm_print_json(json_incref(object), why) : jvm_print(&out, why);
	json_decref(object);
	buf_done(&text);
	buf_done(&out);
	return err;
}
