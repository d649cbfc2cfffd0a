/* The maps that all kernel objects share (bpf/lib/maps.bpf.h), and the core object that brings them: it also tells of
 * cgroups made and removed. Opened before every signal, closed after the last. */
#ifndef WEIR_KERNEL_MAPS_H
#define WEIR_KERNEL_MAPS_H

#include <linux/types.h>

struct event_hdr;
struct features;
struct control;
struct kernel_maps;
struct why;

struct kernel_maps_options {
	unsigned ring_bytes; /* 0: as compiled in; a power of two, at most KERNEL_RING_BYTES_MAX */
};

#define KERNEL_RING_BYTES_MAX (2u << 20) /* the ring counts twice in resident memory */

int kernel_maps_open(const struct kernel_maps_options *options, const struct features *features,
		     struct kernel_maps **ret_maps, struct why *why);
void kernel_maps_detach(struct kernel_maps *maps); /* no more records of cgroups; maps stay */
void kernel_maps_close(struct kernel_maps *maps);

/* Borrowed. -ENOENT: no shared map has that name. */
int kernel_maps_fd(const struct kernel_maps *maps, const char *name);
/* The control page, writable while programs run. Never NULL. */
struct control *kernel_maps_control(const struct kernel_maps *maps);
/* Directory of the cgroup2 root, to attach to. Borrowed; negative errno when there is none. */
int kernel_maps_cgroup_fd(const struct kernel_maps *maps);

/* A record of the core object, taken apart. */
struct cgroup_change {
	__u64 cgroup_id;
	__u64 time_ns;
	int made;	  /* 0: removed */
	const char *path; /* below the cgroup2 root; "" when it did not fit. Borrowed from the record */
};

/* 0 or -EBADMSG. */
int kernel_maps_decode(const struct event_hdr *hdr, struct cgroup_change *ret);
/* Changes seen, and those of them that did not fit into the ring. */
void kernel_maps_counts(const struct kernel_maps *maps, __u64 *ret_seen, __u64 *ret_lost);

#endif
