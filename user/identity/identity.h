/* From a cgroup id to who is behind it. Fed by the kernel (a cgroup was made, removed), by a walk over the cgroup2 tree
 * at the start, and by later walks when an unknown id turns up or an event was lost. A cgroup that has ended keeps its
 * identity until its last data can have been exported.
 *
 * Cgroups below a container (or below a systemd unit) belong to it: they share its workload, and so does the cgroup that
 * a restart makes at the same path. One thread uses it. Bounded: cgroups_max entries and 1 KiB for each on the average;
 * when full, those that never had data leave first, then what is new is "vanished". */
#ifndef WEIR_IDENTITY_IDENTITY_H
#define WEIR_IDENTITY_IDENTITY_H

#include <linux/types.h>
#include <stddef.h>

#include "model/workload.h"

struct identity;
struct why;

struct identity_options {
	const char *cgroup_mount; /* directory of the cgroup2 mount; NULL: found in /proc/mounts */
	const char *proc;	  /* NULL: "/proc" */
	const char *docker;   /* where docker keeps its containers; NULL: "/var/lib/docker/containers", "": nowhere */
	unsigned cgroups_max; /* 0: IDENTITY_CGROUPS_MAX */
	unsigned walks_per_s; /* walks that unknown ids may cause; 0: IDENTITY_WALKS_PER_S */
	__u64 keep_ns;	      /* how long a cgroup that has ended is kept; 0: IDENTITY_KEEP_NS */
	/* A container or unit was started again: there is a new cgroup at the path, or with the container id, of one that
	 * ended and is still kept. @made_ns as of identity_learn(). May look up, not learn. NULL: nobody wants to know. */
	void (*restarted)(void *arg, __u64 cgroup_id, __u64 made_ns);
	void *restarted_arg;
};

#define IDENTITY_VANISHED    (~0ull) /* cgroup id of nobody: inherits from everybody who vanished before they were seen */
#define IDENTITY_CGROUPS_MAX 16384
#define IDENTITY_WALKS_PER_S 2
#define IDENTITY_KEEP_NS     (120ull * 1000000000ull)

/* Walks the tree once. NULL: see @why (no cgroup2 mount, no memory). */
struct identity *identity_new(const struct identity_options *options, struct why *why);
void identity_free(struct identity *id);
/* Directory of the cgroup2 mount in use. */
const char *identity_cgroup_mount(const struct identity *id);

/* Never NULL. A hash look-up; for an id never seen before a walk, at most walks_per_s of them. Borrowed until the next
 * call of identity_learn() or identity_expire(); workload_ref() to keep it. */
const struct workload *identity_lookup(struct identity *id, __u64 cgroup_id);
/* Finds out about all of @cgroup_ids at once, so that looking one up later changes nothing about another. Walks once at
 * most, whatever the limit of walks says: every cgroup a snapshot tells of was there before the snapshot, so what is not
 * found now has vanished. */
void identity_settle(struct identity *id, const __u64 *cgroup_ids, size_t count);
/* What the kernel says. @path: below the cgroup2 root, hostile bytes, begins with '/'. @made_ns: when it was made; 0: not
 * known, it was there before. */
void identity_learn(struct identity *id, __u64 cgroup_id, const char *path, __u64 made_ns);
void identity_gone(struct identity *id, __u64 cgroup_id);

/* Calls @fn for each cgroup that lives and whose statistics stand for a workload. They are hierarchical, so these are a
 * container's or a unit's own cgroup, not those below it; and of the cgroups that belong to neither the leaves, not the
 * branches. A leaf without processes is told of too: who looks at it has seen it before the first process comes. What had a
 * cgroup below it is a branch for good. Never the root. @made_ns as of identity_learn().
 * Nothing counts as asked for by this. @fn may look up, not learn. */
void identity_each(struct identity *id, void (*fn)(void *arg, __u64 cgroup_id, const char *path, __u64 made_ns),
		   void *arg);

/* Calls @forget for each cgroup that ended long enough ago: what was measured of it may be forgotten, nobody will ask
 * for it again. @heir: a cgroup of the same workload that stays, into which its series are to be merged so that the
 * workload's totals do not fall; IDENTITY_VANISHED for what vanished before it was seen; 0: none. Also looks, rarely,
 * for removals that no event told of. Call it once an interval. */
void identity_expire(struct identity *id, __u64 now_ns, void (*forget)(void *arg, __u64 cgroup_id, __u64 heir),
		     void *arg);

/* A cgroup of another workload with the same service name, for series that show no more of a container than that: one that
 * lives if there is one, else the one that ended last; 0: none. Only among those that have been looked up. */
__u64 identity_namesake(const struct identity *id, __u64 cgroup_id);

/* The process behind a socket, 0 when it cannot be told cheaply. @local, @peer: "192.0.2.1:80", "[2001:db8::1]:80", as
 * spans have them. Answers are kept by @socket_cookie (0: not kept); new questions are limited to
 * IDENTITY_PIDS_PER_S a second and to 1 % of a CPU. */
#define IDENTITY_PIDS_PER_S 500
__u32 identity_pid(struct identity *id, __u64 cgroup_id, __u64 socket_cookie, const char *local, const char *peer);

struct identity_use {
	__u64 cgroups, cgroups_max; /* entries held and allowed */
	__u64 missed;		    /* cgroups that vanished before their name was read */
	__u64 refused;		    /* cgroups not kept because the table was full */
	__u64 walks;
	__u64 bytes; /* memory, about */
};

void identity_use(const struct identity *id, struct identity_use *ret);

#endif
