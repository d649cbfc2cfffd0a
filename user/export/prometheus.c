#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/time.h"
#include "export/prometheus.h"
#include "export/resources.h"

#define LABELS_MAX (64u << 20) /* 16,384 resources with all names as long as they may be */

struct prometheus {
	enum prometheus_format format;
	struct snapshot *snap;
	struct resources resources;
	const struct metric **metrics; /* distinct names, in their order */
	size_t metrics_count;
	/* For each resource its labels as they stand on every series, and what target_info says beyond that. */
	struct buf labels;
	size_t *labels_at; /* 2 * resources + 1 offsets */
	/* Where the reader is: 0 is target_info, metrics[step - 1] after it, then the end. */
	size_t step;
	size_t next;	   /* resource */
	size_t point;	   /* of that resource */
	bool headed;	   /* the family's metadata has been written */
	struct buf prefix; /* labels of one point */
	struct buf name;   /* of the family */
};

/* Names */

static const struct {
	const char *unit, *word;
} unit_words[] = {
	{ "s", "seconds" }, { "ms", "milliseconds" }, { "us", "microseconds" }, { "ns", "nanoseconds" },
	{ "By", "bytes" },  { "KiBy", "kibibytes" },  { "MiBy", "mebibytes" },	{ "GiBy", "gibibytes" },
	{ "%", "percent" }, { "Hz", "hertz" },	      { "Cel", "celsius" },	{ "min", "minutes" },
	{ "h", "hours" },   { "d", "days" },
};

/* "" when the unit adds nothing. */
static const char *unit_word(const struct metric *metric)
{
	if (!metric->unit || metric->unit[0] == '{')
		return "";
	if (strcmp(metric->unit, "1") == 0)
		return metric->kind == METRIC_GAUGE && !metric->updown ? "ratio" : "";
	for (size_t i = 0; i < sizeof(unit_words) / sizeof(unit_words[0]); i++)
		if (strcmp(metric->unit, unit_words[i].unit) == 0)
			return unit_words[i].word;
	return "";
}

static bool has_token(const char *name, const char *token)
{
	size_t length = strlen(token);

	for (const char *at = name; (at = strstr(at, token)); at += length)
		if ((at == name || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[length]))
			return true;
	return false;
}

/* Whatever is not allowed becomes "_", runs of it one "_". */
static void put_name(struct buf *out, const char *name)
{
	bool gap = false;

	if (isdigit((unsigned char)name[0]))
		buf_add_char(out, '_');
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && *name != ':') {
			gap = true;
			continue;
		}
		if (gap)
			buf_add_char(out, '_');
		gap = false;
		buf_add_char(out, *name);
	}
}

int prometheus_name(const struct metric *metric, struct buf *out)
{
	const char *word = unit_word(metric);

	put_name(out, metric->name);
	if (word[0] && !has_token(metric->name, word)) {
		buf_add_char(out, '_');
		buf_add_str(out, word);
	}
	return out->err;
}

static void label_name(const char *key, char *ret, size_t room)
{
	size_t used = 0;

	if (isdigit((unsigned char)key[0]))
		used = str_copy(ret, room, "key_");
	for (; *key && used + 1 < room; key++)
		ret[used++] = isalnum((unsigned char)*key) ? *key : '_';
	ret[used] = '\0';
}

/* Values */

/* @quotes: OpenMetrics escapes them in HELP too, the older format does not. */
static void put_escaped(struct buf *out, const char *text, bool quotes)
{
	for (;;) {
		size_t plain = strcspn(text, quotes ? "\\\n\"" : "\\\n");

		buf_add(out, text, plain);
		text += plain;
		if (!*text)
			return;
		buf_add_char(out, '\\');
		buf_add_char(out, *text == '\n' ? 'n' : *text);
		text++;
	}
}

static void put_u64(struct buf *out, __u64 value)
{
	char digits[24], *at = digits + sizeof(digits);

	do
		*--at = (char)('0' + value % 10);
	while (value /= 10);
	buf_add(out, at, (size_t)(digits + sizeof(digits) - at));
}

/* Nanoseconds as seconds, exact, at least one digit after the point: 0.005, 1.0. */
static void put_seconds(struct buf *out, __u64 ns)
{
	char fraction[16];
	int length = 9;

	snprintf(fraction, sizeof(fraction), "%09llu", ns % NS_PER_S);
	while (length > 1 && fraction[length - 1] == '0')
		length--;
	put_u64(out, ns / NS_PER_S);
	buf_add_char(out, '.');
	buf_add(out, fraction, (size_t)length);
}

