/* Gives every point of a snapshot its workload and the cgroup id of that, and makes a text of the attribute that is
 * another container (ATTR_CGROUP): its service name, or ATTR_CGROUP_GONE_TEXT when it has been forgotten or vanished before
 * it was seen. Merges points that become the same series by it (cgroups of one container, other containers of one name),
 * and sorts: the agent's own points first, then by service name and cgroup path, metric name, attributes.
 * The result does not depend on the order of the points before. */
#ifndef WEIR_IDENTITY_ENRICH_H
#define WEIR_IDENTITY_ENRICH_H

struct identity;
struct snapshot;
struct span;

/* 0, or -ENOMEM: then every point has its workload, but they may be unsorted and not merged. */
int enrich(struct snapshot *snap, struct identity *id);

/* Gives every field that names a container its workload, a reference each: span_enrich_undo() gives them back. Cgroup id
 * 0 is nobody: the field is left out. */
void span_enrich(struct span *span, struct identity *id);
void span_enrich_undo(struct span *span);

#endif
