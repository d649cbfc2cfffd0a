#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "export/otlp_pack.h"
#include "export/otlp_resource.h"

#define ARENA_MAX   (32u << 20)
#define REQUEST_TAG 0x0a /* field 1, length-delimited: resource_metrics of ExportMetricsServiceRequest */

/* The packer */

static void read_host_id(char *ret, size_t room)
{
	int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, ret, room - 1);

	if (fd >= 0)
		close(fd);
	ret[got > 0 ? got : 0] = '\0';
	ret[strspn(ret, "0123456789abcdef")] = '\0';
}

int otlp_packer_init(struct otlp_packer *packer, enum otlp_histogram histogram, const char *service_name,
		     const struct otlp_pairs *pairs)
{
	*packer = (struct otlp_packer){ .histogram = histogram };
	if (pairs)
		packer->extra = *pairs;
	arena_init(&packer->arena, ARENA_MAX);
	if (service_name && service_name[0]) {
		packer->service_name = strdup(service_name);
		if (!packer->service_name)
			return -ENOMEM;
	}
	if (gethostname(packer->host_name, sizeof(packer->host_name) - 1))
		packer->host_name[0] = '\0';
	read_host_id(packer->host_id, sizeof(packer->host_id));
	return 0;
}

void otlp_packer_done(struct otlp_packer *packer)
{
	otlp_pairs_done(&packer->extra);
	free(packer->service_name);
	arena_done(&packer->arena);
	*packer = (struct otlp_packer){};
}

/* Points */

/* What all points of one call share. */
struct pack {
	struct otlp_packer *packer;
	struct arena *arena;
	__u64 time_unix_ns;
	double bounds[HIST_BOUNDS_MAX][HIST_EXPLICIT_MAX];
};

static __u64 start_time(const struct pack *pack, const struct point *point)
{
	__u64 start = point->start_ns + (__u64)pack->packer->start_offset_ns;

	return start < pack->time_unix_ns ? start : pack->time_unix_ns;
}

static Weir__Otlp__KeyValue **attributes(struct arena *arena, const struct point *point)
{
	Weir__Otlp__KeyValue **ret = arena_array(arena, ATTRS_MAX, sizeof(*ret));

	for (unsigned i = 0; ret && i < point->attrs_count; i++) {
		const struct attr *attr = &point->attrs[i];

		switch (attr->type) {
		case ATTR_STR:
			ret[i] = otlp_attr_str(arena, attr->key, attr->str);
			break;
		case ATTR_INT:
		case ATTR_CGROUP: /* enrich() has left none */
			ret[i] = otlp_attr_int(arena, attr->key, attr->num);
			break;
		}
		if (!ret[i])
			return NULL;
	}
	return ret;
}

static Weir__Otlp__NumberDataPoint *number_point(const struct pack *pack, const struct point *point)
{
	Weir__Otlp__NumberDataPoint *ret = otlp_message(pack->arena, &weir__otlp__number_data_point__descriptor);
	double scale = point->metric->scale;
	bool sum = point->metric->kind == METRIC_SUM;

	if (!ret)
		return NULL;
	if (scale == 0 || scale == 1) {
		ret->value_case = WEIR__OTLP__NUMBER_DATA_POINT__VALUE_AS_INT;
		ret->as_int = sum ? (__s64)point->sum : point->gauge;
	} else {
		double value = sum ? (double)point->sum : (double)point->gauge;

		ret->value_case = WEIR__OTLP__NUMBER_DATA_POINT__VALUE_AS_DOUBLE;
		/* Division is correctly rounded, multiplication by 1e-9 is not. */
		ret->as_double = scale == 1e-9 ? value / 1e9 : value * scale;
	}
	ret->start_time_unix_nano = start_time(pack, point);
	ret->time_unix_nano = pack->time_unix_ns;
	ret->attributes = attributes(pack->arena, point);
	ret->n_attributes = point->attrs_count;
	return ret->attributes ? ret : NULL;
}

static Weir__Otlp__HistogramDataPoint *explicit_point(struct pack *pack, const struct point *point)
{
	Weir__Otlp__HistogramDataPoint *ret = otlp_message(pack->arena, &weir__otlp__histogram_data_point__descriptor);
	enum hist_bounds bounds = point->metric->bounds;
	__u64 counts[HIST_EXPLICIT_MAX + 1];
	unsigned bounds_count;
	size_t buckets;

	if (!ret)
		return NULL;
	hist_explicit(bounds, &bounds_count);
	buckets = bounds_count + 1;
	ret->bucket_counts = arena_array(pack->arena, buckets, sizeof(ret->bucket_counts[0]));
	ret->attributes = attributes(pack->arena, point);
	if (!ret->bucket_counts || !ret->attributes)
		return NULL;
	ret->n_attributes = point->attrs_count;
	ret->start_time_unix_nano = start_time(pack, point);
	ret->time_unix_nano = pack->time_unix_ns;
	ret->_sum_case = WEIR__OTLP__HISTOGRAM_DATA_POINT___SUM_SUM;
	ret->sum = (double)point->hist.sum_ns / 1e9;
	hist_explicit_counts(&point->hist, bounds, counts);
	ret->n_bucket_counts = buckets;
	for (size_t i = 0; i < buckets; i++) {
		ret->bucket_counts[i] = counts[i];
		ret->count += counts[i];
	}
	ret->explicit_bounds = pack->bounds[bounds];
	ret->n_explicit_bounds = bounds_count;
	return ret;
}

