#include "view/since.h"

__u64 total_since(__u64 now, __u64 before)
{
	return now > before ? now - before : 0;
}

void hist_since(struct hist *now, const struct hist *before)
{
	now->count = 0;
	for (unsigned i = 0; i < now->stored; i++) {
		now->slots[i] = total_since(now->slots[i], hist_slot_count(before, now->low + i));
		now->count += now->slots[i];
	}
	now->sum_ns = total_since(now->sum_ns, before->sum_ns);
}
