/* The libjvm.so files that processes have mapped: how safepoints of each are seen (enum jvm_source), and the programs
 * attached to it. One attachment serves all processes of a file, those to come as well; containers that share a layer of
 * overlayfs share the file, although its device looks different in each.
 * A file that no process has any more is kept for JVM_LIBRARY_KEEP_NS, in case its container starts again. */
#ifndef WEIR_SIGNAL_JVM_LIBRARY_H
#define WEIR_SIGNAL_JVM_LIBRARY_H

#include <linux/types.h>
#include <stdbool.h>

#include "jvm.h"

struct bpf_object;
struct why;

#define JVM_LIBRARY_NAME    "libjvm.so"
#define JVM_LIBRARIES_MAX   64
#define JVM_LIBRARY_KEEP_NS 300000000000ull

struct jvm_library {
	enum jvm_source source; /* USDT or SYMBOLS; NONE: nothing in the file, its counters are left */
	char build_id[41];	/* "": it has none */
	char path[256];		/* as the first process that had it names it */
	char why[160];		/* why not a better source; "": it is the best */
	bool argument;		/* jvm_event.argument at the end is what went by since all threads stopped */
	unsigned processes;	/* that have it now */
};

struct jvm_libraries;

struct jvm_libraries_options {
	const char *proc;
	struct bpf_object *obj;	 /* loaded, with the programs of bpf/jvm.bpf.c */
	bool attach;		 /* this kernel and these privileges allow uprobes */
	bool multi;		 /* by uprobe_multi links */
	enum jvm_source at_best; /* none better than this; NONE: the best there is */
};

struct jvm_libraries *jvm_libraries_new(const struct jvm_libraries_options *options); /* NULL: no memory */
void jvm_libraries_free(struct jvm_libraries *l);				      /* detaches all */
/* Of process @pid, which has it mapped: known, or attached to now. Borrowed until jvm_library_put(). */
int jvm_library_get(struct jvm_libraries *l, __u32 pid, struct jvm_library **ret, struct why *why);
void jvm_library_put(struct jvm_libraries *l, struct jvm_library *library, __u64 now_ns);
/* Lets go of those that have been unused for long. */
void jvm_libraries_expire(struct jvm_libraries *l, __u64 now_ns);
/* All in the order in which they were found; NULL: no more. */
const struct jvm_library *jvm_libraries_at(const struct jvm_libraries *l, unsigned number);

/* "8@%r12 8@%rdx -4@%eax" -> place of r12 among the registers as a program gets them, or -ENOTSUP: it is in memory. */
int jvm_argument_register(const char *arguments);

#endif
