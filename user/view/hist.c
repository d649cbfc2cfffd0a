#include "view/hist.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/table.h"
#include "view/keys.h"
#include "view/rows.h"
#include "view/since.h"
#include "view/who.h"

#define ROUTE_ATTRIBUTE	 "http.route"
#define BARS_MAX	 (HIST_EXP_COUNT + 2)
#define DRAW_LINES_MAX	 24
#define DRAW_LABEL_WIDTH 36 /* bounds and count before the bar, at their widest */
#define DRAW_BAR_MIN	 10

/* ---- grouping */

static const char *point_route(const struct point *point)
{
	const struct attr *route = point_attr(point, ROUTE_ATTRIBUTE);

	return route && route->type == ATTR_STR ? route->str : "-";
}

static const char *or_dash(const char *text, const char *other)
{
	if (*text)
		return text;
	return *other ? other : "-";
}

/* What points have in common that belong together, and what a person calls that. */
static const char *point_key(const struct point *point, enum hist_by by, const char **ret_name)
{
	const struct workload *who = point->who;
	const char *key = "";

	switch (by) {
	case HIST_BY_CONTAINER:
		*ret_name = who_name(who);
		return who_key(who);
	case HIST_BY_POD:
		key = who ? or_dash(who->pod_uid, who->pod_name) : "-";
		*ret_name = who ? or_dash(who->pod_name, who->pod_uid) : "-";
		return key;
	case HIST_BY_NAMESPACE:
		key = who ? or_dash(who->namespace_name, "") : "-";
		break;
	case HIST_BY_ROUTE:
		key = point_route(point);
		break;
	}
	*ret_name = key;
	return key;
}

static bool point_wanted(const struct point *point, const char *metric, const struct span_filter *filter)
{
	return point->metric->kind == METRIC_HIST && !strcmp(point->metric->name, metric) &&
	       (!filter || span_filter_match_workload(filter, point->who));
}

