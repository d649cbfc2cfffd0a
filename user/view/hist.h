/* Latency histograms of one metric, merged by who they are about, drawn as text or given as JSON. Pure. */
#ifndef WEIR_VIEW_HIST_H
#define WEIR_VIEW_HIST_H

#include <stddef.h>

#include "model/hist.h"
#include "model/snapshot.h"
#include "view/filter.h"

struct buf;

/* Order of the choice --by in cmd/options.def. */
enum hist_by { HIST_BY_CONTAINER, HIST_BY_POD, HIST_BY_NAMESPACE, HIST_BY_ROUTE };

struct hist_group {
	const char *name;	    /* interned or static; "-": what has no pod, namespace or route */
	const struct workload *who; /* by container or pod: of the first series in it; else NULL */
	struct hist hist;
};

struct hist_groups {
	enum hist_by by;
	size_t groups_count;
	struct hist_group *groups; /* owned; greatest count first */
};

/* Series of @metric from @before to @now, merged by @by. @before NULL: since each began. Groups without a value are left
 * out. 0 or -ENOMEM (then @ret is empty). */
int hist_groups_init(struct hist_groups *ret, const struct snapshot *before, const struct snapshot *now,
		     const char *metric, enum hist_by by, const struct span_filter *filter);
void hist_groups_done(struct hist_groups *groups);

/* A drawing for each group: name, count, quantiles, and a bar for each populated range. */
void hist_groups_text(const struct hist_groups *groups, const char *metric, unsigned width, struct buf *out);
/* One JSON object a line for each group. 0 or -ENOMEM. */
int hist_groups_json(const struct hist_groups *groups, const char *metric, struct buf *out);

/* The drawing of one histogram, without a title: used by top's detail view too. At most @lines bars. */
void hist_draw(const struct hist *hist, unsigned width, unsigned lines, struct buf *out);

#endif
