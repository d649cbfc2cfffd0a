/* Where snapshots and spans go. An output is a file, a network peer or a screen; it borrows what it is given. */
#ifndef WEIR_EXPORT_OUTPUT_H
#define WEIR_EXPORT_OUTPUT_H

#include "model/snapshot.h"
#include "model/span.h"
#include "model/workload.h"

struct output {
	const char *name;
	/* Once an interval. Must not block; an asynchronous output takes snapshot_ref(). */
	void (*write)(struct output *out, struct snapshot *snap);
	/* As each ends; NULL: does not want them. @who is never NULL. */
	void (*span)(struct output *out, const struct span *span, const struct workload *who);
	/* Waits for what is queued until @deadline_ns (CLOCK_MONOTONIC), then gives up and counts. */
	void (*flush)(struct output *out, __u64 deadline_ns);
	void (*free)(struct output *out);
	void *priv;
};

#endif
