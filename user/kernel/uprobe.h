/* A program that runs whenever any process comes to certain instructions of a file: one link for all of them where
 * the kernel has it (FEATURE_UPROBE_MULTI), one perf event each elsewhere.
 *
 * Attached to the file (its inode), for all processes: those that run already, those to come, in whatever namespace.
 * Two overlay mounts of one image layer share the inode below: attach once, or each event counts twice. */
#ifndef WEIR_KERNEL_UPROBE_H
#define WEIR_KERNEL_UPROBE_H

#include <linux/types.h>
#include <stdbool.h>

struct bpf_program;
struct uprobe;
struct why;

#define UPROBE_OFFSETS_MAX 64 /* of one uprobe_attach() */

/* Before loading: a program (SEC("?uprobe")) is loaded for one of the two ways. @multi as in uprobe_attach(). */
int uprobe_prepare(struct bpf_program *prog, bool multi, struct why *why);
/* Attaches to all of the @count places or to none. @path may be a link of /proc, best "/proc/self/fd/N". On failure
 * the reason names path, place and what is missing. */
int uprobe_attach(const struct bpf_program *prog, const char *path, const __u64 *offsets, unsigned count, bool multi,
		  struct uprobe **ret, struct why *why);
void uprobe_free(struct uprobe *u); /* detaches; NULL is fine */

#endif
