#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/why.h"
#include "export/otlp_pack.h"

void otlp_pairs_done(struct otlp_pairs *pairs)
{
	for (unsigned i = 0; i < pairs->count; i++) {
		free(pairs->items[i].key);
		free(pairs->items[i].value);
	}
	pairs->count = 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The trimmed and decoded copy of @bytes bytes; NULL: a broken escape, a control character, no UTF-8, or no memory. */
static char *decode(const char *text, size_t bytes)
{
	char *ret, *out;

	while (bytes && isspace((unsigned char)*text)) {
		text++;
		bytes--;
	}
	while (bytes && isspace((unsigned char)text[bytes - 1]))
		bytes--;
	ret = malloc(bytes + 1);
	if (!ret)
		return NULL;
	out = ret;
	for (size_t i = 0; i < bytes; i++) {
		int high, low;

		*out = text[i];
		if (text[i] == '%') {
			high = bytes - i > 2 ? hex_value(text[i + 1]) : -1;
			low = bytes - i > 2 ? hex_value(text[i + 2]) : -1;
			if (high < 0 || low < 0)
				goto out_free;
			*out = (char)(high << 4 | low);
			i += 2;
		}
		if (iscntrl((unsigned char)*out))
			goto out_free;
		out++;
	}
	*out = '\0';
	if (utf8_valid(ret, (size_t)(out - ret)))
		return ret;

out_free:
	free(ret);
	return NULL;
}

int otlp_pairs_parse(struct otlp_pairs *pairs, const char *text, struct why *why)
{
	unsigned number = 0;

	pairs->count = 0;
	while (text && *text) {
		size_t length = strcspn(text, ",");
		const char *equals = memchr(text, '=', length);
		struct otlp_pair *pair = &pairs->items[pairs->count];

		number++;
		if (strspn(text, " \t") == length) { /* "a=1,,b=2" and a comma at the end are harmless */
			text += length + (text[length] == ',');
			continue;
		}
		if (pairs->count == OTLP_ATTRS_MAX) {
			otlp_pairs_done(pairs);
			return why_set(why, -EINVAL, "more than %d pairs", OTLP_ATTRS_MAX);
		}
		*pair = (struct otlp_pair){};
		if (equals) {
			pair->key = decode(text, (size_t)(equals - text));
			pair->value = decode(equals + 1, (size_t)(text + length - equals - 1));
			pairs->count++;
		}
		if (!pair->key || !pair->key[0] || !pair->value) {
			otlp_pairs_done(pairs);
			/* Not what it says: it may be a secret. */
			return why_set(why, -EINVAL, "entry %u is not key=value with a percent-encoded value", number);
		}
		text += length + (text[length] == ',');
	}
	return 0;
}
