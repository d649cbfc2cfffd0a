#include "cmd/counts.h"

#include <string.h>

#include "base/buf.h"
#include "model/selfstat.h"
#include "model/snapshot.h"

static const char *attr_text(const struct point *point, const char *key)
{
	for (unsigned i = 0; i < point->attrs_count; i++)
		if (!strcmp(point->attrs[i].key, key) && point->attrs[i].type == ATTR_STR)
			return point->attrs[i].str;
	return "";
}

static void counts_add(struct conservation *counts, const struct point *point)
{
	const char *name = point->metric->name;

	if (!strcmp(name, selfstat_metrics[SELFSTAT_signal_seen].name)) {
		counts->seen += point->sum;
	} else if (!strcmp(name, selfstat_metrics[SELFSTAT_signal_delivered].name)) {
		counts->delivered += point->sum;
	} else if (!strcmp(name, selfstat_metrics[SELFSTAT_signal_filtered].name)) {
		counts->filtered += point->sum;
	} else if (!strcmp(name, selfstat_metrics[SELFSTAT_signal_lost].name)) {
		const char *reason = attr_text(point, "reason");

		for (unsigned i = 0; i < LOSS_MAX; i++)
			if (!strcmp(reason, loss_reason_name(i)))
				counts->lost[i] += point->sum;
	}
}

void counts_from_snapshot(const struct snapshot *snap, const char *signal, struct conservation *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < snap->points_count; i++) {
		const struct point *point = &snap->points[i];

		if (!point->cgroup_id && point->metric->kind == METRIC_SUM &&
		    !strcmp(attr_text(point, "signal"), signal))
			counts_add(ret, point);
	}
}

__u64 counts_lost(const struct conservation *counts)
{
	__u64 lost = 0;

	for (unsigned i = 0; i < LOSS_MAX; i++)
		lost += counts->lost[i];
	return lost;
}

void counts_subtract(struct conservation *counts, const struct conservation *before)
{
	__u64 told = before->delivered + before->filtered + counts_lost(before);

	counts->seen -= before->seen;
	counts->delivered -= before->delivered;
	counts->filtered -= before->filtered;
	for (unsigned i = 0; i < LOSS_MAX; i++)
		counts->lost[i] -= before->lost[i];
	/* What was on its way at the beginning has been delivered since, but was seen before. */
	if (before->seen > told && counts->delivered >= before->seen - told)
		counts->delivered -= before->seen - told;
}

bool counts_hold(const struct conservation *counts)
{
	return counts->seen == counts->delivered + counts->filtered + counts_lost(counts);
}

void counts_print(const struct conservation *counts, bool settled, struct buf *out)
{
	__u64 told = counts->delivered + counts->filtered + counts_lost(counts);
	bool pending = !settled && counts->seen > told;
	const char *comma = " (";

	buf_printf(out, "seen %llu %s delivered %llu + filtered %llu + lost %llu", counts->seen,
		   counts->seen == told || pending ? "=" : "IS NOT", counts->delivered, counts->filtered,
		   counts_lost(counts));
	for (unsigned i = 0; i < LOSS_MAX; i++) {
		if (!counts->lost[i])
			continue;
		buf_printf(out, "%s%s %llu", comma, loss_reason_name(i), counts->lost[i]);
		comma = ", ";
	}
	if (counts_lost(counts))
		buf_add_char(out, ')');
	if (pending)
		buf_printf(out, " + %llu on their way", counts->seen - told);
}
