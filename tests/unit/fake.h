/* A snapshot made by hand, with awkward names in it, for tests of what shows snapshots. */
#ifndef WEIR_TESTS_UNIT_FAKE_H
#define WEIR_TESTS_UNIT_FAKE_H

#include <stdlib.h>
#include <string.h>

#include "model/snapshot.h"

#define FAKE_ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct metric fake_duration = {
	.name = "http.server.request.duration",
	.unit = "s",
	.text = "Duration of HTTP requests served, by back\\slash and\nnewline.",
	.kind = METRIC_HIST,
	.scale = 1e-9,
};
static const struct metric fake_wait = {
	.name = "weir.wait", .unit = "s", .text = "Wait.", .kind = METRIC_HIST, .bounds = HIST_BOUNDS_SHORT
};
static const struct metric fake_body = {
	.name = "http.server.request.body.size", .unit = "By", .text = "Bytes.", .kind = METRIC_SUM
};
static const struct metric fake_cpu = {
	.name = "process.cpu.time", .unit = "s", .text = "CPU.", .kind = METRIC_SUM, .scale = 1e-9
};
static const struct metric fake_lost = {
	.name = "weir.signal.lost", .unit = "{event}", .text = "Lost.", .kind = METRIC_SUM
};
static const struct metric fake_active = { .name = "http.server.active_requests",
					   .unit = "{request}",
					   .text = "In flight.",
					   .kind = METRIC_GAUGE,
					   .updown = true };
static const struct metric fake_load = {
	.name = "weir.loop.load", .unit = "1", .text = "Load.", .kind = METRIC_GAUGE, .scale = 0.25
};

/* Strings are literals, so nobody frees anything: refs stays 0. */
static const struct workload fake_pod = {
	.cgroup_id = 42,
	.cgroup = "/kubepods.slice/cri-containerd-" FAKE_ID ".scope",
	.service_name = "cart",
	.runtime = "containerd",
	.container_id = FAKE_ID,
	.container_name = "cart",
	.pod_uid = "11111111-2222-3333-4444-555555555555",
	.pod_qos = "burstable",
	.pod_name = "cart-7d9",
	.namespace_name = "shop",
};
/* Two plain processes in cgroups of the same last name, which is as bad as a name can be. */
#define FAKE_ODD "\"od\\d\"\n\xc3\xa9{}"
static const struct workload fake_odd1 = {
	.cgroup_id = 43,
	.cgroup = "/a/" FAKE_ODD,
	.service_name = FAKE_ODD,
	.runtime = "",
	.container_id = "",
	.container_name = "",
	.pod_uid = "",
	.pod_qos = "",
	.pod_name = "",
	.namespace_name = "",
};
static const struct workload fake_odd2 = {
	.cgroup_id = 44,
	.cgroup = "/b/" FAKE_ODD,
	.service_name = FAKE_ODD,
	.runtime = "",
	.container_id = "",
	.container_name = "",
	.pod_uid = "",
	.pod_qos = "",
	.pod_name = "",
	.namespace_name = "",
};

static inline struct point *fake_point(struct snapshot *snap, const struct metric *metric, const struct workload *who)
{
	struct point *point = &snap->points[snap->points_count++];

	point->metric = metric;
	point->who = who;
	point->cgroup_id = who ? who->cgroup_id : 0;
	point->start_ns = snap->start_ns + snap->points_count;
	return point;
}

static inline void fake_str(struct point *point, const char *key, const char *value)
{
	point->attrs[point->attrs_count++] = (struct attr){ .key = key, .type = ATTR_STR, .str = value };
}

static inline void fake_int(struct point *point, const char *key, __s64 value)
{
	point->attrs[point->attrs_count++] = (struct attr){ .key = key, .type = ATTR_INT, .num = value };
}

/* One request of each duration. */
static inline struct point *fake_request(struct snapshot *snap, const struct workload *who, const char *method,
					 __s64 status, const __u64 *durations, unsigned count)
{
	struct point *point = fake_point(snap, &fake_duration, who);

	fake_str(point, "http.request.method", method);
	fake_int(point, "http.response.status_code", status);
	fake_str(point, "url.scheme", "http");
	for (unsigned i = 0; i < count; i++)
		if (hist_add(&point->hist, durations[i]))
			abort();
	return point;
}

#define FAKE_POINTS 9
/* 5 ms is a boundary, 250 s is above all, 1 us below all. */
static const __u64 fake_durations[] = { 5000000, 5000001, 1000, 30000000, 250000000000 };

static inline struct snapshot *fake_snapshot(void)
{
	struct snapshot *snap = snapshot_new(FAKE_POINTS);
	struct point *point;

	if (!snap)
		abort();
	snap->start_ns = 1000000000;
	snap->time_ns = 61000000000;
	snap->time_unix_ns = 1700000061000000000;
	fake_point(snap, &fake_cpu, NULL)->sum = 1234567890;
	fake_point(snap, &fake_load, NULL)->gauge = -3;
	point = fake_point(snap, &fake_lost, NULL);
	fake_str(point, "signal", "http");
	point->sum = 18446744073709551557ull >> 2; /* larger than a double can hold exactly */
	fake_point(snap, &fake_active, &fake_odd1)->gauge = -2;
	fake_request(snap, &fake_odd1, "GET", 200, fake_durations, 1);
	fake_request(snap, &fake_odd2, "GET", 200, fake_durations, 2);
	fake_point(snap, &fake_body, &fake_pod)->sum = 77;
	fake_request(snap, &fake_pod, "GET", 200, fake_durations, 5);
	fake_request(snap, &fake_pod, "POST", 503, NULL, 0);
	return snap;
}

#endif
