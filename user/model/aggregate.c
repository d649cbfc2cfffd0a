#include "model/aggregate.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/map.h"
#include "base/str.h"
#include "base/time.h"
#include "model/intern.h"

/* Compact, because there are thousands: only as many attributes as it has, only the slots that are populated. */
struct series {
	struct aggregate *agg;
	const struct metric *metric;
	__u64 cgroup_id;
	__u64 start_ns;
	__u64 hash;
	struct series *next;		      /* of the same group */
	struct series *peer_prev, *peer_next; /* of the same peer */
	union {
		struct hist hist;
		__u64 sum;
		__s64 gauge;
	};
	__u32 attrs_count;
	struct attr attrs[];
};

/* How many series a metric has in all cgroups. */
struct metric_use {
	const struct metric *metric;
	unsigned count;
	struct metric_use *next;
};

/* The series of one metric in one cgroup. */
struct group {
	struct metric_use *use;
	unsigned count;
	struct series *series;
	struct series *overflow; /* also in the list, not in the count */
	struct group *next;
};

struct cgroup {
	__u64 id;
	struct group *groups; /* a handful */
};

/* The series, of whatever cgroup, one of whose attributes names this one. As long as there are any. */
struct peer {
	__u64 id;
	struct series *series;
};

struct aggregate {
	struct aggregate_options options;
	struct map series;
	struct map cgroups;
	struct map peers;
	struct metric_use *uses;
	__u64 start_ns;	 /* of this aggregate */
	__u64 taken_ns;	 /* time of the last snapshot */
	__u64 forgot_ns; /* last snapshot that may show a series since forgotten */
	__u64 series_bytes, overflowed, forgotten, lost;
	struct attr overflow_attr;
	struct series nowhere; /* what there was no memory for; its metric is NULL */
};

struct series_key {
	const struct metric *metric;
	__u64 cgroup_id;
	const struct attr *attrs;
	unsigned attrs_count;
};

static __u64 attr_value(const struct attr *attr)
{
	switch (attr->type) {
	case ATTR_STR:
		return (__u64)(size_t)attr->str;
	case ATTR_INT:
	case ATTR_CGROUP:
		break;
	}
	return (__u64)attr->num;
}

static __u64 series_hash(const struct series_key *key)
{
	__u64 hash = hash_mix((__u64)(size_t)key->metric ^ key->attrs_count, key->cgroup_id);

	for (unsigned i = 0; i < key->attrs_count; i++)
		hash = hash_mix(hash ^ (__u64)(size_t)key->attrs[i].key, attr_value(&key->attrs[i]));
	return hash;
}

static bool series_is(const void *item, const void *key)
{
	const struct series *s = item;
	const struct series_key *k = key;

	if (s->metric != k->metric || s->cgroup_id != k->cgroup_id || s->attrs_count != k->attrs_count)
		return false;
	for (unsigned i = 0; i < k->attrs_count; i++)
		if (s->attrs[i].key != k->attrs[i].key || s->attrs[i].type != k->attrs[i].type ||
		    attr_value(&s->attrs[i]) != attr_value(&k->attrs[i]))
			return false;
	return true;
}

static bool cgroup_is(const void *item, const void *key)
{
	return ((const struct cgroup *)item)->id == *(const __u64 *)key;
}

static __u64 cgroup_hash(__u64 id)
{
	return hash_mix(id, 0);
}

static struct cgroup *cgroup_find(const struct aggregate *agg, __u64 id)
{
	return map_find(&agg->cgroups, cgroup_hash(id), cgroup_is, &id);
}

static bool peer_is(const void *item, const void *key)
{
	return ((const struct peer *)item)->id == *(const __u64 *)key;
}

static struct peer *peer_find(const struct aggregate *agg, __u64 id)
{
	return map_find(&agg->peers, cgroup_hash(id), peer_is, &id);
}

