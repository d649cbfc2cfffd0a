/* The one pipeline: hook -> ring or table -> decode -> aggregate -> enrich -> outputs. agent, trace, top and hist differ
 * in the signals, filters and outputs they choose, in nothing else. One thread, one loop; read pipeline.c first.
 *
 *	pipeline_new()           nothing is loaded yet; the loop exists, so outputs can be made on it
 *	pipeline_add_output()    any number
 *	pipeline_start()         loads and attaches
 *	pipeline_run()           until pipeline_stop() (a signal handler on the loop, a view's key, a count reached)
 *	pipeline_free()          detaches, drains, last snapshot, flushes with a deadline, frees */
#ifndef WEIR_PIPELINE_H
#define WEIR_PIPELINE_H

#include <linux/types.h>
#include <stdbool.h>

#include "export/output.h"
#include "kernel/features.h"
#include "kernel/reader.h"
#include "model/snapshot.h"
#include "signal/signal.h"

struct identity;
struct loop;
struct pipeline;
struct why;

struct pipeline_options {
	unsigned signals; /* bits 1 << enum signal_id; 0: all that this kernel allows */
	bool required;	  /* pipeline_start() fails when one of them cannot run, not only when none can */
	struct signal_options signal;
	__u64 interval_ns;		/* between snapshots to the outputs; 0: only the last one, at the end */
	__u64 flush_ns;			/* how long outputs may take at the end; 0: PIPELINE_FLUSH_NS */
	unsigned series_max;		/* per metric; 0: PIPELINE_SERIES_MAX */
	unsigned series_per_cgroup_max; /* 0: PIPELINE_SERIES_PER_CGROUP_MAX */
	const char *cgroup_root;	/* directory of the cgroup2 mount; NULL: found in /proc/mounts */
};

#define PIPELINE_FLUSH_NS	       (5ull * 1000000000ull)
#define PIPELINE_SERIES_MAX	       20000
#define PIPELINE_SERIES_PER_CGROUP_MAX 2000

/* Copies @options (strings and lists in it are borrowed for the life of the pipeline). */
int pipeline_new(const struct pipeline_options *options, struct pipeline **ret, struct why *why);
struct loop *pipeline_loop(struct pipeline *p);
/* 0, and @out is the pipeline's from now; -ENOSPC: still the caller's. Before or after the start. */
int pipeline_add_output(struct pipeline *p, struct output *out);
int pipeline_start(struct pipeline *p, struct why *why);
/* 0 or -errno of the loop. */
int pipeline_run(struct pipeline *p);
void pipeline_stop(struct pipeline *p);
/* Stops what still runs: detach hooks, drain, last snapshot to the outputs, flush them. NULL is fine. */
void pipeline_free(struct pipeline *p);

/* Drains, takes and enriches now, with the gauges that are read on demand only (requests in flight); the caller unrefs.
 * NULL: no memory, or not started. */
struct snapshot *pipeline_snapshot(struct pipeline *p);
/* Every record of a signal (0: of all) is wanted, because somebody traces it: counted, calls nest. */
void pipeline_want_records(struct pipeline *p, unsigned signal, bool wanted);
/* Nobody wants what this signal tells of this cgroup: filtered in the kernel from now on, where the signal can. */
void pipeline_mute(struct pipeline *p, unsigned signal, __u64 cgroup_id);
/* Does it count and attribute? False: @why says what is missing. */
bool pipeline_ready(struct pipeline *p, struct why *why);

#define PIPELINE_TABLES_MAX  8
#define PIPELINE_WATCHED_MAX 32

struct signal_status {
	const struct signal *signal;
	bool running;
	char why[512]; /* when not running: the reason */
	struct conservation counts;
	unsigned tables_count;
	struct table_use tables[PIPELINE_TABLES_MAX];
	unsigned watched_count;
	struct watched watched[PIPELINE_WATCHED_MAX];
};

struct pipeline_status {
	__u64 start_ns;
	__u64 interval_ns;
	unsigned signals_count;
	struct signal_status signals[SIGNAL_MAX];
	struct reader_counts reader;
	struct aggregate_use series;
	__u64 series_max, series_per_cgroup_max;
};

/* Counts of this moment. Conservation holds once the ring is empty; this drains it. */
void pipeline_status(struct pipeline *p, struct pipeline_status *ret);
const struct features *pipeline_features(const struct pipeline *p);
/* Borrowed. */
struct identity *pipeline_identity(const struct pipeline *p);
/* Wall clock minus CLOCK_MONOTONIC, as the last snapshot used it. */
__s64 pipeline_wall_offset_ns(const struct pipeline *p);

#endif
