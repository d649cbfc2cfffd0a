/* What the kernel half has counted of one cgroup becomes its series, by differences. Touches no kernel object. */
#ifndef WEIR_SIGNAL_SCHED_SERIES_H
#define WEIR_SIGNAL_SCHED_SERIES_H

#include "model/aggregate.h"
#include "sched.h"

extern const struct metric sched_wait, sched_longest, sched_off_cpu, sched_neighbour;

struct sched_series; /* of one cgroup: its handles, and the counts taken over so far */

/* @cgroup_id 0: what had no entry of its own, in series that say otel.metric.overflow. Series are made when they have
 * something to count. NULL: no memory. */
struct sched_series *sched_series_new(struct aggregate *aggregate, __u64 cgroup_id, __u64 start_ns);
void sched_series_free(struct sched_series *s);
/* Adds what is new in @shards, @count of them; a maximum counts when it is of @interval. @totals grow by what was new. */
struct sched_totals {
	__u64 seen;	 /* waits, as the kernel half began to count them */
	__u64 delivered; /* waits added to a histogram */
};
void sched_series_take(struct sched_series *s, const struct sched_stat *shards, unsigned count, __u64 interval,
		       struct sched_totals *totals);

/* Nanoseconds that long waits of @victim stood behind @culprit, a cgroup or SCHED_KEY_KERNEL; SCHED_KEY_IDLE: it could
 * not be told behind whom. */
struct series *sched_neighbour_series(struct aggregate *aggregate, __u64 victim, __u64 culprit, __u64 start_ns);

#endif
