/* All series at one moment. Immutable once taken and enriched; reference-counted, so an asynchronous output can keep it.
 * Cumulative: values count since the series began (start_ns). */
#ifndef WEIR_MODEL_SNAPSHOT_H
#define WEIR_MODEL_SNAPSHOT_H

#include <stddef.h>
#include <linux/types.h>

#include "model/hist.h"
#include "model/metric.h"
#include "model/workload.h"

struct point {
	const struct metric *metric;
	__u64 cgroup_id;	    /* 0: the agent itself (selfstat) */
	const struct workload *who; /* set by enrich(), a reference (workload.h); NULL: the agent itself */
	/* Set by enrich(), a reference: whose name one of the attributes is. NULL: no attribute is a container's name. */
	const struct workload *other;
	__u64 start_ns; /* CLOCK_MONOTONIC, when the series could first have counted */
	unsigned attrs_count;
	struct attr attrs[ATTRS_MAX]; /* in the metric's order */
	union {
		struct hist hist; /* METRIC_HIST */
		__u64 sum;	  /* METRIC_SUM */
		__s64 gauge;	  /* METRIC_GAUGE */
	};
};

/* One resource as exporters see it: points of one workload stand together, metrics inside in a stable order. */
struct snapshot {
	int refs;
	__u64 time_ns;	    /* CLOCK_MONOTONIC, one for all points */
	__u64 time_unix_ns; /* the same moment, wall clock */
	__u64 start_ns;	    /* agent start, CLOCK_MONOTONIC */
	size_t points_count;
	struct point *points; /* sorted by (who, metric, attrs) after enrich() */
};

/* One reference, no points yet, room for @points_max; NULL: no memory. */
struct snapshot *snapshot_new(size_t points_max);
struct snapshot *snapshot_ref(struct snapshot *snap);
void snapshot_unref(struct snapshot *snap); /* frees with the last reference; NULL is fine. One thread at a time
					       holds a given reference; the count itself is atomic */

#endif
