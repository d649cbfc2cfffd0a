#include "model/route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "base/why.h"
#include "model/intern.h"

#define ID_TEXT	   "{id}"
#define ID_BYTES   (sizeof(ID_TEXT) - 1)
#define UUID_BYTES 36
/* Every path that fits into a captured request line fits, even when each of its bytes is escaped. */
#define PATH_ROOM   1024
#define CGROUPS_MAX 16384

/* What makes a run of letters and digits an identifier. Five digits: years and ports of one API version stay. */
#define DIGITS_MIN 5
#define HEX_MIN	   8
#define OPAQUE_MIN 20

/* The routes that paths of one cgroup have been given, interned strings. */
struct route_set {
	__u64 cgroup_id;
	struct map routes;
};

struct routes {
	bool off;
	unsigned learned_max; /* per cgroup; patterns need no room there */
	unsigned patterns_count;
	const char *patterns[ROUTE_PATTERNS_MAX]; /* interned: what the user wrote */
	struct map sets;
	size_t sets_bytes; /* the tables of all sets */
	__u64 overflowed;
	const char *other;
};

struct segment {
	const char *at;
	size_t bytes;
};

/* Paths are looked at byte by byte on the way of each record: one load says all about a byte. */
enum class_bit { DIGIT = 1, LOWER = 2, UPPER = 4, HEX = 8, NUMBER_MARK = 16, BASE64_MARK = 32 };

static const __u8 classes[256] = {
	['0' ... '9'] = DIGIT | HEX,
	['a' ... 'f'] = LOWER | HEX,
	['g' ... 'z'] = LOWER,
	['A' ... 'F'] = UPPER | HEX,
	['G' ... 'Z'] = UPPER,
	['-'] = NUMBER_MARK | BASE64_MARK,
	['_'] = NUMBER_MARK | BASE64_MARK,
	['~'] = NUMBER_MARK | BASE64_MARK,
	['+'] = NUMBER_MARK | BASE64_MARK,
	['='] = BASE64_MARK,
	[','] = NUMBER_MARK,
	[':'] = NUMBER_MARK,
};

static bool is_a(char c, unsigned bits)
{
	return classes[(unsigned char)c] & bits;
}

static bool is_digit(char c)
{
	return is_a(c, DIGIT);
}

static bool is_alnum(char c)
{
	return is_a(c, DIGIT | LOWER | UPPER);
}

static bool is_hex(char c)
{
	return is_a(c, HEX);
}

/* "%2F" at @text. */
static bool is_percent(const char *text, size_t bytes)
{
	return bytes >= 3 && text[0] == '%' && is_hex(text[1]) && is_hex(text[2]);
}

/* What a run of characters consists of. */
struct census {
	unsigned digits, lower, upper, hex;
	unsigned turns; /* times a digit stands beside a letter */
};

static struct census census_take(const char *text, size_t bytes)
{
	struct census c = { 0 };
	unsigned last = 0;

	for (size_t i = 0; i < bytes; i++) {
		unsigned class = classes[(unsigned char)text[i]];
		unsigned alnum = class & (DIGIT | LOWER | UPPER);

		c.digits += !!(class & DIGIT);
		c.lower += !!(class & LOWER);
		c.upper += !!(class & UPPER);
		c.hex += !!(class & HEX);
		c.turns += last && alnum && (last ^ alnum) & DIGIT;
		last = alnum;
	}
	return c;
}

/* 8-4-4-4-12 hex digits at the front of @text. */
static bool is_uuid(const char *text, size_t bytes)
{
	if (bytes < UUID_BYTES || text[8] != '-')
		return false;
	for (unsigned i = 0; i < UUID_BYTES; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !is_hex(text[i]))
			return false;
	}
	return bytes == UUID_BYTES || !is_alnum(text[UUID_BYTES]);
}

/* Letters and digits mixed as no name is. One digit or two at the end ("...V2") do not make a name an identifier. */
static bool is_opaque(const struct census *c, size_t bytes)
{
	return bytes >= OPAQUE_MIN && c->digits && c->lower + c->upper && (c->digits >= 3 || c->turns >= 2);
}

/* @token consists of letters and digits only. */
static bool token_is_id(const char *token, size_t bytes)
{
	struct census c;

	if (bytes > 2 && token[0] == '0' && (token[1] == 'x' || token[1] == 'X')) {
		token += 2;
		bytes -= 2;
	}
	c = census_take(token, bytes);
	if (c.digits == bytes)
		return bytes >= DIGITS_MIN;
	if (c.hex == bytes && bytes >= HEX_MIN && c.digits)
		return true;
	return is_opaque(&c, bytes);
}

