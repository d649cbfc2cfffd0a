#include "base/table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define TABLE_BYTES_MAX (16u << 20)
#define TABLE_GAP	2

void table_init(struct table *t, const struct table_column *columns, unsigned columns_count)
{
	assert(columns_count <= TABLE_COLUMNS_MAX);
	*t = (struct table){ .columns = columns, .columns_count = columns_count };
	buf_init(&t->cells, TABLE_BYTES_MAX);
	for (unsigned i = 0; i < columns_count; i++) {
		size_t width = utf8_width(columns[i].title);

		t->widths[i] = columns[i].width_min;
		if (width > t->widths[i])
			t->widths[i] = (unsigned)width;
	}
}

void table_done(struct table *t)
{
	buf_done(&t->cells);
	t->rows_count = 0;
}

/* The title is always shown whole: a column is never narrower. */
static unsigned column_limit(const struct table_column *column)
{
	size_t title = utf8_width(column->title);

	if (!column->width_max)
		return ~0u;
	return column->width_max > title ? column->width_max : (unsigned)title;
}

int table_add(struct table *t, const char *const *cells)
{
	size_t used = t->cells.used;

	for (unsigned i = 0; i < t->columns_count; i++) {
		const char *cell = cells[i] ? cells[i] : "";

		buf_add(&t->cells, cell, strlen(cell) + 1);
	}
	if (t->cells.err) { /* half a row would shift all that follow */
		int err = t->cells.err;

		t->cells.used = used;
		t->cells.err = 0;
		return err;
	}
	for (unsigned i = 0; i < t->columns_count; i++) {
		size_t width = utf8_width(cells[i] ? cells[i] : "");
		unsigned limit = column_limit(&t->columns[i]);

		if (width > limit)
			width = limit;
		if (width > t->widths[i])
			t->widths[i] = (unsigned)width;
	}
	t->rows_count++;
	return 0;
}

static void cell_print(const struct table *t, unsigned column, const char *text, struct buf *out)
{
	size_t width = utf8_width(text), bytes = strlen(text);
	bool cut = width > t->widths[column];

	if (cut) {
		bytes = utf8_prefix(text, t->widths[column] - 1);
		width = t->widths[column]; /* a wide character that does not fit leaves a gap of one: not worth it */
	}
	if (t->columns[column].right)
		buf_add_repeat(out, ' ', t->widths[column] - width);
	buf_add(out, text, bytes);
	if (cut)
		buf_add_str(out, "\xe2\x80\xa6");
	if (!t->columns[column].right)
		buf_add_repeat(out, ' ', t->widths[column] - width);
}

static void line_trim(struct buf *out, size_t from)
{
	while (out->used > from && out->data[out->used - 1] == ' ')
		out->used--;
	buf_add_char(out, '\n');
}

int table_print(const struct table *t, struct buf *out)
{
	const char *cell = t->cells.data;

	for (unsigned row = 0; row <= t->rows_count; row++) {
		size_t from = out->used;

		for (unsigned i = 0; i < t->columns_count; i++) {
			if (i)
				buf_add_repeat(out, ' ', TABLE_GAP);
			if (!row) {
				cell_print(t, i, t->columns[i].title, out);
				continue;
			}
			cell_print(t, i, cell, out);
			cell += strlen(cell) + 1;
		}
		line_trim(out, from);
	}
	return out->err;
}

int bar_print(struct buf *out, __u64 value, __u64 max, unsigned width, bool ascii)
{
	unsigned __int128 eighths;
	unsigned whole, rest;

	if (!value || !max || !width)
		return out->err;
	if (value > max)
		value = max;
	eighths = ((unsigned __int128)value * width * 8 + max / 2) / max;
	if (!eighths)
		eighths = 1;
	whole = (unsigned)(eighths / 8);
	rest = (unsigned)(eighths % 8);
	if (ascii)
		return buf_add_repeat(out, '#', whole + (rest >= 4 || !whole ? 1 : 0));
	for (unsigned i = 0; i < whole; i++)
		buf_add_str(out, "\xe2\x96\x88");
	if (rest) { /* U+2588 is a full block, U+2589 to U+258F are seven eighths to one */
		char block[] = { '\xe2', '\x96', (char)(0x90 - rest), '\0' };

		buf_add_str(out, block);
	}
	return out->err;
}

/* Both ends of a bucket as text; open at the top: "> low". */
static void bar_bounds(const struct bar *bar, char low[STR_NUMBER_ROOM], char high[STR_NUMBER_ROOM])
{
	str_format_duration(bar->low, low);
	if (bar->high == ~0ull)
		str_copy(high, STR_NUMBER_ROOM, "more");
	else
		str_format_duration(bar->high, high);
}

int bars_print(struct buf *out, const struct bar *bars, unsigned count, unsigned width, bool ascii)
{
	size_t low_width = 0, high_width = 0, number_width = 0;
	char low[STR_NUMBER_ROOM], high[STR_NUMBER_ROOM];
	unsigned first = 0, last = count;
	__u64 most = 0;

	while (first < count && !bars[first].count)
		first++;
	while (last > first && !bars[last - 1].count)
		last--;
	for (unsigned i = first; i < last; i++) {
		char number[24];

		if (!bars[i].count)
			continue;
		bar_bounds(&bars[i], low, high);
		snprintf(number, sizeof(number), "%llu", bars[i].count);
		low_width = strlen(low) > low_width ? strlen(low) : low_width;
		high_width = strlen(high) > high_width ? strlen(high) : high_width;
		number_width = strlen(number) > number_width ? strlen(number) : number_width;
		most = bars[i].count > most ? bars[i].count : most;
	}
	for (unsigned i = first; i < last; i++) {
		if (!bars[i].count) {
			if (bars[i - 1].count)
				buf_printf(out, "  %*s\n", (int)low_width, "...");
			continue;
		}
		bar_bounds(&bars[i], low, high);
		buf_printf(out, "  %*s .. %*s", (int)low_width, low, (int)high_width, high);
		buf_printf(out, "  %*llu  ", (int)number_width, bars[i].count);
		bar_print(out, bars[i].count, most, width, ascii);
		buf_add_char(out, '\n');
	}
	return out->err;
}
