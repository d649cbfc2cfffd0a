/* Routes: what is an identifier and what a name, and bounds that hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/why.h"
#include "model/intern.h"
#include "model/route.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HEX64	     "0c7b1f6d4e5a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b3c"
#define UUID	     "8b1e2c5a-0f3d-4c6b-9a7e-112233445566"

static const struct {
	const char *path, *route;
} rows[] = {
	{ "", "/" },
	{ "/", "/" },
	{ "//", "//" },
	{ "/users", "/users" },
	{ "/users/", "/users/" },
	{ "/users?id=1", "/users" },
	{ "/users#top", "/users" },
	{ "?id=1", "/" },
	{ "/users/1?x#y", "/users/{id}" },
	/* numbers */
	{ "/users/7", "/users/{id}" },
	{ "/users/00042/orders/1234567", "/users/{id}/orders/{id}" },
	{ "/t/-5", "/t/{id}" },
	{ "/sum/1,2,3", "/sum/{id}" },
	{ "/range/1-10", "/range/{id}" },
	{ "/ip/192.168.1.1", "/ip/{id}" },
	{ "/tel/+4930123456", "/tel/{id}" },
	{ "/order-12345/items", "/order-{id}/items" },
	{ "/2024/01/31", "/{id}/{id}/{id}" },
	/* versions and words with digits are names */
	{ "/v1/users", "/v1/users" },
	{ "/api/v2beta1/x", "/api/v2beta1/x" },
	{ "/api/1.0/x", "/api/1.0/x" },
	{ "/api/v1.2.3/x", "/api/v1.2.3/x" },
	{ "/oauth2/token", "/oauth2/token" },
	{ "/http2", "/http2" },
	{ "/report-2024", "/report-2024" },
	{ "/utf8/base64/sha256", "/utf8/base64/sha256" },
	/* dates */
	{ "/log/2024-01-31", "/log/{id}" },
	{ "/log/2024-01-31T12:00:00Z", "/log/{id}" },
	{ "/log/20240131", "/log/{id}" },
	{ "/log/2024-01-31.tar.gz", "/log/{id}.tar.gz" },
	/* UUIDs */
	{ "/o/" UUID, "/o/{id}" },
	{ "/o/8B1E2C5A-0F3D-4C6B-9A7E-112233445566/x", "/o/{id}/x" },
	{ "/o/user-" UUID "-draft", "/o/user-{id}-draft" },
	{ "/o/urn:uuid:" UUID, "/o/urn:uuid:{id}" },
	{ "/o/" UUID ".json", "/o/{id}.json" },
	{ "/o/%7B" UUID "%7D", "/o/%7B{id}%7D" },
	{ "/o/abcdefab-abcd-abcd-abcd-abcdefabcdef", "/o/{id}" },
	/* hex */
	{ "/c/deadbeef", "/c/deadbeef" }, /* could be a word: no digit */
	{ "/c/dead1eef", "/c/{id}" },
	{ "/c/DEADBEE5", "/c/{id}" },
	{ "/c/a1b2c3d", "/c/a1b2c3d" }, /* 7 */
	{ "/c/507f1f77bcf86cd799439011", "/c/{id}" },
	{ "/c/" HEX64, "/c/{id}" },
	{ "/c/0x52908400098527886E0F7030069857D2E4169EE7", "/c/{id}" },
	{ "/c/0x1f2e3d4c/d", "/c/{id}/d" },
	{ "/c/0x80", "/c/0x80" },
	{ "/decade/facade/cafe", "/decade/facade/cafe" },
	/* long opaque tokens */
	{ "/s/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/s/{id}" },
	{ "/s/dGhpc2lzYWxvbmdvcGFxdWU1", "/s/{id}" },
	{ "/s/dGhpc2lzYWxvbmdvcGFxdQ==", "/s/{id}" },
	{ "/s/V1StGXR8_Z5jdHi6B-myT", "/s/{id}" },
	{ "/s/abcdefghij1234567890", "/s/{id}" },
	{ "/s/abcdefghi1234567890", "/s/abcdefghi1234567890" }, /* 19 */
	{ "/s/getUserInformationByNameV2", "/s/getUserInformationByNameV2" },
	{ "/s/internationalization", "/s/internationalization" },
	{ "/s/top-10-best-restaurants-in-town", "/s/top-10-best-restaurants-in-town" },
	{ "/s/Top-10-Best-Restaurants-In-Town", "/s/Top-10-Best-Restaurants-In-Town" },
	{ "/s/hello%20world%20and%20all%20friends", "/s/hello%20world%20and%20all%20friends" },
	/* e-mail addresses, but not packages */
	{ "/u/jane.doe@example.com/inbox", "/u/{id}/inbox" },
	{ "/u/jane%40example.com", "/u/{id}" },
	{ "/npm/vue@3.2.1/dist", "/npm/vue@3.2.1/dist" },
	{ "/npm/@babel/core", "/npm/@babel/core" },
	/* static files: the hash goes, name and kind stay */
	{ "/static/app.3f9a8b7c.js", "/static/app.{id}.js" },
	{ "/static/main-4e5f6a7b8c9d.chunk.css", "/static/main-{id}.chunk.css" },
	{ "/static/jquery-3.6.0.min.js", "/static/jquery-3.6.0.min.js" },
	{ "/index.html", "/index.html" },
	{ "/favicon.ico", "/favicon.ico" },
	{ "/photos/4711.jpg", "/photos/{id}.jpg" },
	{ "/photos/7.jpg", "/photos/{id}.jpg" },
	{ "/photos/dGhpc2lzYWxvbmdvcGFxdWU1.png", "/photos/{id}.png" },
	{ "/.well-known/acme", "/.well-known/acme" },
	/* matrix parameters */
	{ "/cart;jsessionid=0A1B2C3D/items;x=1", "/cart/items" },
	/* hostile */
	{ "no-slash", ROUTE_OTHER },
	{ "/gr\xc3\xbc\xc3\x9f"
	  "e",
	  "/gr\xc3\xbc\xc3\x9f"
	  "e" },
	{ "/\xff\xfe", "/\xef\xbf\xbd\xef\xbf\xbd" },
	{ "/a\x1b[2Jb", "/a\\x1b[2Jb" },
	{ "/%00%ff", "/%00%ff" },
	{ "/../../etc/passwd", "/../../etc/passwd" },
	{ "/{id}", "/{id}" },
	{ "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "/{id}" }, /* 65: no name */
	/* deep */
	{ "/a/b/c/d/e/f/g/h/i/j/k/l", "/a/b/c/d/e/f/g/h/i/j/k/l" },
	{ "/a/b/c/d/e/f/g/h/i/j/k/l/m", "/a/b/c/d/e/f/g/h/i/j/k/l/*" },
	{ "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o", "/a/b/c/d/e/f/g/h/i/j/k/l/*" },
};

