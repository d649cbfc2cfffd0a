#include "signal/http_series.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "base/why.h"
#include "model/address.h"
#include "model/intern.h"

const struct metric http_server_duration = {
	.name = "http.server.request.duration",
	.unit = "s",
	.text = "From the first byte of a request to the last byte of its response, at the server's socket.",
	.kind = METRIC_HIST,
	.scale = 1e-9,
};
const struct metric http_client_duration = {
	.name = "http.client.request.duration",
	.unit = "s",
	.text = "From the first byte of a request to the last byte of its response, at the client's socket.",
	.kind = METRIC_HIST,
	.scale = 1e-9,
};
const struct metric http_server_io = {
	.name = "weir.http.server.io",
	.unit = "By",
	.text = "Bodies of requests received and of responses sent, without chunk framing.",
	.kind = METRIC_SUM,
};
const struct metric http_client_io = {
	.name = "weir.http.client.io",
	.unit = "By",
	.text = "Bodies of requests sent and of responses received, without chunk framing.",
	.kind = METRIC_SUM,
};

static const char *const method_names[HTTP_METHOD_MAX] = {
	[HTTP_METHOD_OTHER] = "_OTHER",	   [HTTP_METHOD_GET] = "GET",	  [HTTP_METHOD_HEAD] = "HEAD",
	[HTTP_METHOD_POST] = "POST",	   [HTTP_METHOD_PUT] = "PUT",	  [HTTP_METHOD_DELETE] = "DELETE",
	[HTTP_METHOD_OPTIONS] = "OPTIONS", [HTTP_METHOD_PATCH] = "PATCH", [HTTP_METHOD_TRACE] = "TRACE",
	[HTTP_METHOD_CONNECT] = "CONNECT", [HTTP_METHOD_QUERY] = "QUERY",
};

static const char *const version_names[HTTP_VERSION_MAX] = {
	[HTTP_VERSION_1_0] = "1.0",
	[HTTP_VERSION_1_1] = "1.1",
};

static const char *const error_names[HTTP_ERROR_MAX] = {
	[HTTP_ERROR_CLOSED] = "connection_closed",
	[HTTP_ERROR_RESET] = "connection_reset",
	[HTTP_ERROR_TIMEOUT] = "connection_timeout",
	[HTTP_ERROR_MALFORMED] = "malformed_response",
};

/* Attribute keys and fixed values, interned once. */
struct names {
	const char *method, *scheme, *status, *route, *template, *version, *error, *address, *port, *direction,
		*overflow;
	const char *http, *receive, *transmit, *yes;
	const char *methods[HTTP_METHOD_MAX], *versions[HTTP_VERSION_MAX];
};

/* What the kernel half calls by one number. */
struct label {
	__u64 cgroup_id;
	const char *route;   /* interned or NULL */
	const char *address; /* of the server, for clients; interned or NULL */
	__u16 port;
	__u8 role;
	bool used;
	__u16 generation; /* counts the uses of this place: a number handed out before means nothing any more */
	__u32 next_free;  /* index + 1 */
};

#define CACHE_SLOTS 512 /* a power of two; a miss costs about a microsecond */

struct cached {
	__u64 cgroup_id, path_hash;
	__u64 rest; /* status, method, role, version, error */
	struct http_found found;
};

struct http_lookup {
	struct aggregate *aggregate;
	struct routes *routes;
	__u64 start_ns;
	struct names names;
	struct label *labels;
	unsigned labels_count, labels_cap; /* count: places ever used */
	unsigned labels_used;
	__u32 free_label; /* index + 1 */
	struct map labels_map;
	struct cached cache[CACHE_SLOTS];
};

/* ---- names */

const char *http_method_name(__u8 method)
{
	return method_names[method < HTTP_METHOD_MAX ? method : HTTP_METHOD_OTHER];
}

const char *http_version_name(__u8 version)
{
	return version_names[version < HTTP_VERSION_MAX ? version : HTTP_VERSION_1_1];
}

