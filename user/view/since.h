/* What has come since an earlier snapshot. Unlike hist_subtract() it survives totals that fall: an agent was restarted
 * between the two, or a part of a container's series was forgotten. Then the figures of one interval are too low; they
 * are never negative and never a jump. */
#ifndef WEIR_VIEW_SINCE_H
#define WEIR_VIEW_SINCE_H

#include <linux/types.h>

#include "model/hist.h"

void hist_since(struct hist *now, const struct hist *before);
__u64 total_since(__u64 now, __u64 before);

#endif
