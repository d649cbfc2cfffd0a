#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "base/why.h"
#include "export/json.h"
#include "export/json_format.h"
#include "model/intern.h"

/* The peer is weir itself, but a socket is a socket: everything is checked. */

#define FIELD_NAME_ROOM 128 /* no field of ours has a longer name */

struct json_reader {
	size_t metrics_count;
	struct metric *metrics[JSON_METRICS_MAX];
	json_t *span; /* the last one read: its strings are borrowed */
	struct workload *span_who;
	unsigned span_others_count; /* workloads of its fields */
	struct workload *span_others[SPAN_FIELDS_MAX];
};

struct json_reader *json_reader_new(void)
{
	return calloc(1, sizeof(struct json_reader));
}

static void span_release(struct json_reader *reader)
{
	json_decref(reader->span);
	reader->span = NULL;
	workload_unref(reader->span_who);
	reader->span_who = NULL;
	while (reader->span_others_count)
		workload_unref(reader->span_others[--reader->span_others_count]);
}

void json_reader_free(struct json_reader *reader)
{
	if (!reader)
		return;
	for (size_t i = 0; i < reader->metrics_count; i++)
		free(reader->metrics[i]);
	span_release(reader);
	free(reader);
}

/* Members. Each getter returns false when the member is missing or of another type. */

static bool get_u64(const json_t *object, const char *key, __u64 *ret)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*ret = (__u64)json_integer_value(value);
	return true;
}

/* All bits set, here -1, is the id of those who vanished. */
static bool get_cgroup_id(const json_t *object, __u64 *ret)
{
	const json_t *value = json_object_get(object, "cgroup_id");

	if (!json_is_integer(value) || json_integer_value(value) < -1)
		return false;
	*ret = (__u64)json_integer_value(value);
	return true;
}

static const char *get_str(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* One block: the struct and its strings, as workload.h has it. NULL: no memory. */
static struct workload *workload_read(const json_t *object)
{
	size_t bytes = sizeof(struct workload);
	struct workload *who;
	char *at;

	for (size_t i = 0; i < JSON_WORKLOAD_MEMBERS; i++) {
		const char *text = get_str(object, json_workload_members[i].key);

		bytes += strlen(text ? text : "") + 1;
	}
	who = calloc(1, bytes);
	if (!who)
		return NULL;
	who->refs = 1;
	at = (char *)(who + 1);
	for (size_t i = 0; i < JSON_WORKLOAD_MEMBERS; i++) {
		const char *text = get_str(object, json_workload_members[i].key);

		memcpy((char *)who + json_workload_members[i].offset, &(const char *){ at }, sizeof(const char *));
		at = stpcpy(at, text ? text : "") + 1;
	}
	get_cgroup_id(object, &who->cgroup_id);
	return who;
}

static int metric_kind_read(const json_t *object, struct metric *ret)
{
	const char *kind = get_str(object, "kind");

	for (unsigned i = 0; kind && i < JSON_KINDS; i++) {
		if (strcmp(kind, json_kind_names[i]) != 0)
			continue;
		ret->updown = i == JSON_KIND_UPDOWN;
		ret->kind = i == JSON_KIND_UPDOWN ? METRIC_GAUGE : (enum metric_kind)i;
		return 0;
	}
	return -EBADMSG;
}

/* Absent: what the default is. */
static int metric_bounds_read(const json_t *object, struct metric *ret)
{
	const char *bounds = get_str(object, "bounds");

	if (ret->kind != METRIC_HIST || !json_object_get(object, "bounds"))
		return 0;
	for (unsigned i = 0; bounds && i < HIST_BOUNDS_MAX; i++)
		if (strcmp(bounds, json_bounds_names[i]) == 0) {
			ret->bounds = (enum hist_bounds)i;
			return 0;
		}
	return -EBADMSG;
}

/* The reader's descriptor of that name, made when it is new. */
static int metric_read(struct json_reader *reader, const json_t *object, const struct metric **ret, struct why *why)
{
	const char *name = get_str(object, "name"), *unit = get_str(object, "unit"), *text = get_str(object, "text");
	struct metric *metric;

	if (!name || !unit || !text)
		return why_set(why, -EBADMSG, "a metric has no name, unit or text");
	for (size_t i = 0; i < reader->metrics_count; i++)
		if (strcmp(reader->metrics[i]->name, name) == 0) {
			*ret = reader->metrics[i];
			return 0;
		}
	if (reader->metrics_count == JSON_METRICS_MAX)
		return why_set(why, -EBADMSG, "more than %d metrics", JSON_METRICS_MAX);
	metric = calloc(1, sizeof(*metric));
	if (!metric)
		return why_set(why, -ENOMEM, "no memory");
	metric->name = intern_str(name);
	metric->unit = intern_str(unit);
	metric->text = intern_str(text);
	metric->scale = json_number_value(json_object_get(object, "scale"));
	if (metric_kind_read(object, metric) || metric_bounds_read(object, metric)) {
		free(metric);
		return why_set(why, -EBADMSG, "metric '%s' is of no known kind or boundaries", name);
	}
	reader->metrics[reader->metrics_count++] = metric;
	*ret = metric;
	return 0;
}

static int attrs_read(json_t *object, struct point *ret)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object) || json_object_size(object) > ATTRS_MAX)
		return -EBADMSG;
	json_object_foreach(object, key, value) {
		struct attr *attr = &ret->attrs[ret->attrs_count];

		attr->key = intern_str(key);
		if (json_is_string(value)) {
			attr->type = ATTR_STR;
			attr->str = intern_str(json_string_value(value));
		} else if (json_is_integer(value)) {
			attr->type = ATTR_INT;
			attr->num = json_integer_value(value);
		} else {
			return -EBADMSG;
		}
		ret->attrs_count++;
	}
	return 0;
}