/* The shortest text that reads back as the same number. */
static void put_double(struct buf *out, double value)
{
	char text[40];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	buf_add_str(out, text);
}

/* The value of "le" is compared as text, and by OpenMetrics the text of what is below 0.0001 has an exponent: 1e-05. */
static void put_bound(struct buf *out, __u64 ns)
{
	if (ns < NS_PER_MS / 10)
		put_double(out, (double)ns / 1e9);
	else
		put_seconds(out, ns);
}

static void put_scaled(struct buf *out, __s64 value, double scale)
{
	if (scale == 1e-9 && value >= 0)
		put_seconds(out, (__u64)value);
	else
		put_double(out, (double)value * scale);
}

static void put_number(struct buf *out, const struct point *point)
{
	double scale = point->metric->scale;

	if (point->metric->kind == METRIC_SUM) {
		if (scale == 0 || scale == 1)
			put_u64(out, point->sum);
		else
			put_scaled(out, (__s64)point->sum, scale);
	} else if (scale == 0 || scale == 1) {
		if (point->gauge < 0)
			buf_add_char(out, '-');
		put_u64(out, point->gauge < 0 ? -(__u64)point->gauge : (__u64)point->gauge);
	} else {
		put_scaled(out, point->gauge, scale);
	}
}

/* Labels: each writer leaves "name=\"value\"," behind, the last comma is legal in neither format and cut where it ends. */

static void put_label(struct buf *out, const char *key, const char *value)
{
	char name[128];

	if (!value[0])
		return; /* an empty label is no label */
	label_name(key, name, sizeof(name));
	buf_add_str(out, name);
	buf_add_str(out, "=\"");
	put_escaped(out, value, true);
	buf_add_str(out, "\",");
}

static void put_attr_value(struct buf *out, const struct attr *attr)
{
	switch (attr->type) {
	case ATTR_STR:
		put_escaped(out, attr->str, true);
		break;
	case ATTR_INT:
	case ATTR_CGROUP: /* enrich() has left none */
		buf_printf(out, "%lld", attr->num);
		break;
	}
}

static bool attr_empty(const struct attr *attr)
{
	return attr->type == ATTR_STR && !attr->str[0];
}

static bool same_label(const struct attr *a, const struct attr *b)
{
	char x[128], y[128];

	if (a->key == b->key)
		return true;
	label_name(a->key, x, sizeof(x));
	label_name(b->key, y, sizeof(y));
	return strcmp(x, y) == 0;
}

/* Keys that become one label ("a.b" and "a_b") share it, values joined by ";", as OpenTelemetry specifies. */
static void put_attrs(struct buf *out, const struct attr *attrs, unsigned count)
{
	__u64 done = 0;

	_Static_assert(ATTRS_MAX <= 64, "one bit an attribute");
	for (unsigned i = 0; i < count; i++) {
		char name[128];

		if (done & (1ull << i) || attr_empty(&attrs[i]))
			continue;
		label_name(attrs[i].key, name, sizeof(name));
		buf_add_str(out, name);
		buf_add_str(out, "=\"");
		put_attr_value(out, &attrs[i]);
		for (unsigned k = i + 1; k < count; k++) {
			if (!same_label(&attrs[i], &attrs[k]))
				continue;
			done |= 1ull << k;
			buf_add_char(out, ';');
			put_attr_value(out, &attrs[k]);
		}
		buf_add_str(out, "\",");
	}
}

static void put_resource(struct buf *out, const struct workload *who, bool on_series)
{
	if (!who) {
		if (on_series)
			put_label(out, "service.name", "weir");
		return;
	}
	for (size_t i = 0; i < RESOURCE_ATTRS_COUNT; i++)
		if (resource_attr_on_series(who, &resource_attrs[i]) == on_series)
			put_label(out, resource_attrs[i].key, resource_attr_value(who, &resource_attrs[i]));
}

