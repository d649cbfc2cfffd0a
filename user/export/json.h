/* JSON of snapshots and spans: what the API of a running agent speaks, what `-o json` prints, and the way back.
 *
 * A snapshot:
 *   { "time_ns", "time_unix_ns", "start_ns",
 *     "metrics":   [ { "name", "unit", "text", "kind": "histogram"|"counter"|"gauge"|"updowncounter", "scale",
 *                      "bounds": "request"|"short"                          histogram: which fixed boundaries } ],
 *     "resources": [ { "container": {...} (absent: the agent itself),
 *                      "points": [ { "metric": index, "cgroup_id", "start_ns", "attributes": {...},
 *                                    "count", "sum_ns", "max_ns", "low", "slots": [...]   histogram
 *                                    "value"                                              the others } ] } ] }
 * A span is one object on one line: "time", "signal", then its fields in order with "container" after "role". A field
 * that names a container is an object such as "container"; names with a dot are members of an object (model/span.h).
 * Writing never fails on content: strings are valid UTF-8 by contract of the model and are escaped here. */
#ifndef WEIR_EXPORT_JSON_H
#define WEIR_EXPORT_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "model/snapshot.h"
#include "model/span.h"
#include "model/workload.h"

struct buf;
struct why;

/* A string with its quotes. */
int json_put_str(struct buf *buf, const char *text);
/* "container" object: id, name, pod_uid, runtime, cgroup always; the rest when known. */
int json_put_workload(struct buf *buf, const struct workload *who);

/* 0, -ENOMEM or -ENOBUFS (the buffer's maximum), as buf_* return. */
int snapshot_to_json(const struct snapshot *snap, struct buf *buf);
/* The same in parts of about @bytes_min: *at begins with 0. 1: there is more; 0: that was the end; or as above. */
int snapshot_to_json_part(const struct snapshot *snap, size_t *at, struct buf *buf, size_t bytes_min);
/* @wall_offset_ns: wall clock minus CLOCK_MONOTONIC. No newline at the end. @signal: name of the span's signal. */
int span_to_json(const struct span *span, const struct workload *who, const char *signal, __s64 wall_offset_ns,
		 struct buf *buf);

/* Reads what the above wrote. Owns the metrics that its snapshots point to and the last span: free it last.
 * At most JSON_METRICS_MAX different metrics in its life. */
#define JSON_METRICS_MAX 512

struct json_reader;

struct json_reader *json_reader_new(void); /* NULL: no memory */
void json_reader_free(struct json_reader *reader);
/* Names become the same descriptors each time, so metrics of two snapshots compare by pointer. *ret is the caller's
 * (snapshot_unref). -EBADMSG with the place when it is not what snapshot_to_json writes. */
int snapshot_from_json(struct json_reader *reader, const char *text, size_t bytes, struct snapshot **ret,
		       struct why *why);
/* *ret_who, the strings and the workloads of *ret_span are borrowed from the reader until its next span. span.signal is what
 * @signal_id makes of the name (0: not known); span.time_ns is CLOCK_MONOTONIC of this machine by @wall_offset_ns. */
int span_from_json(struct json_reader *reader, const char *text, size_t bytes, unsigned (*signal_id)(const char *name),
		   __s64 wall_offset_ns, struct span *ret_span, const struct workload **ret_who, struct why *why);

#endif
