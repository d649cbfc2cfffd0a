/* From an opened skeleton to running programs: shares maps by name, loads, attaches, and keeps the last lines of what
 * libbpf and the verifier said, so that a refusal reaches the user with its reason. Knows no signal.
 *
 * Order: skel__open(), loader_share(), what the signal sets (rodata, sizes, programs to leave out), loader_load(),
 * loader_attach*(). Everything loaded belongs to the skeleton; links belong to the caller. */
#ifndef WEIR_KERNEL_LOADER_H
#define WEIR_KERNEL_LOADER_H

#include <stdbool.h>

struct bpf_link;
struct bpf_object;
struct bpf_object_skeleton;
struct bpf_program;
struct kernel_maps;
struct why;

/* Takes libbpf's messages away from stderr: they are kept for the next failure, and logged at level debug. */
void loader_init(void);
/* Every map of @obj whose name a shared one has becomes the shared one. */
int loader_share(struct bpf_object *obj, const struct kernel_maps *maps, struct why *why);
/* A program of that name is loaded or left out. */
int loader_choose(struct bpf_object *obj, const char *program, bool load, struct why *why);
/* How many arguments a typed tracepoint of this kernel passes; negative errno when there is none of that name. */
int loader_tracepoint_args(const char *name);
int loader_load(struct bpf_object_skeleton *skel, struct why *why);
/* By the section name. A failure says which program could not be attached. */
int loader_attach(struct bpf_program *prog, struct bpf_link **ret_link, struct why *why);
int loader_attach_cgroup(struct bpf_program *prog, int cgroup_fd, struct bpf_link **ret_link, struct why *why);

#endif
