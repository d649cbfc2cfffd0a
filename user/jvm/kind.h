/* What kind of Java a process runs, by what it has mapped; never by its name: launchers, packaged applications and
 * programs that embed a JVM are called something else. */
#ifndef WEIR_JVM_KIND_H
#define WEIR_JVM_KIND_H

#include <linux/types.h>

enum jvm_kind {
	JVM_KIND_NONE,
	JVM_KIND_HOTSPOT,      /* maps libjvm.so */
	JVM_KIND_OPENJ9,       /* maps libj9vmNN.so (and often a libjvm.so that only leads to it) */
	JVM_KIND_NATIVE_IMAGE, /* GraalVM: its executable has a section ".svm_heap", the objects made at build time */
};

/* 0; -ESRCH: no such process; or another negative errno. A process that has begun but has not loaded its JVM yet is
 * JVM_KIND_NONE: a launcher maps the library some milliseconds after exec. Costs one pass over /proc/PID/maps and, for
 * what maps no JVM, three reads of the executable. */
int jvm_kind_of(const char *proc, __u32 pid, enum jvm_kind *ret);
/* What can be seen of it, one sentence for users. */
const char *jvm_kind_sentence(enum jvm_kind kind);

#endif
