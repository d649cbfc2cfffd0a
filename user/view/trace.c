#include "view/trace.h"

#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/time.h"
#include "view/who.h"

static void field_print(const struct field *field, enum column_format format, struct buf *out)
{
	char room[STR_NUMBER_ROOM];
	__u64 number;

	if (!field || (field->type == FIELD_STR && !field->str)) {
		buf_add_char(out, '-');
		return;
	}
	if (field->type == FIELD_STR) {
		buf_add_str(out, *field->str ? field->str : "-");
		return;
	}
	number = field->type == FIELD_UINT ? field->unum : (__u64)field->num;
	if (format == COLUMN_DURATION_NS)
		buf_add_str(out, str_format_duration(number, room));
	else if (format == COLUMN_BYTES)
		buf_add_str(out, str_format_bytes(number, room));
	else if (field->type == FIELD_UINT)
		buf_printf(out, "%llu", (unsigned long long)field->unum);
	else
		buf_printf(out, "%lld", (long long)field->num);
}

static void value_print(const struct column *column, const struct span *span, const struct workload *who,
			__u64 time_unix_ns, struct buf *out)
{
	char room[TIME_ROOM];

	if (!strcmp(column->field, "time"))
		buf_add_str(out, time_format_clock(time_unix_ns, room));
	else if (!strcmp(column->field, "container"))
		who_print(who, out);
	else if (!strcmp(column->field, "pid") && span->pid)
		buf_printf(out, "%u", span->pid);
	else
		field_print(span_field(span, column->field), column->format, out);
}

static void column_print(const struct column *column, const char *text, struct buf *out)
{
	unsigned width = column->width < 0 ? -column->width : column->width;

	if (!width)
		buf_add_str(out, text);
	else if (column->format != COLUMN_TEXT && utf8_width(text) > width)
		buf_add_str(out, text); /* a number is never cut: better a crooked line than a wrong figure */
	else
		cell_print(out, text, width, column->width > 0);
	buf_add_char(out, column[1].field ? ' ' : '\n');
}

void trace_header(const struct column *columns, struct buf *out)
{
	for (const struct column *column = columns; column->field; column++)
		column_print(column, column->title, out);
}

void trace_line(const struct column *columns, const struct span *span, const struct workload *who, __u64 time_unix_ns,
		struct buf *out)
{
	struct buf value;

	buf_init(&value, 16 << 10);
	for (const struct column *column = columns; column->field; column++) {
		buf_reset(&value);
		value_print(column, span, who, time_unix_ns, &value);
		column_print(column, value.data, out);
	}
	buf_done(&value);
}
