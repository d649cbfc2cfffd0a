/* The floor: what the hooks of the scheduler cost before anything is done in them. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("tp_btf/sched_switch") int empty_sched_switched(void *ctx)
{
	return 0;
}

SEC("tp_btf/sched_wakeup") int empty_sched_woken(void *ctx)
{
	return 0;
}

SEC("tp_btf/sched_wakeup_new") int empty_sched_woken_new(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
