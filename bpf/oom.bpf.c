/* Kills by the kernel's out-of-memory handler, of a cgroup that reached its limit as of the whole machine.
 *
 * Hook: tp_btf/mark_victim, passed once for each process killed, before it dies. It shows the victim since 72ba14deb40a
 * (6.8) and only its number before; then the cgroup is that of the task whose allocation could not be served, which for a
 * cgroup's limit is one of the same container. User space loads the flavour that fits.
 * Missed: kills by daemons in user space (they are ordinary signals); before 6.8, whose memory a kill of the whole
 * machine took. */
#include "lib/prelude.bpf.h"
#include "lib/emit.bpf.h"
#include "oom.h"

struct oom_count oom_count = {};

static __always_inline struct oom_event *oom_begin(__u64 cgroup_id)
{
	struct oom_event *e;

	__sync_fetch_and_add(&oom_count.seen, 1);
	e = emit_begin(SIGNAL_oom, sizeof(*e), bpf_ktime_get_ns(), cgroup_id);
	if (e)
		__builtin_memset(e->command, 0, sizeof(e->command));
	else
		__sync_fetch_and_add(&oom_count.lost, 1);
	return e;
}

SEC("?tp_btf/mark_victim")
int BPF_PROG(oom_victim, struct task_struct *victim)
{
	struct oom_event *e = oom_begin(victim->cgroups->dfl_cgrp->kn->id);

	if (!e)
		return 0;
	e->hdr.pid = victim->tgid;
	bpf_probe_read_kernel_str(e->command, sizeof(e->command), &victim->comm);
	emit_end(e);
	return 0;
}

SEC("?tp_btf/mark_victim")
int BPF_PROG(oom_victim_number, int pid)
{
	struct oom_event *e = oom_begin(bpf_get_current_cgroup_id());

	if (!e)
		return 0;
	e->hdr.pid = pid;
	emit_end(e);
	return 0;
}
