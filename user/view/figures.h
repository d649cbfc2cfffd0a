/* One container in one interval: what TCP, the scheduler and JVMs have told of it, and the figures that tables make of
 * that. Pure. A figure is not known, and never 0, where its signal has no series of the container. */
#ifndef WEIR_VIEW_FIGURES_H
#define WEIR_VIEW_FIGURES_H

#include <jansson.h>
#include <linux/types.h>
#include <stdbool.h>

#include "model/hist.h"
#include "model/workload.h"
#include "view/heap.h"

struct buf;

/* Figures of a row, each signal's in the order of its JSON object. Not all of them have a column on the screen. */
enum containers_column {
	CONTAINERS_NAME,
	CONTAINERS_RETRANSMITS,
	CONTAINERS_RTT_P50,
	CONTAINERS_RTT_P99,
	CONTAINERS_FAILED,
	CONTAINERS_CONNECTS,
	CONTAINERS_CONNS,
	CONTAINERS_RESETS,
	CONTAINERS_DROPS,
	CONTAINERS_CPU,
	CONTAINERS_RUNQ_P50,
	CONTAINERS_RUNQ_P99,
	CONTAINERS_RUNQ_MAX,
	CONTAINERS_THROTTLED,
	CONTAINERS_NEIGHBOUR,
	CONTAINERS_STOPPED,
	CONTAINERS_SAFEPOINTS,
	CONTAINERS_PAUSE_P50,
	CONTAINERS_PAUSE_P99,
	CONTAINERS_PAUSE_MAX,
	CONTAINERS_SYNC_P99,
	CONTAINERS_SYNC_MAX,
	CONTAINERS_GC,
	CONTAINERS_HEAP_USED,
	CONTAINERS_HEAP_LIMIT,
	CONTAINERS_THREADS,
	CONTAINERS_COLUMN_MAX
};

/* Whose figure it is. */
enum figure_of { OF_NOTHING, OF_TCP, OF_SCHED, OF_JVM };

/* What is counted up, by container. */
enum containers_total {
	TOTAL_RETRANSMITS,
	TOTAL_FAILED,
	TOTAL_CONNECTS,
	TOTAL_RESETS,
	TOTAL_DROPS,
	TOTAL_CPU_NS,
	TOTAL_THROTTLED_NS,
	TOTAL_SAFEPOINTS, /* those that were measured one by one, and those of which only sums are known */
	TOTAL_STOPPED_NS,
	TOTAL_GC_NS, /* of the JVMs standing still for it */
	TOTAL_MAX
};

/* Durations of which the distribution is known. */
enum containers_times { TIMES_RTT, TIMES_RUNQ, TIMES_PAUSES, TIMES_SYNC, TIMES_MAX };

struct containers_row {
	const struct workload *who;
	bool tcp_known, sched_known, jvm_known; /* there is a series of the signal */
	__u32 totals_known;			/* bit 1 << enum containers_total: there is a series of it */
	__u64 totals[TOTAL_MAX];		/* of the interval */
	struct hist times[TIMES_MAX];		/* of the interval */
	__s64 conns;				/* now; negative: not known */
	__s64 runq_max_ns;			/* negative: not known */
	const char *neighbour; /* interned; who ran the longest while this one waited; NULL: nobody else */
	struct heap heap;      /* now */
	__s64 threads;	       /* of JVMs, now; negative: not known */
};

void containers_row_done(struct containers_row *row);
/* Nothing has happened in a JVM of it, and there is none of which anything is known now. */
bool containers_row_jvm_quiet(const struct containers_row *row);
/* No event, no wait, no CPU time, no connection, no JVM. */
bool containers_row_quiet(const struct containers_row *row);

/* Below 0, the order of rows: the greatest figure first, or names from a to z. Equal ones by name, so that rows do not
 * jump about; those are not turned round by @ascending. */
int figure_compare(const struct containers_row *left, const struct containers_row *right, enum containers_column column,
		   bool ascending);
/* Text of one cell, without padding; "-": not known. */
void figure_print(const struct containers_row *row, enum containers_column column, __u64 interval_ns, struct buf *out);
/* An object with all figures of the signal, or JSON's null when it tells nothing of the container. NULL: no memory. */
json_t *figures_json(const struct containers_row *row, enum figure_of of, __u64 interval_ns);

#endif
