/* Which processes to look at, and when, to find JVMs: one is only one once it has loaded its library, some time after it
 * was started. New processes are looked at a few times, all of them seldom, those said to have just started often. */
#ifndef WEIR_SIGNAL_JVM_FIND_H
#define WEIR_SIGNAL_JVM_FIND_H

#include <linux/types.h>
#include <stdbool.h>

#define JVM_FIND_SCAN_NS  10000000000ull /* between two lists of all processes */
#define JVM_FIND_LOOKS	  3		 /* lists with which a process is looked at from its first one on */
#define JVM_FIND_ALL	  6		 /* with each so many-th list all are */
#define JVM_FIND_YOUNG_NS 15000000000ull /* for which one that was just started is looked at on each tick */
#define JVM_FIND_PIDS_MAX 65536		 /* what is beyond is looked at with the lists of all only */
#define JVM_FIND_SOON_MAX 4096

struct jvm_find;

struct jvm_find_options {
	const char *proc; /* "/proc" */
	/* True: it is known for what it is and needs no further look, as long as it lives. */
	bool (*look)(void *arg, __u32 pid);
	void *arg;
};

struct jvm_find *jvm_find_new(const struct jvm_find_options *options); /* NULL: no memory */
void jvm_find_free(struct jvm_find *f);
/* It was started a moment ago. */
void jvm_find_soon(struct jvm_find *f, __u32 pid, __u64 now_ns);
/* At least once a second. Lists all processes when it is time to, at first at once. 0 or negative errno. */
int jvm_find_tick(struct jvm_find *f, __u64 now_ns);
/* Lists them now, whatever the time. */
int jvm_find_all(struct jvm_find *f, __u64 now_ns);

#endif
