/* Safepoints of JVMs: one record each, and a clock of stopped time that other signals read.
 *
 * Hooks, chosen by user space for each libjvm.so, all of them passed by the one thread of a JVM that makes safepoints:
 * entry uprobes on the USDT probes hs_private:safepoint__begin and __end and hotspot:vmops__begin and __end, or on the
 * functions RuntimeService::record_safepoint_begin, _synchronized and _end; or hardware watchpoints on the performance
 * counters that those functions write. tp_btf/sched_process_exit forgets, tp_btf/sched_process_exec tells of processes
 * that may become JVMs. No return probes: they make a system call that the seccomp filters of containers refuse.
 *
 * The begin is before the threads stop, in all versions. A safepoint in which the JVM ends has no end and is not told; one
 * that had begun before us is not told either. Handshakes stop threads one by one and are no safepoints: their
 * operations (vmops) come outside of one and are passed over.
 *
 * Reading order: state, clocks, moments of a safepoint, the hooks. */
#include "lib/prelude.bpf.h"
#include "lib/clock.bpf.h"
#include "lib/emit.bpf.h"
#include "jvm.h"

/* Two attachments to one file, which nobody can tell from outside on overlayfs, see a moment within this time. */
#define TWICE_NS 1000

struct jvm_count jvm_count = {};

/* The safepoint in hand of a process. */
struct jvm_process {
	__u64 cgroup_id;
	__u64 begin_ns; /* 0: it runs */
	__u64 sync_ns;
	__u64 operation_ns;
	__u64 operation_begin_ns; /* of the last one */
	__u32 operations;
	__u32 depth; /* operations that run: one may make another, which is part of it */
	char operation[JVM_OPERATION_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, JVM_PROCESSES_MAX);
	__type(key, __u32);
	__type(value, struct jvm_process);
} jvm_processes SEC(".maps");

static const char zero_process[sizeof(struct jvm_process)] = {};
static const char zero_clock[sizeof(struct jvm_clock)] = {};

/* ---- state ---- */

static __always_inline struct jvm_process *process_get(__u32 pid)
{
	return bpf_map_lookup_elem(&jvm_processes, &pid);
}

/* NULL: there are too many. */
static __always_inline struct jvm_process *process_make(__u32 pid)
{
	struct jvm_cgroup fresh = { .jvms = 1, .pid = pid }, *group;
	struct jvm_process *p = process_get(pid);

	if (p)
		return p;
	/* In this order: what has no state is forgotten by nobody, so it must not have a clock either. */
	if (bpf_map_update_elem(&jvm_processes, &pid, zero_process, BPF_NOEXIST))
		return NULL;
	if (bpf_map_update_elem(&jvm_clocks, &pid, zero_clock, BPF_ANY)) {
		bpf_map_delete_elem(&jvm_processes, &pid);
		return NULL;
	}
	p = process_get(pid);
	if (!p)
		return NULL;
	p->cgroup_id = bpf_get_current_cgroup_id();
	group = bpf_map_lookup_elem(&jvm_cgroups, &p->cgroup_id);
	if (group) {
		group->pid = pid;
		__sync_fetch_and_add(&group->jvms, 1);
	} else {
		bpf_map_update_elem(&jvm_cgroups, &p->cgroup_id, &fresh, BPF_NOEXIST);
	}
	return p;
}

static __always_inline void process_drop(__u32 pid)
{
	struct jvm_process *p = process_get(pid);
	struct jvm_cgroup *group;
	__u64 cgroup_id;

	if (!p)
		return;
	cgroup_id = p->cgroup_id;
	bpf_map_delete_elem(&jvm_processes, &pid);
	bpf_map_delete_elem(&jvm_clocks, &pid);
	group = bpf_map_lookup_elem(&jvm_cgroups, &cgroup_id);
	if (!group)
		return;
	if (group->jvms > 1)
		__sync_fetch_and_add(&group->jvms, -1);
	else
		bpf_map_delete_elem(&jvm_cgroups, &cgroup_id);
}

/* ---- clocks ---- */

