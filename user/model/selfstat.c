#include "model/selfstat.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
#include "model/intern.h"

#define SELFSTAT_CELLS_MAX 64

/* Kinds of the table's rows. UPDOWN: a gauge whose values of several agents may be added up. */
#define KIND_SUM    .kind = METRIC_SUM
#define KIND_HIST   .kind = METRIC_HIST
#define KIND_GAUGE  .kind = METRIC_GAUGE
#define KIND_UPDOWN .kind = METRIC_GAUGE, .updown = true

/* "s" is the only unit of one letter. A comparison of strings is no constant, their size is. */
#define UNIT_SCALE(unit) (sizeof(unit) == sizeof("s") ? 1e-9 : 0)

const struct metric selfstat_metrics[SELFSTAT_MAX] = {
#define SELFSTAT(id, metric_name, metric_unit, metric_kind, first, second, sentence) \
	[SELFSTAT_##id] = { .name = metric_name,                                     \
			    .unit = metric_unit,                                     \
			    .text = sentence,                                        \
			    .scale = UNIT_SCALE(metric_unit),                        \
			    KIND_##metric_kind },
#include "model/selfstat.def"
#undef SELFSTAT
};

static const char *const attr_keys[SELFSTAT_MAX][2] = {
#define SELFSTAT(id, name, unit, kind, first, second, text) [SELFSTAT_##id] = { first, second },
#include "model/selfstat.def"
#undef SELFSTAT
};

static const char *const reason_names[LOSS_MAX] = {
	[LOSS_RING] = "ring",	    [LOSS_TABLE] = "table",	    [LOSS_BUSY] = "busy",
	[LOSS_REORDER] = "reorder", [LOSS_STEPS] = "steps",	    [LOSS_DEPTH] = "depth",
	[LOSS_PARSE] = "parse",	    [LOSS_UNMATCHED] = "unmatched", [LOSS_MEMORY] = "memory",
};

/* What selfstat_count() counts. For the process, because it is called on other threads and in no stage, where handing
 * down a pointer for one number would be in everybody's way. */
static struct {
	pthread_mutex_t lock;
	unsigned cells_count;
	struct cell {
		enum selfstat_id id;
		const char *first, *second;
		__u64 total;
	} cells[SELFSTAT_CELLS_MAX];
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

const char *loss_reason_name(enum loss_reason reason)
{
	return (unsigned)reason < LOSS_MAX ? reason_names[reason] : "unknown";
}

static struct series *series_find(struct aggregate *agg, enum selfstat_id id, const char *first, const char *second,
				  __u64 start_ns)
{
	const char *const values[2] = { first, second };
	struct attr attrs[2];
	unsigned count = 0;

	for (unsigned i = 0; i < 2; i++) {
		if (!values[i])
			continue;
		assert(attr_keys[id][i]); /* the row has no such attribute */
		attrs[count++] = (struct attr){
			.key = intern_str(attr_keys[id][i]),
			.type = ATTR_STR,
			.str = intern_str(values[i]),
		};
	}
	return aggregate_series(agg, &selfstat_metrics[id], 0, attrs, count, start_ns);
}

void selfstat_total(struct aggregate *agg, enum selfstat_id id, const char *first, const char *second, __u64 total,
		    __u64 start_ns)
{
	series_total(series_find(agg, id, first, second, start_ns), total);
}

void selfstat_gauge(struct aggregate *agg, enum selfstat_id id, const char *first, const char *second, __s64 value)
{
	series_set(series_find(agg, id, first, second, time_now_ns()), value);
}

void selfstat_hist(struct aggregate *agg, enum selfstat_id id, __u64 value_ns, __u64 start_ns)
{
	series_add_hist(series_find(agg, id, NULL, NULL, start_ns), value_ns);
}

void selfstat_signal(struct aggregate *agg, const char *signal, __u64 seen, __u64 delivered, __u64 filtered,
		     const __u64 *lost, __u64 start_ns)
{
	selfstat_total(agg, SELFSTAT_signal_seen, signal, NULL, seen, start_ns);
	selfstat_total(agg, SELFSTAT_signal_delivered, signal, NULL, delivered, start_ns);
	selfstat_total(agg, SELFSTAT_signal_filtered, signal, NULL, filtered, start_ns);
	/* Reasons that never happened too: an alert on a series that does not exist cannot fire. */
	for (unsigned reason = 0; reason < LOSS_MAX; reason++)
		selfstat_total(agg, SELFSTAT_signal_lost, signal, reason_names[reason], lost[reason], start_ns);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* The lock is held. */
static struct cell *cell_find(enum selfstat_id id, const char *first, const char *second)
{
	for (unsigned i = 0; i < state.cells_count; i++) {
		struct cell *cell = &state.cells[i];

		if (cell->id == id && same_text(cell->first, first) && same_text(cell->second, second))
			return cell;
	}
	return NULL;
}

void selfstat_count(enum selfstat_id id, const char *first, const char *second, __u64 add)
{
	struct cell *cell;

	assert(selfstat_metrics[id].kind == METRIC_SUM);
	pthread_mutex_lock(&state.lock);
	cell = cell_find(id, first, second);
	if (!cell && state.cells_count < SELFSTAT_CELLS_MAX) {
		cell = &state.cells[state.cells_count++];
		*cell = (struct cell){ .id = id, .first = first, .second = second };
	}
	if (cell)
		cell->total += add;
	pthread_mutex_unlock(&state.lock);
}

__u64 selfstat_counted(enum selfstat_id id, const char *first, const char *second)
{
	struct cell *cell;
	__u64 total;

	pthread_mutex_lock(&state.lock);
	cell = cell_find(id, first, second);
	total = cell ? cell->total : 0;
	pthread_mutex_unlock(&state.lock);
	return total;
}

/* Resident bytes of this process; 0 when /proc does not say. */
static __u64 resident_bytes(void)
{
	unsigned long long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%*u %llu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages * (__u64)sysconf(_SC_PAGESIZE);
}

void selfstat_publish(struct aggregate *agg, __u64 start_ns)
{
	struct cell cells[SELFSTAT_CELLS_MAX];
	struct aggregate_use use;
	struct timespec cpu;
	unsigned count;

	pthread_mutex_lock(&state.lock);
	count = state.cells_count;
	memcpy(cells, state.cells, count * sizeof(cells[0]));
	pthread_mutex_unlock(&state.lock);
	for (unsigned i = 0; i < count; i++)
		selfstat_total(agg, cells[i].id, cells[i].first, cells[i].second, cells[i].total, start_ns);

	selfstat_gauge(agg, SELFSTAT_intern_bytes, NULL, NULL, (__s64)intern_used_bytes());
	selfstat_total(agg, SELFSTAT_intern_overflow, NULL, NULL, intern_overflowed(), start_ns);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	selfstat_total(agg, SELFSTAT_process_cpu, NULL, NULL, (__u64)cpu.tv_sec * NS_PER_S + (__u64)cpu.tv_nsec,
		       start_ns);
	selfstat_gauge(agg, SELFSTAT_process_memory, NULL, NULL, (__s64)resident_bytes());
	aggregate_use(agg, &use);
	selfstat_gauge(agg, SELFSTAT_series_count, NULL, NULL, (__s64)use.series);
	selfstat_gauge(agg, SELFSTAT_series_bytes, NULL, NULL, (__s64)use.bytes);
	selfstat_total(agg, SELFSTAT_series_overflow, NULL, NULL, use.overflowed, start_ns);
	selfstat_total(agg, SELFSTAT_series_forgotten, NULL, NULL, use.forgotten, start_ns);
	selfstat_total(agg, SELFSTAT_series_lost, NULL, NULL, use.lost, start_ns);
}
