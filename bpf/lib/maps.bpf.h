/* Maps that all objects share: user space makes them once and hands them to every object by name. */
#ifndef WEIR_MAPS_BPF_H
#define WEIR_MAPS_BPF_H

#include "control.h"
#include "event.h"

/* Records for user space. Counted twice in its memory (mapped twice), so it stays small; what does not fit is counted
 * in tables instead. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* One page that user space writes while programs run. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

static __always_inline volatile struct control *control_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&control, &zero);
}

#endif
