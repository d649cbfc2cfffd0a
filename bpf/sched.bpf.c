/* How long threads that could run waited for a CPU, by container; behind whom; and why threads leave the CPU.
 *
 * Hooks: tp_btf/sched_switch, and for CPUs that slept sched_wakeup and sched_wakeup_new. At the switch the kernel has not
 * yet ended the wait of the next thread: rq->clock - sched_info.last_queued is what it is about to add to run_delay, the
 * second number of /proc/PID/schedstat. A thread that was moved between CPUs while it waited has had its earlier part
 * added already, so the wait is run_delay + that difference, less run_delay as it was when the thread left the CPU. No
 * wake-up needs a time stamp, no clock is read.
 * But on an idle CPU the kernel saves the update of rq->clock after a wake-up, and so takes the time until the CPU is awake
 * for nothing (0.2 us where 23 were measured). There alone the wake-up leaves the time.
 *
 * What is known of a thread lies in an array, at its number: that is an inline look-up, where storage of the task costs
 * two calls a switch; and nothing is allocated under the run queue's lock, where an allocation that wakes kswapd would
 * deadlock. For the same reason the entries of the table are made where threads are made or moved (sched_process_fork,
 * cgroup_attach_task), once for all that run already (iter/task), and by user space when one is missing nevertheless.
 *
 * Missed: who ran on the other CPU, when a thread was moved while it waited. A wait includes the time for which its cgroup
 * was throttled (cpu.max): then it stands behind whoever runs, or nobody. A thread of a kernel without the fourth
 * argument of sched_switch may be taken for one that left of its own will when it is woken in that moment. */
#include "lib/prelude.bpf.h"
#include "lib/emit.bpf.h"
#include "sched.h"

#define PF_KTHREAD 0x00200000
#define TASK_DEAD  0x80
#define TS_COMPAT  2
#define ODD_NUMBER 0x9e3779b1u /* spreads neighbours: two threads that follow each other share no cache line */

const volatile struct sched_config config = {};
const volatile __u8 sched_class_of[SCHED_SYSCALL_MAX] = {}; /* system call -> enum sched_class */
const volatile __u64 hist_threshold[HIST_TABLE] = {};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* possible CPUs */
	__type(key, __u32);
	__type(value, struct sched_cpu);
} sched_cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* task_mask + 1 */
	__type(key, __u32);
	__type(value, struct sched_task);
} sched_tasks SEC(".maps");

/* Cgroup id -> one struct sched_stat a shard. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u64));
	__uint(value_size, sizeof(struct sched_stat)); /* times the shards */
} sched_table SEC(".maps");

/* What an entry of the table begins as: too big for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct sched_stat));
} sched_zero SEC(".maps");

/* Nanoseconds that long waits of one stood behind the other. Preallocated: entries are made under the lock. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct sched_pair);
	__type(value, __u64);
} sched_pairs SEC(".maps");

static __always_inline __u64 cgroup_of(struct task_struct *task)
{
	return task->cgroups->dfl_cgrp->kn->id;
}

static __always_inline struct sched_task *task_at(__u32 tid)
{
	__u32 index = tid * ODD_NUMBER & config.task_mask;

	return bpf_map_lookup_elem(&sched_tasks, &index);
}

static __always_inline void stat_add(__u64 *to, __u64 value)
{
	if (config.shared)
		__sync_fetch_and_add(to, value);
	else
		*to += value;
}

/* ---- entries of the table, made where memory may be allocated */

static __always_inline void table_make(__u64 cgroup_id)
{
	void *stats = bpf_map_lookup_elem(&sched_table, &cgroup_id), *zero;
	__u32 first = 0;

	if (stats)
		return;
	zero = bpf_map_lookup_elem(&sched_zero, &first);
	if (zero)
		bpf_map_update_elem(&sched_table, &cgroup_id, zero, BPF_NOEXIST);
}

SEC("?tp_btf/sched_process_fork")
int BPF_PROG(sched_fork, struct task_struct *parent, struct task_struct *child)
{
	table_make(cgroup_of(child));
	return 0;
}

SEC("?tp_btf/cgroup_attach_task")
int BPF_PROG(sched_attach, struct cgroup *to, const char *path, struct task_struct *task, bool threadgroup)
{
	if (!to->root->hierarchy_id)
		table_make(to->kn->id);
	return 0;
}

SEC("?iter/task")
int sched_existing(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task && !(task->flags & PF_KTHREAD))
		table_make(cgroup_of(task));
	return 0;
}

/* ---- a thread leaves */