static Weir__Otlp__ExponentialHistogramDataPoint *exponential_point(const struct pack *pack, const struct point *point)
{
	Weir__Otlp__ExponentialHistogramDataPoint *ret =
		otlp_message(pack->arena, &weir__otlp__exponential_histogram_data_point__descriptor);
	Weir__Otlp__ExponentialHistogramDataPoint__Buckets *positive =
		otlp_message(pack->arena, &weir__otlp__exponential_histogram_data_point__buckets__descriptor);
	__u64 counts[HIST_EXP_COUNT + 1], zero = 0;

	if (!ret || !positive)
		return NULL;
	ret->attributes = attributes(pack->arena, point);
	ret->n_attributes = point->attrs_count;
	ret->start_time_unix_nano = start_time(pack, point);
	ret->time_unix_nano = pack->time_unix_ns;
	ret->_sum_case = WEIR__OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___SUM_SUM;
	ret->sum = (double)point->hist.sum_ns / 1e9;
	ret->scale = HIST_SCALE;
	ret->zero_threshold = exp2((double)HIST_EXP_MIN / (1 << HIST_SCALE));
	positive->n_bucket_counts = hist_exponential(&point->hist, &positive->offset, &zero, counts);
	positive->bucket_counts = arena_array(pack->arena, positive->n_bucket_counts, sizeof(counts[0]));
	if (!ret->attributes || !positive->bucket_counts)
		return NULL;
	ret->zero_count = zero;
	ret->count = zero;
	for (size_t i = 0; i < positive->n_bucket_counts; i++) {
		positive->bucket_counts[i] = counts[i];
		ret->count += counts[i];
	}
	if (positive->n_bucket_counts)
		ret->positive = positive;
	return ret;
}

static void *data_point(struct pack *pack, const struct point *point)
{
	if (point->metric->kind != METRIC_HIST)
		return number_point(pack, point);
	if (pack->packer->histogram == OTLP_HISTOGRAM_EXPONENTIAL)
		return exponential_point(pack, point);
	return explicit_point(pack, point);
}

/* Metrics. The four kinds of data differ in nothing but their types: each begins with its points. */

static int metric_histogram(struct pack *pack, Weir__Otlp__Metric *metric, void **points, size_t count)
{
	if (pack->packer->histogram == OTLP_HISTOGRAM_EXPONENTIAL) {
		metric->exponential_histogram =
			otlp_message(pack->arena, &weir__otlp__exponential_histogram__descriptor);
		if (!metric->exponential_histogram)
			return -ENOMEM;
		metric->data_case = WEIR__OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM;
		metric->exponential_histogram->aggregation_temporality =
			WEIR__OTLP__AGGREGATION_TEMPORALITY__AGGREGATION_TEMPORALITY_CUMULATIVE;
		metric->exponential_histogram->data_points = (Weir__Otlp__ExponentialHistogramDataPoint **)points;
		metric->exponential_histogram->n_data_points = count;
		return 0;
	}
	metric->histogram = otlp_message(pack->arena, &weir__otlp__histogram__descriptor);
	if (!metric->histogram)
		return -ENOMEM;
	metric->data_case = WEIR__OTLP__METRIC__DATA_HISTOGRAM;
	metric->histogram->aggregation_temporality =
		WEIR__OTLP__AGGREGATION_TEMPORALITY__AGGREGATION_TEMPORALITY_CUMULATIVE;
	metric->histogram->data_points = (Weir__Otlp__HistogramDataPoint **)points;
	metric->histogram->n_data_points = count;
	return 0;
}

static int metric_number(struct pack *pack, Weir__Otlp__Metric *metric, const struct metric *of, void **points,
			 size_t count)
{
	if (of->kind == METRIC_GAUGE && !of->updown) {
		metric->gauge = otlp_message(pack->arena, &weir__otlp__gauge__descriptor);
		if (!metric->gauge)
			return -ENOMEM;
		metric->data_case = WEIR__OTLP__METRIC__DATA_GAUGE;
		metric->gauge->data_points = (Weir__Otlp__NumberDataPoint **)points;
		metric->gauge->n_data_points = count;
		return 0;
	}
	metric->sum = otlp_message(pack->arena, &weir__otlp__sum__descriptor);
	if (!metric->sum)
		return -ENOMEM;
	metric->data_case = WEIR__OTLP__METRIC__DATA_SUM;
	metric->sum->aggregation_temporality = WEIR__OTLP__AGGREGATION_TEMPORALITY__AGGREGATION_TEMPORALITY_CUMULATIVE;
	metric->sum->is_monotonic = of->kind == METRIC_SUM;
	metric->sum->data_points = (Weir__Otlp__NumberDataPoint **)points;
	metric->sum->n_data_points = count;
	return 0;
}

