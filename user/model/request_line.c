#include "model/request_line.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

/* Characters of a token (RFC 9110, 5.6.2), of which methods consist. */
static bool is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_scheme_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '-' ||
	       c == '.';
}

static bool is_end(char c)
{
	return c == ' ' || c == '\r' || c == '\n';
}

/* Bytes of the front of @s before any of @stops. */
static size_t span_until(struct slice s, const char *stops)
{
	size_t i = 0;

	while (i < s.bytes && !(s.data[i] && strchr(stops, s.data[i])))
		i++;
	return i;
}

static struct slice slice_from(struct slice s, size_t skip)
{
	return (struct slice){ .data = s.data + skip, .bytes = s.bytes - skip };
}

/* @rest: what follows the authority (absolute form) or all of the target (origin form). */
static void path_split(struct request_line *line, struct slice rest)
{
	size_t path_bytes = span_until(rest, "?#");
	struct slice tail = slice_from(rest, path_bytes);

	line->path = (struct slice){ .data = rest.data, .bytes = path_bytes };
	line->path_cut = line->target_cut && !tail.bytes;
	if (!path_bytes)
		line->path = (struct slice){ .data = "/", .bytes = 1 };
	if (tail.bytes && tail.data[0] == '?') {
		line->query = slice_from(tail, 1);
		line->query.bytes = span_until(line->query, "#");
	}
}

/* Credentials are nobody's business here. */
static struct slice authority_strip(struct slice authority)
{
	for (size_t i = authority.bytes; i > 0; i--)
		if (authority.data[i - 1] == '@')
			return slice_from(authority, i);
	return authority;
}

/* scheme://authority/path: bytes up to and with "://", 0 when it is not of that form. */
static size_t scheme_bytes(struct slice target)
{
	size_t i = 0;

	while (i < target.bytes && is_scheme_char(target.data[i]))
		i++;
	return i && target.bytes - i >= 3 && !memcmp(target.data + i, "://", 3) ? i + 3 : 0;
}

static void target_split(struct request_line *line)
{
	struct slice target = line->target;
	size_t scheme, authority_bytes;

	if (!target.bytes)
		return;
	scheme = scheme_bytes(target);
	if (mem_equals_str(line->method.data, line->method.bytes, "CONNECT")) {
		line->form = TARGET_AUTHORITY;
		line->authority = authority_strip(target);
	} else if (target.data[0] == '/') {
		line->form = TARGET_ORIGIN;
		path_split(line, target);
	} else if (target.bytes == 1 && target.data[0] == '*') {
		line->form = TARGET_ASTERISK;
	} else if (scheme) {
		struct slice rest = slice_from(target, scheme);

		line->form = TARGET_ABSOLUTE;
		authority_bytes = span_until(rest, "/?#");
		line->authority = authority_strip((struct slice){ .data = rest.data, .bytes = authority_bytes });
		path_split(line, slice_from(rest, authority_bytes));
	} else {
		line->form = TARGET_OTHER;
	}
}

int request_line_parse(const char *line, size_t bytes, struct request_line *ret)
{
	static const struct slice empty = { .data = "", .bytes = 0 };
	struct request_line parsed = {
		.method = empty,
		.target = empty,
		.authority = empty,
		.path = empty,
		.query = empty,
		.form = TARGET_NONE,
	};
	size_t i = 0, from;

	while (i < bytes && (line[i] == '\r' || line[i] == '\n'))
		i++;
	from = i;
	while (i < bytes && is_token_char(line[i]))
		i++;
	if (i == from || (i < bytes && !is_end(line[i])))
		return -EINVAL;
	parsed.method = (struct slice){ .data = line + from, .bytes = i - from };
	while (i < bytes && line[i] == ' ')
		i++;
	from = i;
	while (i < bytes && !is_end(line[i]))
		i++;
	if (i > from)
		parsed.target = (struct slice){ .data = line + from, .bytes = i - from };
	parsed.target_cut = i == bytes;
	target_split(&parsed);
	*ret = parsed;
	return 0;
}
