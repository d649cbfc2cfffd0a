/* Hand-made snapshots for tests of views. */
#ifndef WEIR_TESTS_VIEW_FAKE_H
#define WEIR_TESTS_VIEW_FAKE_H

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "model/hist.h"
#include "model/snapshot.h"

#define FAKE_POINTS_MAX 64
#define FAKE_MS		1000000ull

static const struct metric fake_server = { .name = "http.server.request.duration", .unit = "s", .kind = METRIC_HIST };
static const struct metric fake_client = { .name = "http.client.request.duration", .unit = "s", .kind = METRIC_HIST };
static const struct metric fake_bytes = { .name = "weir.http.server.io", .unit = "By", .kind = METRIC_SUM };
static const struct metric fake_active = { .name = "http.server.active_requests",
					   .unit = "{request}",
					   .kind = METRIC_GAUGE };

static const struct workload fake_shop = {
	.cgroup_id = 1,
	.cgroup = "/kubepods/pod1/c1",
	.service_name = "shop",
	.runtime = "containerd",
	.container_id = "1111111111112222222222223333333333334444444444445555555555556666",
	.container_name = "shop",
	.pod_uid = "8b1e2c5a-0f3d-4c6b-9a7e-112233445566",
	.pod_qos = "burstable",
	.pod_name = "shop-7d9",
	.namespace_name = "prod",
};
static const struct workload fake_plain = {
	.cgroup_id = 2,
	.cgroup = "/user.slice/run",
	.service_name = "run",
	.runtime = "",
	.container_id = "",
	.container_name = "",
	.pod_uid = "",
	.pod_qos = "",
	.pod_name = "",
	.namespace_name = "",
};

struct fake {
	struct snapshot snap;
	struct point points[FAKE_POINTS_MAX];
};

static inline void fake_init(struct fake *fake, __u64 time_ns)
{
	memset(fake, 0, sizeof(*fake));
	fake->snap.refs = 1;
	fake->snap.time_ns = time_ns;
	fake->snap.time_unix_ns = 1700000000ull * 1000000000 + time_ns;
	fake->snap.points = fake->points;
}

static inline void fake_done(struct fake *fake)
{
	for (size_t i = 0; i < fake->snap.points_count; i++)
		if (fake->points[i].metric->kind == METRIC_HIST)
			hist_done(&fake->points[i].hist);
}

static inline struct point *fake_point(struct fake *fake, const struct metric *metric, const struct workload *who,
				       __u64 cgroup_id)
{
	struct point *point = &fake->points[fake->snap.points_count++];

	assert(fake->snap.points_count <= FAKE_POINTS_MAX);
	point->metric = metric;
	point->who = who;
	point->cgroup_id = cgroup_id;
	return point;
}

static inline void fake_attr(struct point *point, const char *key, const char *text)
{
	struct attr *attr = &point->attrs[point->attrs_count++];

	attr->key = key;
	attr->type = ATTR_STR;
	attr->str = text;
}

/* @count requests of @ms each. @route, @error may be NULL. */
static inline struct point *fake_requests(struct fake *fake, const struct metric *metric, const struct workload *who,
					  __u64 cgroup_id, const char *route, const char *error, unsigned count,
					  __u64 ms)
{
	struct point *point = fake_point(fake, metric, who, cgroup_id);

	if (route)
		fake_attr(point, "http.route", route);
	if (error)
		fake_attr(point, "error.type", error);
	for (unsigned i = 0; i < count; i++) {
		int err = hist_add(&point->hist, ms * FAKE_MS);

		assert(!err);
		(void)err;
	}
	return point;
}

#endif
