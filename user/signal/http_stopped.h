/* For how long JVMs stood still while requests went on: what the kernel half counts of it becomes series. */
#ifndef WEIR_SIGNAL_HTTP_STOPPED_H
#define WEIR_SIGNAL_HTTP_STOPPED_H

#include <linux/types.h>
#include <stddef.h>

#include "model/aggregate.h"

struct bpf_map;
struct control;
struct http_stopped_series;
struct why;

extern const struct metric http_server_stopped, http_client_stopped;

struct http_stopped_options {
	const struct bpf_map *map; /* http_stopped, loaded */
	const struct control *control;
	struct aggregate *aggregate;
	__u64 start_ns;
};

int http_stopped_new(const struct http_stopped_options *options, struct http_stopped_series **ret, struct why *why);
void http_stopped_free(struct http_stopped_series *s); /* NULL is fine */
/* Takes over what is new. 0 or negative errno. */
int http_stopped_read(struct http_stopped_series *s);
void http_stopped_forget(struct http_stopped_series *s, __u64 cgroup_id);
unsigned http_stopped_used(const struct http_stopped_series *s); /* entries found by the last read */
size_t http_stopped_bytes(const struct http_stopped_series *s);

#endif