/* A transport error explains more than the status that came before it. */
const char *http_error_type(__u8 role, __u8 error, __u16 status)
{
	char text[8];

	if (error > HTTP_ERROR_NONE && error < HTTP_ERROR_MAX)
		return error_names[error];
	if (status < (role == HTTP_ROLE_CLIENT ? 400 : 500))
		return NULL;
	snprintf(text, sizeof(text), "%u", status);
	return intern_str(text);
}

bool http_event_path(const struct http_event *e, struct slice *ret, bool *ret_cut)
{
	struct request_line line;

	if (request_line_parse(e->line, e->line_bytes, &line) ||
	    (line.form != TARGET_ORIGIN && line.form != TARGET_ABSOLUTE))
		return false;
	*ret = line.path;
	/* The kernel half keeps no more than the path: that the line ends there says nothing. */
	*ret_cut = line.path_cut && e->flags & HTTP_FLAG_LINE_CUT;
	return true;
}

bool http_event_target(const struct http_event *e, struct slice *ret)
{
	struct request_line line;

	if (request_line_parse(e->line, e->line_bytes, &line))
		return false;
	switch (line.form) {
	case TARGET_NONE:
		return false;
	case TARGET_ORIGIN:
	case TARGET_ABSOLUTE:
		*ret = line.path;
		return true;
	case TARGET_AUTHORITY:
		*ret = line.authority;
		return true;
	case TARGET_ASTERISK:
	case TARGET_OTHER:
		*ret = line.target;
		return true;
	}
	return false;
}

static void names_init(struct names *n)
{
	*n = (struct names){
		.method = intern_str("http.request.method"),
		.scheme = intern_str("url.scheme"),
		.status = intern_str("http.response.status_code"),
		.route = intern_str("http.route"),
		.template = intern_str("url.template"),
		.version = intern_str("network.protocol.version"),
		.error = intern_str("error.type"),
		.address = intern_str("server.address"),
		.port = intern_str("server.port"),
		.direction = intern_str("network.io.direction"),
		.overflow = intern_str("otel.metric.overflow"),
		.http = intern_str("http"),
		.receive = intern_str("receive"),
		.transmit = intern_str("transmit"),
		.yes = intern_str("true"),
	};
	for (int i = 0; i < HTTP_METHOD_MAX; i++)
		n->methods[i] = intern_str(method_names[i]);
	for (int i = 0; i < HTTP_VERSION_MAX; i++)
		n->versions[i] = intern_str(version_names[i]);
}

/* ---- labels */

static __u64 label_hash(const struct label *l)
{
	return hash_mix(hash_mix(l->cgroup_id, (__u64)(uintptr_t)l->route),
			hash_mix((__u64)(uintptr_t)l->address, (__u64)l->port << 8 | l->role));
}

static bool label_same(const void *item, const void *key)
{
	const struct label *a = item, *b = key;

	return a->cgroup_id == b->cgroup_id && a->route == b->route && a->address == b->address && a->port == b->port &&
	       a->role == b->role;
}

/* Never HTTP_LABEL_NONE; says the use of a place too. */
static __u32 label_number(const struct http_lookup *l, const struct label *label)
{
	return (__u32)label->generation << 16 | (__u32)(label - l->labels + 1);
}

static struct label *label_of_number(const struct http_lookup *l, __u32 number)
{
	__u32 index = (number & 0xffff) - 1;
	struct label *label;

	if (index >= l->labels_count)
		return NULL;
	label = &l->labels[index];
	return label->used && label->generation == number >> 16 ? label : NULL;
}

/* All places at once, so that the map may hold pointers to them: pages that are not used are not resident. */
static int labels_reserve(struct http_lookup *l)
{
	if (l->labels)
		return 0;
	l->labels = calloc(HTTP_LABELS_MAX, sizeof(*l->labels));
	l->labels_cap = l->labels ? HTTP_LABELS_MAX : 0;
	return l->labels ? 0 : -ENOMEM;
}

