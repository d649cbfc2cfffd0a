/* Life cycle of cgroups: user space learns who is behind an id before the first data of it come. */
#ifndef WEIR_CORE_H
#define WEIR_CORE_H

#include "event.h"

#define CORE_PATH_MAX 512 /* with its terminator; pods of nested runtimes reach 400 */

enum core_kind { CORE_CGROUP_MADE = 1, CORE_CGROUP_REMOVED = 2 };

/* hdr.signal is SIGNAL_NONE: every object may rely on it, no row of signals.def stands behind it. */
struct core_event {
	struct event_hdr hdr;
	__u32 kind;
	__u32 path_bytes;	  /* without terminator; CORE_PATH_MAX or more: it did not fit */
	char path[CORE_PATH_MAX]; /* below the root of the v2 hierarchy, begins with '/'; zero-filled */
};
_Static_assert(sizeof(struct core_event) == 24 + 8 + CORE_PATH_MAX, "wire size");

struct core_count {
	__u64 seen;
	__u64 lost; /* the ring was full: identity finds the cgroup by a walk instead */
};

#endif
