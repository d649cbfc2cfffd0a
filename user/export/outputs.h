/* All outputs of one pipeline, in the order in which they were added. */
#ifndef WEIR_EXPORT_OUTPUTS_H
#define WEIR_EXPORT_OUTPUTS_H

#include <linux/types.h>
#include <stdbool.h>

#include "export/output.h"

#define OUTPUTS_MAX 8

struct outputs {
	unsigned count;
	struct output *items[OUTPUTS_MAX];
};

/* 0, and @out is owned from now; -ENOSPC: still the caller's. */
int outputs_add(struct outputs *outputs, struct output *out);
void outputs_write(struct outputs *outputs, struct snapshot *snap);
bool outputs_take_spans(const struct outputs *outputs); /* is there one that has .span? */
void outputs_span(struct outputs *outputs, const struct span *span, const struct workload *who);
/* All share one deadline: one that does not end in time takes nothing from those that have. */
void outputs_flush(struct outputs *outputs, __u64 deadline_ns);
void outputs_free(struct outputs *outputs); /* last added first; empty afterwards */

#endif