static void identifiers_are_replaced_and_names_stay(void **state)
{
	char route[ROUTE_BYTES_MAX];

	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t bytes = route_normalise(rows[i].path, strlen(rows[i].path), false, route);

		assert_int_equal(bytes, strlen(route));
		if (strcmp(route, rows[i].route))
			fail_msg("'%s' became '%s', not '%s'", rows[i].path, route, rows[i].route);
	}
}

/* A route is a route already: applied again it must not change, or the same endpoint would get two. */
static void routes_are_stable(void **state)
{
	char once[ROUTE_BYTES_MAX], twice[ROUTE_BYTES_MAX];

	for (size_t i = 0; i < COUNT(rows); i++) {
		if (*rows[i].route != '/')
			continue;
		route_normalise(rows[i].path, strlen(rows[i].path), false, once);
		route_normalise(once, strlen(once), false, twice);
		assert_string_equal(once, twice);
	}
}

static void cut_segment_becomes_a_star(void **state)
{
	static const struct {
		const char *path, *route;
	} cut[] = {
		{ "/users/12", "/users/*" },	  { "/users/", "/users/*" }, { "/users", "/*" }, { "/", "/*" },
		{ "/users/1?x=", "/users/{id}" }, { "/users#", "/users" },
	};
	char route[ROUTE_BYTES_MAX];

	for (size_t i = 0; i < COUNT(cut); i++) {
		route_normalise(cut[i].path, strlen(cut[i].path), true, route);
		assert_string_equal(route, cut[i].route);
	}
}

static void every_cut_of_every_path_is_valid_and_bounded(void **state)
{
	char route[ROUTE_BYTES_MAX];

	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t cut = 0; cut <= strlen(rows[i].path); cut++) {
			char *block = malloc(cut ? cut : 1);
			size_t bytes;

			memcpy(block, rows[i].path, cut);
			bytes = route_normalise(block, cut, true, route);
			assert_true(bytes > 0 && bytes < ROUTE_BYTES_MAX);
			assert_int_equal(bytes, strlen(route));
			assert_true(utf8_valid(route, bytes));
			free(block);
		}
}

