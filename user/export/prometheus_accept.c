/* Content negotiation of the Prometheus formats. */
#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "base/str.h"
#include "export/prometheus.h"

const char *prometheus_content_type(enum prometheus_format format)
{
	switch (format) {
	case PROMETHEUS_TEXT:
		return "text/plain; version=0.0.4; charset=utf-8";
	case PROMETHEUS_OPENMETRICS:
		/* From version 1.0.0 on the reader wants to hear how names are escaped; ours never need to be. */
		return "application/openmetrics-text; version=1.0.0; escaping=underscores; charset=utf-8";
	}
	return "text/plain";
}

/* One element of Accept: media type, version and weight in thousandths. */
struct accepted {
	char type[64];
	char version[16];
	unsigned weight;
};

static const char *skip_blank(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	return at;
}

/* Copies [at, end) without blanks around it and without quotes, in lower case. */
static void copy_token(const char *at, const char *end, char *ret, size_t room)
{
	size_t used = 0;

	for (at = skip_blank(at, end); at < end && used + 1 < room; at++)
		if (*at != '"' && *at != ' ' && *at != '\t')
			ret[used++] = (char)tolower((unsigned char)*at);
	ret[used] = '\0';
}

/* "1", "0.5", "0.125": anything else counts as 0, not wanted. */
static unsigned weight_of(const char *text)
{
	unsigned weight, unit = 100;

	if (text[0] != '0' && text[0] != '1')
		return 0;
	weight = text[0] == '1' ? 1000 : 0;
	if (text[1] == '\0')
		return weight;
	if (text[1] != '.')
		return 0;
	for (text += 2; *text && unit; text++, unit /= 10) {
		if (!isdigit((unsigned char)*text))
			return 0;
		weight += (unsigned)(*text - '0') * unit;
	}
	return *text || weight > 1000 ? 0 : weight;
}

static struct accepted accepted_parse(const char *at, const char *end)
{
	struct accepted ret = { .weight = 1000 };
	const char *stop = memchr(at, ';', (size_t)(end - at));

	copy_token(at, stop ? stop : end, ret.type, sizeof(ret.type));
	while (stop) {
		char parameter[64];

		at = stop + 1;
		stop = memchr(at, ';', (size_t)(end - at));
		copy_token(at, stop ? stop : end, parameter, sizeof(parameter));
		if (str_starts(parameter, "q="))
			ret.weight = weight_of(parameter + 2);
		else if (str_starts(parameter, "version="))
			str_copy(ret.version, sizeof(ret.version), parameter + strlen("version="));
	}
	return ret;
}

static bool version_is(const struct accepted *accepted, const char *version)
{
	return !accepted->version[0] || strcmp(accepted->version, version) == 0;
}

enum prometheus_format prometheus_negotiate(const char *accept)
{
	unsigned open = 0, text = 0; /* best weight of each */

	while (accept && *accept) {
		const char *end = accept + strcspn(accept, ",");
		struct accepted accepted = accepted_parse(accept, end);

		if (strcmp(accepted.type, "application/openmetrics-text") == 0 &&
		    (version_is(&accepted, "1.0.0") || version_is(&accepted, "0.0.1")))
			open = accepted.weight > open ? accepted.weight : open;
		if (strcmp(accepted.type, "*/*") == 0 || strcmp(accepted.type, "text/*") == 0 ||
		    (strcmp(accepted.type, "text/plain") == 0 && version_is(&accepted, "0.0.4")))
			text = accepted.weight > text ? accepted.weight : text;
		accept = *end ? end + 1 : end;
	}
	return open && open >= text ? PROMETHEUS_OPENMETRICS : PROMETHEUS_TEXT;
}
