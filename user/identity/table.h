/* What enrich.c needs of the table in identity.c beyond identity.h. */
#ifndef WEIR_IDENTITY_TABLE_H
#define WEIR_IDENTITY_TABLE_H

#include <linux/types.h>
#include <stddef.h>

struct identity;

/* Finds out about all of @cgroup_ids, so that looking one up later changes nothing about another. Walks once at most,
 * whatever the limit of walks says: every cgroup a snapshot tells of was there before the snapshot, so what is not found
 * now has vanished. */
void identity_settle(struct identity *id, const __u64 *cgroup_ids, size_t count);

#endif
