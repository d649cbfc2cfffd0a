/* Measures in, series out. Key of a series = (metric, cgroup id, attributes). Bounded: at most series_max series per
 * metric in all and series_per_cgroup_max per cgroup; what is beyond is counted in one series of that metric and cgroup
 * (or, past series_max, of cgroup 0) whose only attribute is otel.metric.overflow=true: every measurement is counted once.
 * A series leaves when its cgroup has been gone for a while (aggregate_forget); should it come back, its start is later
 * than anything reported of it before. Adding to a known series allocates nothing. */
#ifndef WEIR_MODEL_AGGREGATE_H
#define WEIR_MODEL_AGGREGATE_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "model/metric.h"
#include "model/snapshot.h"

struct aggregate;
struct series; /* opaque handle, stable until its cgroup, or the one an attribute names, is forgotten */

struct aggregate_options {
	unsigned series_max;		/* per metric */
	unsigned series_per_cgroup_max; /* per metric and cgroup */
};

struct aggregate *aggregate_new(const struct aggregate_options *options); /* NULL: no memory */
void aggregate_free(struct aggregate *agg);

/* Finds or makes the series. Never NULL: when there is no room or memory, the overflow series. @attrs keys and strings interned.
 * @start_ns: when a new series could first have counted. */
struct series *aggregate_series(struct aggregate *agg, const struct metric *metric, __u64 cgroup_id,
				const struct attr *attrs, unsigned attrs_count, __u64 start_ns);
void series_add_hist(struct series *s, __u64 value_ns);
/* HIST_SLOTS counts with their sum and the greatest value among them (0: not known). */
void series_add_slots(struct series *s, const __u32 *slots, __u64 sum_ns, __u64 max_ns);
void series_add(struct series *s, __u64 value); /* METRIC_SUM */
/* METRIC_SUM counted elsewhere: the sum so far; a smaller one is ignored. */
void series_total(struct series *s, __u64 total);
void series_set(struct series *s, __s64 value); /* METRIC_GAUGE */

struct snapshot *aggregate_take(struct aggregate *agg, __u64 time_ns, __u64 time_unix_ns); /* NULL: no memory */
void aggregate_forget(struct aggregate *agg, __u64 cgroup_id); /* frees its series; handles to them are invalid */
/* Adds the counts of @from's series to those of @heir with the same attributes, then forgets @from. Totals of both
 * together stay what they were; gauges of @from are dropped. */
void aggregate_bequeath(struct aggregate *agg, __u64 from, __u64 heir);
/* No attribute names cgroup @from any longer (ATTR_CGROUP; see aggregate_forget_peer): what its series have counted goes
 * on in those of the same metric, cgroup and other attributes that name @heir. Totals stay what they were, nothing needs
 * room; gauges are dropped. Handles to series that named @from are invalid, as after aggregate_forget(). */
void aggregate_bequeath_peer(struct aggregate *agg, __u64 from, __u64 heir);
/* The same when nobody inherits: they name ATTR_CGROUP_GONE, so that those who are gone do not accumulate. */
void aggregate_forget_peer(struct aggregate *agg, __u64 cgroup_id);
bool aggregate_has_peer(const struct aggregate *agg, __u64 cgroup_id); /* does an attribute name it? */
size_t aggregate_series_count(const struct aggregate *agg);

struct aggregate_use {
	__u64 series, bytes;
	__u64 overflowed; /* times aggregate_series() answered with an overflow series */
	__u64 forgotten;  /* series freed with their cgroup, or with the one they named */
	__u64 lost;	  /* measurements lost for want of memory */
};

void aggregate_use(const struct aggregate *agg, struct aggregate_use *ret);

#endif
