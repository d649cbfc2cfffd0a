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

/* One page that user space writes while programs run. As a section of data: its address is a constant, and what is asked
 * for at every packet needs no lookup. */
struct control control SEC(".data.control") = {};

static __always_inline volatile struct control *control_get(void)
{
	return &control;
}

#endif