/* The count is that of the slots, whatever the text says: the two cannot disagree inside the program. */
static int hist_read(const json_t *object, struct hist *ret)
{
	const json_t *slots = json_object_get(object, "slots");
	__u64 low, count = 0;
	size_t stored = json_array_size(slots);

	if (!json_is_array(slots) || !get_u64(object, "low", &low) || !get_u64(object, "sum_ns", &ret->sum_ns) ||
	    !get_u64(object, "max_ns", &ret->max_ns) || low > HIST_SLOTS || stored > HIST_SLOTS - low)
		return -EBADMSG;
	if (!stored)
		return 0;
	ret->slots = calloc(stored, sizeof(*ret->slots));
	if (!ret->slots)
		return -ENOMEM;
	ret->low = (__u16)low;
	ret->stored = (__u16)stored;
	for (size_t i = 0; i < stored; i++) {
		const json_t *slot = json_array_get(slots, i);

		if (!json_is_integer(slot) || json_integer_value(slot) < 0)
			return -EBADMSG;
		ret->slots[i] = (__u64)json_integer_value(slot);
		count += ret->slots[i];
	}
	ret->count = count;
	return 0;
}

static int point_read(const json_t *object, const struct json_metrics *metrics, struct point *ret)
{
	const json_t *value = json_object_get(object, "value");
	__u64 metric;
	int err;

	if (!get_u64(object, "metric", &metric) || metric >= metrics->count ||
	    !get_cgroup_id(object, &ret->cgroup_id) || !get_u64(object, "start_ns", &ret->start_ns))
		return -EBADMSG;
	err = attrs_read(json_object_get(object, "attributes"), ret);
	if (err)
		return err;
	/* Only now: whoever frees a half-read snapshot goes by the metric. */
	ret->metric = metrics->items[metric];
	switch (ret->metric->kind) {
	case METRIC_HIST:
		return hist_read(object, &ret->hist);
	case METRIC_SUM:
		return get_u64(object, "value", &ret->sum) ? 0 : -EBADMSG;
	case METRIC_GAUGE:
		if (!json_is_integer(value))
			return -EBADMSG;
		ret->gauge = json_integer_value(value);
		return 0;
	}
	return -EBADMSG;
}