static void long_paths_are_bounded(void **state)
{
	static char path[100000];
	char route[ROUTE_BYTES_MAX];

	for (size_t segment = 1; segment < 70; segment++) {
		for (size_t i = 0; i < sizeof(path); i++)
			path[i] = i % segment ? 'a' : '/';
		assert_true(route_normalise(path, sizeof(path), false, route) < ROUTE_BYTES_MAX);
		assert_string_equal(route + strlen(route) - 2, "/*");
	}
	memset(path, '\x01', sizeof(path));
	path[0] = '/';
	assert_true(route_normalise(path, sizeof(path), false, route) < ROUTE_BYTES_MAX);
}

static struct routes *routes_of(const char *const *patterns, unsigned max)
{
	struct routes_options options = { .patterns = patterns, .per_cgroup_max = max };
	struct routes *routes = NULL;
	struct why why = { "" };

	assert_int_equal(routes_new(&options, &routes, &why), 0);
	return routes;
}

static const char *find(struct routes *routes, __u64 cgroup_id, const char *path)
{
	return routes_find(routes, cgroup_id, path, strlen(path), false);
}

static void equal_routes_are_one_interned_string(void **state)
{
	struct routes *routes = routes_of(NULL, 0);
	const char *route = find(routes, 1, "/users/1");

	assert_ptr_equal(find(routes, 1, "/users/2?x"), route);
	assert_ptr_equal(find(routes, 2, "/users/3"), route);
	assert_ptr_equal(intern_str("/users/{id}"), route);
	assert_int_equal(routes_count(routes, 1), 1);
	assert_int_equal(routes_count(routes, 3), 0);
	routes_free(routes);
}

static void a_hundred_thousand_paths_are_two_hundred_routes_and_one_more(void **state)
{
	struct routes *routes = routes_of(NULL, 0);
	const char *first = find(routes, 1, "/first");
	size_t before, after;
	char path[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "/x%c%c%c", 'a' + i / 100, 'a' + i / 10 % 10, 'a' + i % 10);
		find(routes, 1, path);
	}
	before = intern_used_bytes();
	for (int i = 0; i < 100000; i++) {
		snprintf(path, sizeof(path), "/y%c%c%c%c%c", 'a' + i / 10000, 'a' + i / 1000 % 10, 'a' + i / 100 % 10,
			 'a' + i / 10 % 10, 'a' + i % 10);
		assert_string_equal(find(routes, 1, path), ROUTE_OTHER);
	}
	after = intern_used_bytes();
	assert_int_equal(before, after); /* foreign paths leave nothing behind */
	assert_int_equal(routes_count(routes, 1), 200);
	assert_int_equal(routes_overflowed(routes), 1000 - 199 + 100000);
	assert_ptr_equal(find(routes, 1, "/first"), first);
	assert_string_equal(find(routes, 2, "/yaaaaa"), "/yaaaaa"); /* another container is not concerned */
	assert_true(routes_used_bytes(routes) < 16384);
	routes_forget(routes, 1);
	routes_forget(routes, 1);
	assert_int_equal(routes_count(routes, 1), 0);
	assert_string_equal(find(routes, 1, "/yaaaaa"), "/yaaaaa");
	routes_free(routes);
}

static void bytes_that_are_no_path_take_no_room(void **state)
{
	struct routes *routes = routes_of(NULL, 0);

	assert_string_equal(find(routes, 1, "garbage"), ROUTE_OTHER);
	assert_int_equal(routes_count(routes, 1), 0);
	assert_int_equal(routes_overflowed(routes), 0);
	routes_free(routes);
}

static void off_means_no_route(void **state)
{
	struct routes_options options = { .off = true };
	struct routes *routes;

	assert_int_equal(routes_new(&options, &routes, NULL), 0);
	assert_null(find(routes, 1, "/users/1"));
	routes_free(routes);
}

