/* Any bytes as a path: the route is bounded, valid UTF-8, printable and stable, and the set of routes keeps its bound. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "model/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define PER_CGROUP 16

static void route_check(const char *route, size_t bytes)
{
	if (!bytes || bytes >= ROUTE_BYTES_MAX || strlen(route) != bytes || !utf8_valid(route, bytes))
		abort();
	for (size_t i = 0; i < bytes; i++)
		if ((unsigned char)route[i] < 0x20 || route[i] == 0x7f || route[i] == '?' || route[i] == '#')
			abort();
	if (*route != '/' && strcmp(route, ROUTE_OTHER))
		abort();
}

/* The first byte chooses, the second is the length of a pattern, then the pattern, then the path. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct routes *plain; /* lives on: its bound must hold over all inputs */
	struct routes_options options = { .per_cgroup_max = PER_CGROUP };
	char once[ROUTE_BYTES_MAX], twice[ROUTE_BYTES_MAX], pattern[256];
	const char *patterns[] = { pattern, NULL };
	struct routes *routes = NULL;
	const char *path, *route;
	size_t pattern_bytes;
	bool cut;

	if (bytes < 2)
		return 0;
	cut = data[0] & 1;
	pattern_bytes = data[1] < bytes - 2 ? data[1] : bytes - 2;
	memcpy(pattern, data + 2, pattern_bytes);
	pattern[pattern_bytes] = '\0';
	path = (const char *)data + 2 + pattern_bytes;
	bytes -= 2 + pattern_bytes;

	route_check(once, route_normalise(path, bytes, cut, once));
	if (*once == '/') {
		route_check(twice, route_normalise(once, strlen(once), false, twice));
		if (strcmp(once, twice))
			abort();
	}

	if (!plain && routes_new(&options, &plain, NULL))
		return 0;
	route = routes_find(plain, 1, path, bytes, cut);
	route_check(route, strlen(route));
	if (strcmp(route, once) && strcmp(route, ROUTE_OTHER))
		abort();
	if (routes_find(plain, 1, path, bytes, cut) != route || routes_count(plain, 1) > PER_CGROUP)
		abort();

	options.patterns = patterns;
	if (data[0] & 2 || routes_new(&options, &routes, NULL))
		return 0;
	route = routes_find(routes, 1, path, bytes, cut);
	/* ROUTE_OTHER: many patterns have filled the table of interned strings. */
	if (strcmp(route, pattern) && strcmp(route, once) && strcmp(route, ROUTE_OTHER))
		abort();
	routes_free(routes);
	return 0;
}
