/* All that weir top shows, made from the same two snapshots: the tables of requests, of containers, and of JVMs. */
#ifndef WEIR_VIEW_TABLES_H
#define WEIR_VIEW_TABLES_H

#include "view/containers.h"
#include "view/jvms.h"
#include "view/top.h"

struct buf;

struct top_tables {
	struct top_table requests;
	struct containers_table containers;
	struct jvms_table jvms; /* of the rows of .containers */
};

/* See top_table_init(). 0 or -ENOMEM (then all are empty). */
int top_tables_init(struct top_tables *tables, const struct snapshot *before, const struct snapshot *now,
		    const struct top_options *options);
void top_tables_done(struct top_tables *tables);

/* Each that has rows, with an empty line between them; containers only if something but their JVMs is measured. The titles
 * alone when there are none: of the first table of which something is measured. */
void top_tables_text(const struct top_tables *tables, unsigned width, struct buf *out);
/* One JSON object for all, with its newline. 0 or -ENOMEM. */
int top_tables_json(const struct top_tables *tables, struct buf *out);

#endif