static void patterns_are_tried_first(void **state)
{
	static const char *const patterns[] = {
		"/users/{name}/orders/*",
		"/users/{name}",
		"/shop/*/cart",
		"/files/img-*.png",
		"/static/*",
		"/exact/",
		NULL,
	};
	static const struct {
		const char *path, *route;
	} tries[] = {
		{ "/users/jane", "/users/{name}" },
		{ "/users/jane?x=/y", "/users/{name}" },
		{ "/users/jane;v=1", "/users/{name}" },
		{ "/users/", "/users/" },
		{ "/users", "/users" },
		{ "/users/jane/", "/users/jane/" },
		{ "/users/jane/orders", "/users/{name}/orders/*" },
		{ "/users/jane/orders/", "/users/{name}/orders/*" },
		{ "/users/jane/orders/1/2/3", "/users/{name}/orders/*" },
		{ "/users/jane/invoices/17", "/users/jane/invoices/{id}" },
		{ "/shop/berlin/cart", "/shop/*/cart" },
		{ "/shop//cart", "/shop//cart" },
		{ "/shop/a/b/cart", "/shop/a/b/cart" },
		{ "/files/img-cat.png", "/files/img-*.png" },
		{ "/files/img-.png", "/files/img-*.png" },
		{ "/files/cat.png", "/files/cat.png" },
		{ "/static", "/static/*" },
		{ "/static/", "/static/*" },
		{ "/static/a/b/c.js", "/static/*" },
		{ "/staticx", "/staticx" },
		{ "/exact/", "/exact/" },
		{ "/exact", "/exact" },
	};
	struct routes *routes = routes_of(patterns, 0);

	for (size_t i = 0; i < COUNT(tries); i++)
		if (strcmp(find(routes, 1, tries[i].path), tries[i].route))
			fail_msg("'%s' became '%s', not '%s'", tries[i].path, find(routes, 1, tries[i].path),
				 tries[i].route);
	routes_free(routes);
}

static void cut_paths_match_only_what_they_surely_match(void **state)
{
	static const char *const patterns[] = { "/users/{name}", "/static/*", NULL };
	struct routes *routes = routes_of(patterns, 0);

	assert_string_equal(routes_find(routes, 1, "/users/ja", 9, true), "/users/*");
	assert_string_equal(routes_find(routes, 1, "/users/ja?", 10, true), "/users/{name}");
	assert_string_equal(routes_find(routes, 1, "/static/x", 9, true), "/static/*");
	assert_string_equal(routes_find(routes, 1, "/static", 7, true), "/*");
	routes_free(routes);
}

static void patterns_have_room_when_the_rest_is_full(void **state)
{
	static const char *const patterns[] = { "/important/{x}", NULL };
	struct routes *routes = routes_of(patterns, 3);

	assert_string_equal(find(routes, 1, "/a"), "/a");
	assert_string_equal(find(routes, 1, "/b"), "/b");
	assert_string_equal(find(routes, 1, "/c"), ROUTE_OTHER);
	assert_string_equal(find(routes, 1, "/important/c"), "/important/{x}");
	routes_free(routes);
}

static void bad_patterns_are_refused_by_name(void **state)
{
	static char longer[ROUTE_BYTES_MAX + 1];
	static const char *const bad[] = { "users", "", "/a?b", "/a#b", "/a;b", "/\x1b", "/\xff", longer };
	struct routes *routes = NULL;
	struct why why;

	memset(longer, 'a', ROUTE_BYTES_MAX);
	longer[0] = '/';
	for (size_t i = 0; i < COUNT(bad); i++) {
		const char *const patterns[] = { "/fine", bad[i], NULL };
		struct routes_options options = { .patterns = patterns };

		why.text[0] = '\0';
		assert_int_equal(routes_new(&options, &routes, &why), -EINVAL);
		assert_null(routes);
		assert_non_null(strstr(why.text, "pattern"));
		assert_true(utf8_valid(why.text, strlen(why.text)));
	}
}

static void more_patterns_than_routes_are_refused(void **state)
{
	static const char *const patterns[] = { "/a", "/b", "/c", NULL };
	struct routes_options options = { .patterns = patterns, .per_cgroup_max = 3 };
	struct routes *routes = NULL;
	struct why why;

	assert_int_equal(routes_new(&options, &routes, &why), -EINVAL);
	assert_non_null(strstr(why.text, "at most 2"));
	options.per_cgroup_max = 4;
	assert_int_equal(routes_new(&options, &routes, &why), 0);
	routes_free(routes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identifiers_are_replaced_and_names_stay),
		cmocka_unit_test(routes_are_stable),
		cmocka_unit_test(cut_segment_becomes_a_star),
		cmocka_unit_test(every_cut_of_every_path_is_valid_and_bounded),
		cmocka_unit_test(long_paths_are_bounded),
		cmocka_unit_test(equal_routes_are_one_interned_string),
		cmocka_unit_test(a_hundred_thousand_paths_are_two_hundred_routes_and_one_more),
		cmocka_unit_test(bytes_that_are_no_path_take_no_room),
		cmocka_unit_test(off_means_no_route),
		cmocka_unit_test(patterns_are_tried_first),
		cmocka_unit_test(cut_paths_match_only_what_they_surely_match),
		cmocka_unit_test(patterns_have_room_when_the_rest_is_full),
		cmocka_unit_test(bad_patterns_are_refused_by_name),
		cmocka_unit_test(more_patterns_than_routes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