static int groups_room(struct hist_groups *groups)
{
	struct hist_group *bigger;

	if (groups->groups_count & (groups->groups_count - 1))
		return 0;
	bigger = realloc(groups->groups, (groups->groups_count ? groups->groups_count * 2 : 1) * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	groups->groups = bigger;
	return 0;
}

/* Adds everything that @snap says of @metric to its groups. */
static int groups_add(struct hist_groups *groups, struct keys *keys, const struct snapshot *snap, const char *metric,
		      enum hist_by by, const struct span_filter *filter)
{
	for (size_t i = 0; i < snap->points_count; i++) {
		const struct point *point = &snap->points[i];
		const char *name;
		ssize_t index;

		if (!point_wanted(point, metric, filter))
			continue;
		index = keys_index(keys, point_key(point, by, &name), 0);
		if (index < 0)
			return index;
		if ((size_t)index == groups->groups_count) {
			if (groups_room(groups))
				return -ENOMEM;
			groups->groups[groups->groups_count++] = (struct hist_group){
				.name = name,
				.who = by == HIST_BY_CONTAINER || (by == HIST_BY_POD && strcmp(name, "-")) ? point->who
													   : NULL,
			};
		}
		if (hist_merge(&groups->groups[index].hist, &point->hist))
			return -ENOMEM;
	}
	return 0;
}

/* Totals are taken away group by group, not series by series: a series whose cgroup has ended is merged into that of
 * its container's next cgroup, and must not show as new requests. */
static void groups_subtract(struct hist_groups *groups, const struct keys *keys, const struct hist_groups *before,
			    const struct keys *keys_before)
{
	for (size_t i = 0; i < keys_before->count; i++) {
		ssize_t index = keys_find(keys, keys_before->items[i].text, 0);

		if (index >= 0)
			hist_since(&groups->groups[index].hist, &before->groups[i].hist);
	}
}

static int group_compare(const void *a, const void *b)
{
	const struct hist_group *left = a, *right = b;

	if (left->hist.count != right->hist.count)
		return left->hist.count < right->hist.count ? 1 : -1;
	return strcmp(left->name, right->name);
}

static void groups_finish(struct hist_groups *groups)
{
	size_t kept = 0;

	for (size_t i = 0; i < groups->groups_count; i++) {
		if (groups->groups[i].hist.count)
			groups->groups[kept++] = groups->groups[i];
		else
			hist_done(&groups->groups[i].hist);
	}
	groups->groups_count = kept;
	if (kept)
		qsort(groups->groups, kept, sizeof(*groups->groups), group_compare);
}

int hist_groups_init(struct hist_groups *ret, const struct snapshot *before, const struct snapshot *now,
		     const char *metric, enum hist_by by, const struct span_filter *filter)
{
	struct keys keys = {}, keys_before = {};
	struct hist_groups old = {};
	int err;

	*ret = (struct hist_groups){ .by = by };
	err = groups_add(ret, &keys, now, metric, by, filter);
	if (!err && before)
		err = groups_add(&old, &keys_before, before, metric, by, filter);
	if (!err)
		groups_subtract(ret, &keys, &old, &keys_before);
	hist_groups_done(&old);
	keys_done(&keys_before);
	keys_done(&keys);
	if (err)
		hist_groups_done(ret);
	else
		groups_finish(ret);
	return err;
}

void hist_groups_done(struct hist_groups *groups)
{
	for (size_t i = 0; i < groups->groups_count; i++)
		hist_done(&groups->groups[i].hist);
	free(groups->groups);
	memset(groups, 0, sizeof(*groups));
}

/* ---- drawing */

static __u64 power_ns(int eighths)
{
	return (__u64)floor(exp2(eighths / 8.0) * 1e9);
}

/* Bars whose bounds are @step eighths of a doubling apart. Returns how many are needed from the first to the last that
 * is not empty. */
static unsigned bars_make(const struct hist *hist, int step, struct bar bars[BARS_MAX])
{
	const __u64 *bounds = hist_thresholds();
	int eighths = HIST_EXP_MIN / step * step;
	unsigned count = 0, first = BARS_MAX, last = 0;
	unsigned slot = 0;
	__u64 low = 0;

	while (slot < HIST_SLOTS && count < BARS_MAX) {
		__u64 high = eighths > HIST_EXP_MAX + 1 ? ~0ull : power_ns(eighths);
		struct bar *bar = &bars[count];

		*bar = (struct bar){ .low = low, .high = high };
		for (; slot < HIST_SLOTS && (bounds[slot] <= high || high == ~0ull); slot++)
			bar->count += hist_slot_count(hist, slot);
		if (bar->count) {
			first = first == BARS_MAX ? count : first;
			last = count;
		}
		count++;
		low = high;
		eighths += step;
	}
	if (first == BARS_MAX)
		return 0;
	memmove(bars, bars + first, (last - first + 1) * sizeof(*bars));
	return last - first + 1;
}

void hist_draw(const struct hist *hist, unsigned width, unsigned lines, struct buf *out)
{
	struct bar bars[BARS_MAX];
	unsigned count = 0;

	for (int step = 1; step <= 64; step *= 2) {
		count = bars_make(hist, step, bars);
		if (count <= lines)
			break;
	}
	if (count > lines)
		count = lines;
	width = width > DRAW_LABEL_WIDTH + DRAW_BAR_MIN ? width - DRAW_LABEL_WIDTH : DRAW_BAR_MIN;
	bars_print(out, bars, count, width, /* ascii */ false);
}

static void group_title(const struct hist_group *group, enum hist_by by, struct buf *out)
{
	char a[STR_NUMBER_ROOM], b[STR_NUMBER_ROOM], c[STR_NUMBER_ROOM], d[STR_NUMBER_ROOM];

	if (by == HIST_BY_CONTAINER)
		who_print(group->who, out);
	else
		buf_add_str(out, group->name);
	if (by == HIST_BY_CONTAINER && group->who && *group->who->container_id)
		buf_printf(out, " (%.12s)", group->who->container_id);
	buf_printf(out, "\n  count %llu   p50 %s   p90 %s   p99 %s   max %s\n", (unsigned long long)group->hist.count,
		   str_format_duration(hist_quantile_ns(&group->hist, 0.50), a),
		   str_format_duration(hist_quantile_ns(&group->hist, 0.90), b),
		   str_format_duration(hist_quantile_ns(&group->hist, 0.99), c),
		   str_format_duration(hist_quantile_ns(&group->hist, 1.00), d));
}

void hist_groups_text(const struct hist_groups *groups, const char *metric, unsigned width, struct buf *out)
{
	buf_printf(out, "%s\n", metric);
	for (size_t i = 0; i < groups->groups_count; i++) {
		buf_add_char(out, '\n');
		group_title(&groups->groups[i], groups->by, out);
		hist_draw(&groups->groups[i].hist, width, DRAW_LINES_MAX, out);
	}
	if (!groups->groups_count)
		buf_add_str(out, "\nnothing was measured in this time\n");
}

/* ---- JSON */

static json_t *buckets_json(const struct hist *hist)
{
	const __u64 *bounds = hist_thresholds();
	json_t *array = json_array();

	for (unsigned slot = 0; slot < HIST_SLOTS; slot++) {
		__u64 count = hist_slot_count(hist, slot);
		json_t *bound;

		if (!count)
			continue;
		bound = slot == HIST_SLOTS - 1 ? json_null() : json_integer((json_int_t)bounds[slot]);
		if (json_array_append_new(array, json_pack("{s:o, s:I}", "le_ns", bound, "count", (json_int_t)count))) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

/* Who it is about, by what the groups were made of. 0 or -1. */
static int group_who_json(json_t *object, const struct hist_group *group, enum hist_by by)
{
	const struct workload *who = group->who;

	if (by == HIST_BY_CONTAINER)
		return json_object_set_new(object, "container", who_json(who));
	if (by == HIST_BY_POD && who)
		return json_object_set_new(object, "pod",
					   json_pack("{s:s, s:s, s:s}", "uid", who->pod_uid, "name", who->pod_name,
						     "namespace", who->namespace_name));
	return 0;
}

static json_t *group_json(const struct hist_group *group, enum hist_by by, const char *metric)
{
	static const char *const by_names[] = { "container", "pod", "namespace", "route" };
	const struct hist *hist = &group->hist;
	json_t *object;

	object = json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "metric", metric, "by", by_names[by],
			   "name", group->name, "count", (json_int_t)hist->count, "sum_ns", (json_int_t)hist->sum_ns,
			   "p50_ns", quantile_json(hist, 0.50), "p90_ns", quantile_json(hist, 0.90), "p99_ns",
			   quantile_json(hist, 0.99), "max_ns", quantile_json(hist, 1.00), "buckets",
			   buckets_json(hist));
	if (object && group_who_json(object, group, by)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

int hist_groups_json(const struct hist_groups *groups, const char *metric, struct buf *out)
{
	for (size_t i = 0; i < groups->groups_count; i++) {
		json_t *object = group_json(&groups->groups[i], groups->by, metric);
		char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

		json_decref(object);
		if (!text)
			return -ENOMEM;
		buf_add_str(out, text);
		buf_add_char(out, '\n');
		free(text);
	}
	return out->err;
}
