#include "model/snapshot.h"

#include <stdlib.h>

struct snapshot *snapshot_new(size_t points_max)
{
	struct snapshot *snap = calloc(1, sizeof(*snap));

	if (!snap)
		return NULL;
	snap->points = calloc(points_max ? points_max : 1, sizeof(*snap->points));
	if (!snap->points) {
		free(snap);
		return NULL;
	}
	snap->refs = 1;
	return snap;
}

struct snapshot *snapshot_ref(struct snapshot *snap)
{
	__atomic_add_fetch(&snap->refs, 1, __ATOMIC_RELAXED);
	return snap;
}

void snapshot_unref(struct snapshot *snap)
{
	/* Release and acquire: whoever frees sees all that others have done with it. */
	if (!snap || __atomic_sub_fetch(&snap->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < snap->points_count; i++) {
		if (snap->points[i].metric->kind == METRIC_HIST)
			hist_done(&snap->points[i].hist);
		workload_unref(snap->points[i].who);
		workload_unref(snap->points[i].other);
	}
	free(snap->points);
	free(snap);
}
