/* What can the running kernel do? One small program a question; user space loads each by itself and looks whether the
 * verifier takes it. No version numbers: distributions carry features back. The commits are cited in
 * user/kernel/features.c. The programs do nothing: probe_cgroup_skb lets every packet pass while its link is tried. */
#include "lib/prelude.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} probe_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} probe_storage SEC(".maps");

SEC("?cgroup_skb/egress")
int probe_cgroup_skb(struct __sk_buff *skb)
{
	return 1;
}

SEC("?cgroup_skb/egress")
int probe_ringbuf(struct __sk_buff *skb)
{
	__u64 *record = bpf_ringbuf_reserve(&probe_ring, sizeof(*record), 0);

	if (record)
		bpf_ringbuf_discard(record, 0);
	return 1;
}

SEC("?cgroup_skb/egress")
int probe_sk_storage(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (sk)
		bpf_sk_storage_get(&probe_storage, sk, 0, 0);
	return 1;
}

SEC("?cgroup_skb/egress")
int probe_sender(struct __sk_buff *skb)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(task, tgid) >= 0;
}

SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(probe_tp_btf, const struct sock *sk, int before, int after)
{
	return 0;
}

SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(probe_tp_btf_sk_storage, const struct sock *sk, int before, int after)
{
	bpf_sk_storage_get(&probe_storage, (void *)sk, 0, 0);
	return 0;
}

SEC("?iter/bpf_sk_storage_map")
int probe_sk_storage_iter(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	return 0;
}

SEC("?tp_btf/tcp_cong_state_set")
int BPF_PROG(probe_tp_congestion, struct sock *sk, __u8 state)
{
	return 0;
}

SEC("?iter/task_file")
int probe_sock_from_file(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file; /* read once: what is checked must be what is passed */

	if (file)
		bpf_sock_from_file(file);
	return 0;
}

SEC("?tp_btf/sched_switch")
int BPF_PROG(probe_run_queues, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	return next->se.cfs_rq->rq->clock == next->sched_info.last_queued + next->sched_info.run_delay;
}

SEC("?tp_btf/sched_switch")
int BPF_PROG(probe_task_pt_regs, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	return !bpf_task_pt_regs(prev);
}

SEC("?uprobe")
int probe_uprobe(struct pt_regs *ctx)
{
	return 0;
}

/* The same, but a program is loaded for one of the two ways to attach it. */
SEC("?uprobe")
int probe_uprobe_multi(struct pt_regs *ctx)
{
	return 0;
}

SEC("?perf_event")
int probe_watch(struct bpf_perf_event_data *ctx)
{
	return 0;
}
