#include "model/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void slots_done(struct slots *s)
{
	free(s->counts);
	*s = (struct slots){ .sum = 0 };
}

/* Makes room for the slots low..high beside what is stored. */
static int slots_widen(struct slots *s, unsigned low, unsigned high)
{
	unsigned new_low = s->stored && s->low < low ? s->low : low;
	unsigned new_high = s->stored && s->low + s->stored - 1u > high ? s->low + s->stored - 1u : high;
	__u32 *counts;

	if (s->stored && new_low == s->low && new_high == s->low + s->stored - 1u)
		return 0;
	counts = calloc(new_high - new_low + 1, sizeof(*counts));
	if (!counts)
		return -ENOMEM;
	if (s->stored)
		memcpy(counts + (s->low - new_low), s->counts, s->stored * sizeof(*counts));
	free(s->counts);
	s->counts = counts;
	s->low = new_low;
	s->stored = new_high - new_low + 1;
	return 0;
}

static __u32 slots_count(const struct slots *s, unsigned slot)
{
	return slot >= s->low && slot < (unsigned)s->low + s->stored ? s->counts[slot - s->low] : 0;
}

__u64 slots_take(struct slots *s, const __u32 *now, __u32 *ret_new)
{
	unsigned low = 0, high = 0;
	__u64 sum = 0;

	for (unsigned i = 0; i < HIST_SLOTS; i++) {
		ret_new[i] = now[i] - slots_count(s, i);
		if (!ret_new[i])
			continue;
		if (!sum)
			low = i;
		high = i;
		sum += ret_new[i];
	}
	if (!sum || slots_widen(s, low, high))
		return 0;
	for (unsigned i = low; i <= high; i++)
		s->counts[i - s->low] = now[i];
	s->sum += sum;
	return sum;
}
