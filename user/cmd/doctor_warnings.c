/* Things that let weir run and make its figures wrong. */
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cmd/doctor.h"
#include "identity/cgroup.h"

/* Whether a socket keeps its v2 cgroup beside its network class. Before 8520e224f547 (5.15) both shared one word, and
 * struct sock_cgroup_data had no member of that name. Types not readable: the answer that worries nobody for nothing. */
static bool sockets_keep_cgroup(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool found = false;
	int id;

	if (libbpf_get_error(btf))
		return true;
	id = btf__find_by_name_kind(btf, "sock_cgroup_data", BTF_KIND_STRUCT);
	if (id > 0) {
		const struct btf_type *type = btf__type_by_id(btf, id);
		const struct btf_member *member = btf_members(type);

		for (int i = 0; i < btf_vlen(type); i++)
			found |= !strcmp(btf__name_by_offset(btf, member[i].name_off), "cgroup");
	}
	btf__free(btf);
	return found || id <= 0;
}

/* Where a v1 controller that classifies sockets is mounted; false: nowhere. */
static bool find_network_classes(char *ret, size_t room)
{
	FILE *mounts = setmntent("/proc/mounts", "re");
	struct mntent entry;
	char line[4096];
	bool found = false;

	if (!mounts)
		return false;
	while (!found && getmntent_r(mounts, &entry, line, sizeof(line))) {
		found = !strcmp(entry.mnt_type, "cgroup") &&
			(hasmntopt(&entry, "net_cls") || hasmntopt(&entry, "net_prio"));
		if (found)
			snprintf(ret, room, "%s", entry.mnt_dir);
	}
	endmntent(mounts);
	return found;
}

void doctor_warnings(json_t *warnings, const char *cgroup_mount)
{
	char path[256];

	if (find_network_classes(path, sizeof(path)) && !sockets_keep_cgroup())
		json_array_append_new(
			warnings, json_sprintf("net_cls or net_prio is mounted at %s: on this kernel a process that "
					       "is given a network class loses its cgroup, and its new sockets are "
					       "counted for the root cgroup; use cgroup v2 instead, or a kernel from "
					       "5.15 on",
					       path));
	if (cgroup_mount && !cgroup_is_root(cgroup_mount))
		json_array_append_new(
			warnings, json_sprintf("%s shows a part of the cgroup hierarchy: only containers below it are "
					       "seen; in a container, run it in the host's cgroup namespace",
					       cgroup_mount));
}
