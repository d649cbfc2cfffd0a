/* The part of the signal sched that needs no hook: CPU time, throttling, pressure and restarts of each container, from the
 * kernel's own statistics (kernel/cgroup_stat.h) into series.
 *
 * The kernel counts since a cgroup was made; a series counts since weir could see it: from 0 for a cgroup whose making was
 * told of, else from the first look. So the start of each series is true, a restart of the agent starts at 0, and what a
 * series says is what happened while weir was there. What a cgroup does after the last look before it ends is missed, all
 * of it when it lives for less than an interval.
 *
 * Series are only made of what is known and has happened, so that an idle machine has none: CPU time and pressure of a
 * resource once there is some, throttling once a quota has been enforced. */
#ifndef WEIR_SIGNAL_SCHED_FILES_H
#define WEIR_SIGNAL_SCHED_FILES_H

#include <linux/types.h>

#include "signal/signal.h"

struct sched_files;
struct why;

/* For the list of the signal's metrics. */
extern const struct metric sched_cpu_time, sched_periods, sched_throttled_periods, sched_throttled_time,
	sched_stall_time, sched_restarts;
#define SCHED_FILES_METRICS                                                                                  \
	&sched_cpu_time, &sched_periods, &sched_throttled_periods, &sched_throttled_time, &sched_stall_time, \
		&sched_restarts

#define SCHED_FILES_MAX 16384 /* cgroups; what is beyond has no series, see sched_files_table() */

/* @ctx is borrowed: its sink, and where cgroup2 is mounted. 0 or negative errno. */
int sched_files_new(struct signal_ctx *ctx, struct sched_files **ret, struct why *why);
void sched_files_free(struct sched_files *files); /* NULL is fine */
/* signal.cgroup: reads the files of one cgroup. */
void sched_files_cgroup(struct sched_files *files, __u64 cgroup_id, const char *path, __u64 made_ns);
/* signal.restarted: counts, and sends a span when somebody wants spans. */
void sched_files_restarted(struct sched_files *files, __u64 cgroup_id, __u64 time_ns);
void sched_files_forget(struct sched_files *files, __u64 cgroup_id);
/* For signal.tables. */
void sched_files_table(const struct sched_files *files, struct table_use *ret);

#endif