/* Numbers and what is written like them: 17, -5, 1,2,3, 2024-01-31, 192.168.1.1, but not 1.0 (a version). */
static bool is_number(const char *text, size_t bytes)
{
	size_t digits = 0, dots = 0;

	for (size_t i = 0; i < bytes; i++) {
		if (is_digit(text[i]))
			digits++;
		else if (text[i] == '.')
			dots++;
		else if (!is_a(text[i], NUMBER_MARK))
			return false;
	}
	return digits && (!dots || digits >= DIGITS_MIN || digits + dots < bytes);
}

/* 2024-01-31 at the front, followed by nothing or a time of day. */
static bool is_date(const char *text, size_t bytes)
{
	static const char shape[] = "0000-00-00";

	if (bytes < sizeof(shape) - 1)
		return false;
	for (size_t i = 0; i < sizeof(shape) - 1; i++)
		if (shape[i] == '0' ? !is_digit(text[i]) : text[i] != shape[i])
			return false;
	return bytes == sizeof(shape) - 1 || strchr("Tt_", text[sizeof(shape) - 1]);
}

/* name@host.tld, also with %40; but not vue@3.2.1 (a package) and not @scope. */
static bool is_email(const char *text, size_t bytes)
{
	for (size_t i = 1; i < bytes; i++) {
		size_t host = i + 1;

		if (text[i] == '%' && bytes - i > 3 && !memcmp(text + i, "%40", 3))
			host = i + 3;
		else if (text[i] != '@')
			continue;
		return host < bytes && is_a(text[host], LOWER | UPPER) && memchr(text + host, '.', bytes - host);
	}
	return false;
}

/* base64 in one of its spellings, with padding: judged as a whole, because its '-' and '_' separate nothing. */
static bool is_base64(const char *text, size_t bytes)
{
	struct census c;
	bool separators = false;

	if (bytes < OPAQUE_MIN)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		if (is_alnum(text[i]))
			continue;
		separators |= text[i] == '-' || text[i] == '_';
		if (!is_a(text[i], BASE64_MARK))
			return false;
	}
	c = census_take(text, bytes);
	if (!separators)
		return is_opaque(&c, bytes);
	/* "Top-10-of-2024" is words: there a digit never touches a letter. */
	return c.lower && c.upper && c.digits && c.turns >= 3;
}

/* One segment, identifiers in it replaced. @ret needs no more than @bytes: a replacement is never longer than what it
 * replaces. */
static size_t tokens_replace(const char *text, size_t bytes, char *ret)
{
	size_t used = 0, i = 0;

	while (i < bytes) {
		size_t token = 0;
		bool id = false;

		if (is_percent(text + i, bytes - i)) { /* its two digits belong to no token */
			memcpy(ret + used, text + i, 3);
			used += 3;
			i += 3;
			continue;
		}
		while (i + token < bytes && is_alnum(text[i + token]))
			token++;
		if (is_uuid(text + i, bytes - i)) {
			token = UUID_BYTES;
			id = true;
		} else if (token) {
			id = token_is_id(text + i, token);
		} else {
			ret[used++] = text[i++];
			continue;
		}
		memcpy(ret + used, id ? ID_TEXT : text + i, id ? ID_BYTES : token);
		used += id ? ID_BYTES : token;
		i += token;
	}
	return used;
}

/* The whole of @text names a thing, not a kind of thing. */
static bool is_id(const char *text, size_t bytes)
{
	return bytes > ROUTE_SEGMENT_BYTES_MAX || is_number(text, bytes) || is_date(text, bytes) ||
	       is_email(text, bytes) || is_base64(text, bytes);
}

/* Bytes of a file name's extension with its dot: ".jpg", ".tar.gz" in two steps. 0: none. */
static size_t extension_bytes(const char *text, size_t bytes)
{
	size_t i = bytes;

	while (i && is_alnum(text[i - 1]) && bytes - i < 6)
		i--;
	if (i < 2 || i == bytes || text[i - 1] != '.' || is_digit(text[i]))
		return 0;
	return bytes - i + 1;
}

/* Writes the segment's part of a route into @ret (ROUTE_SEGMENT_BYTES_MAX + ID_BYTES bytes); returns its bytes. */
static size_t segment_normalise(const char *text, size_t bytes, char *ret)
{
	size_t stem = bytes, extension;

	if (!bytes)
		return 0;
	if (is_id(text, bytes)) {
		memcpy(ret, ID_TEXT, ID_BYTES);
		return ID_BYTES;
	}
	/* "4711.jpg", "2024-01-31.tar.gz": the file is one of many, its kind is worth keeping. */
	while ((extension = extension_bytes(text, stem))) {
		stem -= extension;
		if (!is_id(text, stem))
			continue;
		memcpy(ret, ID_TEXT, ID_BYTES);
		memcpy(ret + ID_BYTES, text + stem, bytes - stem);
		return ID_BYTES + bytes - stem;
	}
	return tokens_replace(text, bytes, ret);
}

