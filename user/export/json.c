#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/time.h"
#include "export/json.h"
#include "export/json_format.h"

/* The order of members is part of the format, and a snapshot can be megabytes: text is written as it comes,
 * without a tree in between. */

static int put_text(struct buf *buf, const char *text, size_t bytes)
{
	const char *end = text + bytes;

	buf_add_char(buf, '"');
	for (;;) {
		const char *plain = text;
		unsigned char c;

		while (text < end && (unsigned char)*text >= 0x20 && *text != '"' && *text != '\\')
			text++;
		buf_add(buf, plain, (size_t)(text - plain));
		if (text == end)
			break;
		c = (unsigned char)*text++;
		if (c == '"' || c == '\\')
			buf_printf(buf, "\\%c", c);
		else if (c == '\n')
			buf_add_str(buf, "\\n");
		else if (c == '\t')
			buf_add_str(buf, "\\t");
		else
			buf_printf(buf, "\\u%04x", c);
	}
	return buf_add_char(buf, '"');
}

int json_put_str(struct buf *buf, const char *text)
{
	return put_text(buf, text, strlen(text));
}

/* ,"key": with the comma left out after an opening brace. */
static void put_key_bytes(struct buf *buf, const char *key, size_t bytes)
{
	if (buf->used && buf->data[buf->used - 1] != '{')
		buf_add_char(buf, ',');
	put_text(buf, key, bytes);
	buf_add_char(buf, ':');
}

static void put_key(struct buf *buf, const char *key)
{
	put_key_bytes(buf, key, strlen(key));
}

static void put_str(struct buf *buf, const char *key, const char *text)
{
	put_key(buf, key);
	json_put_str(buf, text ? text : "");
}

static void put_uint(struct buf *buf, const char *key, __u64 value)
{
	put_key(buf, key);
	buf_printf(buf, "%llu", value);
}

static void put_int(struct buf *buf, const char *key, __s64 value)
{
	put_key(buf, key);
	buf_printf(buf, "%lld", value);
}

/* Signed: the id of those who vanished has all bits set, and readers of JSON know no unsigned numbers. */
static void put_cgroup_id(struct buf *buf, __u64 cgroup_id)
{
	put_int(buf, "cgroup_id", (__s64)cgroup_id);
}

const struct json_member json_workload_members[JSON_WORKLOAD_MEMBERS] = {
	{ "id", offsetof(struct workload, container_id), true },
	{ "name", offsetof(struct workload, container_name), true },
	{ "pod_uid", offsetof(struct workload, pod_uid), true },
	{ "runtime", offsetof(struct workload, runtime), true },
	{ "cgroup", offsetof(struct workload, cgroup), true },
	{ "service_name", offsetof(struct workload, service_name), false },
	{ "pod_name", offsetof(struct workload, pod_name), false },
	{ "namespace", offsetof(struct workload, namespace_name), false },
	{ "pod_qos", offsetof(struct workload, pod_qos), false },
};

int json_put_workload(struct buf *buf, const struct workload *who)
{
	buf_add_char(buf, '{');
	for (size_t i = 0; i < JSON_WORKLOAD_MEMBERS; i++) {
		const char *value;

		memcpy(&value, (const char *)who + json_workload_members[i].offset, sizeof(value));
		if (json_workload_members[i].always || (value && value[0]))
			put_str(buf, json_workload_members[i].key, value);
	}
	put_cgroup_id(buf, who->cgroup_id);
	return buf_add_char(buf, '}');
}

static void put_field(struct buf *buf, const char *key, const struct field *field)
{
	switch (field->type) {
	case FIELD_STR:
		put_str(buf, key, field->str);
		break;
	case FIELD_INT:
		put_int(buf, key, field->num);
		break;
	case FIELD_UINT:
		put_uint(buf, key, field->unum);
		break;
	case FIELD_WHO:
		put_key(buf, key);
		json_put_workload(buf, field->who);
		break;
	}
}

/* Fields whose names begin alike up to a dot are members of one object, which is opened by the first that is known: an
 * object of nothing is left out. */
static void put_fields(struct buf *buf, const struct field *fields, unsigned count)
{
	const char *object = NULL; /* the open one: the name that opened it, and how much of that is the object's */
	size_t object_bytes = 0;

	for (unsigned i = 0; i < count; i++) {
		const char *name = fields[i].name, *dot = strchr(name, '.');
		size_t bytes = dot ? (size_t)(dot - name) : 0;

		if (!field_known(&fields[i]))
			continue;
		if (object && (!dot || bytes != object_bytes || memcmp(name, object, bytes) != 0)) {
			buf_add_char(buf, '}');
			object = NULL;
		}
		if (dot && !object) {
			put_key_bytes(buf, name, bytes);
			buf_add_char(buf, '{');
			object = name;
			object_bytes = bytes;
		}
		put_field(buf, dot ? dot + 1 : name, &fields[i]);
	}
	if (object)
		buf_add_char(buf, '}');
}

int span_to_json(const struct span *span, const struct workload *who, const char *signal, __s64 wall_offset_ns,
		 struct buf *buf)
{
	char time[TIME_ROOM];
	unsigned first = 0;

	buf_add_char(buf, '{');
	put_str(buf, "time", time_format_utc(span->time_ns + (__u64)wall_offset_ns, time));
	put_str(buf, "signal", signal);
	if (span->fields_count && strcmp(span->fields[0].name, "role") == 0)
		put_fields(buf, span->fields, first = 1);
	put_key(buf, "container");
	json_put_workload(buf, who);
	if (span->pid)
		put_uint(buf, "pid", span->pid);
	put_fields(buf, span->fields + first, span->fields_count - first);
	return buf_add_char(buf, '}');
}

const char *const json_kind_names[JSON_KINDS] = { "histogram", "counter", "gauge", "updowncounter" };

