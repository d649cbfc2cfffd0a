#include "view/figures.h"

#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "view/rows.h"
#include "view/who.h"

#define NOT_KNOWN (-1.0)

enum unit { UNIT_TEXT, UNIT_RATE, UNIT_PERCENT, UNIT_DURATION, UNIT_LONGEST, UNIT_COUNT, UNIT_BYTES };

static const struct figure {
	const char *key; /* in JSON */
	enum figure_of of;
	enum unit unit;
	enum containers_total total; /* of UNIT_RATE and UNIT_PERCENT */
	enum containers_times times; /* of UNIT_DURATION */
	double quantile;	     /* of UNIT_DURATION; 1: as long as the longest of the interval, within its slot */
} figures[CONTAINERS_COLUMN_MAX] = {
	[CONTAINERS_RETRANSMITS] = { .key = "retransmits_per_s",
				     .of = OF_TCP,
				     .unit = UNIT_RATE,
				     .total = TOTAL_RETRANSMITS },
	[CONTAINERS_RTT_P50] = { .key = "rtt_p50_ns",
				 .of = OF_TCP,
				 .unit = UNIT_DURATION,
				 .times = TIMES_RTT,
				 .quantile = 0.50 },
	[CONTAINERS_RTT_P99] = { .key = "rtt_p99_ns",
				 .of = OF_TCP,
				 .unit = UNIT_DURATION,
				 .times = TIMES_RTT,
				 .quantile = 0.99 },
	[CONTAINERS_FAILED] = { .key = "connects_failed_per_s", .of = OF_TCP, .unit = UNIT_RATE, .total = TOTAL_FAILED },
	[CONTAINERS_CONNECTS] = { .key = "connections_per_s", .of = OF_TCP, .unit = UNIT_RATE, .total = TOTAL_CONNECTS },
	[CONTAINERS_CONNS] = { .key = "connections", .of = OF_TCP, .unit = UNIT_COUNT },
	[CONTAINERS_RESETS] = { .key = "resets_per_s", .of = OF_TCP, .unit = UNIT_RATE, .total = TOTAL_RESETS },
	[CONTAINERS_DROPS] = { .key = "listen_drops_per_s", .of = OF_TCP, .unit = UNIT_RATE, .total = TOTAL_DROPS },
	[CONTAINERS_CPU] = { .key = "cpu_percent", .of = OF_SCHED, .unit = UNIT_PERCENT, .total = TOTAL_CPU_NS },
	[CONTAINERS_RUNQ_P50] = { .key = "run_queue_p50_ns",
				  .of = OF_SCHED,
				  .unit = UNIT_DURATION,
				  .times = TIMES_RUNQ,
				  .quantile = 0.50 },
	[CONTAINERS_RUNQ_P99] = { .key = "run_queue_p99_ns",
				  .of = OF_SCHED,
				  .unit = UNIT_DURATION,
				  .times = TIMES_RUNQ,
				  .quantile = 0.99 },
	[CONTAINERS_RUNQ_MAX] = { .key = "run_queue_max_ns", .of = OF_SCHED, .unit = UNIT_LONGEST },
	[CONTAINERS_THROTTLED] = { .key = "throttled_percent",
				   .of = OF_SCHED,
				   .unit = UNIT_PERCENT,
				   .total = TOTAL_THROTTLED_NS },
	[CONTAINERS_NEIGHBOUR] = { .key = "neighbour", .of = OF_SCHED, .unit = UNIT_TEXT },
	[CONTAINERS_STOPPED] = { .key = "stopped_percent",
				 .of = OF_JVM,
				 .unit = UNIT_PERCENT,
				 .total = TOTAL_STOPPED_NS },
	[CONTAINERS_SAFEPOINTS] = { .key = "safepoints_per_s",
				    .of = OF_JVM,
				    .unit = UNIT_RATE,
				    .total = TOTAL_SAFEPOINTS },
	[CONTAINERS_PAUSE_P50] = { .key = "pause_p50_ns",
				   .of = OF_JVM,
				   .unit = UNIT_DURATION,
				   .times = TIMES_PAUSES,
				   .quantile = 0.50 },
	[CONTAINERS_PAUSE_P99] = { .key = "pause_p99_ns",
				   .of = OF_JVM,
				   .unit = UNIT_DURATION,
				   .times = TIMES_PAUSES,
				   .quantile = 0.99 },
	[CONTAINERS_PAUSE_MAX] = { .key = "pause_max_ns",
				   .of = OF_JVM,
				   .unit = UNIT_DURATION,
				   .times = TIMES_PAUSES,
				   .quantile = 1.00 },
	[CONTAINERS_SYNC_P99] = { .key = "sync_p99_ns",
				  .of = OF_JVM,
				  .unit = UNIT_DURATION,
				  .times = TIMES_SYNC,
				  .quantile = 0.99 },
	[CONTAINERS_SYNC_MAX] = { .key = "sync_max_ns",
				  .of = OF_JVM,
				  .unit = UNIT_DURATION,
				  .times = TIMES_SYNC,
				  .quantile = 1.00 },
	[CONTAINERS_GC] = { .key = "gc_percent", .of = OF_JVM, .unit = UNIT_PERCENT, .total = TOTAL_GC_NS },
	[CONTAINERS_HEAP_USED] = { .key = "heap_used_bytes", .of = OF_JVM, .unit = UNIT_BYTES },
	[CONTAINERS_HEAP_LIMIT] = { .key = "heap_limit_bytes", .of = OF_JVM, .unit = UNIT_BYTES },
	[CONTAINERS_THREADS] = { .key = "threads", .of = OF_JVM, .unit = UNIT_COUNT },
};

