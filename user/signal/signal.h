/* The contract of a signal: what the pipeline calls and what a signal may call. NULL means "does not apply".
 * Descriptors are static const; what changes while running lives in struct signal_ctx.priv. */
#ifndef WEIR_SIGNAL_SIGNAL_H
#define WEIR_SIGNAL_SIGNAL_H

#include <linux/types.h>
#include <stdbool.h>

#include "event.h"
#include "model/aggregate.h"
#include "model/metric.h"
#include "model/span.h"

struct why;
struct features;
struct kernel_maps;
struct sink;

/* What the user asked for; the pipeline fills it before load. */
struct signal_options {
	unsigned roles;	     /* bits 1 << enum http_role; 0: both */
	bool records;	     /* every record wanted from the start (trace without an agent) */
	bool kernel_filters; /* this process has the programs to itself: filter where it saves work */
	__u64 min_ns;
	unsigned status_min, status_max;   /* 0, 0: all */
	bool routes;			   /* false: no http.route */
	const char *const *route_patterns; /* "/users/{id}/..." given by the user, NULL-terminated, or NULL */
	unsigned routes_per_cgroup_max;
	unsigned table_max;  /* entries of the in-kernel table */
	unsigned jvm_source; /* enum jvm_source: none better than this; 0: the best there is */
};

struct signal_ctx {
	const struct signal *signal;
	const struct signal_options *options;
	const struct features *features;
	struct kernel_maps *maps; /* shared maps: ring, control */
	struct sink *sink;
	void *priv; /* the signal's own */
};

/* Where decoded things go. Given by the pipeline; a signal never knows who is behind it. */
struct sink {
	struct aggregate *aggregate;
	bool spans; /* somebody wants spans: do not build them otherwise */
	void (*span)(struct sink *sink, const struct span *span);
};

/* seen = delivered + filtered + lost(reason), cumulative. */
struct conservation {
	__u64 seen, delivered, filtered;
	__u64 lost[LOSS_MAX];
};

/* Use of a bounded table, for doctor and self metrics. */
struct table_use {
	const char *name;
	__u64 used, max, bytes;
};

/* What a signal observes by means that differ from one to the other, for doctor: the library of some processes, and how. */
struct watched {
	char name[256];
	char how[32];
	char why[160]; /* why not better; "": nothing is missing */
	unsigned count;
};

/* signal_text_http, ...: the sentence of each row of signals.def, for .text below. */
#define SIGNAL(name, id, kind, text) __attribute__((unused)) static const char signal_text_##name[] = text;
#include "signals.def"
#undef SIGNAL

struct signal {
	const char *name;
	const char *text; /* signal_text_<name> */
	enum signal_id id;
	unsigned needs;			     /* FEAT_* of kernel/features.h; missing: off, and doctor says which */
	const struct metric *const *metrics; /* all it can produce; NULL ends it */
	const struct column *columns;	     /* layout of its spans as text */

	int (*load)(struct signal_ctx *ctx, struct why *why); /* open, share maps, load, attach */
	void (*unload)(struct signal_ctx *ctx); /* detaches; the ring may still be drained after detach() */
	void (*detach)(struct signal_ctx *ctx); /* stops new data, keeps the maps */
	int (*decode)(struct signal_ctx *ctx, const struct event_hdr *hdr); /* 0, or -EBADMSG: counted by the reader */
	int (*drain)(struct signal_ctx *ctx, __u64 now_ns);		    /* tables -> series; once an interval */
	/* Once an interval, after drain, for each cgroup that lives and whose statistics stand for a workload: see
	 * identity_each(). @made_ns: when it was made, CLOCK_MONOTONIC; 0: it was there before */
	void (*cgroup)(struct signal_ctx *ctx, __u64 cgroup_id, const char *path, __u64 made_ns);
	/* A container or unit was started again in this new cgroup; @time_ns: when */
	void (*restarted)(struct signal_ctx *ctx, __u64 cgroup_id, __u64 time_ns);
	void (*tick)(struct signal_ctx *ctx, __u64 now_ns);    /* once a second: what an interval is too long for */
	void (*mute)(struct signal_ctx *ctx, __u64 cgroup_id); /* filter it in the kernel; with kernel_filters only */
	/* The cgroup is gone: delete its keys, and those whose series name it (ATTR_CGROUP): these handles end too. */
	void (*forget)(struct signal_ctx *ctx, __u64 cgroup_id);
	void (*counts)(struct signal_ctx *ctx, struct conservation *ret);
	unsigned (*tables)(struct signal_ctx *ctx, struct table_use *ret, unsigned room);
	unsigned (*watched)(struct signal_ctx *ctx, struct watched *ret, unsigned room);
};

extern const struct signal *const signals[SIGNAL_MAX]; /* by id; [0] is NULL */

#endif
