/* Waits for a CPU: the record of a long one, what is counted per container, whom it stood behind, the configuration of
 * the kernel half. Shared with user space: only __u8..__u64, explicit padding.
 *
 * Times are differences of the run queue's clock (rq->clock), as /proc/PID/schedstat has them. */
#ifndef WEIR_SCHED_H
#define WEIR_SCHED_H

#include "event.h"
#include "lib/hist.h"

#define SCHED_COMM_MAX	  16  /* as the kernel keeps it, with its terminator */
#define SCHED_RUNS	  16  /* runs remembered of each CPU: a power of two */
#define SCHED_SHARDS_MAX  8   /* a power of two */
#define SCHED_SYSCALL_MAX 512 /* a power of two; the tables of x86 and arm64 end below */

/* Who ran, where it is no cgroup. No directory has these inode numbers. */
#define SCHED_KEY_IDLE	 0ull
#define SCHED_KEY_KERNEL (~0ull) /* a thread of the kernel */

/* Why a thread left the CPU. Append only: index of sched_stat.off_ns; names in user/signal/sched.c. */
enum sched_class {
	SCHED_CLASS_OTHER = 0,
	SCHED_CLASS_PREEMPTED = 1,
	SCHED_CLASS_IO = 2,
	SCHED_CLASS_LOCK = 3,
	SCHED_CLASS_SLEEP = 4,
	SCHED_CLASS_POLL = 5,
	SCHED_CLASS_MAX = 6
};

/* A wait as it ended. hdr: the process and cgroup that waited. Strings are hostile bytes. */
struct sched_event {
	struct event_hdr hdr;
	__u64 wait_ns;
	__u64 culprit;	      /* cgroup id or SCHED_KEY_*: who ran most of that time; idle: nobody did */
	__u64 culprit_ran_ns; /* how much of it */
	__u32 tid;
	__u32 cpu;
	__u32 culprit_pid; /* of the task that began the longest of its runs */
	__u32 culprit_tid;
	char comm[SCHED_COMM_MAX];
	char culprit_comm[SCHED_COMM_MAX];
};
_Static_assert(sizeof(struct sched_event) == 24 + 3 * 8 + 4 * 4 + 2 * SCHED_COMM_MAX, "wire size");

/* Of one cgroup and shard (a shard is a CPU, or every eighth). Monotone: never reset, user space takes differences. */
struct sched_stat {
	__u64 count; /* first to be counted; the slot is the last */
	__u64 sum_ns;
	__u64 off_ns[SCHED_CLASS_MAX];
	__u64 max_ns; /* of the interval numbered max_interval (see control.h) */
	__u64 max_interval;
	__u64 unnamed_ns; /* long waits behind whom there was no room to name, or that were forgotten already */
	__u64 pad;
	__u32 slots[HIST_SLOTS];
	__u32 pad2[16 - (24 + HIST_SLOTS) % 16];
};
_Static_assert(sizeof(struct sched_stat) % 64 == 0, "shards share no cache line");

struct sched_pair {
	__u64 victim;
	__u64 culprit; /* cgroup id, or SCHED_KEY_KERNEL */
};

/* Consecutive tasks of one cgroup on one CPU. It ends where the next one begins. */
struct sched_run {
	__u64 key; /* cgroup id or SCHED_KEY_* */
	__u64 since;
	__u32 pid; /* of the task that began it */
	__u32 tid;
	char comm[SCHED_COMM_MAX];
};

/* Of one CPU; written by it alone, but for wake_*, which whoever holds its run queue's lock writes. The conservation
 * law, of waits that ended: those that were seen are counted in an entry of the table, filtered or lost. */
struct sched_cpu {
	__u64 key; /* of the run that goes on */
	__u64 head;
	__u64 wake_ns; /* first wake-up since this CPU is idle: when, and whose */
	__u64 wake_tid;
	__u64 overflow; /* counted in the entry of cgroup 0: theirs is missing */
	__u64 lost;	/* that entry is missing too */
	__u64 filtered; /* threads of the kernel */
	__u64 missed;	/* the last cgroup whose entry was missing */
	__u64 unknown;	/* threads that came back and of whose leaving nothing was known */
	__u64 untraced; /* records that the ring had no room for */
	__u64 pad[6];
	struct sched_run runs[SCHED_RUNS];
	/* Of the long wait that is looked at. */
	__u64 shares[SCHED_RUNS];
	__u64 unnamed, total, most, culprit;
	struct sched_run waiter;
	__u64 pad2[7];
};
_Static_assert(sizeof(struct sched_cpu) % 64 == 0, "CPUs share no cache line");

/* A thread when it last left a CPU. Its place is its number's, and another's that has the same. */
struct sched_task {
	__u32 tid; /* 0: nobody's */
	__u32 class;
	__u64 clock;
	__u64 run_delay; /* what the kernel had counted of its waits until then */
};

/* Read-only to the kernel half, set before load. */
struct sched_config {
	__u64 record_ns; /* shorter waits give no record */
	__u64 long_ns;	 /* from here on a wait is put down to who ran meanwhile */
	__u64 look_ns;	 /* the smaller of the two */
	__u32 shard_mask;
	__u32 task_mask;
	__u8 shared;	   /* several CPUs have the same shard */
	__u8 switch_state; /* sched_switch has a fourth argument, the state */
	__u8 syscalls;	   /* the system call that a thread is in can be read */
	__u8 pad[5];
};

#endif