static __always_inline void clock_open(__u32 pid, __u64 now_ns)
{
	struct jvm_clock *clock = bpf_map_lookup_elem(&jvm_clocks, &pid);

	if (!clock)
		return;
	__sync_fetch_and_add(&clock->seq, 1);
	clock->open_ns = now_ns;
	__sync_fetch_and_add(&clock->seq, 1);
}

static __always_inline void clock_close(__u32 pid, __u64 begin_ns, __u64 now_ns)
{
	struct jvm_clock *clock = bpf_map_lookup_elem(&jvm_clocks, &pid);
	struct jvm_pause *pause;

	if (!clock)
		return;
	__sync_fetch_and_add(&clock->seq, 1);
	pause = &clock->last[clock->count & (JVM_PAUSES - 1)];
	pause->begin_ns = begin_ns;
	pause->end_ns = now_ns;
	clock->count++;
	clock->stopped_ns += now_ns - begin_ns;
	clock->open_ns = 0;
	__sync_fetch_and_add(&clock->seq, 1);
}

/* ---- moments of a safepoint ---- */

static __always_inline bool seen_twice(__u64 before_ns, __u64 now_ns)
{
	return before_ns && now_ns - before_ns < TWICE_NS;
}

static __always_inline int safepoint_begin(void)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct jvm_process *p = process_make(pid);
	__u64 now_ns = bpf_ktime_get_ns();

	if (!p || seen_twice(p->begin_ns, now_ns))
		return 0;
	p->begin_ns = now_ns;
	p->sync_ns = 0;
	p->operation_ns = 0;
	p->operation_begin_ns = 0;
	p->operations = 0;
	p->depth = 0;
	p->operation[0] = 0;
	clock_open(pid, now_ns);
	return 0;
}

/* All threads have stopped. */
static __always_inline int safepoint_synchronised(void)
{
	struct jvm_process *p = process_get(bpf_get_current_pid_tgid() >> 32);

	if (p && p->begin_ns && !p->sync_ns)
		p->sync_ns = bpf_ktime_get_ns() - p->begin_ns;
	return 0;
}

static __always_inline int operation_begin(const char *name)
{
	struct jvm_process *p = process_get(bpf_get_current_pid_tgid() >> 32);
	__u64 now_ns = bpf_ktime_get_ns();

	if (!p || !p->begin_ns || seen_twice(p->operation_begin_ns, now_ns))
		return 0;
	if (!p->sync_ns)
		p->sync_ns = now_ns - p->begin_ns;
	if (!p->operations)
		bpf_probe_read_user_str(p->operation, sizeof(p->operation), name);
	if (!p->depth)
		p->operation_begin_ns = now_ns;
	p->depth++;
	p->operations++;
	return 0;
}

static __always_inline int operation_end(void)
{
	struct jvm_process *p = process_get(bpf_get_current_pid_tgid() >> 32);

	if (!p || !p->begin_ns || !p->depth)
		return 0;
	p->depth--;
	if (!p->depth)
		p->operation_ns += bpf_ktime_get_ns() - p->operation_begin_ns;
	return 0;
}

static __always_inline int safepoint_end(enum jvm_source source, __u64 argument)
{
	__u64 now_ns = bpf_ktime_get_ns(), id = bpf_get_current_pid_tgid(), begin_ns;
	struct jvm_process *p = process_get(id >> 32);
	struct jvm_event *e;

	if (!p) {
		/* No room for it at its beginning, or it had begun before us: the first one of a process that is not known. */
		if (process_make(id >> 32))
			return 0;
		__sync_fetch_and_add(&jvm_count.seen, 1);
		__sync_fetch_and_add(&jvm_count.lost_table, 1);
		return 0;
	}
	begin_ns = p->begin_ns;
	if (!begin_ns)
		return 0;
	p->begin_ns = 0;
	clock_close(id >> 32, begin_ns, now_ns);
	__sync_fetch_and_add(&jvm_count.seen, 1);
	e = emit_begin(SIGNAL_jvm, sizeof(*e), now_ns, p->cgroup_id);
	if (!e) {
		__sync_fetch_and_add(&jvm_count.lost_ring, 1);
		return 0;
	}
	e->hdr.pid = id >> 32;
	e->duration_ns = now_ns - begin_ns;
	e->sync_ns = p->sync_ns;
	e->operation_ns = p->operation_ns;
	e->argument = argument;
	e->tid = id;
	e->operations = p->operations;
	e->source = source;
	e->kind = JVM_EVENT_SAFEPOINT;
	__builtin_memcpy(e->operation, p->operation, sizeof(e->operation));
	emit_end(e);
	return 0;
}

