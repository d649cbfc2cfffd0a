/* Who is behind a cgroup id: what identity/ finds out and everybody later shows. Immutable once made: a name that is
 * learned later makes a new one. Strings are valid UTF-8, "" when not known, and live in the same block (containers
 * come and go for months, so interning their names would fill the table of interned strings).
 *
 * Counted references, from any thread: the identity table holds one, and so does each point of a snapshot,
 * of whom it is about and of whom it names (snapshot_unref gives them back). refs 0: not counted, somebody else owns it. */
#ifndef WEIR_MODEL_WORKLOAD_H
#define WEIR_MODEL_WORKLOAD_H

#include <linux/types.h>
#include <stdlib.h>

struct workload {
	int refs;
	__u64 cgroup_id;    /* of the container's (or unit's) own cgroup: nearest container ancestor. 0: it vanished
				     before it was seen; everybody of whom that is true shares one workload */
	const char *cgroup; /* path below the v2 mount, begins with '/'; "" : vanished before it was seen */
	const char *service_name; /* never "": container's or unit's name, else the last part of the path */
	const char *runtime; /* docker, containerd, cri-o, podman, lxc, oci (a container, runtime not known), systemd;
				     "" : plain process */
	const char *container_id;   /* 64 hex digits; of lxc the name */
	const char *container_name; /* what a person reads; short id when nothing better is known */
	const char *pod_uid;	    /* with dashes */
	const char *pod_qos;	    /* guaranteed, burstable, besteffort */
	const char *pod_name;	    /* "" until names come from the Kubernetes API */
	const char *namespace_name;
};

static inline const struct workload *workload_ref(const struct workload *who)
{
	struct workload *counted = (struct workload *)who;

	if (who && __atomic_load_n(&counted->refs, __ATOMIC_RELAXED))
		__atomic_add_fetch(&counted->refs, 1, __ATOMIC_RELAXED);
	return who;
}

static inline void workload_unref(const struct workload *who)
{
	struct workload *counted = (struct workload *)who;

	if (who && __atomic_load_n(&counted->refs, __ATOMIC_RELAXED) &&
	    !__atomic_sub_fetch(&counted->refs, 1, __ATOMIC_ACQ_REL))
		free(counted);
}

#endif
