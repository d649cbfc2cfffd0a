#include "signal/http_active.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "base/why.h"
#include "http.h"
#include "kernel/iter.h"
#include "model/intern.h"

/* Groups of cgroup and role; what is beyond is not shown. */
#define GROUPS_MAX 8192

const struct metric http_server_active = {
	.name = "http.server.active_requests",
	.unit = "{request}",
	.text = "Requests received whose response has not ended.",
	.kind = METRIC_GAUGE,
	.updown = true,
};
const struct metric http_client_active = {
	.name = "http.client.active_requests",
	.unit = "{request}",
	.text = "Requests sent whose response has not ended.",
	.kind = METRIC_GAUGE,
	.updown = true,
};

struct group {
	__u64 cgroup_id;
	__u32 role;
	__s64 count;
	struct series *series;
};

struct http_active {
	struct bpf_link *link;
	struct aggregate *aggregate;
	__u64 start_ns;
	struct attr scheme;
	struct map groups;
};

static __u64 group_hash(const struct http_inflight *row)
{
	return hash_mix(row->cgroup_id, row->role);
}

static bool group_same(const void *item, const void *key)
{
	const struct http_inflight *row = key;
	const struct group *g = item;

	return g->cgroup_id == row->cgroup_id && g->role == row->role;
}

int http_active_new(struct bpf_program *prog, int map_fd, struct aggregate *aggregate, __u64 start_ns,
		    struct http_active **ret, struct why *why)
{
	struct http_active *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return why_set(why, -ENOMEM, "no memory");
	err = iter_attach(prog, map_fd, &a->link, why);
	if (err) {
		free(a);
		return err;
	}
	a->aggregate = aggregate;
	a->start_ns = start_ns;
	a->scheme = (struct attr){ .key = intern_str("url.scheme"), .type = ATTR_STR, .str = intern_str("http") };
	*ret = a;
	return 0;
}

void http_active_free(struct http_active *a)
{
	struct group *g;
	size_t pos = 0;

	if (!a)
		return;
	while ((g = map_next(&a->groups, &pos)))
		free(g);
	map_done(&a->groups);
	bpf_link__destroy(a->link);
	free(a);
}

static struct group *group_new(struct http_active *a, const struct http_inflight *row)
{
	struct group *g;

	if (a->groups.count >= GROUPS_MAX)
		return NULL;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->cgroup_id = row->cgroup_id;
	g->role = row->role;
	g->series = aggregate_series(a->aggregate,
				     row->role == HTTP_ROLE_CLIENT ? &http_client_active : &http_server_active,
				     row->cgroup_id, &a->scheme, 1, a->start_ns);
	if (map_add(&a->groups, group_hash(row), g)) {
		free(g);
		return NULL;
	}
	return g;
}

static void http_active_add(struct http_active *a, const struct http_inflight *row)
{
	struct group *g = map_find(&a->groups, group_hash(row), group_same, row);

	if (!g)
		g = group_new(a, row);
	if (g)
		g->count += row->count;
}

void http_active_show(struct http_active *a, __u64 cgroup_id, __u32 role)
{
	const struct http_inflight row = { .cgroup_id = cgroup_id, .role = role };

	http_active_add(a, &row);
}

static void http_active_row(void *arg, const void *row)
{
	http_active_add(arg, row);
}

int http_active_sample(struct http_active *a)
{
	struct group *g;
	size_t pos = 0;
	int err;

	while ((g = map_next(&a->groups, &pos)))
		g->count = 0;
	err = iter_run(a->link, sizeof(struct http_inflight), http_active_row, a);
	pos = 0;
	while ((g = map_next(&a->groups, &pos)))
		series_set(g->series, g->count);
	return err;
}

void http_active_forget(struct http_active *a, __u64 cgroup_id)
{
	for (__u32 role = HTTP_ROLE_SERVER; role <= HTTP_ROLE_CLIENT; role++) {
		struct http_inflight row = { .cgroup_id = cgroup_id, .role = role };
		struct group *g = map_find(&a->groups, group_hash(&row), group_same, &row);

		if (!g)
			continue;
		map_del(&a->groups, group_hash(&row), g);
		free(g);
	}
}
