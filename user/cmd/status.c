#include "cmd/status.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"
#include "identity/identity.h"
#include "model/intern.h"
#include "model/selfstat.h"
#include "pipeline.h"

#ifndef WEIR_VERSION
#define WEIR_VERSION "unknown"
#endif

static json_t *table_json(const char *name, __u64 used, __u64 max, __u64 bytes)
{
	return json_pack("{s:s, s:I, s:I, s:I}", "name", name, "used", (json_int_t)used, "max", (json_int_t)max,
			 "bytes", (json_int_t)bytes);
}

static json_t *counts_json(const struct conservation *counts)
{
	json_t *lost = json_object();

	for (unsigned i = 0; i < LOSS_MAX; i++)
		if (counts->lost[i])
			json_object_set_new(lost, loss_reason_name(i), json_integer((json_int_t)counts->lost[i]));
	return json_pack("{s:I, s:I, s:I, s:o}", "seen", (json_int_t)counts->seen, "delivered",
			 (json_int_t)counts->delivered, "filtered", (json_int_t)counts->filtered, "lost", lost);
}

static json_t *watched_json(const struct signal_status *status)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < status->watched_count; i++) {
		const struct watched *w = &status->watched[i];

		json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:i}", "name", w->name, "how", w->how, "reason",
						       w->why, "count", (int)w->count));
	}
	return array;
}

static json_t *signal_json(const struct signal_status *status)
{
	json_t *tables = json_array();

	for (unsigned i = 0; i < status->tables_count; i++) {
		const struct table_use *use = &status->tables[i];

		json_array_append_new(tables, table_json(use->name, use->used, use->max, use->bytes));
	}
	return json_pack("{s:s, s:b, s:s, s:o, s:o, s:o}", "name", status->signal->name, "running", status->running,
			 "reason", status->why, "counts", counts_json(&status->counts), "tables", tables, "watched",
			 watched_json(status));
}

static json_t *tables_json(const struct pipeline_status *status, const struct identity *identity)
{
	struct identity_use use = {};
	json_t *tables = json_array();

	if (identity)
		identity_use(identity, &use);
	json_array_append_new(tables, table_json("series of one metric", status->series.series, status->series_max,
						 status->series.bytes));
	json_array_append_new(tables, table_json("identities", use.cgroups, use.cgroups_max, use.bytes));
	json_array_append_new(tables,
			      table_json("interned bytes", intern_used_bytes(), INTERN_BYTES_MAX, intern_used_bytes()));
	return tables;
}

static json_t *reader_json(const struct reader_counts *reader)
{
	__u64 records = 0;

	for (unsigned i = 0; i < SIGNAL_MAX; i++)
		records += reader->records[i];
	return json_pack("{s:I, s:I, s:I, s:I}", "records", (json_int_t)records, "bytes", (json_int_t)reader->bytes,
			 "bad", (json_int_t)(reader->bad_size + reader->bad_signal + reader->bad_record), "wakeups",
			 (json_int_t)reader->wakeups);
}

json_t *status_json(struct pipeline *pipeline)
{
	struct pipeline_status *status = calloc(1, sizeof(*status));
	const struct identity *identity = pipeline_identity(pipeline);
	json_t *signals_array = json_array();
	json_t *object;

	if (!status) {
		json_decref(signals_array);
		return NULL;
	}
	pipeline_status(pipeline, status);
	for (unsigned i = 0; i < status->signals_count; i++)
		json_array_append_new(signals_array, signal_json(&status->signals[i]));
	object = json_pack("{s:s, s:i, s:I, s:I, s:s, s:o, s:o, s:o}", "version", WEIR_VERSION, "pid", (int)getpid(),
			   "uptime_ns", (json_int_t)(time_now_ns() - status->start_ns), "interval_ns",
			   (json_int_t)status->interval_ns, "cgroup_mount",
			   identity ? identity_cgroup_mount(identity) : "", "signals", signals_array, "tables",
			   tables_json(status, identity), "reader", reader_json(&status->reader));
	free(status);
	return object;
}
