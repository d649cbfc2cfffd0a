/* Why a thread left the CPU, by the system call that it is in. Pure. */
#ifndef WEIR_SIGNAL_SCHED_CLASS_H
#define WEIR_SIGNAL_SCHED_CLASS_H

#include "sched.h"

/* enum sched_class of each system call of this machine; what is not named is SCHED_CLASS_OTHER. */
void sched_class_fill(__u8 ret[SCHED_SYSCALL_MAX]);
const char *sched_class_name(enum sched_class class); /* "preempted", "io", ...: values of weir.sched.reason */

#endif
