#include "view/heap.h"

#include <stdbool.h>
#include <string.h>

#include "model/snapshot.h"
#include "view/rows.h"

#define TYPE_ATTRIBUTE "jvm.memory.type"
#define POOL_ATTRIBUTE "jvm.memory.pool.name"
#define SHARED_POOLS   "ZGC "

static bool attr_begins(const struct point *point, const char *key, const char *text)
{
	const struct attr *attr = point_attr(point, key);

	return attr && attr->type == ATTR_STR && !strncmp(attr->str, text, strlen(text));
}

static bool is_heap(const struct point *point)
{
	return attr_begins(point, TYPE_ATTRIBUTE, "heap");
}

void heap_add_used(struct heap *heap, const struct point *point)
{
	if (!is_heap(point))
		return;
	heap->used_count++;
	heap->used_bytes = gauge_add(heap->used_bytes, point->gauge);
}

/* What limits of pools make together depends on the collector. G1: only the old generation has one, the whole heap.
 * Serial, Parallel: shares that are fixed, so their sum; Shenandoah and ZGC without generations: one pool. Each of the
 * two generations of ZGC has the whole heap as its limit: the greater one counts, once. */
void heap_add_limit(struct heap *heap, const struct point *point)
{
	if (!is_heap(point))
		return;
	heap->limit_count++;
	if (!attr_begins(point, POOL_ATTRIBUTE, SHARED_POOLS))
		heap->limit_bytes = gauge_add(heap->limit_bytes, point->gauge);
	else if (point->gauge > heap->shared_limit_bytes)
		heap->shared_limit_bytes = gauge_add(0, point->gauge);
}

/* With Serial and Parallel of JDK 25 nothing tells what eden holds between collections, and eden is most of it. */
__s64 heap_used(const struct heap *heap)
{
	return heap->used_count && heap->used_count >= heap->limit_count ? heap->used_bytes : -1;
}

__s64 heap_limit(const struct heap *heap)
{
	return heap->limit_count ? gauge_add(heap->limit_bytes, heap->shared_limit_bytes) : -1;
}
