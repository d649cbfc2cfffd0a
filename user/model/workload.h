/* Who is behind a cgroup id: what identity/ finds out and everybody later shows. A value owned by the identity table;
 * strings are interned (model/intern.h), "" when not known. */
#ifndef WEIR_MODEL_WORKLOAD_H
#define WEIR_MODEL_WORKLOAD_H

#include <linux/types.h>

struct workload {
	__u64 cgroup_id;	  /* of the container's (or unit's) own cgroup: nearest container ancestor */
	const char *cgroup;	  /* path below the v2 mount, begins with '/'; "" : cgroup vanished before it was seen */
	const char *service_name; /* never "": container's or unit's name, else the last part of the path */
	const char *runtime;	  /* docker, containerd, cri-o, podman, systemd; "" : plain process */
	const char *container_id; /* 64 hex digits */
	const char *container_name; /* what a person reads; short id when nothing better is known */
	const char *pod_uid;	  /* with dashes */
	const char *pod_qos;	  /* guaranteed, burstable, besteffort */
	const char *pod_name;	  /* "" until names come from the Kubernetes API */
	const char *namespace_name;
};

#endif