const char *const json_bounds_names[HIST_BOUNDS_MAX] = {
	[HIST_BOUNDS_REQUEST] = "request",
	[HIST_BOUNDS_SHORT] = "short",
	[HIST_BOUNDS_GC] = "gc",
};

static unsigned kind_of(const struct metric *metric)
{
	return metric->kind == METRIC_GAUGE && metric->updown ? JSON_KIND_UPDOWN : metric->kind;
}

static void put_metric(struct buf *buf, const struct metric *metric)
{
	buf_add_char(buf, '{');
	put_str(buf, "name", metric->name);
	put_str(buf, "unit", metric->unit);
	put_str(buf, "text", metric->text);
	put_str(buf, "kind", json_kind_names[kind_of(metric)]);
	put_key(buf, "scale");
	buf_printf(buf, "%.17g", metric->scale);
	if (metric->kind == METRIC_HIST)
		put_str(buf, "bounds", json_bounds_names[metric->bounds]);
	buf_add_char(buf, '}');
}

static void put_attrs(struct buf *buf, const struct attr *attrs, unsigned count)
{
	put_key(buf, "attributes");
	buf_add_char(buf, '{');
	for (unsigned i = 0; i < count; i++) {
		switch (attrs[i].type) {
		case ATTR_STR:
			put_str(buf, attrs[i].key, attrs[i].str);
			break;
		case ATTR_INT:
		case ATTR_CGROUP: /* enrich() has left none */
			put_int(buf, attrs[i].key, attrs[i].num);
			break;
		}
	}
	buf_add_char(buf, '}');
}

static void put_hist(struct buf *buf, const struct hist *hist)
{
	put_uint(buf, "count", hist->count);
	put_uint(buf, "sum_ns", hist->sum_ns);
	put_uint(buf, "max_ns", hist->max_ns);
	put_uint(buf, "low", hist->low);
	put_key(buf, "slots");
	buf_add_char(buf, '[');
	for (unsigned i = 0; i < hist->stored; i++)
		buf_printf(buf, i ? ",%llu" : "%llu", hist->slots[i]);
	buf_add_char(buf, ']');
}

static void put_point(struct buf *buf, const struct point *point, size_t metric)
{
	buf_add_char(buf, '{');
	put_uint(buf, "metric", metric);
	put_cgroup_id(buf, point->cgroup_id);
	put_uint(buf, "start_ns", point->start_ns);
	put_attrs(buf, point->attrs, point->attrs_count);
	switch (point->metric->kind) {
	case METRIC_HIST:
		put_hist(buf, &point->hist);
		break;
	case METRIC_SUM:
		put_uint(buf, "value", point->sum);
		break;
	case METRIC_GAUGE:
		put_int(buf, "value", point->gauge);
		break;
	}
	buf_add_char(buf, '}');
}

static size_t metric_index(const struct json_metrics *list, const struct metric *metric)
{
	size_t i;

	for (i = 0; i < list->count && list->items[i] != metric; i++)
		;
	return i;
}

static int list_metrics(const struct snapshot *snap, struct json_metrics *ret)
{
	ret->count = 0;
	for (size_t i = 0; i < snap->points_count; i++) {
		if (metric_index(ret, snap->points[i].metric) < ret->count)
			continue;
		if (ret->count == JSON_METRICS_MAX)
			return -ENOBUFS;
		ret->items[ret->count++] = snap->points[i].metric;
	}
	return 0;
}

static void put_head(struct buf *buf, const struct snapshot *snap, const struct json_metrics *metrics)
{
	buf_add_char(buf, '{');
	put_uint(buf, "time_ns", snap->time_ns);
	put_uint(buf, "time_unix_ns", snap->time_unix_ns);
	put_uint(buf, "start_ns", snap->start_ns);
	put_key(buf, "metrics");
	buf_add_char(buf, '[');
	for (size_t i = 0; i < metrics->count; i++) {
		buf_add_str(buf, i ? ",\n" : "\n");
		put_metric(buf, metrics->items[i]);
	}
	buf_add_char(buf, ']');
	put_key(buf, "resources");
	buf_add_char(buf, '[');
}

/* Opens the resource of point @i if it is its first, and closes that of the one before. */
static void put_border(struct buf *buf, const struct snapshot *snap, size_t i)
{
	const struct workload *who = snap->points[i].who;

	if (i && snap->points[i - 1].who == who) {
		buf_add_str(buf, ",\n");
		return;
	}
	buf_add_str(buf, i ? "]},\n{" : "\n{");
	if (who) {
		put_key(buf, "container");
		json_put_workload(buf, who);
	}
	put_key(buf, "points");
	buf_add_str(buf, "[\n");
}

int snapshot_to_json_part(const struct snapshot *snap, size_t *at, struct buf *buf, size_t bytes_min)
{
	size_t stop = buf->used + bytes_min;
	struct json_metrics metrics;
	int err = list_metrics(snap, &metrics);

	if (err)
		return err;
	if (*at == 0) {
		put_head(buf, snap, &metrics);
		++*at;
	}
	for (; *at <= snap->points_count && buf->used < stop && !buf->err; ++*at) {
		const struct point *point = &snap->points[*at - 1];

		put_border(buf, snap, *at - 1);
		put_point(buf, point, metric_index(&metrics, point->metric));
	}
	if (*at == snap->points_count + 1) {
		buf_add_str(buf, snap->points_count ? "]}]}\n" : "]}\n");
		++*at;
	}
	return buf->err ? buf->err : *at <= snap->points_count;
}

int snapshot_to_json(const struct snapshot *snap, struct buf *buf)
{
	size_t at = 0;

	return snapshot_to_json_part(snap, &at, buf, SIZE_MAX - buf->used);
}
