/* One finished thing (an HTTP exchange, a kill by the OOM handler) as a trace line shows it. A small value: fields in
 * the order of the JSON object, each with its name. Strings and workloads are borrowed until the sink returns.
 *
 * A name with a dot is that of a member of an object: "culprit.comm", "culprit.pid" and "culprit.container" are
 * "culprit": { "comm", "pid", "container" }. Fields of one object stand together. Everybody but the writer and the reader
 * of JSON sees the flat names. */
#ifndef WEIR_MODEL_SPAN_H
#define WEIR_MODEL_SPAN_H

#include <linux/types.h>
#include <stdbool.h>

struct workload;

enum field_type {
	FIELD_STR,
	FIELD_INT,
	FIELD_UINT,
	FIELD_WHO, /* another container */
};

struct field {
	const char *name; /* static */
	enum field_type type;
	union {
		const char *str; /* valid UTF-8, NUL-terminated; NULL: field left out */
		__s64 num;
		__u64 unum;
		struct {
			__u64 cgroup_id;
			const struct workload *who; /* set by the pipeline; NULL: field left out */
		};
	};
};

#define SPAN_FIELDS_MAX 32

struct span {
	__u16 signal;  /* enum signal_id */
	__u32 pid;     /* 0: not known */
	__u64 time_ns; /* CLOCK_MONOTONIC, end */
	__u64 cgroup_id;
	__u64 socket_cookie; /* 0: none */
	unsigned fields_count;
	struct field fields[SPAN_FIELDS_MAX];
};

/* Each adds a field; room for it is the caller's affair. @str is borrowed. */
void span_str(struct span *span, const char *name, const char *str);
void span_uint(struct span *span, const char *name, __u64 unum);
void span_who(struct span *span, const char *name, __u64 cgroup_id); /* 0: left out */

/* How a span is laid out as text, per signal: columns in order, then free-form parts. NULL name ends the array. */
enum column_format {
	COLUMN_TEXT,
	COLUMN_NUMBER,
	COLUMN_DURATION_NS, /* 1.23ms */
	COLUMN_BYTES,	    /* 1.2K */
};

struct column {
	const char *field; /* name of a field, or "time", "container" */
	const char *title;
	int width; /* negative: left aligned; 0: last column, not padded */
	enum column_format format;
	bool rare; /* a number without a column, after all columns: title=value at the end of the line, where it is not 0 */
};

/* Is there a value, or is the field left out? */
bool field_known(const struct field *field);
const struct field *span_field(const struct span *span, const char *name); /* NULL: not there */

#endif