static __always_inline __u32 task_syscall(struct task_struct *task)
{
#if defined(__TARGET_ARCH_x86)
	struct pt_regs___x86 *regs = (void *)bpf_task_pt_regs(task);

	return regs->orig_ax;
#elif defined(__TARGET_ARCH_arm64)
	struct pt_regs___arm64 *regs = (void *)bpf_task_pt_regs(task);

	return regs->syscallno;
#else
	return ~0u;
#endif
}

/* System calls of a 32-bit process have other numbers. */
static __always_inline bool task_is_compat(struct task_struct *task)
{
#if defined(__TARGET_ARCH_x86)
	return task->thread_info.status & TS_COMPAT;
#else
	return false;
#endif
}

static __always_inline __u32 task_class(struct task_struct *prev, bool preempted)
{
	__u32 class;
	__u64 nr;

	if (preempted)
		return SCHED_CLASS_PREEMPTED;
	if (BPF_CORE_READ_BITFIELD(prev, in_iowait))
		return SCHED_CLASS_IO;
	if (!config.syscalls)
		return SCHED_CLASS_OTHER;
	nr = task_syscall(prev);
	if (nr >= SCHED_SYSCALL_MAX) /* an exception, not a call: -1 */
		return SCHED_CLASS_OTHER;
	asm volatile("%0 &= %1"
		     : "+r"(nr)
		     : "i"(SCHED_SYSCALL_MAX - 1)); /* for the verifier: the compiler drops a mask */
	class = sched_class_of[nr];
	return class != SCHED_CLASS_OTHER && task_is_compat(prev) ? SCHED_CLASS_OTHER : class;
}

static __always_inline void task_leaves(struct task_struct *prev, bool preempt, __u32 state, __u64 clock)
{
	__u32 tid = prev->pid;
	struct sched_task *t;

	if (prev->flags & PF_KTHREAD)
		return;
	t = task_at(tid);
	if (!t)
		return;
	if (state & TASK_DEAD) { /* its number may be given to another */
		if (t->tid == tid)
			t->tid = 0;
		return;
	}
	t->tid = tid;
	t->class = task_class(prev, preempt || !state);
	t->clock = clock;
	t->run_delay = prev->sched_info.run_delay;
}

/* ---- who runs on a CPU, one after the other */

static __always_inline void run_fill(struct sched_run *run, struct task_struct *task)
{
	run->pid = task->tgid;
	run->tid = task->pid;
	((__u64 *)run->comm)[0] = ((__u64 *)task->comm)[0];
	((__u64 *)run->comm)[1] = ((__u64 *)task->comm)[1];
}

static __always_inline void run_begins(struct sched_cpu *c, __u64 key, struct task_struct *task, __u64 clock)
{
	struct sched_run *run;

	if (c->key == key)
		return;
	c->key = key;
	run = &c->runs[++c->head & (SCHED_RUNS - 1)];
	run->key = key;
	run->since = clock;
	run_fill(run, task);
}

/* ---- long waits: rare, so this may cost. Global functions, which the verifier walks once each, and so without pointers:
 * 5.10 takes none. What one finds for the next lies with the CPU. */

static __always_inline struct sched_cpu *cpu_at(__u32 cpu)
{
	return bpf_map_lookup_elem(&sched_cpus, &cpu);
}

/* How much of the last @wait nanoseconds each run took, into shares by the place of the run. What came before the oldest
 * is unnamed: nobody knows any more. */
__noinline int runs_share(__u32 cpu, __u64 clock, __u64 wait)
{
	__u64 begin = clock - wait, end = clock;
	struct sched_cpu *c = cpu_at(cpu);

	if (!c)
		return 0;
	for (int i = 0; i < SCHED_RUNS; i++) {
		__u32 at = (c->head - i) & (SCHED_RUNS - 1);
		__u64 since = c->runs[at].since;

		if (since < begin)
			since = begin;
		c->shares[at] = end > since ? end - since : 0;
		if (end > since)
			end = since;
	}
	c->unnamed = end > begin ? end - begin : 0;
	return 0;
}

/* 0 when there is no room. */
__noinline int pair_add(__u64 victim, __u64 culprit, __u64 value)
{
	struct sched_pair pair = { .victim = victim, .culprit = culprit };
	__u64 *total = bpf_map_lookup_elem(&sched_pairs, &pair), zero = 0;

	if (!total) {
		bpf_map_update_elem(&sched_pairs, &pair, &zero, BPF_NOEXIST);
		total = bpf_map_lookup_elem(&sched_pairs, &pair);
	}
	if (!total)
		return 0;
	__sync_fetch_and_add(total, value);
	return 1;
}

