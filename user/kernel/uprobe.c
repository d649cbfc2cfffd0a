#include "kernel/uprobe.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/why.h"

/* 89ae89f53d20: in the kernel's interface since 6.6, in no header and no call of the oldest libbpf that we build
 * with. */
#define ATTACH_UPROBE_MULTI 48
struct link_create_uprobe_multi {
	__u32 prog_fd;
	__u32 target_fd;
	__u32 attach_type;
	__u32 flags;
	__aligned_u64 path;
	__aligned_u64 offsets;
	__aligned_u64 semaphores;
	__aligned_u64 cookies;
	__u32 count;
	__u32 uprobe_flags;
	__u32 pid; /* 0: all processes */
	__u32 pad;
};

#define ENOTSUPP_KERNEL 524 /* leaks out of the kernel where an instruction cannot be stepped over */

struct uprobe {
	int fd; /* of the one link; negative: */
	unsigned count;
	struct bpf_link *links[];
};

int uprobe_prepare(struct bpf_program *prog, bool multi, struct why *why)
{
	int err = multi ? bpf_program__set_expected_attach_type(prog, (enum bpf_attach_type)ATTACH_UPROBE_MULTI) : 0;

	if (err)
		return why_set(why, err, "cannot prepare program '%s' for uprobes: %s", bpf_program__name(prog),
			       strerror(-err));
	return 0;
}

static int attach_failed(int err, const char *path, __u64 offset, unsigned count, struct why *why)
{
	const char *hint = "";
	char more[32] = "";

	if (err == -ENOTSUPP_KERNEL)
		err = -ENOTSUP;
	if (err == -EPERM || err == -EACCES) /* perf events: ba677dbe77af, and before 5.8; else CAP_PERFMON is enough */
		hint = "; CAP_SYS_ADMIN is needed";
	else if (err == -ENOTSUP || err == -EIO)
		hint = ": the kernel cannot put a breakpoint on this instruction";
	if (count > 1)
		snprintf(more, sizeof(more), " and %u more places", count - 1);
	return why_set(why, err, "cannot attach to '%s' at 0x%llx%s: %s%s", path, offset, more, strerror(-err), hint);
}

static int attach_multi(struct uprobe *u, const struct bpf_program *prog, const char *path, const __u64 *offsets,
			unsigned count, struct why *why)
{
	struct link_create_uprobe_multi attr = {
		.prog_fd = (__u32)bpf_program__fd(prog),
		.attach_type = ATTACH_UPROBE_MULTI,
		.path = (uintptr_t)path,
		.offsets = (uintptr_t)offsets,
		.count = count,
	};

	u->fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	return u->fd < 0 ? attach_failed(-errno, path, offsets[0], count, why) : 0;
}

static int attach_each(struct uprobe *u, const struct bpf_program *prog, const char *path, const __u64 *offsets,
		       unsigned count, struct why *why)
{
	for (; u->count < count; u->count++) {
		struct bpf_link *link = bpf_program__attach_uprobe(prog, false, -1, path, (size_t)offsets[u->count]);

		if (!link)
			return attach_failed(-errno, path, offsets[u->count], 1, why);
		u->links[u->count] = link;
	}
	return 0;
}

int uprobe_attach(const struct bpf_program *prog, const char *path, const __u64 *offsets, unsigned count, bool multi,
		  struct uprobe **ret, struct why *why)
{
	struct uprobe *u;
	int err;

	if (!count || count > UPROBE_OFFSETS_MAX)
		return why_set(why, -E2BIG, "cannot attach to '%s': %u places, from 1 to %d may be", path, count,
			       UPROBE_OFFSETS_MAX);
	u = calloc(1, sizeof(*u) + count * sizeof(struct bpf_link *));
	if (!u)
		return why_set(why, -ENOMEM, "no memory");
	u->fd = -1;
	err = multi ? attach_multi(u, prog, path, offsets, count, why)
		    : attach_each(u, prog, path, offsets, count, why);
	if (err) {
		uprobe_free(u);
		return err;
	}
	*ret = u;
	return 0;
}

void uprobe_free(struct uprobe *u)
{
	if (!u)
		return;
	if (u->fd >= 0)
		close(u->fd);
	for (unsigned i = 0; i < u->count; i++)
		bpf_link__destroy(u->links[i]);
	free(u);
}
