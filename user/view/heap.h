/* The heap of a container's JVMs, put together from the pools that jvm.memory.used and jvm.memory.limit tell of. Pure. */
#ifndef WEIR_VIEW_HEAP_H
#define WEIR_VIEW_HEAP_H

#include <linux/types.h>

struct point;

/* All zero: nothing is told. */
struct heap {
	unsigned used_count, limit_count; /* pools that tell it */
	__s64 used_bytes, limit_bytes;
	__s64 shared_limit_bytes; /* of pools that may each grow into the whole heap */
};

/* Pools of other types than heap are not counted. */
void heap_add_used(struct heap *heap, const struct point *point);
void heap_add_limit(struct heap *heap, const struct point *point);

/* Negative: not known, as there is none, or as there is a pool of which only the limit is told. */
__s64 heap_used(const struct heap *heap);
/* Negative: not known. For Serial and Parallel one survivor space less than -Xmx, as in JMX. */
__s64 heap_limit(const struct heap *heap);

#endif
