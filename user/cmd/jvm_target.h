/* A process that may be a JVM, as `weir jvm` looks at it without asking it anything. */
#ifndef WEIR_CMD_JVM_TARGET_H
#define WEIR_CMD_JVM_TARGET_H

#include <jansson.h>
#include <linux/types.h>
#include <stdbool.h>

#include "base/why.h"
#include "jvm/attach.h"
#include "jvm/figures.h"
#include "jvm/kind.h"

struct buf;
struct identity;
struct options;
struct workload;

#define JVM_PROC "/proc"

struct jvm_target {
	__u32 pid;
	__u64 start_ticks;
	__u32 uid; /* effective */
	enum jvm_kind kind;
	struct jvm_about about; /* of HotSpot; without counters .version and .command, if these: */
	struct why about_why;
	const struct workload *who; /* borrowed from the identity table; NULL: not known */
};

/* For names of containers. NULL when there is no cgroup2 mount: then nobody has a name. */
struct identity *jvm_identity(const struct options *options);
/* @id may be NULL. 0, or -ESRCH: no such process, or another negative errno, with @why. */
int jvm_target_read(struct identity *id, __u32 pid, struct jvm_target *ret, struct why *why);
struct jvm_attach_options jvm_target_attach(const struct jvm_target *target);

/* The main class or the jar, without its arguments: they may hold secrets. */
void jvm_target_main(const struct jvm_target *target, char *ret, size_t room);
const char *jvm_collector_name(enum jvm_gc gc); /* "": not known */
/* "pid 18377, container shop/cart, Java 17.0.15": how each answer begins. No newline. */
void jvm_target_text(const struct jvm_target *target, struct buf *out);
/* "pid", "uid", "container", "kind", "version", "collector", "main". NULL: no memory. */
json_t *jvm_target_json(const struct jvm_target *target);

#endif