/* Takes the next segment off *path, which begins with '/': what is between that and the next one. */
static struct segment segment_next(const char **path)
{
	struct segment segment = { .at = *path + 1 };
	const char *end = strchrnul(segment.at, '/');
	const char *semicolon = memchr(segment.at, ';', (size_t)(end - segment.at));

	segment.bytes = (size_t)((semicolon ? semicolon : end) - segment.at);
	*path = end;
	return segment;
}

/* @path is clean text. */
static size_t path_normalise(const char *path, bool cut, char ret[ROUTE_BYTES_MAX])
{
	char part[ROUTE_SEGMENT_BYTES_MAX + ID_BYTES + 1];
	size_t used = 0, part_bytes;
	unsigned segments = 0;

	if (*path != '/')
		return str_copy(ret, ROUTE_BYTES_MAX, ROUTE_OTHER);
	while (*path) {
		struct segment segment = segment_next(&path);
		bool partial = cut && !*path;

		part_bytes = partial ? 0 : segment_normalise(segment.at, segment.bytes, part);
		/* Two bytes stay free for a star, one for the end. */
		if (partial || segments++ >= ROUTE_SEGMENTS_MAX || used + 1 + part_bytes > ROUTE_BYTES_MAX - 3) {
			memcpy(ret + used, "/*", 2);
			used += 2;
			break;
		}
		ret[used++] = '/';
		memcpy(ret + used, part, part_bytes);
		used += part_bytes;
	}
	ret[used] = '\0';
	return used;
}

/* Query and fragment off, hostile bytes made harmless. Returns whether something is missing at the end. */
static bool path_clean(const char *path, size_t bytes, bool cut, char ret[PATH_ROOM])
{
	size_t end = 0;

	while (end < bytes && path[end] != '?' && path[end] != '#')
		end++;
	cut = cut && end == bytes;
	if (end > (PATH_ROOM - 1) / 4) {
		end = (PATH_ROOM - 1) / 4;
		cut = true;
	}
	if (end)
		utf8_sanitise(path, end, ret, PATH_ROOM);
	else
		str_copy(ret, PATH_ROOM, "/");
	return cut;
}

size_t route_normalise(const char *path, size_t bytes, bool cut, char ret[ROUTE_BYTES_MAX])
{
	char clean[PATH_ROOM];

	cut = path_clean(path, bytes, cut, clean);
	return path_normalise(clean, cut, ret);
}

static bool pattern_matches(const char *pattern, const char *path, bool cut)
{
	char glob[ROUTE_BYTES_MAX], text[PATH_ROOM];

	while (*pattern && *path) {
		struct segment wanted = segment_next(&pattern), segment;
		bool any = wanted.bytes == 1 && *wanted.at == '*';

		if (any && !*pattern)
			return true;
		segment = segment_next(&path);
		if ((cut && !*path) || !segment.bytes != !wanted.bytes)
			return false;
		if (any || !wanted.bytes || (*wanted.at == '{' && wanted.at[wanted.bytes - 1] == '}'))
			continue;
		memcpy(glob, wanted.at, wanted.bytes);
		glob[wanted.bytes] = '\0';
		memcpy(text, segment.at, segment.bytes);
		text[segment.bytes] = '\0';
		if (!glob_match(glob, text))
			return false;
	}
	return !*path && !cut && (!*pattern || !strcmp(pattern, "/*"));
}

static int pattern_check(const char *text, struct why *why)
{
	char clean[ROUTE_BYTES_MAX];
	size_t bytes = strlen(text);

	if (*text != '/')
		return why_set(why, -EINVAL, "route pattern '%.100s' must begin with '/'", text);
	if (bytes >= ROUTE_BYTES_MAX)
		return why_set(why, -EINVAL, "route pattern '%.40s...' is longer than %d bytes", text,
			       ROUTE_BYTES_MAX - 1);
	if (strpbrk(text, "?#;"))
		return why_set(why, -EINVAL,
			       "route pattern '%.100s' must not contain '?', '#' or ';': they are no part of a path",
			       text);
	utf8_sanitise(text, bytes, clean, sizeof(clean));
	if (strcmp(clean, text))
		return why_set(why, -EINVAL, "route pattern '%.100s' is not printable UTF-8", clean);
	return 0;
}