static int peer_link(struct series *s)
{
	const struct attr *attr = attrs_cgroup(s->attrs, s->attrs_count);
	struct aggregate *agg = s->agg;
	struct peer *peer;
	__u64 id;

	if (!attr)
		return 0;
	assert(!attrs_cgroup(s->attrs + (attr - s->attrs) + 1, s->attrs_count - (unsigned)(attr - s->attrs) - 1));
	id = (__u64)attr->num;
	peer = peer_find(agg, id);
	if (!peer) {
		peer = calloc(1, sizeof(*peer));
		if (!peer)
			return -ENOMEM;
		peer->id = id;
		if (map_add(&agg->peers, cgroup_hash(id), peer)) {
			free(peer);
			return -ENOMEM;
		}
	}
	DL_APPEND2(peer->series, s, peer_prev, peer_next);
	return 0;
}

static void peer_drop_empty(struct aggregate *agg, struct peer *peer)
{
	if (peer->series)
		return;
	map_del(&agg->peers, cgroup_hash(peer->id), peer);
	free(peer);
}

static void peer_unlink(struct series *s)
{
	const struct attr *attr = attrs_cgroup(s->attrs, s->attrs_count);
	struct peer *peer = attr ? peer_find(s->agg, (__u64)attr->num) : NULL;

	if (!peer)
		return;
	DL_DELETE2(peer->series, s, peer_prev, peer_next);
	peer_drop_empty(s->agg, peer);
}

/* After map_del(): into the room that it has left. */
static void map_add_again(struct map *map, __u64 hash, void *item)
{
	int err = map_add(map, hash, item);

	assert(!err);
	(void)err;
}

struct aggregate *aggregate_new(const struct aggregate_options *options)
{
	struct aggregate *agg = calloc(1, sizeof(*agg));

	if (!agg)
		return NULL;
	agg->options = *options;
	agg->start_ns = time_now_ns();
	agg->nowhere.agg = agg;
	agg->overflow_attr = (struct attr){
		.key = intern_str("otel.metric.overflow"),
		.type = ATTR_STR,
		.str = intern_str("true"),
	};
	return agg;
}

static void series_free(struct series *s)
{
	s->agg->series_bytes -= sizeof(*s) + s->attrs_count * sizeof(s->attrs[0]);
	peer_unlink(s);
	if (s->metric->kind == METRIC_HIST)
		hist_done(&s->hist);
	free(s);
}

/* Frees the series of @cgroup and itself; returns how many those were. It must be out of the map, or the map at its end. */
static unsigned cgroup_free(struct cgroup *cgroup)
{
	unsigned freed = 0;

	while (cgroup->groups) {
		struct group *group = cgroup->groups;

		while (group->series) {
			struct series *s = group->series;

			group->series = s->next;
			series_free(s);
			freed++;
		}
		cgroup->groups = group->next;
		free(group);
	}
	free(cgroup);
	return freed;
}

void aggregate_free(struct aggregate *agg)
{
	struct cgroup *cgroup;
	size_t pos = 0;

	if (!agg)
		return;
	while ((cgroup = map_next(&agg->cgroups, &pos)))
		cgroup_free(cgroup);
	map_done(&agg->cgroups);
	map_done(&agg->series);
	map_done(&agg->peers);
	while (agg->uses) {
		struct metric_use *use = agg->uses;

		agg->uses = use->next;
		free(use);
	}
	free(agg);
}

/* The three below find or make; NULL: no memory. */
static struct metric_use *use_get(struct aggregate *agg, const struct metric *metric)
{
	struct metric_use *use;

	for (use = agg->uses; use; use = use->next)
		if (use->metric == metric)
			return use;
	use = calloc(1, sizeof(*use));
	if (!use)
		return NULL;
	use->metric = metric;
	use->next = agg->uses;
	agg->uses = use;
	return use;
}

static struct cgroup *cgroup_get(struct aggregate *agg, __u64 id)
{
	struct cgroup *cgroup = cgroup_find(agg, id);

	if (cgroup)
		return cgroup;
	cgroup = calloc(1, sizeof(*cgroup));
	if (!cgroup)
		return NULL;
	cgroup->id = id;
	if (map_add(&agg->cgroups, cgroup_hash(id), cgroup)) {
		free(cgroup);
		return NULL;
	}
	return cgroup;
}

static struct group *group_get(struct aggregate *agg, struct metric_use *use, __u64 cgroup_id)
{
	struct cgroup *cgroup = cgroup_get(agg, cgroup_id);
	struct group *group;

