/* The shared maps, and the life of cgroups.
 *
 * Hooks: tp_btf/cgroup_mkdir and cgroup_rmdir, both since 4.12. They run in the task that makes or removes the
 * directory, after it exists, before anybody can be moved into it: a record is in the ring before the first data of
 * that cgroup. Only the v2 hierarchy counts: sockets are attributed by it.
 * Missed: renames (v2 has none), and what a full ring refuses, which is counted. */
#include "lib/prelude.bpf.h"
#include "lib/clock.bpf.h"
#include "lib/emit.bpf.h"
#include "core.h"

struct core_count core_count = {};

static __always_inline int core_emit(struct cgroup *cgrp, const char *path, __u32 kind)
{
	struct core_event *e;
	long bytes;

	if (cgrp->root->hierarchy_id)
		return 0;
	__sync_fetch_and_add(&core_count.seen, 1);
	e = emit_begin(SIGNAL_NONE, sizeof(*e), bpf_ktime_get_ns(), cgrp->kn->id);
	if (!e) {
		__sync_fetch_and_add(&core_count.lost, 1);
		return 0;
	}
	__builtin_memset(e->path, 0, sizeof(e->path));
	e->kind = kind;
	bytes = bpf_probe_read_kernel_str(e->path, sizeof(e->path), path);
	/* A path that fills the room may have been cut: only a shorter one is known to be whole. */
	e->path_bytes = bytes <= 0 ? 0 : bytes == sizeof(e->path) ? CORE_PATH_MAX : bytes - 1;
	emit_end(e);
	return 0;
}

SEC("?tp_btf/cgroup_mkdir")
int BPF_PROG(core_mkdir, struct cgroup *cgrp, const char *path)
{
	return core_emit(cgrp, path, CORE_CGROUP_MADE);
}

SEC("?tp_btf/cgroup_rmdir")
int BPF_PROG(core_rmdir, struct cgroup *cgrp, const char *path)
{
	return core_emit(cgrp, path, CORE_CGROUP_REMOVED);
}
