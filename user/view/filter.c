#include "view/filter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/why.h"

#define SHORT_ID_DIGITS 12 /* of a container id, as docker and crictl print it */

/* Digits of a status code; anything from 0 to 999 can come. */
static int status_number(const char *text, size_t bytes, unsigned *ret)
{
	__u64 number;

	if (!bytes || bytes > 3 || mem_to_u64(text, bytes, 999, &number))
		return -EINVAL;
	*ret = number;
	return 0;
}

/* "5xx", "404", "400-499", "none". */
static int status_parse(const char *text, unsigned *ret_min, unsigned *ret_max)
{
	size_t dash = strcspn(text, "-");
	unsigned low, high;

	if (!strcmp(text, "none")) {
		*ret_min = *ret_max = 0;
		return 0;
	}
	if (strlen(text) == 3 && text[0] >= '1' && text[0] <= '9' && !strcasecmp(text + 1, "xx")) {
		*ret_min = (text[0] - '0') * 100;
		*ret_max = *ret_min + 99;
		return 0;
	}
	if (status_number(text, dash, &low))
		return -EINVAL;
	high = low;
	if (text[dash] && status_number(text + dash + 1, strlen(text + dash + 1), &high))
		return -EINVAL;
	if (low > high)
		return -EINVAL;
	*ret_min = low;
	*ret_max = high;
	return 0;
}

static int set_status(struct span_filter *filter, const char *value, struct why *why)
{
	if (!*value) {
		filter->status = false;
		return 0;
	}
	if (status_parse(value, &filter->status_min, &filter->status_max))
		return why_set(why, -EINVAL, "status: '%.100s' is not like 404, 5xx, 400-499 or none", value);
	filter->status = true;
	return 0;
}

static int set_role(struct span_filter *filter, const char *value, struct why *why)
{
	if (!strcmp(value, "both"))
		value = "";
	if (*value && strcmp(value, "server") && strcmp(value, "client"))
		return why_set(why, -EINVAL, "role: '%.100s' is neither server nor client", value);
	str_copy(filter->role, sizeof(filter->role), value);
	return 0;
}

static int set_min(struct span_filter *filter, const char *value, struct why *why)
{
	if (!*value)
		filter->min_ns = 0;
	else if (str_to_duration_ns(value, &filter->min_ns))
		return why_set(why, -EINVAL, "min: '%.100s' is not a time such as 10ms or 1s", value);
	return 0;
}

static int set_min_ns(struct span_filter *filter, const char *value, struct why *why)
{
	if (!*value)
		filter->min_ns = 0;
	else if (str_to_u64(value, ~0ull, &filter->min_ns))
		return why_set(why, -EINVAL, "min_ns: '%.100s' is not a number of nanoseconds", value);
	return 0;
}

static int set_closed(struct span_filter *filter, const char *value, struct why *why)
{
	if (strcmp(value, "1") && strcmp(value, "0") && *value)
		return why_set(why, -EINVAL, "closed: '%.100s' is neither 0 nor 1", value);
	filter->closed = !strcmp(value, "1");
	return 0;
}

static int set_glob(char room[FILTER_TEXT_MAX], const char *key, const char *value, struct why *why)
{
	if (strlen(value) >= FILTER_TEXT_MAX)
		return why_set(why, -EINVAL, "%s: a pattern has at most %d bytes", key, FILTER_TEXT_MAX - 1);
	str_copy(room, FILTER_TEXT_MAX, value);
	return 0;
}

static char *filter_glob(struct span_filter *filter, const char *key)
{
	if (!strcmp(key, "container"))
		return filter->container;
	if (!strcmp(key, "pod"))
		return filter->pod;
	if (!strcmp(key, "namespace"))
		return filter->namespace_name;
	if (!strcmp(key, "path"))
		return filter->path;
	return NULL;
}

