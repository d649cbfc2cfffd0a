/* The report of doctor for people. */
#include <stdio.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/table.h"
#include "cmd/doctor.h"

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

static __u64 number_of(const json_t *object, const char *key)
{
	return (__u64)json_integer_value(json_object_get(object, key));
}

static bool true_in(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static void head_text(const json_t *report, struct buf *out)
{
	const json_t *cgroup = json_object_get(report, "cgroup");
	const json_t *agent = json_object_get(report, "agent");

	buf_printf(out, "weir %s on Linux %s (%s)\n", text_of(report, "version"), text_of(report, "kernel"),
		   text_of(report, "machine"));
	if (*text_of(cgroup, "mount"))
		buf_printf(out, "cgroup v2  %s\n", text_of(cgroup, "mount"));
	else
		buf_printf(out, "cgroup v2  not found: %s\n", text_of(cgroup, "reason"));
	if (true_in(agent, "running"))
		buf_printf(out, "agent      answers at %s\n", text_of(agent, "socket"));
	else
		buf_printf(out, "agent      none: %s\n", text_of(agent, "reason"));
}

static void features_text(const json_t *report, struct buf *out)
{
	const json_t *array = json_object_get(report, "features");

	buf_add_str(out, "\nThis kernel and these privileges\n");
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);

		if (true_in(item, "available")) {
			buf_printf(out, "  yes  %s\n", text_of(item, "name"));
			continue;
		}
		buf_printf(out, "  NO   %s: %s\n", text_of(item, "name"), text_of(item, "reason"));
		buf_printf(out, "       serves %s\n       remedy: %s\n", text_of(item, "serves"),
			   text_of(item, "remedy"));
	}
}

static void signals_text(const json_t *report, struct buf *out)
{
	const json_t *array = json_object_get(report, "signals");

	buf_add_str(out, "\nSignals\n");
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);

		if (true_in(item, "runs"))
			buf_printf(out, "  runs %-6s %s\n", text_of(item, "name"), text_of(item, "text"));
		else
			buf_printf(out, "  OFF  %-6s %s\n", text_of(item, "name"), text_of(item, "reason"));
	}
}

/* What some signals observe in ways that differ, such as the libraries of JVMs. */
static void watched_text(const json_t *report, struct buf *out)
{
	const json_t *array = json_object_get(json_object_get(report, "status"), "signals");

	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *signal = json_array_get(array, i), *watched = json_object_get(signal, "watched");

		if (json_array_size(watched))
			buf_printf(out, "\nWatched by %s\n", text_of(signal, "name"));
		for (size_t k = 0; k < json_array_size(watched); k++) {
			const json_t *item = json_array_get(watched, k);

			buf_printf(out, "  %-11s %4llu  %s\n", text_of(item, "how"), number_of(item, "count"),
				   text_of(item, "name"));
			if (*text_of(item, "reason"))
				buf_printf(out, "                    %s\n", text_of(item, "reason"));
		}
	}
}

static void table_rows(struct table *table, const char *owner, const json_t *array)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);
		__u64 used = number_of(item, "used"), max = number_of(item, "max");
		char used_text[32], max_text[32], percent[32], bytes[STR_NUMBER_ROOM];
		const char *cells[] = { owner,	   text_of(item, "name"),
					used_text, max_text,
					percent,   str_format_bytes(number_of(item, "bytes"), bytes) };

		snprintf(used_text, sizeof(used_text), "%llu", used);
		snprintf(max_text, sizeof(max_text), "%llu", max);
		snprintf(percent, sizeof(percent), "%.1f%%", max ? 100.0 * used / max : 0.0);
		table_add(table, cells);
	}
}

static void tables_text(const json_t *report, struct buf *out)
{
	static const struct table_column columns[] = {
		{ .title = "  OWNER" },
		{ .title = "TABLE" },
		{ .title = "USED", .right = true },
		{ .title = "MAX", .right = true },
		{ .title = "FULL", .right = true },
		{ .title = "MEMORY", .right = true },
	};
	const json_t *status = json_object_get(report, "status");
	const json_t *array = json_object_get(status, "signals");
	struct table table;
	char owner[64];

	if (!json_is_object(status))
		return;
	buf_printf(out, "\nTables of %s\n", text_of(report, "source"));
	table_init(&table, columns, sizeof(columns) / sizeof(*columns));
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);

		snprintf(owner, sizeof(owner), "  %s", text_of(item, "name"));
		table_rows(&table, owner, json_object_get(item, "tables"));
	}
	table_rows(&table, "  weir", json_object_get(status, "tables"));
	table_print(&table, out);
	table_done(&table);
}

static void warnings_text(const json_t *report, struct buf *out)
{
	const json_t *array = json_object_get(report, "warnings");

	for (size_t i = 0; i < json_array_size(array); i++)
		buf_printf(out, "\nwarning: %s\n", json_string_value(json_array_get(array, i)) ?: "");
}

void doctor_text(const json_t *report, struct buf *out)
{
	head_text(report, out);
	features_text(report, out);
	signals_text(report, out);
	watched_text(report, out);
	tables_text(report, out);
	warnings_text(report, out);
	buf_printf(out, "\n%s\n",
		   true_in(report, "ok") ? "HTTP requests can be observed here."
					 : "HTTP requests CANNOT be observed here: see above.");
}
