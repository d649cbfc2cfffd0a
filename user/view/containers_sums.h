/* Rows of containers out of snapshots: the sums over all series of each container, and what is new in them. Pure. */
#ifndef WEIR_VIEW_CONTAINERS_SUMS_H
#define WEIR_VIEW_CONTAINERS_SUMS_H

#include <stdbool.h>
#include <stddef.h>

#include "model/snapshot.h"
#include "view/figures.h"
#include "view/top.h"

struct containers_sums {
	bool measured;	    /* there is a series of TCP or the scheduler at all, whether or not it has a row */
	bool jvms_measured; /* the same of JVMs */
	size_t rows_count;
	struct containers_row *rows; /* owned, with all that they own; in the order of the snapshot */
};

/* What happened from @before to @now, one row for each container that the options want, quiet ones too. @before NULL:
 * since each series began. 0 or -ENOMEM (then @ret is empty). The snapshots must outlive it. */
int containers_sums_init(struct containers_sums *ret, const struct snapshot *before, const struct snapshot *now,
			 const struct top_options *options);
void containers_sums_done(struct containers_sums *sums);

#endif