	if (!cgroup)
		return NULL;
	for (group = cgroup->groups; group; group = group->next)
		if (group->use == use)
			return group;
	group = calloc(1, sizeof(*group));
	if (!group)
		return NULL;
	group->use = use;
	group->next = cgroup->groups;
	cgroup->groups = group;
	return group;
}

/* Makes the series of @key in @group, which does not count it. NULL: no memory. */
static struct series *series_make(struct aggregate *agg, struct group *group, const struct series_key *key,
				  __u64 start_ns)
{
	size_t attrs_bytes = key->attrs_count * sizeof(key->attrs[0]);
	struct series *s = calloc(1, sizeof(*s) + attrs_bytes);

	if (!s)
		return NULL;
	s->agg = agg;
	s->metric = key->metric;
	s->cgroup_id = key->cgroup_id;
	s->hash = series_hash(key);
	/* It may have been reported before it was forgotten: its new life must begin later than that. */
	s->start_ns = start_ns > agg->forgot_ns ? start_ns : agg->forgot_ns;
	s->attrs_count = key->attrs_count;
	if (attrs_bytes)
		memcpy(s->attrs, key->attrs, attrs_bytes);
	if (peer_link(s)) {
		free(s);
		return NULL;
	}
	if (map_add(&agg->series, s->hash, s)) {
		peer_unlink(s);
		free(s);
		return NULL;
	}
	agg->series_bytes += sizeof(*s) + attrs_bytes;
	s->next = group->series;
	group->series = s;
	return s;
}

static struct series *overflow_make(struct aggregate *agg, struct group *group, __u64 cgroup_id, __u64 start_ns)
{
	struct series_key key = {
		.metric = group->use->metric,
		.cgroup_id = cgroup_id,
		.attrs = &agg->overflow_attr,
		.attrs_count = 1,
	};

	group->overflow = series_make(agg, group, &key, start_ns);
	if (group->overflow && cgroup_id)
		group->use->count++;
	return group->overflow;
}

/* Where a measure goes that has no room of its own: the overflow series of its cgroup, or of all. */
static struct series *overflow_get(struct aggregate *agg, struct metric_use *use, __u64 cgroup_id, __u64 start_ns)
{
	bool full = use->count >= agg->options.series_max;
	struct cgroup *cgroup = cgroup_find(agg, cgroup_id);
	struct series *found = NULL;
	struct group *group;

	agg->overflowed++;
	for (group = cgroup ? cgroup->groups : NULL; group; group = group->next)
		if (group->use == use && group->overflow)
			return group->overflow;
	if (full)
		cgroup_id = 0;
	group = group_get(agg, use, cgroup_id);
	if (group)
		found = group->overflow ? group->overflow : overflow_make(agg, group, cgroup_id, start_ns);
	return found ? found : &agg->nowhere;
}

static struct series *series_new(struct aggregate *agg, const struct series_key *key, __u64 start_ns)
{
	struct metric_use *use = use_get(agg, key->metric);
	struct group *group;
	struct series *s;

	if (!use)
		return &agg->nowhere;
	if (use->count >= agg->options.series_max) /* before a group is made: foreign cgroups may be many */
		return overflow_get(agg, use, key->cgroup_id, start_ns);
	group = group_get(agg, use, key->cgroup_id);
	if (!group || group->count >= agg->options.series_per_cgroup_max)
		return overflow_get(agg, use, key->cgroup_id, start_ns);
	s = series_make(agg, group, key, start_ns);
	if (!s)
		return overflow_get(agg, use, key->cgroup_id, start_ns);
	group->count++;
	use->count++;
	return s;
}

struct series *aggregate_series(struct aggregate *agg, const struct metric *metric, __u64 cgroup_id,
				const struct attr *attrs, unsigned attrs_count, __u64 start_ns)
{
	struct series_key key = {
		.metric = metric,
		.cgroup_id = cgroup_id,
		.attrs = attrs,
		.attrs_count = attrs_count,
	};
	struct series *s;

	assert(attrs_count <= ATTRS_MAX);
	s = map_find(&agg->series, series_hash(&key), series_is, &key);
	return s ? s : series_new(agg, &key, start_ns);
}