__noinline int pairs_add(__u32 cpu, __u64 victim)
{
	struct sched_cpu *c = cpu_at(cpu);

	if (!c)
		return 0;
	for (int i = 0; i < SCHED_RUNS; i++)
		if (c->shares[i] && c->runs[i].key != SCHED_KEY_IDLE && !pair_add(victim, c->runs[i].key, c->shares[i]))
			c->unnamed += c->shares[i];
	return 0;
}

/* What all runs of the one at @at took together, into total. */
__noinline int run_sum(__u32 cpu, __u32 at)
{
	struct sched_cpu *c = cpu_at(cpu);
	__u64 key, total = 0;

	if (!c)
		return 0;
	key = c->runs[at & (SCHED_RUNS - 1)].key;
	for (int i = 0; i < SCHED_RUNS; i++)
		if (c->runs[i].key == key)
			total += c->shares[i];
	c->total = total;
	return 0;
}

/* The longest run of the one who ran most, into culprit; most is what they took together, 0: nobody ran. */
__noinline int culprit_find(__u32 cpu)
{
	struct sched_cpu *c = cpu_at(cpu);

	if (!c)
		return 0;
	c->most = 0;
	for (__u32 i = 0; i < SCHED_RUNS; i++) {
		if (!c->shares[i] || c->runs[i].key == SCHED_KEY_IDLE)
			continue;
		run_sum(cpu, i);
		if (c->total < c->most ||
		    (c->total == c->most && c->shares[i] <= c->shares[c->culprit & (SCHED_RUNS - 1)]))
			continue;
		c->most = c->total;
		c->culprit = i;
	}
	return 0;
}

__noinline int wait_tell(__u32 cpu, __u64 cgroup_id, __u64 wait)
{
	struct sched_cpu *c = cpu_at(cpu);
	struct sched_event *e;
	struct sched_run *run;

	if (!c)
		return 0;
	e = emit_begin(SIGNAL_sched, sizeof(*e), bpf_ktime_get_ns(), cgroup_id);
	if (!e) {
		c->untraced++;
		return 0;
	}
	run = &c->runs[c->culprit & (SCHED_RUNS - 1)];
	e->hdr.pid = c->waiter.pid;
	e->wait_ns = wait;
	e->culprit = c->most ? run->key : SCHED_KEY_IDLE;
	e->culprit_ran_ns = c->most;
	e->tid = c->waiter.tid;
	e->cpu = cpu;
	e->culprit_pid = run->pid;
	e->culprit_tid = run->tid;
	__builtin_memcpy(e->comm, c->waiter.comm, sizeof(e->comm));
	__builtin_memcpy(e->culprit_comm, run->comm, sizeof(e->culprit_comm));
	emit_end(e);
	return 0;
}

static __always_inline void wait_was_long(struct sched_cpu *c, struct task_struct *task, __u64 cgroup_id, __u32 cpu,
					  __u64 clock, __u64 wait)
{
	runs_share(cpu, clock, wait);
	if (wait >= config.record_ns && records_wanted(SIGNAL_sched)) {
		run_fill(&c->waiter, task);
		culprit_find(cpu);
		wait_tell(cpu, cgroup_id, wait);
	}
	if (wait >= config.long_ns)
		pairs_add(cpu, cgroup_id);
	else
		c->unnamed = 0;
}

/* ---- a thread comes */

static __always_inline struct sched_stat *stat_of(struct sched_cpu *c, __u64 cgroup_id, __u32 cpu)
{
	struct sched_stat *stats = bpf_map_lookup_elem(&sched_table, &cgroup_id);
	__u64 none = 0;

	if (!stats) {
		c->missed = cgroup_id;
		c->overflow++;
		stats = bpf_map_lookup_elem(&sched_table, &none);
		if (!stats) {
			c->lost++;
			return NULL;
		}
	}
	return stats + (cpu & config.shard_mask);
}

static __always_inline void stat_slot(struct sched_stat *s, __u64 wait)
{
	/* Most waits are in the first slot: eight steps saved. */
	__u64 slot = wait <= hist_threshold[0] ? 0 : hist_slot((const __u64 *)hist_threshold, wait);

	/* It is below: hist_slot() sees to it, but the compiler keeps what the verifier needs to know of it elsewhere. */
	asm volatile("if %0 < %1 goto +1; %0 = 0" : "+r"(slot) : "i"(HIST_SLOTS));
	if (config.shared)
		__sync_fetch_and_add(&s->slots[slot], 1);
	else
		s->slots[slot]++;
}

