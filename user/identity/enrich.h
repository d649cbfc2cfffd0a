/* Gives every point of a snapshot its workload and the cgroup id of that, merges points that become the same series by
 * it (cgroups of one container), and sorts: the agent's own points first, then by service name and cgroup path, metric name, attributes.
 * The result does not depend on the order of the points before. */
#ifndef WEIR_IDENTITY_ENRICH_H
#define WEIR_IDENTITY_ENRICH_H

struct identity;
struct snapshot;

/* 0, or -ENOMEM: then every point has its workload, but they may be unsorted and not merged. */
int enrich(struct snapshot *snap, struct identity *id);

#endif
