#include "view/tables.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/time.h"

int top_tables_init(struct top_tables *tables, const struct snapshot *before, const struct snapshot *now,
		    const struct top_options *options)
{
	int err;

	*tables = (struct top_tables){};
	err = top_table_init(&tables->requests, before, now, options);
	if (err)
		return err;
	err = containers_table_init(&tables->containers, before, now, options);
	if (err)
		top_table_done(&tables->requests);
	return err;
}

void top_tables_done(struct top_tables *tables)
{
	top_table_done(&tables->requests);
	containers_table_done(&tables->containers);
}

void top_tables_text(const struct top_tables *tables, unsigned width, struct buf *out)
{
	const struct top_table *requests = &tables->requests;
	const struct containers_table *containers = &tables->containers;
	bool other = containers->measured && !requests->measured;

	if (requests->rows_count || (!containers->rows_count && !other))
		top_text(requests, width, out);
	if (requests->rows_count && containers->rows_count)
		buf_add_char(out, '\n');
	if (containers->rows_count || (!requests->rows_count && other))
		containers_text(containers, width, out);
}

int top_tables_json(const struct top_tables *tables, struct buf *out)
{
	char time[TIME_ROOM];
	json_t *object = json_pack("{s:s, s:I, s:o, s:o}", "time", time_format_utc(tables->requests.time_unix_ns, time),
				   "interval_ns", (json_int_t)tables->requests.interval_ns, "rows",
				   top_rows_json(&tables->requests), "containers",
				   containers_rows_json(&tables->containers));
	char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;

	json_decref(object);
	if (!text)
		return -ENOMEM;
	buf_add_str(out, text);
	buf_add_char(out, '\n');
	free(text);
	return out->err;
}
