#include "signal/http_stopped.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/why.h"
#include "control.h"
#include "http.h"
#include "kernel/drain.h"
#include "model/slots.h"

const struct metric http_server_stopped = {
	.name = "weir.http.server.stopped.duration",
	.unit = "s",
	.text = "Part of a request's duration for which the JVM that served it stood still, of those where there was any.",
	.kind = METRIC_HIST,
	.scale = 1e-9,
};
const struct metric http_client_stopped = {
	.name = "weir.http.client.stopped.duration",
	.unit = "s",
	.text = "Part of a request's duration for which the JVM that made it stood still, of those where there was any.",
	.kind = METRIC_HIST,
	.scale = 1e-9,
};

/* What was taken over of one entry. */
struct taken {
	struct slots slots;
	__u64 sum_ns;
	struct series *series;
};

struct http_stopped_series {
	struct http_stopped_options options;
	struct drain *drain;
};

static struct taken *taken_new(const struct http_stopped_series *s, const struct http_stopped_key *key)
{
	struct taken *t = calloc(1, sizeof(*t));

	if (t)
		t->series =
			aggregate_series(s->options.aggregate,
					 key->role == HTTP_ROLE_CLIENT ? &http_client_stopped : &http_server_stopped,
					 key->cgroup_id, NULL, 0, s->options.start_ns);
	return t;
}

static void stopped_entry(void *arg, const void *key, const void *value, void **mine)
{
	const struct http_stopped_series *s = arg;
	const struct http_stopped *now = value;
	struct taken *t = *mine;
	__u32 new[HIST_SLOTS];

	if (!t)
		*mine = t = taken_new(s, key);
	if (!t || !slots_take(&t->slots, now->slots, new))
		return;
	series_add_slots(t->series, new, now->sum_ns - t->sum_ns,
			 now->max_interval == s->options.control->interval ? now->max_ns : 0);
	t->sum_ns = now->sum_ns;
}

static void stopped_forget(void *arg, void *mine)
{
	struct taken *t = mine;

	if (t)
		slots_done(&t->slots);
	free(t);
}

int http_stopped_new(const struct http_stopped_options *options, struct http_stopped_series **ret, struct why *why)
{
	struct http_stopped_series *s = calloc(1, sizeof(*s));
	const struct drain_options drain = {
		.map_fd = bpf_map__fd(options->map),
		.key_bytes = sizeof(struct http_stopped_key),
		.value_bytes = sizeof(struct http_stopped),
		.entries_max = bpf_map__max_entries(options->map),
		.unlocked = true,
		.entry = stopped_entry,
		.forget = stopped_forget,
		.arg = s,
	};

	if (!s)
		return why_set(why, -ENOMEM, "no memory");
	s->options = *options;
	s->drain = drain_new(&drain);
	if (!s->drain) {
		free(s);
		return why_set(why, -ENOMEM, "no memory");
	}
	*ret = s;
	return 0;
}

void http_stopped_free(struct http_stopped_series *s)
{
	if (!s)
		return;
	drain_free(s->drain);
	free(s);
}

int http_stopped_read(struct http_stopped_series *s)
{
	int count = drain_read(s->drain);

	return count < 0 ? count : 0;
}

static bool key_of_cgroup(const void *key, const void *cgroup_id)
{
	return ((const struct http_stopped_key *)key)->cgroup_id == *(const __u64 *)cgroup_id;
}

void http_stopped_forget(struct http_stopped_series *s, __u64 cgroup_id)
{
	drain_delete(s->drain, key_of_cgroup, &cgroup_id);
}

unsigned http_stopped_used(const struct http_stopped_series *s)
{
	return drain_count(s->drain);
}

size_t http_stopped_bytes(const struct http_stopped_series *s)
{
	return drain_count(s->drain) * (sizeof(struct http_stopped_key) + sizeof(struct http_stopped) + 48) +
	       drain_used_bytes(s->drain);
}
