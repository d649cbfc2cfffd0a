/* A process killed because memory ran out. */
#ifndef WEIR_OOM_H
#define WEIR_OOM_H

#include "event.h"

#define OOM_COMMAND_MAX 16 /* as the kernel keeps it, with its terminator */

/* hdr: the victim's process and cgroup. */
struct oom_event {
	struct event_hdr hdr;
	char command[OOM_COMMAND_MAX]; /* hostile bytes; empty: this kernel does not tell */
};
_Static_assert(sizeof(struct oom_event) == 24 + OOM_COMMAND_MAX, "wire size");

struct oom_count {
	__u64 seen;
	__u64 lost; /* the ring was full */
};

#endif
