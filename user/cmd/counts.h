/* The conservation law of one signal, from either side: a pipeline of our own, or an agent's own metrics in a snapshot. */
#ifndef WEIR_CMD_COUNTS_H
#define WEIR_CMD_COUNTS_H

#include <stdbool.h>

#include "signal/signal.h"

struct buf;
struct snapshot;

/* What the agent that sent @snap says of @signal, from its metrics weir.signal.*. */
void counts_from_snapshot(const struct snapshot *snap, const char *signal, struct conservation *ret);
/* What has come since @before. What was seen before and delivered since is taken off the delivered. */
void counts_subtract(struct conservation *counts, const struct conservation *before);
__u64 counts_lost(const struct conservation *counts);
/* seen = delivered + filtered + lost. */
bool counts_hold(const struct conservation *counts);
/* "seen 412 = delivered 380 + filtered 30 + lost 2 (ring 1, reorder 1)". Where it does not add up: "IS NOT" when @settled
 * (nothing can be on its way any more); else the difference is what has been seen and not yet read, and is told as that. */
void counts_print(const struct conservation *counts, bool settled, struct buf *out);

#endif