void containers_row_done(struct containers_row *row)
{
	for (unsigned times = 0; times < TIMES_MAX; times++)
		hist_done(&row->times[times]);
}

bool containers_row_jvm_quiet(const struct containers_row *row)
{
	return !row->totals[TOTAL_SAFEPOINTS] && !row->totals[TOTAL_GC_NS] && row->threads <= 0 &&
	       !row->heap.used_bytes;
}

bool containers_row_quiet(const struct containers_row *row)
{
	for (unsigned total = 0; total < TOTAL_MAX; total++)
		if (row->totals[total])
			return false;
	for (unsigned times = 0; times < TIMES_MAX; times++)
		if (row->times[times].count)
			return false;
	return row->conns <= 0 && containers_row_jvm_quiet(row);
}

/* ---- values */

static bool row_knows(const struct containers_row *row, enum figure_of of)
{
	switch (of) {
	case OF_TCP:
		return row->tcp_known;
	case OF_SCHED:
		return row->sched_known;
	case OF_JVM:
		return row->jvm_known;
	case OF_NOTHING:
		break;
	}
	return false;
}

/* A signal whose series begin with the first event tells by its other ones that there was none yet. CPU time and
 * safepoints come from places of their own, which may be closed while others are open. */
static bool total_known(const struct containers_row *row, enum containers_total total)
{
	if (row->totals_known & 1u << total)
		return true;
	if (total == TOTAL_GC_NS) /* told by the same counters as the heap */
		return row->heap.used_count;
	return total != TOTAL_CPU_NS && total != TOTAL_SAFEPOINTS && total != TOTAL_STOPPED_NS;
}

static __s64 row_count(const struct containers_row *row, enum containers_column column)
{
	return column == CONTAINERS_THREADS ? row->threads : row->conns;
}

static __s64 row_bytes(const struct containers_row *row, enum containers_column column)
{
	return column == CONTAINERS_HEAP_LIMIT ? heap_limit(&row->heap) : heap_used(&row->heap);
}