int span_filter_set(struct span_filter *filter, const char *key, const char *value, struct why *why)
{
	char *glob = filter_glob(filter, key);

	if (glob)
		return set_glob(glob, key, value, why);
	if (!strcmp(key, "status"))
		return set_status(filter, value, why);
	if (!strcmp(key, "role"))
		return set_role(filter, value, why);
	if (!strcmp(key, "min"))
		return set_min(filter, value, why);
	if (!strcmp(key, "min_ns"))
		return set_min_ns(filter, value, why);
	if (!strcmp(key, "closed"))
		return set_closed(filter, value, why);
	return why_set(why, -ENOENT, "there is no filter '%.100s'", key);
}

/* An empty pattern asks for nothing. */
static bool glob_any(const char *pattern, const char *text, const char *other)
{
	return !*pattern || (*text && glob_match(pattern, text)) || (*other && glob_match(pattern, other));
}

static bool container_match(const char *pattern, const struct workload *who)
{
	char id[SHORT_ID_DIGITS + 1];

	str_copy(id, sizeof(id), who->container_id);
	return glob_any(pattern, who->container_name, who->container_id) || glob_any(pattern, who->service_name, id);
}

bool span_filter_match_workload(const struct span_filter *filter, const struct workload *who)
{
	if (!who)
		return !*filter->container && !*filter->pod && !*filter->namespace_name;
	return container_match(filter->container, who) && glob_any(filter->pod, who->pod_name, who->pod_uid) &&
	       glob_any(filter->namespace_name, who->namespace_name, "");
}

static const char *field_text(const struct span *span, const char *name)
{
	const struct field *field = span_field(span, name);

	return field && field->type == FIELD_STR && field->str ? field->str : "";
}

static __u64 field_number(const struct span *span, const char *name)
{
	const struct field *field = span_field(span, name);

	if (!field)
		return 0;
	switch (field->type) {
	case FIELD_UINT:
		return field->unum;
	case FIELD_INT:
		return field->num > 0 ? (__u64)field->num : 0;
	case FIELD_STR:
	case FIELD_WHO:
		break;
	}
	return 0;
}

static bool status_match(const struct span_filter *filter, const struct span *span)
{
	__u64 status;

	if (!filter->status)
		return true;
	status = field_number(span, "status");
	return status >= filter->status_min && status <= filter->status_max;
}

bool span_filter_match(const struct span_filter *filter, const struct span *span, const struct workload *who)
{
	if (filter->min_ns && field_number(span, "duration_ns") < filter->min_ns)
		return false;
	if (!filter->closed && !strcmp(field_text(span, "event"), "close"))
		return false;
	if (*filter->role && strcmp(filter->role, field_text(span, "role")))
		return false;
	return status_match(filter, span) && glob_any(filter->path, field_text(span, "path"), "") &&
	       span_filter_match_workload(filter, who);
}

/* RFC 3986: what is not unreserved is escaped, whatever it means to anybody. */
static void query_add(struct buf *out, size_t begin, const char *key, const char *value)
{
	if (!*value)
		return;
	buf_printf(out, "%s%s=", out->used > begin ? "&" : "", key);
	for (; *value; value++) {
		unsigned char c = *value;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c))
			buf_add_char(out, c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

void span_filter_query(const struct span_filter *filter, struct buf *out)
{
	size_t begin = out->used;
	char number[32] = "";

	query_add(out, begin, "container", filter->container);
	query_add(out, begin, "pod", filter->pod);
	query_add(out, begin, "namespace", filter->namespace_name);
	query_add(out, begin, "path", filter->path);
	query_add(out, begin, "role", filter->role);
	query_add(out, begin, "closed", filter->closed ? "1" : "");
	if (filter->status && !filter->status_max)
		query_add(out, begin, "status", "none");
	else if (filter->status) {
		snprintf(number, sizeof(number), "%u-%u", filter->status_min, filter->status_max);
		query_add(out, begin, "status", number);
	}
	if (filter->min_ns) {
		snprintf(number, sizeof(number), "%llu", (unsigned long long)filter->min_ns);
		query_add(out, begin, "min_ns", number);
	}
}
