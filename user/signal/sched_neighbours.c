#include "signal/sched_neighbours.h"

#include <stdlib.h>

#include "kernel/drain.h"
#include "signal/sched_series.h"

struct sched_neighbours {
	struct aggregate *aggregate;
	__u64 start_ns;
	struct drain *drain;
};

/* What is remembered of a pair. */
struct taken {
	struct series *series;
	__u64 ns;
};

static void pair_entry(void *arg, const void *key, const void *value, void **mine)
{
	const struct sched_pair *pair = key;
	const __u64 *total_ns = value;
	struct sched_neighbours *n = arg;
	struct taken *t = *mine;

	if (!t) {
		t = calloc(1, sizeof(*t));
		if (!t)
			return;
		t->series = sched_neighbour_series(n->aggregate, pair->victim, pair->culprit, n->start_ns);
		*mine = t;
	}
	if (*total_ns == t->ns)
		return;
	series_add(t->series, *total_ns - t->ns);
	t->ns = *total_ns;
}

static void pair_forget(void *arg, void *mine)
{
	free(mine);
}

struct sched_neighbours *sched_neighbours_new(int map_fd, unsigned entries_max, struct aggregate *aggregate,
					      __u64 start_ns)
{
	struct sched_neighbours *n = calloc(1, sizeof(*n));
	const struct drain_options drain = {
		.map_fd = map_fd,
		.key_bytes = sizeof(struct sched_pair),
		.value_bytes = sizeof(__u64),
		.entries_max = entries_max,
		.unlocked = true,
		.entry = pair_entry,
		.forget = pair_forget,
		.arg = n,
	};

	if (!n)
		return NULL;
	n->aggregate = aggregate;
	n->start_ns = start_ns;
	n->drain = drain_new(&drain);
	if (!n->drain) {
		free(n);
		return NULL;
	}
	return n;
}

void sched_neighbours_free(struct sched_neighbours *n)
{
	if (!n)
		return;
	drain_free(n->drain);
	free(n);
}

int sched_neighbours_drain(struct sched_neighbours *n)
{
	return drain_read(n->drain);
}

static bool pair_of(const void *key, const void *cgroup_id)
{
	const struct sched_pair *pair = key;
	__u64 id = *(const __u64 *)cgroup_id;

	return pair->victim == id || pair->culprit == id;
}

void sched_neighbours_forget(struct sched_neighbours *n, __u64 cgroup_id)
{
	drain_delete(n->drain, pair_of, &cgroup_id);
}

unsigned sched_neighbours_count(const struct sched_neighbours *n)
{
	return drain_count(n->drain);
}
