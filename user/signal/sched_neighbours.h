/* Whom the long waits of a container stood behind: the in-kernel table of pairs becomes series. */
#ifndef WEIR_SIGNAL_SCHED_NEIGHBOURS_H
#define WEIR_SIGNAL_SCHED_NEIGHBOURS_H

#include <linux/types.h>

struct aggregate;
struct sched_neighbours;

/* @map_fd: sched_pairs, borrowed. NULL: no memory. */
struct sched_neighbours *sched_neighbours_new(int map_fd, unsigned entries_max, struct aggregate *aggregate,
					      __u64 start_ns);
void sched_neighbours_free(struct sched_neighbours *n);
int sched_neighbours_drain(struct sched_neighbours *n);			   /* entries read, or negative errno */
void sched_neighbours_forget(struct sched_neighbours *n, __u64 cgroup_id); /* on either side */
unsigned sched_neighbours_count(const struct sched_neighbours *n);

#endif
