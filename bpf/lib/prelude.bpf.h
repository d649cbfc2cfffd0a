/* What every kernel file begins with: kernel types, helpers, the licence, constants that BTF does not carry. */
#ifndef WEIR_PRELUDE_BPF_H
#define WEIR_PRELUDE_BPF_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include "weir_vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif

/* Evaluated once where it stands; what goes on after it sees the value in memory. */
#define barrier_ptr(p) asm volatile("" : "+r"(p))

char LICENSE[] SEC("license") = "GPL";

#endif
