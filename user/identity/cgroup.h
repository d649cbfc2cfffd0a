/* The cgroup2 tree: where it is mounted, and a bounded walk over it. Ids are inode numbers of its directories. */
#ifndef WEIR_IDENTITY_CGROUP_H
#define WEIR_IDENTITY_CGROUP_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct why;

/* Finds the cgroup2 mount in @mounts (NULL: /proc/mounts), pure or beside v1. Of several the one that shows the whole
 * hierarchy (a container often has its own part of it and the host's). Writes its directory into @ret.
 * -ENOENT: not mounted, -ENAMETOOLONG: does not fit. */
int cgroup_find_mount(const char *mounts, char *ret, size_t room, struct why *why);
/* Whether @mount shows the root of the hierarchy and not a part of it (cgroup namespace). */
bool cgroup_is_root(const char *mount);
/* 0 or negative errno: -ENOENT when there is no such cgroup. */
int cgroup_id_of(const char *mount, const char *path, __u64 *ret_id);

#define CGROUP_DEPTH_MAX 64
#define CGROUP_DIRS_MAX	 65536 /* of one walk */
#define CGROUP_PATH_MAX	 4096

/* Calls @seen for every directory, parents first, the root as "/". Sets *ret_complete to false when a bound was reached
 * or a directory could not be read (other than because it has just gone). Returns 0 or the error of opening the mount. */
int cgroup_walk(const char *mount, void (*seen)(void *arg, __u64 cgroup_id, const char *path), void *arg,
		bool *ret_complete);

#endif
