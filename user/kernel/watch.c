#include "kernel/watch.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/why.h"

static const char *watch_hint(int err)
{
	switch (-err) {
	case ENOSPC:
		return ": the debug registers are taken, by a debugger or another tracer";
	case EOPNOTSUPP:
	case ENODEV:
	case ENOENT:
		return ": this machine lends no debug registers";
	case EACCES:
	case EPERM:
		return "; CAP_PERFMON and CAP_SYS_PTRACE are needed";
	default:
		return "";
	}
}

int watch_attach(const struct bpf_program *prog, __u32 tid, __u64 address, struct bpf_link **ret, struct why *why)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attr),
		.bp_type = HW_BREAKPOINT_W,
		.bp_addr = address,
		.bp_len = HW_BREAKPOINT_LEN_8,
		.sample_period = 1,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};
	struct bpf_link *link;
	int fd, err;

	_Static_assert(WATCH_BYTES == HW_BREAKPOINT_LEN_8, "length in bytes");
	if (address % WATCH_BYTES)
		return why_set(why, -EINVAL, "cannot watch address 0x%llx: no multiple of %d", address, WATCH_BYTES);
	fd = (int)syscall(SYS_perf_event_open, &attr, (pid_t)tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		return why_set(why, err, "cannot watch address 0x%llx of thread %u: %s%s", address, tid, strerror(-err),
			       watch_hint(err));
	}
	link = bpf_program__attach_perf_event(prog, fd);
	if (!link) {
		err = -errno;
		close(fd);
		return why_set(why, err, "cannot attach program '%s' to a watched address: %s", bpf_program__name(prog),
			       strerror(-err));
	}
	*ret = link; /* closes the event, too */
	return 0;
}
