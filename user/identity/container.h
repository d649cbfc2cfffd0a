/* What a cgroup path tells: runtime, container id, pod, quality of service, systemd unit. A pure function on hostile
 * bytes; how each runtime lays out its paths is a table in container.c. */
#ifndef WEIR_IDENTITY_CONTAINER_H
#define WEIR_IDENTITY_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>

#define CONTAINER_ID_MAX 64 /* hex digits of the usual runtimes */
#define POD_UID_MAX	 36

/* A piece of the path, not terminated. */
struct slice {
	const char *text;
	size_t bytes;
};

struct container {
	const char *runtime; /* static: docker, containerd, cri-o, podman, lxc, oci; systemd for a unit; "" : neither */
	struct slice id;     /* of the nearest container ancestor; empty: not in a container */
	struct slice unit; /* last path component that is a service or scope, still escaped; empty when in a container */
	char pod_uid[POD_UID_MAX + 1]; /* with dashes; "" : not in a pod */
	const char *pod_qos;	       /* static: guaranteed, burstable, besteffort, "" */
	size_t own_bytes; /* length of the path of the container's, else the unit's own cgroup; else the whole path's */
};

/* @path begins with '/' (what does not is taken as a plain path). Only the first @bytes are read. */
void container_parse(const char *path, size_t bytes, struct container *ret);
/* The last component of @path without trailing slashes; "/" for the root. */
struct slice path_last(const char *path, size_t bytes);
/* Undoes systemd's escaping of \xNN. Never writes more than @room; returns the bytes written (no terminator). */
size_t unit_unescape(const struct slice *unit, char *ret, size_t room);

#endif