/* @points: all of one metric. */
static Weir__Otlp__Metric *metric_message(struct pack *pack, const struct point *points, size_t count)
{
	const struct metric *of = points[0].metric;
	void **list = arena_array(pack->arena, count, sizeof(*list));
	Weir__Otlp__Metric *ret = otlp_message(pack->arena, &weir__otlp__metric__descriptor);
	int err;

	if (!ret || !list)
		return NULL;
	ret->name = (char *)of->name;
	ret->unit = (char *)(of->unit ? of->unit : "");
	ret->description = (char *)(of->text ? of->text : "");
	for (size_t i = 0; i < count; i++) {
		list[i] = data_point(pack, &points[i]);
		if (!list[i])
			return NULL;
	}
	err = of->kind == METRIC_HIST ? metric_histogram(pack, ret, list, count)
				      : metric_number(pack, ret, of, list, count);
	return err ? NULL : ret;
}

static Weir__Otlp__ScopeMetrics *scope_message(struct pack *pack, const struct point *points, size_t count)
{
	Weir__Otlp__ScopeMetrics *ret = otlp_message(pack->arena, &weir__otlp__scope_metrics__descriptor);

	if (!ret)
		return NULL;
	ret->scope = otlp_message(pack->arena, &weir__otlp__instrumentation_scope__descriptor);
	ret->metrics = arena_array(pack->arena, count, sizeof(ret->metrics[0])); /* at most one for each point */
	if (!ret->scope || !ret->metrics)
		return NULL;
	ret->scope->name = (char *)OTLP_SCOPE;
	ret->scope->version = (char *)WEIR_VERSION;
	ret->schema_url = (char *)OTLP_SCHEMA_URL;
	for (size_t i = 0, end; i < count; i = end) {
		for (end = i + 1; end < count && points[end].metric == points[i].metric; end++)
			;
		ret->metrics[ret->n_metrics] = metric_message(pack, &points[i], end - i);
		if (!ret->metrics[ret->n_metrics++])
			return NULL;
	}
	return ret;
}

static Weir__Otlp__ResourceMetrics *resource_message(struct pack *pack, const struct resource *resource,
						     const struct point *points, size_t count)
{
	Weir__Otlp__ResourceMetrics *ret = otlp_message(pack->arena, &weir__otlp__resource_metrics__descriptor);

	if (!ret)
		return NULL;
	ret->scope_metrics = arena_array(pack->arena, 1, sizeof(ret->scope_metrics[0]));
	ret->resource = otlp_resource(pack->packer, resource);
	if (!ret->scope_metrics || !ret->resource)
		return NULL;
	ret->scope_metrics[0] = scope_message(pack, points, count);
	if (!ret->scope_metrics[0])
		return NULL;
	ret->n_scope_metrics = 1;
	ret->schema_url = (char *)OTLP_SCHEMA_URL;
	return ret;
}

static int message_append(const Weir__Otlp__ResourceMetrics *message, struct buf *out)
{
	size_t bytes = weir__otlp__resource_metrics__get_packed_size(message), left = bytes, used = 1;
	unsigned char head[16] = { REQUEST_TAG };
	int err;

	do
		head[used++] = (unsigned char)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
	while (left >>= 7);
	err = buf_reserve(out, used + bytes);
	if (err)
		return err;
	buf_add(out, head, used);
	buf_commit(out, weir__otlp__resource_metrics__pack(message, (unsigned char *)out->data + out->used));
	return 0;
}

int otlp_pack(struct otlp_packer *packer, const struct snapshot *snap, const struct resource *resource,
	      const struct point *points, size_t points_count, struct buf *out)
{
	struct pack pack = { .packer = packer, .arena = &packer->arena, .time_unix_ns = snap->time_unix_ns };
	Weir__Otlp__ResourceMetrics *message;
	int err = -ENOMEM;

	if (!packer->start_offset_ns)
		packer->start_offset_ns = (__s64)(snap->time_unix_ns - snap->time_ns);
	for (unsigned set = 0; set < HIST_BOUNDS_MAX; set++) {
		unsigned count;
		const __u64 *bounds = hist_explicit(set, &count);

		for (unsigned i = 0; i < count; i++)
			pack.bounds[set][i] = (double)bounds[i] / 1e9;
	}
	message = resource_message(&pack, resource, points, points_count);
	if (message)
		err = message_append(message, out);
	arena_reset(&packer->arena);
	return err;
}