void series_add_hist(struct series *s, __u64 value_ns)
{
	assert(!s->metric || s->metric->kind == METRIC_HIST);
	if (!s->metric || hist_add(&s->hist, value_ns))
		s->agg->lost++;
}

void series_add_slots(struct series *s, const __u32 *slots, __u64 sum_ns, __u64 max_ns)
{
	assert(!s->metric || s->metric->kind == METRIC_HIST);
	if (s->metric && !hist_add_slots(&s->hist, slots, sum_ns, max_ns))
		return;
	for (unsigned i = 0; i < HIST_SLOTS; i++)
		s->agg->lost += slots[i];
}

void series_add(struct series *s, __u64 value)
{
	assert(!s->metric || s->metric->kind == METRIC_SUM);
	if (s->metric)
		s->sum += value;
	else
		s->agg->lost++;
}

void series_total(struct series *s, __u64 total)
{
	assert(!s->metric || s->metric->kind == METRIC_SUM);
	if (!s->metric)
		s->agg->lost++;
	else if (total > s->sum)
		s->sum = total;
}

void series_set(struct series *s, __s64 value)
{
	assert(!s->metric || s->metric->kind == METRIC_GAUGE);
	if (s->metric)
		s->gauge = value;
	else
		s->agg->lost++;
}

static int point_fill(struct point *point, const struct series *s)
{
	point->metric = s->metric;
	point->cgroup_id = s->cgroup_id;
	point->start_ns = s->start_ns;
	point->attrs_count = s->attrs_count;
	if (s->attrs_count)
		memcpy(point->attrs, s->attrs, s->attrs_count * sizeof(s->attrs[0]));
	switch (s->metric->kind) {
	case METRIC_HIST:
		return hist_copy(&point->hist, &s->hist);
	case METRIC_SUM:
		point->sum = s->sum;
		break;
	case METRIC_GAUGE:
		point->gauge = s->gauge;
		break;
	}
	return 0;
}

struct snapshot *aggregate_take(struct aggregate *agg, __u64 time_ns, __u64 time_unix_ns)
{
	struct snapshot *snap = snapshot_new(agg->series.count);
	struct series *s;
	size_t pos = 0;

	if (!snap)
		return NULL;
	snap->time_ns = time_ns;
	snap->time_unix_ns = time_unix_ns;
	snap->start_ns = agg->start_ns;
	while ((s = map_next(&agg->series, &pos))) {
		if (point_fill(&snap->points[snap->points_count], s)) {
			snapshot_unref(snap);
			return NULL;
		}
		snap->points_count++;
	}
	agg->taken_ns = time_ns;
	return snap;
}

void aggregate_forget(struct aggregate *agg, __u64 cgroup_id)
{
	struct cgroup *cgroup = cgroup_find(agg, cgroup_id);

	assert(cgroup_id); /* 0 is the agent itself and everybody's overflow: handles to it are kept */
	if (!cgroup)
		return;
	for (struct group *group = cgroup->groups; group; group = group->next) {
		group->use->count -= group->count + (group->overflow ? 1 : 0);
		for (struct series *s = group->series; s; s = s->next)
			map_del(&agg->series, s->hash, s);
	}
	map_del(&agg->cgroups, cgroup_hash(cgroup_id), cgroup);
	agg->forgotten += cgroup_free(cgroup);
	agg->forgot_ns = agg->taken_ns + 1;
}

/* Adds to @to, which may be the one of no memory, what @from has counted. */
static void series_merge(struct series *to, const struct series *from)
{
	switch (from->metric->kind) {
	case METRIC_HIST:
		if (!to->metric || hist_merge(&to->hist, &from->hist))
			from->agg->lost += from->hist.count;
		break;
	case METRIC_SUM:
		series_add(to, from->sum);
		break;
	case METRIC_GAUGE:
		return;
	}
	/* What it counts now began when the earlier of the two did. */
	if (to->metric && from->start_ns < to->start_ns)
		to->start_ns = from->start_ns;
}

