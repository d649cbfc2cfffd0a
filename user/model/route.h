/* Paths into a bounded set of routes. A path is hostile bytes; a route is interned text such as "/users/{id}/orders".
 * Query and fragment are dropped, matrix parameters (";x=1") too; segments that look like an identifier (numbers, UUIDs,
 * dates, hex, long opaque tokens, e-mail addresses) become "{id}". The user's patterns are tried first.
 * A cgroup has at most per_cgroup_max routes; paths beyond share the route ROUTE_OTHER. */
#ifndef WEIR_MODEL_ROUTE_H
#define WEIR_MODEL_ROUTE_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define ROUTE_OTHER		"{other}" /* no path begins with '{', so it cannot be mistaken for one */
#define ROUTE_BYTES_MAX		160
#define ROUTE_SEGMENTS_MAX	12 /* what is deeper becomes one "*" */
#define ROUTE_SEGMENT_BYTES_MAX 64 /* a longer segment is no name: "{id}" */
#define ROUTE_PATTERNS_MAX	100
#define ROUTE_PER_CGROUP_MAX	200 /* the usual limit */

struct routes;
struct why;

struct routes_options {
	bool off; /* routes_find() answers NULL */
	/* NULL-terminated, or NULL; copied. Segments: text, {x} for any one, a star inside for any part of one; a segment
	 * that is only a star stands for any one too, and as the last segment for all that follows, nothing included. */
	const char *const *patterns;
	unsigned per_cgroup_max; /* 0: ROUTE_PER_CGROUP_MAX */
};

/* -EINVAL with the pattern at fault in @why, or -ENOMEM. */
int routes_new(const struct routes_options *options, struct routes **ret_routes, struct why *why);
void routes_free(struct routes *routes);
/* Route of @path ("" is "/"), interned; NULL when off. @cut: bytes are missing at the end. */
const char *routes_find(struct routes *routes, __u64 cgroup_id, const char *path, size_t bytes, bool cut);
void routes_forget(struct routes *routes, __u64 cgroup_id);
unsigned routes_count(const struct routes *routes, __u64 cgroup_id);
/* Paths that were given ROUTE_OTHER because their cgroup was full, since the start. */
__u64 routes_overflowed(const struct routes *routes);
/* Bytes held for all cgroups. */
size_t routes_used_bytes(const struct routes *routes);

/* The pure part: writes the route of @path without limit or pattern; valid UTF-8, terminated. Returns its bytes. */
size_t route_normalise(const char *path, size_t bytes, bool cut, char ret[ROUTE_BYTES_MAX]);

#endif
