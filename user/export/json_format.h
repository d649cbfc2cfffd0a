/* What the writer and the reader of JSON must agree on. For json.c and json_read.c alone. */
#ifndef WEIR_EXPORT_JSON_FORMAT_H
#define WEIR_EXPORT_JSON_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

#include "export/json.h"

/* Members of "container". The first five are always there, so that a script need not ask. */
struct json_member {
	const char *key;
	size_t offset; /* of the const char * in struct workload */
	bool always;
};

#define JSON_WORKLOAD_MEMBERS 9
extern const struct json_member json_workload_members[JSON_WORKLOAD_MEMBERS];

/* By enum metric_kind; the last is METRIC_GAUGE with .updown. */
#define JSON_KINDS	 4
#define JSON_KIND_UPDOWN 3
extern const char *const json_kind_names[JSON_KINDS];

/* By enum hist_bounds. */
extern const char *const json_bounds_names[HIST_BOUNDS_MAX];

/* Metrics of one snapshot, in the order of "metrics". */
struct json_metrics {
	size_t count;
	const struct metric *items[JSON_METRICS_MAX];
};

#endif
