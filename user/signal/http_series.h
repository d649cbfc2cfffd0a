/* Which series an HTTP exchange belongs to: route, attributes, and the label under which the kernel half counts the same
 * combination by itself. A look-up that repeats costs one probe of a small cache; everything is bounded. */
#ifndef WEIR_SIGNAL_HTTP_SERIES_H
#define WEIR_SIGNAL_HTTP_SERIES_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "http.h"
#include "model/aggregate.h"
#include "model/request_line.h"
#include "model/route.h"

struct http_lookup;
struct why;

extern const struct metric http_server_duration, http_client_duration, http_server_io, http_client_io;

#define HTTP_LABELS_MAX 8192

/* Where one kind of exchange is counted. */
struct http_series {
	struct series *duration;
	struct series *request, *response; /* their bodies; made when the first byte comes */
	__u64 cgroup_id;
	__u8 role;
};

/* An event, looked up. Borrowed until the next http_lookup_forget(). */
struct http_found {
	struct http_series series;
	const char *route; /* interned; NULL: not known, or off */
	__u32 label;	   /* HTTP_LABEL_NONE: there is none */
	__u64 labelled_ns; /* when the caller told the kernel half, 0: not yet; the caller's to write */
};

int http_lookup_new(struct aggregate *aggregate, const struct routes_options *routes, __u64 start_ns,
		    struct http_lookup **ret, struct why *why);
void http_lookup_free(struct http_lookup *l);

struct http_found *http_lookup_event(struct http_lookup *l, const struct http_event *e);
/* For an entry of the in-kernel table. False: its label is not (or no longer) known, the route is lost. */
bool http_lookup_key(struct http_lookup *l, const struct http_key *key, struct http_series *ret);
/* Bytes of the bodies, under the direction that they have for the container. */
void http_series_add_bytes(const struct http_lookup *l, struct http_series *series, __u64 request_bytes,
			   __u64 response_bytes);
/* The cgroup's routes and labels go, and every struct http_found. */
void http_lookup_forget(struct http_lookup *l, __u64 cgroup_id);

unsigned http_lookup_labels(const struct http_lookup *l); /* in use */
size_t http_lookup_bytes(const struct http_lookup *l);
__u64 http_lookup_route_overflow(const struct http_lookup *l);

/* The path of the request as it came, without query; false: there is none. @ret_cut: more of it may follow. */
bool http_event_path(const struct http_event *e, struct slice *ret, bool *ret_cut);
/* What a person reads in its place: the path, or "*", or CONNECT's host:port; false: nothing. */
bool http_event_target(const struct http_event *e, struct slice *ret);
const char *http_method_name(__u8 method); /* "_OTHER" when not one of ours */
const char *http_version_name(__u8 version);
/* error.type of an exchange, interned or static; NULL: it is no error for that role. */
const char *http_error_type(__u8 role, __u8 error, __u16 status);

#endif