static int write_labels(struct prometheus *prom)
{
	const struct resources *res = &prom->resources;

	buf_init(&prom->labels, LABELS_MAX);
	prom->labels_at = calloc(2 * res->count + 1, sizeof(*prom->labels_at));
	if (!prom->labels_at)
		return -ENOMEM;
	for (size_t i = 0; i < res->count; i++) {
		prom->labels_at[2 * i] = prom->labels.used;
		put_resource(&prom->labels, res->items[i].who, /* on_series */ true);
		prom->labels_at[2 * i + 1] = prom->labels.used;
		put_resource(&prom->labels, res->items[i].who, /* on_series */ false);
	}
	prom->labels_at[2 * res->count] = prom->labels.used;
	return prom->labels.err;
}

/* Families */

static int metric_compare(const void *left, const void *right)
{
	const struct metric *a = *(const struct metric *const *)left, *b = *(const struct metric *const *)right;

	return a == b ? 0 : strcmp(a->name, b->name);
}

/* Metrics of one resource stand together, so few neighbours differ. A family is a name: two descriptors of one name are
 * one family. */
static int list_metrics(struct prometheus *prom)
{
	const struct point *points = prom->snap->points;
	size_t points_count = prom->snap->points_count, count = 0, out = 0;

	for (size_t i = 0; i < points_count; i++)
		count += i == 0 || points[i].metric != points[i - 1].metric;
	prom->metrics = calloc(count ? count : 1, sizeof(const struct metric *));
	if (!prom->metrics)
		return -ENOMEM;
	count = 0;
	for (size_t i = 0; i < points_count; i++)
		if (i == 0 || points[i].metric != points[i - 1].metric)
			prom->metrics[count++] = points[i].metric;
	qsort(prom->metrics, count, sizeof(const struct metric *), metric_compare);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || metric_compare(&prom->metrics[i], &prom->metrics[out - 1]) != 0)
			prom->metrics[out++] = prom->metrics[i];
	prom->metrics_count = out;
	return 0;
}

static const char *type_name(const struct metric *metric)
{
	switch (metric->kind) {
	case METRIC_HIST:
		return "histogram";
	case METRIC_SUM:
		return "counter";
	case METRIC_GAUGE:
		return "gauge";
	}
	return "unknown";
}

static void put_family(struct buf *out, enum prometheus_format format, const struct metric *metric, const char *name)
{
	bool open = format == PROMETHEUS_OPENMETRICS;
	/* OpenMetrics names the family without the suffix of its samples. */
	const char *suffix = !open && metric->kind == METRIC_SUM ? "_total" : "";
	const char *word = unit_word(metric);

	buf_printf(out, "# TYPE %s%s %s\n", name, suffix, type_name(metric));
	if (open && word[0] && str_ends(name, word))
		buf_printf(out, "# UNIT %s %s\n", name, word);
	buf_printf(out, "# HELP %s%s ", name, suffix);
	put_escaped(out, metric->text ? metric->text : "", open);
	buf_add_char(out, '\n');
}

static void put_sample(struct buf *out, const struct buf *name, const char *suffix, const struct buf *labels)
{
	buf_add(out, name->data, name->used);
	buf_add_str(out, suffix);
	buf_add_char(out, '{');
	/* Without the comma. There is always service_name. */
	buf_add(out, labels->data, labels->used ? labels->used - 1 : 0);
	buf_add_str(out, "} ");
}

static void put_histogram(struct prometheus *prom, const struct point *point, struct buf *out)
{
	const struct hist *hist = &point->hist;
	__u64 counts[HIST_EXPLICIT_MAX + 1], total = 0;
	unsigned bounds_count;
	const __u64 *bounds = hist_explicit(point->metric->bounds, &bounds_count);

	hist_explicit_counts(hist, point->metric->bounds, counts);
	for (unsigned i = 0; i <= bounds_count; i++) {
		total += counts[i];
		buf_add(out, prom->name.data, prom->name.used);
		buf_add_str(out, "_bucket{");
		buf_add(out, prom->prefix.data, prom->prefix.used);
		buf_add_str(out, "le=\"");
		if (i < bounds_count)
			put_bound(out, bounds[i]);
		else
			buf_add_str(out, "+Inf");
		buf_add_str(out, "\"} ");
		put_u64(out, total);
		buf_add_char(out, '\n');
	}
	put_sample(out, &prom->name, "_sum", &prom->prefix);
	put_seconds(out, hist->sum_ns);
	buf_add_char(out, '\n');
	/* Not hist->count: the two must be equal in the text whatever happens. */
	put_sample(out, &prom->name, "_count", &prom->prefix);
	put_u64(out, total);
	buf_add_char(out, '\n');
}

