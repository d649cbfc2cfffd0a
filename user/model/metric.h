/* A metric is named once, here: aggregation, OTLP, Prometheus, top, hist, man page and README read the descriptor. */
#ifndef WEIR_MODEL_METRIC_H
#define WEIR_MODEL_METRIC_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "model/hist.h"

enum metric_kind {
	METRIC_HIST,  /* durations: values in nanoseconds inside, exported in seconds */
	METRIC_SUM,   /* monotonic counter */
	METRIC_GAUGE, /* last value; exported as non-monotonic sum when .updown */
};

struct metric {
	const char *name; /* OpenTelemetry name, dots */
	const char *unit; /* UCUM: "s", "By", "{request}" */
	const char *text; /* one sentence for HELP and the manual */
	enum metric_kind kind;
	bool updown;		 /* METRIC_GAUGE: an UpDownCounter */
	enum hist_bounds bounds; /* METRIC_HIST: which explicit boundaries are exported */
	double scale;		 /* exported value = internal value * scale; 0 means 1. Histograms: always 1e-9 */
};

enum attr_type {
	ATTR_STR,
	ATTR_INT,
	ATTR_CGROUP, /* num: cgroup id of another container; not known: no attribute. One in a series at most. enrich() makes
			its name of it, so exporters see none */
};

/* ATTR_CGROUP: of a container that has been forgotten. No cgroup has this id. */
#define ATTR_CGROUP_GONE      (~0ull)
#define ATTR_CGROUP_GONE_TEXT "gone"

/* Attribute value. @key and @str are interned (model/intern.h): equal strings have equal pointers and live as long as
 * the program. Only the name of another container is not, it lives as long as its point. */
struct attr {
	const char *key;
	enum attr_type type;
	union {
		const char *str;
		__s64 num;
	};
};

#define ATTRS_MAX 10

/* The attribute that is another container; NULL: there is none. */
static inline struct attr *attrs_cgroup(struct attr *attrs, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (attrs[i].type == ATTR_CGROUP)
			return &attrs[i];
	return NULL;
}

#endif
