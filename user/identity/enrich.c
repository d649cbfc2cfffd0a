/* Points are large, so what is sorted are keys: rank of the workload, rank of the metric, and the point's place, which
 * is looked at only when both are equal. Then the points are moved once each, along the cycles of the permutation. */
#include "identity/enrich.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "identity/identity.h"
#include "model/snapshot.h"
#include "model/span.h"

struct key {
	__u32 who, metric;
	__u32 place;
	const struct point *point;
};

static int compare_u64(__u64 a, __u64 b)
{
	return (a > b) - (a < b);
}

static int compare_pointers(const void *a, const void *b)
{
	return compare_u64((__u64)(size_t)(*(const void *const *)a), (__u64)(size_t)(*(const void *const *)b));
}

static int compare_who(const void *left, const void *right)
{
	const struct workload *a = *(const struct workload *const *)left, *b = *(const struct workload *const *)right;
	int order;

	if (!a || !b)
		return !!a - !!b; /* the agent itself is first */
	order = strcmp(a->service_name, b->service_name);
	if (!order)
		order = strcmp(a->cgroup, b->cgroup);
	return order ? order : compare_u64(a->cgroup_id, b->cgroup_id);
}

static int compare_metrics(const void *left, const void *right)
{
	const struct metric *a = *(const struct metric *const *)left, *b = *(const struct metric *const *)right;
	int order = strcmp(a->name, b->name);

	return order ? order : compare_u64((__u64)(size_t)a, (__u64)(size_t)b);
}

/* Keys and texts are interned: equal ones have equal pointers, but for names of containers. */
static int compare_attr(const struct attr *a, const struct attr *b)
{
	if (a->key != b->key)
		return strcmp(a->key, b->key);
	if (a->type != b->type)
		return (a->type > b->type) - (a->type < b->type);
	switch (a->type) {
	case ATTR_STR:
		return a->str == b->str ? 0 : strcmp(a->str, b->str);
	case ATTR_INT:
	case ATTR_CGROUP:
		break;
	}
	return (a->num > b->num) - (a->num < b->num);
}

static int compare_attrs(const struct point *a, const struct point *b)
{
	for (unsigned i = 0; i < a->attrs_count && i < b->attrs_count; i++) {
		int order = compare_attr(&a->attrs[i], &b->attrs[i]);

		if (order)
			return order;
	}
	return (a->attrs_count > b->attrs_count) - (a->attrs_count < b->attrs_count);
}

static int compare_keys(const void *left, const void *right)
{
	const struct key *a = left, *b = right;
	int order;

	if (a->who != b->who)
		return a->who < b->who ? -1 : 1;
	if (a->metric != b->metric)
		return a->metric < b->metric ? -1 : 1;
	order = compare_attrs(a->point, b->point);
	return order ? order : compare_u64(a->point->cgroup_id, b->point->cgroup_id);
}

/* Sorts pointers and drops repeats; returns how many are left. */
static size_t pointers_unique(const void **items, size_t count)
{
	size_t kept = 0;

	qsort(items, count, sizeof(*items), compare_pointers);
	for (size_t i = 0; i < count; i++)
		if (!kept || items[kept - 1] != items[i])
			items[kept++] = items[i];
	return kept;
}

/* The sorted list of distinct values of one pointer of each point, and the rank of each by binary search in the list
 * sorted by address: a point costs a few comparisons of numbers, not of texts. */
struct ranks {
	const void **by_address;
	__u32 *rank;
	size_t count;
};

static int ranks_init(struct ranks *r, const struct snapshot *snap, size_t offset,
		      int (*compare)(const void *, const void *))
{
	size_t count = snap->points_count;
	const void **sorted;

	*r = (struct ranks){ .by_address = calloc(count, sizeof(void *)) };
	if (!r->by_address)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		memcpy(&r->by_address[i], (const char *)&snap->points[i] + offset, sizeof(void *));
	r->count = pointers_unique(r->by_address, count);
	r->rank = calloc(r->count, sizeof(*r->rank));
	sorted = calloc(r->count, sizeof(*sorted));
	if (!r->rank || !sorted) {
		free(sorted);
		return -ENOMEM;
	}
	memcpy(sorted, r->by_address, r->count * sizeof(*sorted));
	qsort(sorted, r->count, sizeof(*sorted), compare);
	for (size_t i = 0; i < r->count; i++) {
		const void **at = bsearch(&sorted[i], r->by_address, r->count, sizeof(*sorted), compare_pointers);

		r->rank[at - r->by_address] = (__u32)i;
	}
	free(sorted);
	return 0;
}

static void ranks_done(struct ranks *r)
{
	free(r->by_address);
	free(r->rank);
}

static __u32 ranks_find(const struct ranks *r, const void *item)
{
	const void **at = bsearch(&item, r->by_address, r->count, sizeof(item), compare_pointers);

	return r->rank[at - r->by_address];
}

/* points[i] becomes what was points[keys[i].place]. */
static void points_move(struct point *points, struct key *keys, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct point first;
		size_t to = i;

		if (keys[i].place == i)
			continue;
		first = points[i];
		for (;;) {
			size_t from = keys[to].place;

			keys[to].place = (__u32)to;
			if (from == i)
				break;
			points[to] = points[from];
			to = from;
		}
		points[to] = first;
	}
}

