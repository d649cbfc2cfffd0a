/* Asks a HotSpot JVM something, by the protocol of its own tools (jcmd, jstack). This alone of all that weir does is noticed
 * by the JVM, so it happens only when a user asks for it, and never blindly: a JVM that nobody has asked before has to be
 * told by SIGQUIT to listen, and one that does not expect that prints all its stacks or dies.
 *
 * The request is made as the user that runs the JVM (some versions take none from root), in a child process, without
 * entering its namespaces. One request at a time for one JVM; each ends within its deadline, whatever the JVM does. */
#ifndef WEIR_JVM_ATTACH_H
#define WEIR_JVM_ATTACH_H

#include <linux/types.h>
#include <stdbool.h>

struct buf;
struct why;

#define JVM_ATTACH_DEADLINE_NS 10000000000ull
#define JVM_ATTACH_BYTES_MAX   (64u << 20)

struct jvm_attach_options {
	const char *proc;  /* "/proc" */
	__u32 pid;	   /* as seen in @proc */
	__u64 start_ticks; /* field 22 of its stat: which process is meant (jvm/perf_source.h, process_stat_read) */
	__u64 deadline_ns; /* for everything together; 0: JVM_ATTACH_DEADLINE_NS */
};

/* Would it be asked, as far as one can see without asking? 0, or the reason:
 *   -ESRCH   it has ended, or the pid is another process's by now
 *   -ENOENT  it is no HotSpot JVM (OpenJ9, a native image, no JVM)
 *   -ENOTSUP its owner forbade it (-XX:+DisableAttachMechanism), or it does not listen yet and takes no signals (-Xrs; it has
 *            just begun), or what it does with them is not known; or it listens, its socket was taken away, and its version
 *            makes no other
 *   -EROFS   it cannot make its socket: /tmp is read-only or missing
 *   -EACCES, -EPERM   capabilities are missing: which
 *   -EBADMSG what is there under the name of its socket is not its socket. That somebody else listens on it, or nobody, is
 *            only seen by jvm_attach() */
int jvm_attach_check(const struct jvm_attach_options *options, struct why *why);

/* Sends "jcmd @command" ("Thread.print -l", "GC.class_histogram -all", "VM.flags") and adds the answer to @answer (its maximum
 * limits it further). The answer is hostile bytes. 0, or as above, or
 *   -ETIMEDOUT  no answer, or not all of it, within the deadline
 *   -EBUSY      somebody else asks it just now
 *   -EFBIG      more than JVM_ATTACH_BYTES_MAX: @answer has the beginning
 *   -EIO        it answered that it failed: @why has its words
 *   -EPROTO     that was no answer */
int jvm_attach(const struct jvm_attach_options *options, const char *command, struct buf *answer, struct why *why);

#endif
