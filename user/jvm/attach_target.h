/* What is known of a JVM before it is asked (attach.h), and the signal that tells it to listen, with all that has to be so
 * before it is sent. Everything is read through one descriptor of /proc/PID, which can never come to mean another process. */
#ifndef WEIR_JVM_ATTACH_TARGET_H
#define WEIR_JVM_ATTACH_TARGET_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/why.h"

struct jvm_attach_options;

#define PROCESS_GROUPS_MAX 64 /* further ones are left out */

/* What /proc/PID/status says; ids as seen from here. */
struct process_status {
	char state;	 /* R, S, D, T (stopped), t (by a debugger), Z... */
	uid_t uid;	 /* effective */
	gid_t gid;	 /* effective */
	__u32 inner_pid; /* in the innermost namespace: what it calls itself */
	__u64 caught;	 /* signals: bit number - 1 */
	unsigned group_count;
	gid_t groups[PROCESS_GROUPS_MAX];
};

/* 0 or -EINVAL. */
int process_status_parse(const char *text, size_t bytes, struct process_status *ret);

/* What options say where no counters do. Bits are added, and none taken away by a later option: what follows the main class
 * is not the JVM's, and must not be able to allow anything. */
struct jvm_options {
	bool attach_disabled; /* -XX:+DisableAttachMechanism */
	bool signals_reduced; /* -Xrs, -XX:+ReduceSignalUsage */
	bool more_in_file;    /* @file, -XX:Flags=, -XX:VMOptionsFile=: there may be more */
};

/* @text: of /proc/PID/cmdline. */
void jvm_options_of_cmdline(const char *text, size_t bytes, struct jvm_options *ret);
/* @text: of /proc/PID/environ. */
void jvm_options_of_environ(const char *text, size_t bytes, struct jvm_options *ret);

/* A JVM that listens and whose socket lost its name (who cleans /tmp does that): makes it another one when it is told, or only
 * prints all its stacks? @version: "1.8.0_504". False where that is not known. */
bool jvm_listens_anew(const char *version);

struct attach_target {
	__u32 pid;
	__u64 start_ticks;
	__u64 deadline_ns; /* CLOCK_MONOTONIC */
	int dir;	   /* /proc/PID; flock() on it: who asks it just now */
	struct process_status status;
	unsigned major;	   /* 0: not known */
	bool listens_anew; /* jvm_listens_anew() of its version */
	/* Why it may not be told to listen (if it listens already, it can be asked all the same): 0 or -ENOTSUP. */
	int refusal;
	struct why refusal_why;
};

/* 0, or a reason as jvm_attach_check() has it. Then attach_target_close(). */
int attach_target_open(const struct jvm_attach_options *options, struct attach_target *ret, struct why *why);
void attach_target_close(struct attach_target *t);
/* Nobody else asks it until attach_target_close(). 0 or -EBUSY. */
int attach_target_lock(struct attach_target *t, struct why *why);
/* Waits while it stands still: stopped, or in a frozen cgroup. What it is sent then it would find when nobody waits any more.
 * 0, -ESRCH, -ETIMEDOUT. */
int attach_target_wait_running(const struct attach_target *t, struct why *why);
/* SIGQUIT, as soon as it runs, if it still is the same process and has a handler. 0, or as above, -ENOTSUP, -EPERM. */
int attach_target_signal(const struct attach_target *t, struct why *why);
/* For poll(): at least 1, so that time passes. 0: it is over. */
int attach_timeout_ms(__u64 deadline_ns);

#endif