static int points_sort(struct snapshot *snap)
{
	struct ranks who = {}, metric = {};
	struct key *keys = calloc(snap->points_count, sizeof(*keys));
	int err = keys ? 0 : -ENOMEM;

	if (!err)
		err = ranks_init(&who, snap, offsetof(struct point, who), compare_who);
	if (!err)
		err = ranks_init(&metric, snap, offsetof(struct point, metric), compare_metrics);
	if (!err) {
		for (size_t i = 0; i < snap->points_count; i++)
			keys[i] = (struct key){
				.who = ranks_find(&who, snap->points[i].who),
				.metric = ranks_find(&metric, snap->points[i].metric),
				.place = (__u32)i,
				.point = &snap->points[i],
			};
		qsort(keys, snap->points_count, sizeof(*keys), compare_keys);
		points_move(snap->points, keys, snap->points_count);
	}
	ranks_done(&who);
	ranks_done(&metric);
	free(keys);
	return err;
}

/* The agent's own are as they were made, unless they name containers. */
static bool points_same_series(const struct point *a, const struct point *b)
{
	return (a->who || a->other || b->other) && a->who == b->who && a->metric == b->metric && !compare_attrs(a, b);
}

/* Adds @from to @to. On failure nothing has changed. */
static int point_add(struct point *to, const struct point *from)
{
	int err;

	switch (to->metric->kind) {
	case METRIC_HIST:
		err = hist_merge(&to->hist, &from->hist);
		if (err)
			return err;
		break;
	case METRIC_SUM:
		to->sum += from->sum;
		break;
	case METRIC_GAUGE: /* parts of one container: what can be added is, of the rest the greater is shown */
		if (to->metric->updown)
			to->gauge += from->gauge;
		else if (from->gauge > to->gauge)
			to->gauge = from->gauge;
		break;
	}
	if (from->start_ns < to->start_ns)
		to->start_ns = from->start_ns;
	return 0;
}

static int points_merge(struct snapshot *snap)
{
	size_t kept = 0;
	int err = 0;

	for (size_t i = 0; i < snap->points_count; i++) {
		struct point *point = &snap->points[i];

		if (kept && points_same_series(&snap->points[kept - 1], point)) {
			int failed = point_add(&snap->points[kept - 1], point);

			if (!failed) {
				if (point->metric->kind == METRIC_HIST)
					hist_done(&point->hist);
				workload_unref(point->who);
				workload_unref(point->other);
				continue;
			}
			err = failed;
		}
		if (kept != i)
			snap->points[kept] = *point;
		kept++;
	}
	snap->points_count = kept;
	for (size_t i = 0; i < kept; i++) {
		const struct workload *who = snap->points[i].who;

		if (who)
			snap->points[i].cgroup_id = who->cgroup_id ? who->cgroup_id : IDENTITY_VANISHED;
	}
	return err;
}

static int points_settle(const struct snapshot *snap, struct identity *id)
{
	__u64 *cgroup_ids = calloc(snap->points_count, 2 * sizeof(*cgroup_ids));
	size_t count = 0;

	if (!cgroup_ids)
		return -ENOMEM;
	for (size_t i = 0; i < snap->points_count; i++) {
		struct point *point = &snap->points[i];
		const struct attr *other = attrs_cgroup(point->attrs, point->attrs_count);

		cgroup_ids[count++] = point->cgroup_id;
		if (other)
			cgroup_ids[count++] = (__u64)other->num;
	}
	identity_settle(id, cgroup_ids, count);
	free(cgroup_ids);
	return 0;
}

/* Who vanished before it was seen is "gone" from the start: when it is forgotten, its series become those of who is gone,
 * and the total of nobody may fall by that. */
static void point_name_other(struct point *point, struct identity *id)
{
	struct attr *attr = attrs_cgroup(point->attrs, point->attrs_count);
	const struct workload *who;

	_Static_assert(ATTR_CGROUP_GONE == IDENTITY_VANISHED, "who is gone is looked up as vanished");
	if (!attr)
		return;
	who = workload_ref(identity_lookup(id, (__u64)attr->num));
	workload_unref(point->other);
	point->other = who;
	attr->type = ATTR_STR;
	attr->str = who->cgroup_id ? who->service_name : ATTR_CGROUP_GONE_TEXT;
	assert(!attrs_cgroup(point->attrs, point->attrs_count)); /* one reference, one name */
}

int enrich(struct snapshot *snap, struct identity *id)
{
	int settle_err, err;

	if (!snap->points_count)
		return 0;
	settle_err = points_settle(snap, id);
	for (size_t i = 0; i < snap->points_count; i++) {
		struct point *point = &snap->points[i];

		workload_unref(point->who);
		point->who = point->cgroup_id ? workload_ref(identity_lookup(id, point->cgroup_id)) : NULL;
		point_name_other(point, id);
	}
	err = points_sort(snap);
	if (!err)
		err = points_merge(snap);
	return err ? err : settle_err;
}

/* References, because the look-up of one cgroup may walk, and a walk may do away with what another has answered. */
void span_enrich(struct span *span, struct identity *id)
{
	for (unsigned i = 0; i < span->fields_count; i++) {
		struct field *field = &span->fields[i];

		if (field->type == FIELD_WHO)
			field->who = field->cgroup_id ? workload_ref(identity_lookup(id, field->cgroup_id)) : NULL;
	}
}

void span_enrich_undo(struct span *span)
{
	for (unsigned i = 0; i < span->fields_count; i++) {
		struct field *field = &span->fields[i];

		if (field->type != FIELD_WHO)
			continue;
		workload_unref(field->who);
		field->who = NULL;
	}
}
