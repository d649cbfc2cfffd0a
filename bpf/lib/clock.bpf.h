/* Stopped-time clocks of JVMs: maps that the signal jvm writes and others read. */
#ifndef WEIR_CLOCK_BPF_H
#define WEIR_CLOCK_BPF_H

#include "lib/clock.h"

/* By pid. Preallocated: hardware watchpoints write it too, and may not allocate. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, JVM_PROCESSES_MAX);
	__type(key, __u32);
	__type(value, struct jvm_clock);
} jvm_clocks SEC(".maps");

/* By cgroup id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, JVM_PROCESSES_MAX);
	__type(key, __u64);
	__type(value, struct jvm_cgroup);
} jvm_cgroups SEC(".maps");

/* The JVM of a cgroup that has exactly one; 0: it has none, or several. */
static __always_inline __u32 clock_pid_of(__u64 cgroup_id)
{
	const volatile struct jvm_cgroup *cgroup = bpf_map_lookup_elem(&jvm_cgroups, &cgroup_id);

	return cgroup && cgroup->jvms == 1 ? cgroup->pid : 0;
}

/* What the clock of @pid showed at @at_ns, or CLOCK_UNKNOWN. One that there is not yet has shown 0. */
static __always_inline __u64 clock_at_of(__u32 pid, __u64 at_ns)
{
	const volatile struct jvm_clock *clock = bpf_map_lookup_elem(&jvm_clocks, &pid);

	return clock ? clock_at(clock, at_ns) : 0;
}

/* clock_stopped() of @pid; 0 when it has no clock. */
static __always_inline __u64 clock_stopped_of(__u32 pid, __u64 base_ns, __u64 start_ns, __u64 end_ns)
{
	const volatile struct jvm_clock *clock = bpf_map_lookup_elem(&jvm_clocks, &pid);

	return clock ? clock_stopped(clock, base_ns, start_ns, end_ns) : 0;
}

#endif
