/* One finished thing (an HTTP exchange, a kill by the OOM handler) as a trace line shows it. A small value: fields in
 * the order of the JSON object, each with its name. Strings are borrowed until the sink returns. */
#ifndef WEIR_MODEL_SPAN_H
#define WEIR_MODEL_SPAN_H

#include <linux/types.h>

enum field_type { FIELD_STR, FIELD_INT, FIELD_UINT };

struct field {
	const char *name; /* static */
	enum field_type type;
	union {
		const char *str; /* valid UTF-8, NUL-terminated; NULL: field left out */
		__s64 num;
		__u64 unum;
	};
};

#define SPAN_FIELDS_MAX 24

struct span {
	__u16 signal;  /* enum signal_id */
	__u32 pid;     /* 0: not known */
	__u64 time_ns; /* CLOCK_MONOTONIC, end */
	__u64 cgroup_id;
	__u64 socket_cookie; /* 0: none */
	unsigned fields_count;
	struct field fields[SPAN_FIELDS_MAX];
};

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
};

const struct field *span_field(const struct span *span, const char *name); /* NULL: not there */

#endif
