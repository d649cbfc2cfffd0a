/* BPF iterators: a program that the kernel runs once for each element of something, whenever user space reads. What it
 * writes is rows of one size. */
#ifndef WEIR_KERNEL_ITER_H
#define WEIR_KERNEL_ITER_H

#include <stddef.h>

struct bpf_link;
struct bpf_program;
struct why;

/* @map_fd: the map whose elements are walked; negative: the program walks something else. */
int iter_attach(struct bpf_program *prog, int map_fd, struct bpf_link **ret_link, struct why *why);
/* Runs it over everything, calls @row for each row of @row_bytes (at most ITER_ROW_MAX) that it writes; @row NULL: it
 * writes none. 0 or negative errno. */
#define ITER_ROW_MAX 256
int iter_run(const struct bpf_link *link, size_t row_bytes, void (*row)(void *arg, const void *row), void *arg);

#endif
