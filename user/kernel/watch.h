/* A program that runs whenever a thread has written to an address of its own memory: by a hardware debug register.
 * Of these a thread has four on x86 and at least two on arm64, shared with debuggers. */
#ifndef WEIR_KERNEL_WATCH_H
#define WEIR_KERNEL_WATCH_H

#include <linux/types.h>

struct bpf_link;
struct bpf_program;
struct why;

#define WATCH_BYTES 8

/* Watches the WATCH_BYTES bytes at @address (a multiple of it) for writes by thread @tid alone, from user space;
 * what the kernel writes there is not seen. @prog: SEC("?perf_event"). 0, and the link is yours
 * (bpf_link__destroy()); it may outlive the thread. Or a negative errno: -ENOSPC: the registers are taken; -ESRCH:
 * no such thread; -EACCES, -EPERM. */
int watch_attach(const struct bpf_program *prog, __u32 tid, __u64 address, struct bpf_link **ret, struct why *why);

#endif
