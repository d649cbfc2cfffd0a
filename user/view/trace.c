#include "view/trace.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/time.h"
#include "view/who.h"

static void number_print(const struct field *field, enum column_format format, struct buf *out)
{
	__u64 number = field->type == FIELD_UINT ? field->unum : (__u64)field->num;
	char room[STR_NUMBER_ROOM];

	if (format == COLUMN_DURATION_NS)
		buf_add_str(out, str_format_duration(number, room));
	else if (format == COLUMN_BYTES)
		buf_add_str(out, str_format_bytes(number, room));
	else if (field->type == FIELD_UINT)
		buf_printf(out, "%llu", (unsigned long long)field->unum);
	else
		buf_printf(out, "%lld", (long long)field->num);
}

static void field_print(const struct field *field, enum column_format format, struct buf *out)
{
	if (!field || !field_known(field)) {
		buf_add_char(out, '-');
		return;
	}
	switch (field->type) {
	case FIELD_STR:
		buf_add_str(out, *field->str ? field->str : "-");
		break;
	case FIELD_WHO:
		who_print(field->who, out);
		break;
	case FIELD_INT:
	case FIELD_UINT:
		number_print(field, format, out);
		break;
	}
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

static bool column_is_container(const struct column *column, const struct span *span)
{
	const struct field *field = span_field(span, column->field);

	return !strcmp(column->field, "container") || (field && field->type == FIELD_WHO);
}

/* A container's name is cut, it is on every line and often long; anything else is not: better a crooked line than half a
 * path or a wrong figure. The last column is not padded, and empty where there is nothing to say. */
static void column_print(const struct column *column, const char *text, bool may_cut, struct buf *out)
{
	unsigned width = column->width < 0 ? -column->width : column->width;
	bool last = !column[1].field || column[1].rare;

	if (last && !strcmp(text, "-"))
		return;
	if (!width || (!may_cut && utf8_width(text) > width))
		buf_add_str(out, text);
	else
		cell_print(out, text, width, column->width > 0);
	if (!last)
		buf_add_char(out, ' ');
}

static void rare_print(const struct column *column, const struct span *span, struct buf *out)
{
	const struct field *field = span_field(span, column->field);

	if (!field || !field->unum)
		return;
	if (out->used && out->data[out->used - 1] != ' ')
		buf_add_char(out, ' ');
	buf_printf(out, "%s=", column->title);
	field_print(field, column->format, out);
}

static void line_end(struct buf *out, size_t begin)
{
	while (out->used > begin && out->data[out->used - 1] == ' ')
		out->data[--out->used] = '\0';
	buf_add_char(out, '\n');
}

void trace_header(const struct column *columns, struct buf *out)
{
	size_t begin = out->used;

	for (const struct column *column = columns; column->field && !column->rare; column++)
		column_print(column, column->title, /* may_cut */ false, out);
	line_end(out, begin);
}

void trace_line(const struct column *columns, const struct span *span, const struct workload *who, __u64 time_unix_ns,
		struct buf *out)
{
	size_t begin = out->used;
	struct buf value;

	buf_init(&value, 16 << 10);
	for (const struct column *column = columns; column->field; column++) {
		if (column->rare) {
			rare_print(column, span, out);
			continue;
		}
		buf_reset(&value);
		value_print(column, span, who, time_unix_ns, &value);
		column_print(column, value.data, column_is_container(column, span), out);
	}
	buf_done(&value);
	line_end(out, begin);
}
