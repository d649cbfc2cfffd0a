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
	err = top_table_init(&tables->requests, before, now, options) ?:
	      containers_table_init(&tables->containers, before, now, options) ?:
	      jvms_table_init(&tables->jvms, &tables->containers, options);
	if (err)
		top_tables_done(tables);
	return err;
}

void top_tables_done(struct top_tables *tables)
{
	jvms_table_done(&tables->jvms);
	containers_table_done(&tables->containers);
	top_table_done(&tables->requests);
}

/* Nobody is to wonder about an empty output. */
static void titles_text(const struct top_tables *tables, unsigned width, struct buf *out)
{
	if (tables->containers.measured && !tables->requests.measured)
		containers_text(&(struct containers_table){}, width, out);
	else if (tables->jvms.measured && !tables->requests.measured)
		jvms_text(&(struct jvms_table){}, width, out);
	else
		top_text(&tables->requests, width, out);
}

void top_tables_text(const struct top_tables *tables, unsigned width, struct buf *out)
{
	bool requests = tables->requests.rows_count;
	bool containers = tables->containers.rows_count && tables->containers.measured;
	bool jvms = tables->jvms.rows_count;

	if (requests)
		top_text(&tables->requests, width, out);
	if (requests && containers)
		buf_add_char(out, '\n');
	if (containers)
		containers_text(&tables->containers, width, out);
	if ((requests || containers) && jvms)
		buf_add_char(out, '\n');
	if (jvms)
		jvms_text(&tables->jvms, width, out);
	if (!requests && !containers && !jvms)
		titles_text(tables, width, out);
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
