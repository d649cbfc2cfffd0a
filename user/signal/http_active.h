/* Requests in flight: counted by walking the connections when somebody asks, at no cost to the traffic. */
#ifndef WEIR_SIGNAL_HTTP_ACTIVE_H
#define WEIR_SIGNAL_HTTP_ACTIVE_H

#include <linux/types.h>

#include "model/aggregate.h"

struct bpf_program;
struct http_active;
struct why;

extern const struct metric http_server_active, http_client_active;

/* @prog: the iterator l7_inflight, loaded; @map_fd: the socket storage it walks. */
int http_active_new(struct bpf_program *prog, int map_fd, struct aggregate *aggregate, __u64 start_ns,
		    struct http_active **ret, struct why *why);
void http_active_free(struct http_active *a); /* NULL is fine */
/* Something of @cgroup_id was counted: from now on its gauge is there, 0 when nothing is in flight. */
void http_active_show(struct http_active *a, __u64 cgroup_id, __u32 role);
/* Walks, and sets the gauges; what was in flight before and is not any more becomes 0. 0 or negative errno. */
int http_active_sample(struct http_active *a);
void http_active_forget(struct http_active *a, __u64 cgroup_id);

#endif
