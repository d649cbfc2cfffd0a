/* Remembers the slots of a histogram that the kernel half counts and never resets, and takes differences. The counters
 * are 32 bits wide and may wrap. Only the part of the slots that was ever populated is stored. */
#ifndef WEIR_MODEL_SLOTS_H
#define WEIR_MODEL_SLOTS_H

#include <linux/types.h>

#include "lib/hist.h"

/* All zero is valid: nothing was counted yet. */
struct slots {
	__u16 low, stored;
	__u32 *counts;
	__u64 sum; /* of all that was taken so far */
};

void slots_done(struct slots *s);
/* Writes what @now (HIST_SLOTS counters) has more than remembered into @ret_new and remembers @now. Returns how many
 * that are; 0 also when there is no memory: then nothing is remembered, and they come with the next difference. */
__u64 slots_take(struct slots *s, const __u32 *now, __u32 *ret_new);

#endif