static __u32 label_get(struct http_lookup *l, const struct label *wanted)
{
	__u64 hash = label_hash(wanted);
	struct label *label;
	__u16 generation;

	label = map_find(&l->labels_map, hash, label_same, wanted);
	if (label)
		return label_number(l, label);
	if (labels_reserve(l))
		return HTTP_LABEL_NONE;
	if (l->free_label)
		label = &l->labels[l->free_label - 1];
	else if (l->labels_count < l->labels_cap)
		label = &l->labels[l->labels_count];
	else
		return HTTP_LABEL_NONE;
	if (map_add(&l->labels_map, hash, label))
		return HTTP_LABEL_NONE;
	if (l->free_label)
		l->free_label = label->next_free;
	else
		l->labels_count++;
	generation = label->generation + 1;
	*label = *wanted;
	label->used = true;
	label->generation = generation;
	l->labels_used++;
	return label_number(l, label);
}

static void labels_forget(struct http_lookup *l, __u64 cgroup_id)
{
	for (unsigned i = 0; i < l->labels_count; i++) {
		struct label *label = &l->labels[i];

		if (!label->used || label->cgroup_id != cgroup_id)
			continue;
		map_del(&l->labels_map, label_hash(label), label);
		label->used = false;
		label->next_free = l->free_label;
		l->free_label = i + 1;
		l->labels_used--;
	}
}

/* ---- series */

static void attr_str(struct attr *attrs, unsigned *count, const char *key, const char *value)
{
	attrs[(*count)++] = (struct attr){ .key = key, .type = ATTR_STR, .str = value };
}

static void attr_int(struct attr *attrs, unsigned *count, const char *key, __s64 value)
{
	attrs[(*count)++] = (struct attr){ .key = key, .type = ATTR_INT, .num = value };
}

static struct series *io_series(const struct http_lookup *l, const struct http_series *series, const char *direction)
{
	struct attr attr = { .key = l->names.direction, .type = ATTR_STR, .str = direction };

	return aggregate_series(l->aggregate, series->role == HTTP_ROLE_CLIENT ? &http_client_io : &http_server_io,
				series->cgroup_id, &attr, 1, l->start_ns);
}

void http_series_add_bytes(const struct http_lookup *l, struct http_series *series, __u64 request_bytes,
			   __u64 response_bytes)
{
	bool client = series->role == HTTP_ROLE_CLIENT;

	if (request_bytes && !series->request)
		series->request = io_series(l, series, client ? l->names.transmit : l->names.receive);
	if (request_bytes)
		series_add(series->request, request_bytes);
	if (response_bytes && !series->response)
		series->response = io_series(l, series, client ? l->names.receive : l->names.transmit);
	if (response_bytes)
		series_add(series->response, response_bytes);
}

/* @label: what is known of route and address; only role and cgroup_id are always there. */
static void series_find(const struct http_lookup *l, const struct http_key *key, const struct label *label,
			struct http_series *ret)
{
	bool client = key->role == HTTP_ROLE_CLIENT;
	const char *error = http_error_type(key->role, key->error, key->status);
	const struct names *n = &l->names;
	struct attr attrs[ATTRS_MAX];
	unsigned count = 0;

	attr_str(attrs, &count, n->method, n->methods[key->method < HTTP_METHOD_MAX ? key->method : 0]);
	if (label->address) {
		attr_str(attrs, &count, n->address, label->address);
		attr_int(attrs, &count, n->port, label->port);
	}
	attr_str(attrs, &count, n->scheme, n->http);
	if (key->status)
		attr_int(attrs, &count, n->status, key->status);
	if (label->route)
		attr_str(attrs, &count, client ? n->template : n->route, label->route);
	attr_str(attrs, &count, n->version, n->versions[key->version < HTTP_VERSION_MAX ? key->version : 1]);
	if (error)
		attr_str(attrs, &count, n->error, intern_str(error));
	*ret = (struct http_series){ .cgroup_id = key->cgroup_id, .role = key->role };
	ret->duration = aggregate_series(l->aggregate, client ? &http_client_duration : &http_server_duration,
					 key->cgroup_id, attrs, count, l->start_ns);
}