/* NOT_KNOWN is less than all that are known. */
static double row_figure(const struct containers_row *row, enum containers_column column, double seconds)
{
	const struct figure *figure = &figures[column];
	const struct hist *hist = &row->times[figure->times];

	if (!row_knows(row, figure->of))
		return NOT_KNOWN;
	switch (figure->unit) {
	case UNIT_RATE:
		return total_known(row, figure->total) ? row->totals[figure->total] / seconds : NOT_KNOWN;
	case UNIT_PERCENT:
		return total_known(row, figure->total) ? row->totals[figure->total] / 1e9 / seconds * 100 : NOT_KNOWN;
	case UNIT_DURATION:
		return hist->count ? hist_quantile_ns(hist, figure->quantile) : NOT_KNOWN;
	case UNIT_LONGEST:
		return row->runq_max_ns < 0 ? NOT_KNOWN : row->runq_max_ns;
	case UNIT_COUNT:
		return row_count(row, column) < 0 ? NOT_KNOWN : row_count(row, column);
	case UNIT_BYTES:
		return row_bytes(row, column) < 0 ? NOT_KNOWN : row_bytes(row, column);
	case UNIT_TEXT:
		break;
	}
	return NOT_KNOWN;
}

int figure_compare(const struct containers_row *left, const struct containers_row *right, enum containers_column column,
		   bool ascending)
{
	int names = strcmp(who_name(left->who), who_name(right->who));
	int result = names;

	if (column != CONTAINERS_NAME) {
		/* Any interval will do: it is the same for both. */
		double x = row_figure(left, column, 1), y = row_figure(right, column, 1);

		result = x < y ? 1 : x > y ? -1 : 0;
	}
	if (result)
		return ascending ? -result : result;
	return names ? names : strcmp(who_key(left->who), who_key(right->who));
}

/* ---- as text */

static void value_print(double value, enum unit unit, struct buf *out)
{
	char room[STR_NUMBER_ROOM];

	switch (unit) {
	case UNIT_RATE:
	case UNIT_PERCENT:
		rate_print(value, out);
		break;
	case UNIT_DURATION:
	case UNIT_LONGEST:
		buf_add_str(out, str_format_duration(value, room));
		break;
	case UNIT_COUNT:
		buf_add_str(out, str_format_count(value, room));
		break;
	case UNIT_BYTES:
		buf_add_str(out, str_format_bytes(value, room));
		break;
	case UNIT_TEXT:
		break;
	}
}

void figure_print(const struct containers_row *row, enum containers_column column, __u64 interval_ns, struct buf *out)
{
	double value = row_figure(row, column, interval_seconds(interval_ns));

	if (column == CONTAINERS_NAME)
		who_print(row->who, out);
	else if (column == CONTAINERS_NEIGHBOUR)
		buf_add_str(out, row->neighbour ? row->neighbour : "-");
	else if (value < 0)
		buf_add_char(out, '-');
	else
		value_print(value, figures[column].unit, out);
}

/* ---- as JSON */

static json_t *figure_json(const struct containers_row *row, enum containers_column column, double seconds)
{
	double value = row_figure(row, column, seconds);

	switch (figures[column].unit) {
	case UNIT_TEXT:
		return row->neighbour ? json_string(row->neighbour) : json_null();
	case UNIT_RATE:
	case UNIT_PERCENT:
		return value < 0 ? json_null() : json_real(value);
	case UNIT_DURATION:
	case UNIT_LONGEST:
	case UNIT_COUNT:
	case UNIT_BYTES:
		return value < 0 ? json_null() : json_integer(llround(value));
	}
	return NULL;
}

json_t *figures_json(const struct containers_row *row, enum figure_of of, __u64 interval_ns)
{
	double seconds = interval_seconds(interval_ns);
	json_t *object;

	if (!row_knows(row, of))
		return json_null();
	object = json_object();
	for (unsigned column = 0; column < CONTAINERS_COLUMN_MAX; column++) {
		if (figures[column].of != of)
			continue;
		if (json_object_set_new(object, figures[column].key, figure_json(row, column, seconds))) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}