static int resource_read(const json_t *object, const struct json_metrics *metrics, struct snapshot *snap)
{
	const json_t *container = json_object_get(object, "container"), *points = json_object_get(object, "points");
	struct workload *who = NULL;
	int err = 0;

	if (container) {
		who = workload_read(container);
		if (!who)
			return -ENOMEM;
	}
	for (size_t i = 0; !err && i < json_array_size(points); i++) {
		struct point *point = &snap->points[snap->points_count];

		err = point_read(json_array_get(points, i), metrics, point);
		if (!point->metric)
			break;
		point->who = workload_ref(who);
		snap->points_count++; /* also when its value is bad: what it holds is freed with the snapshot */
	}
	workload_unref(who);
	return err;
}

static int snapshot_fill(const json_t *root, const struct json_metrics *metrics, struct snapshot **ret)
{
	const json_t *resources = json_object_get(root, "resources");
	struct snapshot *snap;
	size_t points = 0;
	int err = 0;

	for (size_t i = 0; i < json_array_size(resources); i++)
		points += json_array_size(json_object_get(json_array_get(resources, i), "points"));
	snap = snapshot_new(points);
	if (!snap)
		return -ENOMEM;
	if (!json_is_array(resources) || !get_u64(root, "time_ns", &snap->time_ns) ||
	    !get_u64(root, "time_unix_ns", &snap->time_unix_ns) || !get_u64(root, "start_ns", &snap->start_ns))
		err = -EBADMSG;
	for (size_t i = 0; !err && i < json_array_size(resources); i++)
		err = resource_read(json_array_get(resources, i), metrics, snap);
	if (err)
		snapshot_unref(snap);
	else
		*ret = snap;
	return err;
}

int snapshot_from_json(struct json_reader *reader, const char *text, size_t bytes, struct snapshot **ret,
		       struct why *why)
{
	const json_t *list;
	struct json_metrics metrics = { .count = 0 };
	json_error_t error;
	json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
	int err = 0;

	if (!root)
		return why_set(why, -EBADMSG, "no JSON at line %d column %d: %s", error.line, error.column, error.text);
	list = json_object_get(root, "metrics");
	if (!json_is_array(list) || json_array_size(list) > JSON_METRICS_MAX)
		err = why_set(why, -EBADMSG, "no snapshot of weir: it has no usable list of metrics");
	for (; !err && metrics.count < json_array_size(list); metrics.count++)
		err = metric_read(reader, json_array_get(list, metrics.count), &metrics.items[metrics.count], why);
	if (!err) {
		err = snapshot_fill(root, &metrics, ret);
		if (err)
			why_set(why, err,
				err == -ENOMEM ? "no memory" : "no snapshot of weir: a point or a time is malformed");
	}
	json_decref(root);
	return err;
}

/* "2026-01-31T12:34:56.123456789Z" */
static int time_read(const char *text, __u64 *ret_unix_ns)
{
	struct tm tm = {};
	const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	__u64 fraction = 0, unit = NS_PER_S;

	if (!rest || *rest++ != '.')
		return -EBADMSG;
	for (; *rest >= '0' && *rest <= '9' && unit > 1; rest++) {
		unit /= 10;
		fraction += (__u64)(*rest - '0') * unit;
	}
	if (strcmp(rest, "Z") != 0)
		return -EBADMSG;
	*ret_unix_ns = (__u64)timegm(&tm) * NS_PER_S + fraction;
	return 0;
}

static bool is_envelope(const char *key)
{
	return strcmp(key, "time") == 0 || strcmp(key, "signal") == 0 || strcmp(key, "container") == 0 ||
	       strcmp(key, "pid") == 0;
}

/* What json_put_workload() writes. */
static bool is_workload(const json_t *object)
{
	for (size_t i = 0; i < JSON_WORKLOAD_MEMBERS; i++)
		if (json_workload_members[i].always && !get_str(object, json_workload_members[i].key))
			return false;
	return json_is_integer(json_object_get(object, "cgroup_id"));
}

