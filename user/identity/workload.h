/* Makes a struct workload (model/workload.h) of a cgroup path. */
#ifndef WEIR_IDENTITY_WORKLOAD_H
#define WEIR_IDENTITY_WORKLOAD_H

#include <linux/types.h>
#include <stddef.h>

#include "model/workload.h"

/* @path: of the container's or unit's own cgroup, hostile bytes. @docker: directory where docker keeps its containers,
 * "" when there is none; read for the name of a docker container. The caller's (workload_unref); NULL: no memory. */
struct workload *workload_new(__u64 cgroup_id, const char *path, size_t bytes, const char *docker);
/* The one of everybody who vanished before they were seen. */
struct workload *workload_new_vanished(void);

/* Name of container @id, without the leading slash, sanitised; 0, or -ENOENT when it cannot be told. */
int docker_name_read(const char *docker, const char *container_id, char *ret, size_t room);

#endif