/* Entries for which the kernel had no room of their own: everything about them is lost but that they were. */
static void series_overflow(const struct http_lookup *l, struct http_series *ret)
{
	struct attr attr = { .key = l->names.overflow, .type = ATTR_STR, .str = l->names.yes };

	*ret = (struct http_series){
		.duration = aggregate_series(l->aggregate, &http_server_duration, 0, &attr, 1, l->start_ns),
		.request = aggregate_series(l->aggregate, &http_server_io, 0, &attr, 1, l->start_ns),
	};
	ret->response = ret->request;
}

/* ---- the look-up */

int http_lookup_new(struct aggregate *aggregate, const struct routes_options *routes, __u64 start_ns,
		    struct http_lookup **ret, struct why *why)
{
	struct http_lookup *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return why_set(why, -ENOMEM, "no memory");
	l->aggregate = aggregate;
	l->start_ns = start_ns;
	names_init(&l->names);
	err = routes_new(routes, &l->routes, why);
	if (err) {
		http_lookup_free(l);
		return err;
	}
	*ret = l;
	return 0;
}

void http_lookup_free(struct http_lookup *l)
{
	if (!l)
		return;
	routes_free(l->routes);
	map_done(&l->labels_map);
	free(l->labels);
	free(l);
}

static void event_find(struct http_lookup *l, const struct http_event *e, struct http_found *ret)
{
	struct http_key key = {
		.cgroup_id = e->hdr.cgroup_id,
		.status = e->status,
		.method = e->method,
		.role = e->role,
		.version = e->version,
		.error = e->error,
	};
	struct label label = { .cgroup_id = e->hdr.cgroup_id, .role = e->role };
	char address[ADDRESS_ROOM];
	struct slice path;
	bool cut;

	if (http_event_path(e, &path, &cut))
		label.route = routes_find(l->routes, e->hdr.cgroup_id, path.data, path.bytes, cut);
	if (e->role == HTTP_ROLE_CLIENT) {
		label.address = intern_str(address_text(e->peer, address));
		label.port = e->peer_port;
	}
	*ret = (struct http_found){ .route = label.route, .label = label_get(l, &label) };
	series_find(l, &key, &label, &ret->series);
}

struct http_found *http_lookup_event(struct http_lookup *l, const struct http_event *e)
{
	__u64 rest = (__u64)e->status << 32 | (__u64)e->method << 24 | (__u64)e->role << 16 | (__u64)e->version << 8 |
		     e->error;
	__u64 hash = hash_mix(hash_mix(e->hdr.cgroup_id, e->path_hash), rest);
	struct cached *c = &l->cache[hash & (CACHE_SLOTS - 1)];

	if (!c->found.series.duration || c->cgroup_id != e->hdr.cgroup_id || c->path_hash != e->path_hash ||
	    c->rest != rest) {
		c->cgroup_id = e->hdr.cgroup_id;
		c->path_hash = e->path_hash;
		c->rest = rest;
		event_find(l, e, &c->found);
	}
	return &c->found;
}

bool http_lookup_key(struct http_lookup *l, const struct http_key *key, struct http_series *ret)
{
	const struct label *label = label_of_number(l, key->label);
	struct label unknown = { .cgroup_id = key->cgroup_id, .role = key->role };

	if (key->role == HTTP_ROLE_NONE) {
		series_overflow(l, ret);
		return false;
	}
	/* A hash can mix up paths of one container; that it does so across roles is refused here. */
	if (label && (label->cgroup_id != key->cgroup_id || label->role != key->role))
		label = NULL;
	series_find(l, key, label ? label : &unknown, ret);
	return label;
}

void http_lookup_forget(struct http_lookup *l, __u64 cgroup_id)
{
	memset(l->cache, 0, sizeof(l->cache));
	labels_forget(l, cgroup_id);
	routes_forget(l->routes, cgroup_id);
}

unsigned http_lookup_labels(const struct http_lookup *l)
{
	return l->labels_used;
}

size_t http_lookup_bytes(const struct http_lookup *l)
{
	return sizeof(*l) + l->labels_count * sizeof(*l->labels) + map_bytes(&l->labels_map) +
	       routes_used_bytes(l->routes);
}

__u64 http_lookup_route_overflow(const struct http_lookup *l)
{
	return routes_overflowed(l->routes);
}
