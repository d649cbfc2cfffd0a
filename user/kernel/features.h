/* What this kernel and these privileges allow, found by loading small programs (bpf/probe.bpf.c), never by a version
 * number: distributions backport. Asked once, at start; doctor prints all of it. */
#ifndef WEIR_KERNEL_FEATURES_H
#define WEIR_KERNEL_FEATURES_H

#include <stdbool.h>

struct why;

enum feature {
	FEATURE_PRIVILEGE, /* capabilities to load, read kernel memory and attach */
	FEATURE_BTF,	   /* types of the running kernel */
	FEATURE_CGROUP2,   /* a cgroup v2 hierarchy is mounted */
	FEATURE_RINGBUF,
	FEATURE_CGROUP_SKB,	   /* packet programs on cgroups, attached to the root by a link */
	FEATURE_SK_STORAGE,	   /* state per socket, from packet programs */
	FEATURE_TP_BTF,		   /* typed tracepoints */
	FEATURE_TP_BTF_SK_STORAGE, /* the state per socket from typed tracepoints too */
	FEATURE_SK_STORAGE_ITER,   /* that state can be listed */
	FEATURE_TP_CONGESTION,	   /* the tracepoint of congestion states */
	FEATURE_SOCK_FROM_FILE,	   /* sockets can be found among the open files of processes */
	FEATURE_SOCK_WALK,	   /* one of the two ways to go over sockets and what is kept of them */
	FEATURE_RUN_QUEUES, /* the kernel's run queues and what it accounts of waits for a CPU, and a walk of threads */
	FEATURE_SENDER,	    /* the process that sends a packet, from packet programs */
	FEATURE_TASK_PT_REGS, /* the system call that a thread is in */
	FEATURE_UPROBE,	      /* attaching to instructions of programs, by whichever of the two ways */
	FEATURE_UPROBE_MULTI, /* to many of them by one link */
	FEATURE_WATCH,	      /* hardware watchpoints on the memory of a thread */
	FEATURES_COUNT
};

#define FEAT(name) (1u << FEATURE_##name)

/* One row per feature, in the order of the enum; each needs those before it. */
struct feature_row {
	enum feature feature;
	const char *name;   /* "ring buffer" */
	const char *since;  /* the commit that brought it, with the first release that has it */
	const char *serves; /* what is lost without it */
	const char *remedy; /* what to do about it */
};

struct features {
	unsigned have;			   /* FEAT() bits */
	char reasons[FEATURES_COUNT][160]; /* why a missing one is missing, else "" */
	char cgroup_mount[256];		   /* directory of the v2 mount */
	int cpus;			   /* possible ones */
};

extern const struct feature_row feature_rows[FEATURES_COUNT];

/* Never fails as a whole: what cannot be found out is missing, with the reason. @cgroup_mount: NULL when none was found.
 * Also lifts RLIMIT_MEMLOCK as far as it may: before 5.11 (d5299b67dd) BPF memory counts against it. */
void features_probe(struct features *ret, const char *cgroup_mount);
static inline bool features_have(const struct features *f, unsigned bits)
{
	return (f->have & bits) == bits;
}
/* 0, or -ENOTSUP with the first missing one, its reason and its remedy. */
int features_check(const struct features *f, unsigned needs, struct why *why);

#endif
