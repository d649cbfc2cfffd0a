/* The JVMs of this node as we know them: which library each has, how its safepoints are seen, and what its performance
 * counters say. Where nothing in the library can be probed it is done here: by watchpoints on the counters, or by reading
 * them. */
#ifndef WEIR_SIGNAL_JVM_PROCESS_H
#define WEIR_SIGNAL_JVM_PROCESS_H

#include <linux/types.h>
#include <stdbool.h>

#include "jvm.h"
#include "signal/jvm_library.h"
#include "signal/jvm_series.h"

struct bpf_object;

struct jvm_processes;
struct jvm_process;

struct jvm_processes_options {
	const char *proc;
	const char *cgroup_mount; /* to find the cgroup of a process by its path; NULL: only from records */
	struct bpf_object *obj;
	struct jvm_libraries *libraries;
	struct jvm_series *series;
	enum jvm_source at_best; /* none better than this; NONE: the best there is */
};

/* What doctor shows of one. */
struct jvm_process_state {
	__u32 pid;
	enum jvm_source source;
	const char *kind;    /* "HotSpot 17.0.15" */
	const char *library; /* its path; "" */
	const char *why;     /* why not a better source, or nothing at all; "" */
};

struct jvm_processes *jvm_processes_new(const struct jvm_processes_options *options); /* NULL: no memory */
void jvm_processes_free(struct jvm_processes *ps);
void jvm_processes_detach(struct jvm_processes *ps); /* its watchpoints */

/* Is it a JVM? Then it is known from now on. True: whatever it is, that will not change; see struct jvm_find_options. */
bool jvm_processes_look(struct jvm_processes *ps, __u32 pid);
/* NULL: not known as a JVM. */
struct jvm_process *jvm_processes_get(struct jvm_processes *ps, __u32 pid);
const struct jvm_library *jvm_process_library(const struct jvm_process *p); /* NULL: not known */
/* A record says so. */
void jvm_process_in(struct jvm_process *p, __u64 cgroup_id);
/* It stopped to collect garbage, or not known why: reads the counters that tell, before they are written again. */
void jvm_process_stopped(struct jvm_processes *ps, struct jvm_process *p, bool collects, __u64 now_ns);
/* Lets go of those that are gone, tries again what was not possible yet. */
void jvm_processes_tick(struct jvm_processes *ps, __u64 now_ns);
/* Reads all counters. */
void jvm_processes_read(struct jvm_processes *ps, __u64 now_ns);
void jvm_processes_forget(struct jvm_processes *ps, __u64 cgroup_id);

unsigned jvm_processes_count(const struct jvm_processes *ps);
/* In no order; false: no more. @pos 0 at first. */
bool jvm_processes_next(const struct jvm_processes *ps, size_t *pos, struct jvm_process_state *ret);
/* Safepoints that only sums tell of. */
__u64 jvm_processes_counted(const struct jvm_processes *ps);

#endif