int routes_new(const struct routes_options *options, struct routes **ret_routes, struct why *why)
{
	unsigned max = options->per_cgroup_max ? options->per_cgroup_max : ROUTE_PER_CGROUP_MAX;
	struct routes *routes = calloc(1, sizeof(*routes));
	int err;

	if (!routes)
		return why_set(why, -ENOMEM, "no memory for routes");
	routes->off = options->off;
	routes->other = intern_str(ROUTE_OTHER);
	for (unsigned i = 0; options->patterns && options->patterns[i]; i++) {
		if (i >= ROUTE_PATTERNS_MAX || i + 1 >= max) {
			err = why_set(why, -EINVAL, "at most %u route patterns are possible",
				      max - 1 < ROUTE_PATTERNS_MAX ? max - 1 : ROUTE_PATTERNS_MAX);
			goto out_free;
		}
		err = pattern_check(options->patterns[i], why);
		if (err)
			goto out_free;
		routes->patterns[i] = intern_str(options->patterns[i]);
		if (strcmp(routes->patterns[i], options->patterns[i])) {
			err = why_set(why, -ENOMEM, "no memory for route patterns");
			goto out_free;
		}
		routes->patterns_count++;
	}
	routes->learned_max = max - routes->patterns_count;
	*ret_routes = routes;
	return 0;

out_free:
	routes_free(routes);
	return err;
}

static void set_free(struct route_set *set)
{
	map_done(&set->routes);
	free(set);
}

void routes_free(struct routes *routes)
{
	struct route_set *set;
	size_t pos = 0;

	if (!routes)
		return;
	while ((set = map_next(&routes->sets, &pos)))
		set_free(set);
	map_done(&routes->sets);
	free(routes);
}

static bool set_is(const void *item, const void *key)
{
	return ((const struct route_set *)item)->cgroup_id == *(const __u64 *)key;
}

static bool route_is(const void *item, const void *key)
{
	return !strcmp(item, key);
}

static struct route_set *set_find(const struct routes *routes, __u64 cgroup_id)
{
	return map_find(&routes->sets, hash_mix(cgroup_id, 0), set_is, &cgroup_id);
}

/* NULL: no memory, or too many cgroups. */
static struct route_set *set_get(struct routes *routes, __u64 cgroup_id)
{
	struct route_set *set = set_find(routes, cgroup_id);

	if (set || routes->sets.count >= CGROUPS_MAX)
		return set;
	set = calloc(1, sizeof(*set));
	if (!set)
		return NULL;
	set->cgroup_id = cgroup_id;
	if (map_add(&routes->sets, hash_mix(cgroup_id, 0), set)) {
		free(set);
		return NULL;
	}
	return set;
}

/* The interned route of @text in the cgroup's set, or the overflow route. Only what has room is interned, so foreign
 * paths cannot fill the intern table. */
static const char *set_admit(struct routes *routes, __u64 cgroup_id, const char *text, size_t bytes)
{
	struct route_set *set = set_get(routes, cgroup_id);
	__u64 hash = hash_bytes(text, bytes);
	const char *route;
	size_t before;

	if (!set)
		goto other;
	route = map_find(&set->routes, hash, route_is, text);
	if (route)
		return route;
	if (set->routes.count >= routes->learned_max)
		goto other;
	route = intern(text, bytes);
	if (strcmp(route, text)) /* the intern table is full: it must not be found under this name */
		goto other;
	before = map_bytes(&set->routes);
	/* The map holds what it may not change. */
	if (map_add(&set->routes, hash, (void *)(size_t)route))
		goto other;
	routes->sets_bytes += map_bytes(&set->routes) - before;
	return route;

other:
	routes->overflowed++;
	return routes->other;
}

const char *routes_find(struct routes *routes, __u64 cgroup_id, const char *path, size_t bytes, bool cut)
{
	char clean[PATH_ROOM], route[ROUTE_BYTES_MAX];
	size_t route_bytes;

	if (routes->off)
		return NULL;
	cut = path_clean(path, bytes, cut, clean);
	if (*clean != '/') /* no path: it shares the route without having had a claim on its own */
		return routes->other;
	for (unsigned i = 0; i < routes->patterns_count; i++)
		if (pattern_matches(routes->patterns[i], clean, cut))
			return routes->patterns[i];
	route_bytes = path_normalise(clean, cut, route);
	return set_admit(routes, cgroup_id, route, route_bytes);
}

void routes_forget(struct routes *routes, __u64 cgroup_id)
{
	struct route_set *set = set_find(routes, cgroup_id);

	if (!set)
		return;
	map_del(&routes->sets, hash_mix(cgroup_id, 0), set);
	routes->sets_bytes -= map_bytes(&set->routes);
	set_free(set);
}

unsigned routes_count(const struct routes *routes, __u64 cgroup_id)
{
	const struct route_set *set = set_find(routes, cgroup_id);

	return set ? (unsigned)set->routes.count : 0;
}

__u64 routes_overflowed(const struct routes *routes)
{
	return routes->overflowed;
}

size_t routes_used_bytes(const struct routes *routes)
{
	return routes->sets_bytes + map_bytes(&routes->sets) + routes->sets.count * sizeof(struct route_set);
}