static void put_point(struct prometheus *prom, size_t resource, const struct point *point, struct buf *out)
{
	size_t at = prom->labels_at[2 * resource];

	buf_reset(&prom->prefix);
	buf_add(&prom->prefix, prom->labels.data + at, prom->labels_at[2 * resource + 1] - at);
	put_attrs(&prom->prefix, point->attrs, point->attrs_count);
	if (point->metric->kind == METRIC_HIST) {
		put_histogram(prom, point, out);
		return;
	}
	put_sample(out, &prom->name, point->metric->kind == METRIC_SUM ? "_total" : "", &prom->prefix);
	put_number(out, point);
	buf_add_char(out, '\n');
}

static void put_target_info(struct prometheus *prom, size_t resource, struct buf *out)
{
	size_t at = prom->labels_at[2 * resource], end = prom->labels_at[2 * resource + 2];

	if (!prom->headed) {
		bool open = prom->format == PROMETHEUS_OPENMETRICS;

		buf_printf(
			out,
			"# TYPE %s %s\n# HELP %s What is known of each container, unit or cgroup that has series here.\n",
			open ? "target" : "target_info", open ? "info" : "gauge", open ? "target" : "target_info");
		prom->headed = true;
	}
	buf_add_str(out, "target_info{");
	buf_add(out, prom->labels.data + at, end > at ? end - at - 1 : 0);
	buf_add_str(out, "} 1\n");
}

/* Reading */

struct prometheus *prometheus_new(struct snapshot *snap, enum prometheus_format format)
{
	struct prometheus *prom = calloc(1, sizeof(*prom));

	if (!prom)
		return NULL;
	prom->format = format;
	prom->snap = snapshot_ref(snap);
	buf_init(&prom->labels, LABELS_MAX);
	buf_init(&prom->prefix, 1u << 20);
	buf_init(&prom->name, 4096);
	if (resources_init(&prom->resources, snap) || write_labels(prom) || list_metrics(prom)) {
		prometheus_free(prom);
		return NULL;
	}
	return prom;
}

void prometheus_free(struct prometheus *prom)
{
	if (!prom)
		return;
	buf_done(&prom->name);
	buf_done(&prom->prefix);
	buf_done(&prom->labels);
	free(prom->labels_at);
	free(prom->metrics);
	resources_done(&prom->resources);
	snapshot_unref(prom->snap);
	free(prom);
}

size_t prometheus_points(const struct prometheus *prom)
{
	return prom->snap->points_count;
}

/* The points of one resource are in the order of their names, so those of one metric stand together. */
static void read_family(struct prometheus *prom, struct buf *out, size_t stop)
{
	const struct resources *res = &prom->resources;
	const struct metric *metric = prom->metrics[prom->step - 1];

	if (!prom->headed) {
		buf_reset(&prom->name);
		prometheus_name(metric, &prom->name);
		put_family(out, prom->format, metric, prom->name.data);
		prom->headed = true;
	}
	for (; prom->next < res->count; prom->next++, prom->point = 0) {
		const struct resource *resource = &res->items[prom->next];

		for (; prom->point < resource->count; prom->point++) {
			const struct point *point = &resource->points[prom->point];

			if (metric_compare(&point->metric, &metric) != 0)
				continue;
			if (out->used >= stop)
				return;
			put_point(prom, prom->next, point, out);
		}
	}
}

int prometheus_read(struct prometheus *prom, struct buf *out, size_t bytes_min)
{
	size_t stop = out->used + bytes_min;

	while (!out->err && prom->step <= prom->metrics_count && out->used < stop) {
		if (prom->step == 0)
			for (; prom->next < prom->resources.count && out->used < stop; prom->next++)
				put_target_info(prom, prom->next, out);
		else
			read_family(prom, out, stop);
		if (prom->next < prom->resources.count)
			continue;
		prom->step++;
		prom->next = 0;
		prom->headed = false;
		if (prom->step == prom->metrics_count + 1 && prom->format == PROMETHEUS_OPENMETRICS)
			buf_add_str(out, "# EOF\n");
	}
	if (prom->name.err || prom->prefix.err)
		return prom->name.err ? prom->name.err : prom->prefix.err;
	if (out->err)
		return out->err;
	return prom->step <= prom->metrics_count;
}