/* The value of a field. -EBADMSG: it is none of a field. */
static int field_read(struct json_reader *reader, const json_t *value, struct field *ret)
{
	if (json_is_string(value)) {
		*ret = (struct field){ .type = FIELD_STR, .str = json_string_value(value) };
	} else if (json_is_integer(value) && json_integer_value(value) < 0) {
		*ret = (struct field){ .type = FIELD_INT, .num = json_integer_value(value) };
	} else if (json_is_integer(value)) {
		*ret = (struct field){ .type = FIELD_UINT, .unum = (__u64)json_integer_value(value) };
	} else if (is_workload(value)) {
		struct workload *who = workload_read(value);

		if (!who)
			return -ENOMEM;
		reader->span_others[reader->span_others_count++] = who;
		*ret = (struct field){ .type = FIELD_WHO, .cgroup_id = who->cgroup_id, .who = who };
	} else {
		return -EBADMSG;
	}
	return 0;
}

/* Field names outlive the span (struct field wants static ones): interned, and there are few. @object: name of the
 * object that the field is a member of, NULL: of none. What is no field is skipped. */
static int field_add(struct json_reader *reader, const char *object, const char *key, const json_t *value,
		     struct span *ret)
{
	struct field *field = &ret->fields[ret->fields_count];
	char name[FIELD_NAME_ROOM];
	int bytes, err;

	if (ret->fields_count == SPAN_FIELDS_MAX)
		return 0;
	bytes = snprintf(name, sizeof(name), "%s%s%s", object ? object : "", object ? "." : "", key);
	if ((size_t)bytes >= sizeof(name))
		return 0;
	err = field_read(reader, value, field);
	if (err)
		return err == -EBADMSG ? 0 : err;
	field->name = intern(name, (size_t)bytes);
	ret->fields_count++;
	return 0;
}

static int object_read(struct json_reader *reader, const char *object, json_t *members, struct span *ret)
{
	const char *key;
	json_t *value;
	int err = 0;

	json_object_foreach(members, key, value) {
		err = field_add(reader, object, key, value, ret);
		if (err)
			break;
	}
	return err;
}

static int fields_read(struct json_reader *reader, json_t *root, struct span *ret)
{
	const char *key;
	json_t *value;
	int err = 0;

	json_object_foreach(root, key, value) {
		/* Nobody writes a dot at this level, where it would name a member of an object. */
		if (is_envelope(key) || strchr(key, '.'))
			continue;
		if (json_is_object(value) && !is_workload(value))
			err = object_read(reader, key, value, ret);
		else
			err = field_add(reader, NULL, key, value, ret);
		if (err)
			break;
	}
	return err;
}

int span_from_json(struct json_reader *reader, const char *text, size_t bytes, unsigned (*signal_id)(const char *name),
		   __s64 wall_offset_ns, struct span *ret_span, const struct workload **ret_who, struct why *why)
{
	json_error_t error;
	json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
	struct span span = {};
	struct workload *who;
	__u64 unix_ns, pid = 0;

	if (!root)
		return why_set(why, -EBADMSG, "no JSON at column %d: %s", error.column, error.text);
	if (time_read(get_str(root, "time"), &unix_ns) || !get_str(root, "signal") ||
	    !json_is_object(json_object_get(root, "container"))) {
		json_decref(root);
		return why_set(why, -EBADMSG, "no span of weir: time, signal or container is missing");
	}
	who = workload_read(json_object_get(root, "container"));
	if (!who) {
		json_decref(root);
		return why_set(why, -ENOMEM, "no memory");
	}
	span_release(reader);
	reader->span = root;
	reader->span_who = who;
	get_u64(root, "pid", &pid);
	span.pid = (__u32)pid;
	span.time_ns = unix_ns - (__u64)wall_offset_ns;
	span.signal = (__u16)(signal_id ? signal_id(get_str(root, "signal")) : 0);
	span.cgroup_id = who->cgroup_id;
	if (fields_read(reader, root, &span))
		return why_set(why, -ENOMEM, "no memory");
	*ret_span = span;
	*ret_who = who;
	return 0;
}
