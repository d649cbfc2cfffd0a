/* The series of the signal jvm. What single safepoints and collections took is added as they come; what a JVM has now
 * (memory, threads, classes) is the sum over the JVMs of a container, made anew in each round. */
#ifndef WEIR_SIGNAL_JVM_SERIES_H
#define WEIR_SIGNAL_JVM_SERIES_H

#include <linux/types.h>
#include <stdbool.h>

#include "jvm.h"
#include "model/aggregate.h"

struct jvm_series;

extern const struct metric jvm_safepoint_duration, jvm_safepoint_sync, jvm_safepoint_count, jvm_safepoint_time,
	jvm_safepoint_sync_time, jvm_gc_duration, jvm_memory_used, jvm_memory_committed, jvm_memory_limit,
	jvm_memory_after_gc, jvm_thread_count, jvm_class_count, jvm_class_loaded, jvm_class_unloaded, jvm_cpu_time;

/* Names that come out of JVMs and become attributes: so many different ones at most, "other" beyond. */
#define JVM_NAMES_MAX 512

struct jvm_series *jvm_series_new(struct aggregate *aggregate, __u64 start_ns); /* NULL: no memory */
void jvm_series_free(struct jvm_series *s);
const char *jvm_source_name(enum jvm_source source); /* "usdt" */

/* One safepoint. @operation: "" when not seen; @sync_ns: 0 when not. */
void jvm_series_safepoint(struct jvm_series *s, __u64 cgroup_id, enum jvm_source source, const char *operation,
			  __u64 duration_ns, __u64 sync_ns);
/* Safepoints of which only the sums are known. */
void jvm_series_counted(struct jvm_series *s, __u64 cgroup_id, __u64 count, __u64 stopped_ns, __u64 sync_ns);
/* @count collections that took @total_ns together. */
void jvm_series_gc(struct jvm_series *s, __u64 cgroup_id, const char *name, const char *action, __u64 count,
		   __u64 total_ns);
/* A counter of one process has grown by @new. */
void jvm_series_add(struct jvm_series *s, const struct metric *metric, __u64 cgroup_id, __u64 new);

/* Between the two, one call for each JVM that has the thing; afterwards the gauges are the sums. @pool, @heap: for
 * jvm.memory.*; @daemon: for jvm.thread.count. */
void jvm_series_begin(struct jvm_series *s);
void jvm_series_memory(struct jvm_series *s, const struct metric *metric, __u64 cgroup_id, const char *pool, bool heap,
		       __u64 bytes);
void jvm_series_threads(struct jvm_series *s, __u64 cgroup_id, bool daemon, __u64 count);
void jvm_series_classes(struct jvm_series *s, __u64 cgroup_id, __u64 count);
void jvm_series_end(struct jvm_series *s);

void jvm_series_forget(struct jvm_series *s, __u64 cgroup_id);

#endif