/* A maximum of another CPU may be lost in the race for it, a counter never. */
static __always_inline void stat_max(struct sched_stat *s, __u64 wait)
{
	volatile struct control *ctl = control_get();
	__u64 interval = ctl ? ctl->interval : 0;

	if (wait <= s->max_ns && s->max_interval == interval)
		return;
	s->max_ns = wait;
	s->max_interval = interval;
}

static __always_inline void wait_ends(struct sched_cpu *c, struct task_struct *next, __u64 cgroup_id, __u32 cpu,
				      __u64 clock, __u64 slept)
{
	__u64 wait = clock - next->sched_info.last_queued, total;
	__u32 tid = next->pid, class = SCHED_CLASS_MAX;
	struct sched_task *t = task_at(tid);
	struct sched_stat *s;
	__u64 off = 0;

	total = next->sched_info.run_delay + wait;
	if (t && t->tid == tid) {
		wait = total - t->run_delay;
		class = t->class;
		off = clock - t->clock;
	} else if (!next->sched_info.pcount) {
		wait = total;
	} else {
		c->unknown++;
	}
	if ((__s64)wait < (__s64)slept) /* negative: the clocks of two CPUs differ */
		wait = slept;
	s = stat_of(c, cgroup_id, cpu);
	if (!s)
		return;
	stat_add(&s->count, 1);
	stat_add(&s->sum_ns, wait);
	stat_max(s, wait);
	if (class < SCHED_CLASS_MAX) {
		off = class == SCHED_CLASS_PREEMPTED ? wait : off - wait;
		if ((__s64)off > 0)
			stat_add(&s->off_ns[class], off);
	}
	stat_slot(s, wait);
	if (wait >= config.look_ns) {
		wait_was_long(c, next, cgroup_id, cpu, clock, wait);
		if (c->unnamed)
			stat_add(&s->unnamed_ns, c->unnamed);
	}
}

/* How long the CPU that was idle took from the wake-up of @next until now. */
static __always_inline __u64 cpu_slept(struct sched_cpu *c, struct task_struct *next)
{
	__u64 slept = 0;

	if (c->wake_tid == (__u32)next->pid)
		slept = bpf_ktime_get_ns() - c->wake_ns;
	c->wake_tid = 0;
	return slept;
}

static __always_inline void task_comes(struct sched_cpu *c, struct task_struct *prev, struct task_struct *next,
				       __u32 cpu, __u64 clock)
{
	bool queued = next->sched_info.last_queued;
	__u64 slept = prev->pid ? 0 : cpu_slept(c, next);
	__u64 key;

	if (!next->pid) {
		key = SCHED_KEY_IDLE;
	} else if (next->flags & PF_KTHREAD) {
		key = SCHED_KEY_KERNEL;
		if (queued)
			c->filtered++;
	} else {
		key = cgroup_of(next);
		if (queued)
			wait_ends(c, next, key, cpu, clock, slept);
	}
	run_begins(c, key, next, clock);
}

static __always_inline __u32 task_state(struct task_struct *task)
{
	struct task_struct___before_5_14 *old = (void *)task;

	if (bpf_core_field_exists(old->state)) /* 5.14 renamed it, 2f064a59a11f */
		return old->state;
	return task->__state;
}

SEC("?tp_btf/sched_switch")
int BPF_PROG(sched_switched, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct sched_cpu *c = bpf_map_lookup_elem(&sched_cpus, &cpu);
	/* By way of the task: the symbol of the run queues is not known to kernels without CONFIG_KALLSYMS_ALL. */
	__u64 clock = next->se.cfs_rq->rq->clock;

	if (!c)
		return 0;
	if (prev->pid)
		/* The state that decided; by now a wake-up may have changed it. Since fa2c3254d7cf (5.18). */
		task_leaves(prev, preempt, config.switch_state ? (__u32)ctx[3] : task_state(prev), clock);
	task_comes(c, prev, next, cpu, clock);
	return 0;
}

/* Run with the lock of the target's run queue held: the target cannot switch meanwhile. */
static __always_inline int woken(struct task_struct *task)
{
	__u32 cpu = task->wake_cpu;
	struct sched_cpu *c = bpf_map_lookup_elem(&sched_cpus, &cpu);

	if (!c || c->key != SCHED_KEY_IDLE || c->wake_tid)
		return 0;
	c->wake_ns = bpf_ktime_get_ns();
	c->wake_tid = task->pid;
	return 0;
}

SEC("?tp_btf/sched_wakeup")
int BPF_PROG(sched_woken, struct task_struct *task)
{
	return woken(task);
}

SEC("?tp_btf/sched_wakeup_new")
int BPF_PROG(sched_woken_new, struct task_struct *task)
{
	return woken(task);
}