/* ---- hooks: probes and functions. The context is the registers of the thread, as ptrace(2) gives them ---- */

#if defined(__TARGET_ARCH_x86)
#define FIRST_ARGUMENT 14 /* rdi */
#else
#define FIRST_ARGUMENT 0 /* x0 */
#endif

SEC("?kprobe")
int jvm_usdt_begin(__u64 *registers)
{
	return safepoint_begin();
}

SEC("?kprobe")
int jvm_usdt_operation_end(__u64 *registers)
{
	return operation_end();
}

SEC("?kprobe")
int jvm_usdt_end(__u64 *registers)
{
	return safepoint_end(JVM_SOURCE_USDT, registers[FIRST_ARGUMENT]);
}

/* hotspot:vmops__begin(name, ...): the compiler chose in which register the name is, and the note beside the probe tells.
 * One program for each, since a program is not told for which attachment it runs (before 5.15). */
#define OPERATION(number)                                                \
	SEC("?kprobe")                                                   \
	int jvm_usdt_operation_##number(__u64 *registers)                \
	{                                                                \
		return operation_begin((const char *)registers[number]); \
	}
OPERATION(0)
OPERATION(1)
OPERATION(2)
OPERATION(3)
OPERATION(4)
OPERATION(5)
OPERATION(6)
OPERATION(7)
OPERATION(8)
OPERATION(9)
OPERATION(10)
OPERATION(11)
OPERATION(12)
OPERATION(13)
OPERATION(14)
#if !defined(__TARGET_ARCH_x86)
OPERATION(15)
OPERATION(16)
OPERATION(17)
OPERATION(18)
OPERATION(19)
OPERATION(20)
OPERATION(21)
OPERATION(22)
OPERATION(23)
OPERATION(24)
OPERATION(25)
OPERATION(26)
OPERATION(27)
OPERATION(28)
OPERATION(29)
OPERATION(30)
#endif

SEC("?kprobe")
int jvm_symbol_begin(__u64 *registers)
{
	return safepoint_begin();
}

SEC("?kprobe")
int jvm_symbol_synchronised(__u64 *registers)
{
	return safepoint_synchronised();
}

SEC("?kprobe")
int jvm_symbol_end(__u64 *registers)
{
	return safepoint_end(JVM_SOURCE_SYMBOLS, registers[FIRST_ARGUMENT]);
}

/* ---- hooks: hardware watchpoints ---- */

SEC("?perf_event")
int jvm_watch_begin(void *ctx)
{
	return safepoint_begin();
}

SEC("?perf_event")
int jvm_watch_synchronised(void *ctx)
{
	return safepoint_synchronised();
}

SEC("?perf_event")
int jvm_watch_end(void *ctx)
{
	return safepoint_end(JVM_SOURCE_WATCHPOINTS, 0);
}

/* ---- hooks: processes ---- */

SEC("?tp_btf/sched_process_exit")
int BPF_PROG(jvm_exit, struct task_struct *task)
{
	if (task->pid == task->tgid)
		process_drop(task->tgid);
	return 0;
}

/* Those that are called java are looked at in a moment, when they have loaded the library; others when they are come upon. */
SEC("?tp_btf/sched_process_exec")
int BPF_PROG(jvm_exec, struct task_struct *task)
{
	struct jvm_event *e;
	char name[8];

	if (bpf_probe_read_kernel(name, sizeof(name), &task->comm) || name[0] != 'j' || name[1] != 'a' ||
	    name[2] != 'v' || name[3] != 'a')
		return 0;
	e = emit_begin(SIGNAL_jvm, sizeof(*e), bpf_ktime_get_ns(), 0);
	if (!e)
		return 0; /* it is come upon like the others */
	__builtin_memset((char *)e + sizeof(e->hdr), 0, sizeof(*e) - sizeof(e->hdr));
	e->hdr.pid = task->tgid;
	e->kind = JVM_EVENT_STARTED;
	emit_end(e);
	return 0;
}
