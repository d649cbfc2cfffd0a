/* What a thread dump of HotSpot says (the answer to "Thread.print", which jstack prints too; JDK 8 to 25): which threads there
 * are, which lock each waits for and who holds it, deadlocks, and which stacks many threads share.
 *
 * The text is hostile: a watched process wrote it, and names of threads are what its program likes (with a newline in one a
 * program can make up lines, and lie about itself). All numbers are bounded, time is linear in the text. Texts in the result
 * are valid and printable UTF-8.
 *
 * Who holds a lock: the thread that has "locked" it, unless it has given it up meanwhile, because it is in Object.wait(). Of
 * java.util.concurrent locks the dump tells that only with "-l", or where they are part of a deadlock. */
#ifndef WEIR_JVM_THREADS_H
#define WEIR_JVM_THREADS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct why;

#define JVM_THREADS_MAX	      100000
#define JVM_THREAD_FRAMES_MAX 1024	  /* of one stack; as many as a JVM prints unless it was told otherwise */
#define JVM_THREADS_BYTES_MAX (64u << 20) /* of a result */
#define JVM_THREADS_TEXT_MAX  1024	  /* of a name, a frame: the rest is cut */

/* java.lang.Thread.State, and what the dump tells no such state of. */
enum jvm_thread_state {
	JVM_THREAD_OF_VM, /* not a Java thread: collector, compiler, VM Thread */
	JVM_THREAD_NEW,
	JVM_THREAD_RUNNABLE, /* in a system call, too */
	JVM_THREAD_BLOCKED,
	JVM_THREAD_WAITING,
	JVM_THREAD_TIMED_WAITING,
	JVM_THREAD_TERMINATED,
	JVM_THREAD_CARRIER, /* runs a virtual thread just now */
	JVM_THREAD_VIRTUAL, /* the one that it runs; those that no carrier runs are in no dump */
	JVM_THREAD_STATES_MAX,
};

enum jvm_wait {
	JVM_WAIT_NONE,
	JVM_WAIT_LOCK,	 /* to enter a synchronized block */
	JVM_WAIT_PARK,	 /* parked: for a lock of java.util.concurrent, or for something to do */
	JVM_WAIT_NOTIFY, /* in Object.wait() */
};

struct jvm_lock;
struct jvm_stack;

struct jvm_thread {
	const char *name; /* of a virtual one "virtual thread #22": the dump does not tell its name */
	__u64 number;	  /* "#32": the JVM's own; 0: none */
	__u64 nid;	  /* the thread's id in the pid namespace of the JVM; 0: not told */
	unsigned priority;
	bool daemon;
	enum jvm_thread_state state;
	enum jvm_wait wait;
	struct jvm_lock *waits_for;	    /* NULL: for nothing, or for something without a name */
	const struct jvm_stack *stack;	    /* NULL: no Java frames */
	struct jvm_thread *next_of_stack;   /* with the same stack, in the order of the dump */
	struct jvm_thread *next_of_waiters; /* for the same lock */
};

struct jvm_lock {
	__u64 address; /* names the object within this dump only: collections move it */
	const char *class_name;
	const struct jvm_thread *holder; /* NULL: nobody, or not told */
	unsigned waiters_count;
	struct jvm_thread *waiters; /* next_of_waiters */
};

struct jvm_stack {
	const char *const *frames; /* innermost first: "Locks.keep(Locks.java:62)" */
	unsigned frames_count;
	unsigned frames_left_out; /* beyond JVM_THREAD_FRAMES_MAX */
	unsigned threads_count;
	struct jvm_thread *threads; /* next_of_stack */
};

/* A thread of a deadlock: it waits for what the next one holds. */
struct jvm_deadlocked {
	const char *thread;
	__u64 address; /* of the lock; 0: not told */
	const char *class_name;
	const char *holder; /* thread's name; "": not told */
};

struct jvm_deadlock {
	struct jvm_deadlocked *threads;
	unsigned count;
};

struct jvm_threads {
	struct jvm_thread **threads; /* in the order of the dump */
	unsigned count;
	unsigned by_state[JVM_THREAD_STATES_MAX];
	struct jvm_lock *
		*locks; /* that anybody waits for: those with a known holder first, then by the number of waiters */
	unsigned locks_count;
	struct jvm_stack **stacks; /* most threads first */
	unsigned stacks_count;
	struct jvm_deadlock *deadlocks;
	unsigned deadlocks_count;
};

/* Reads a dump. @text is not needed afterwards. 0, or -EBADMSG: this is none, -EFBIG: more than the above, -ENOMEM. */
int jvm_threads_parse(const char *text, size_t bytes, struct jvm_threads **ret, struct why *why);
void jvm_threads_free(struct jvm_threads *threads); /* NULL is fine */

/* "RUNNABLE"; "VM" of JVM_THREAD_OF_VM. */
const char *jvm_thread_state_name(enum jvm_thread_state state);
/* "lock", "park", "notify"; "" of JVM_WAIT_NONE. */
const char *jvm_wait_name(enum jvm_wait wait);

#endif