static void series_bequeath(const struct group *group, const struct series *from, __u64 heir)
{
	struct series *to;

	if (from->metric->kind == METRIC_GAUGE)
		return;
	if (from == group->overflow)
		to = overflow_get(from->agg, group->use, heir, from->start_ns);
	else
		to = aggregate_series(from->agg, from->metric, heir, from->attrs, from->attrs_count, from->start_ns);
	series_merge(to, from);
}

void aggregate_bequeath(struct aggregate *agg, __u64 from, __u64 heir)
{
	const struct cgroup *cgroup = cgroup_find(agg, from);

	for (struct group *group = cgroup ? cgroup->groups : NULL; group; group = group->next)
		for (const struct series *s = group->series; s; s = s->next)
			series_bequeath(group, s, heir);
	aggregate_forget(agg, from);
}

/* Out of its group, which remains, and freed. It must be out of the map. */
static void series_remove(struct series *s)
{
	struct group *group = cgroup_find(s->agg, s->cgroup_id)->groups;
	struct series **at;

	while (group->use->metric != s->metric)
		group = group->next;
	for (at = &group->series; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	group->count--;
	group->use->count--;
	s->agg->forgotten++;
	series_free(s);
}

/* @s, which is in no peer's list, is to name @heir. Where no series has that key yet @s is given the key, so that it needs
 * no room. */
static void series_bequeath_peer(struct series *s, struct peer *heir)
{
	struct aggregate *agg = s->agg;
	struct attr attrs[ATTRS_MAX];
	struct series_key key = {
		.metric = s->metric,
		.cgroup_id = s->cgroup_id,
		.attrs = attrs,
		.attrs_count = s->attrs_count,
	};
	struct series *to;

	memcpy(attrs, s->attrs, s->attrs_count * sizeof(attrs[0]));
	attrs_cgroup(attrs, s->attrs_count)->num = (__s64)heir->id;
	to = map_find(&agg->series, series_hash(&key), series_is, &key);
	map_del(&agg->series, s->hash, s);
	if (to || s->metric->kind == METRIC_GAUGE) {
		if (to)
			series_merge(to, s);
		series_remove(s);
		return;
	}
	attrs_cgroup(s->attrs, s->attrs_count)->num = (__s64)heir->id;
	s->hash = series_hash(&key);
	DL_APPEND2(heir->series, s, peer_prev, peer_next);
	map_add_again(&agg->series, s->hash, s);
}

void aggregate_bequeath_peer(struct aggregate *agg, __u64 from, __u64 heir)
{
	struct peer *peer = peer_find(agg, from), *to = peer_find(agg, heir);
	struct series *left, *s, *next;

	assert(from != heir);
	if (!peer)
		return;
	left = peer->series;
	map_del(&agg->peers, cgroup_hash(from), peer);
	if (to) {
		free(peer);
	} else {
		to = peer;
		*to = (struct peer){ .id = heir };
		map_add_again(&agg->peers, cgroup_hash(heir), to);
	}
	for (s = left; s; s = next) {
		next = s->peer_next;
		series_bequeath_peer(s, to);
	}
	peer_drop_empty(agg, to);
	agg->forgot_ns = agg->taken_ns + 1;
}

void aggregate_forget_peer(struct aggregate *agg, __u64 cgroup_id)
{
	aggregate_bequeath_peer(agg, cgroup_id, ATTR_CGROUP_GONE);
}

bool aggregate_has_peer(const struct aggregate *agg, __u64 cgroup_id)
{
	return peer_find(agg, cgroup_id);
}

size_t aggregate_series_count(const struct aggregate *agg)
{
	return agg->series.count;
}

void aggregate_use(const struct aggregate *agg, struct aggregate_use *ret)
{
	const struct series *s;
	size_t pos = 0;

	*ret = (struct aggregate_use){
		.series = agg->series.count,
		.bytes = agg->series_bytes + map_bytes(&agg->series) + map_bytes(&agg->cgroups) +
			 map_bytes(&agg->peers) + agg->peers.count * sizeof(struct peer),
		.overflowed = agg->overflowed,
		.forgotten = agg->forgotten,
		.lost = agg->lost,
	};
	while ((s = map_next(&agg->series, &pos)))
		if (s->metric->kind == METRIC_HIST)
			ret->bytes += s->hist.stored * sizeof(s->hist.slots[0]);
}
