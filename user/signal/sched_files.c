/* Differences are added, not totals set: when a container is started again its new cgroup inherits the series of the one
 * before (aggregate_bequeath), and goes on counting from there. */
#include "signal/sched_files.h"

#include <errno.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "kernel/cgroup_stat.h"
#include "kernel/features.h"
#include "model/intern.h"

/* A cgroup that nobody told the end of, and that was not looked at for so long, makes room for another. */
#define STALE_NS (600 * NS_PER_S)

const struct metric sched_cpu_time = {
	.name = "container.cpu.time",
	.unit = "s",
	.text = "CPU time used, by mode.",
	.kind = METRIC_SUM,
	.scale = 1e-9,
};
const struct metric sched_periods = {
	.name = "weir.container.cpu.periods",
	.unit = "{period}",
	.text = "Periods in which a CPU quota was enforced.",
	.kind = METRIC_SUM,
};
const struct metric sched_throttled_periods = {
	.name = "weir.container.cpu.throttled.periods",
	.unit = "{period}",
	.text = "Periods in which the CPU quota was used up.",
	.kind = METRIC_SUM,
};
const struct metric sched_throttled_time = {
	.name = "weir.container.cpu.throttled.time",
	.unit = "s",
	.text = "Time without a CPU because the quota was used up, of all run queues together.",
	.kind = METRIC_SUM,
	.scale = 1e-9,
};
const struct metric sched_stall_time = {
	.name = "weir.container.pressure.stall.time",
	.unit = "s",
	.text = "Time that some or all tasks waited for a resource (cpu, memory, io).",
	.kind = METRIC_SUM,
	.scale = 1e-9,
};
const struct metric sched_restarts = {
	.name = "weir.container.restarts",
	.unit = "{restart}",
	.text = "Times that the container, or the unit, was started again.",
	.kind = METRIC_SUM,
};

/* What each figure becomes. Series of one group are made together, so that one that is missing is not known. */
enum group { GROUP_CPU, GROUP_THROTTLING, GROUP_STALL_CPU, GROUP_STALL_MEMORY, GROUP_STALL_IO, GROUPS_MAX };

static const struct target {
	const struct metric *metric;
	enum group group;
	const char *key[2], *value[2]; /* attributes; NULL: none */
} targets[CGROUP_FIGURES_MAX] = {
	[CGROUP_CPU_USER] = { &sched_cpu_time, GROUP_CPU, { "cpu.mode" }, { "user" } },
	[CGROUP_CPU_SYSTEM] = { &sched_cpu_time, GROUP_CPU, { "cpu.mode" }, { "system" } },
	[CGROUP_CPU_PERIODS] = { .metric = &sched_periods, .group = GROUP_THROTTLING },
	[CGROUP_CPU_THROTTLED_PERIODS] = { .metric = &sched_throttled_periods, .group = GROUP_THROTTLING },
	[CGROUP_CPU_THROTTLED_TIME] = { .metric = &sched_throttled_time, .group = GROUP_THROTTLING },
#define STALL(GROUP, resource, type)                                    \
	{                                                               \
		&sched_stall_time, GROUP, { "resource", "stall_type" }, \
		{                                                       \
			resource, type                                  \
		}                                                       \
	}
	[CGROUP_PRESSURE_CPU_SOME] = STALL(GROUP_STALL_CPU, "cpu", "some"),
	[CGROUP_PRESSURE_CPU_FULL] = STALL(GROUP_STALL_CPU, "cpu", "full"),
	[CGROUP_PRESSURE_MEMORY_SOME] = STALL(GROUP_STALL_MEMORY, "memory", "some"),
	[CGROUP_PRESSURE_MEMORY_FULL] = STALL(GROUP_STALL_MEMORY, "memory", "full"),
	[CGROUP_PRESSURE_IO_SOME] = STALL(GROUP_STALL_IO, "io", "some"),
	[CGROUP_PRESSURE_IO_FULL] = STALL(GROUP_STALL_IO, "io", "full"),
#undef STALL
};

struct file {
	__u64 cgroup_id;
	__u64 seen_ns; /* the last look */
	__u32 based;   /* bits of figures that .last is true of */
	__u32 shown;   /* bits of groups that have series */
	__u64 start_ns[GROUPS_MAX];
	__u64 last[CGROUP_FIGURES_MAX];
	__u64 gathered[CGROUP_FIGURES_MAX]; /* counted and not yet in a series */
	struct cgroup_place place;
};

struct sched_files {
	struct signal_ctx *ctx;
	struct cgroup_reader *reader;
	__u64 start_ns;
	struct map files;
	__u64 swept_ns;
	struct attr attrs[CGROUP_FIGURES_MAX][2];
	unsigned attrs_count[CGROUP_FIGURES_MAX];
};

/* --- one for each cgroup ------------------------------------------------------------------------------------ */

static __u64 file_hash(__u64 cgroup_id)
{
	return hash_mix(cgroup_id, 0);
}

static bool file_is(const void *item, const void *key)
{
	return ((const struct file *)item)->cgroup_id == *(const __u64 *)key;
}

static struct file *file_find(const struct sched_files *files, __u64 cgroup_id)
{
	return map_find(&files->files, file_hash(cgroup_id), file_is, &cgroup_id);
}

static void file_free(struct file *f)
{
	cgroup_place_done(&f->place);
	free(f);
}

void sched_files_forget(struct sched_files *files, __u64 cgroup_id)
{
	struct file *f = file_find(files, cgroup_id);

	if (!f)
		return;
	map_del(&files->files, file_hash(cgroup_id), f);
	file_free(f);
}

/* Of cgroups that left the table of identities because it was full nobody tells. */
static void files_sweep(struct sched_files *files, __u64 now_ns)
{
	const struct file *f;
	__u64 stale[64];
	unsigned count = 0;
	size_t pos = 0;

	if (files->swept_ns && now_ns - files->swept_ns < NS_PER_S)
		return;
	files->swept_ns = now_ns;
	while (count < sizeof(stale) / sizeof(stale[0]) && (f = map_next(&files->files, &pos)))
		if (now_ns - f->seen_ns > STALE_NS)
			stale[count++] = f->cgroup_id;
	while (count)
		sched_files_forget(files, stale[--count]);
}

/* NULL: no room or no memory. */
static struct file *file_new(struct sched_files *files, __u64 cgroup_id, __u64 made_ns, __u64 now_ns)
{
	struct file *f;

	if (files->files.count >= SCHED_FILES_MAX)
		files_sweep(files, now_ns);
	if (files->files.count >= SCHED_FILES_MAX)
		return NULL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->cgroup_id = cgroup_id;
	/* Whatever the kernel has counted of one whose making we were told of happened under our eyes. */
	if (made_ns)
		f->based = (1u << CGROUP_FIGURES_MAX) - 1;
	for (unsigned i = 0; i < GROUPS_MAX; i++)
		f->start_ns[i] = made_ns;
	if (map_add(&files->files, file_hash(cgroup_id), f)) {
		free(f);
		return NULL;
	}
	return f;
}

/* --- figures into series ------------------------------------------------------------------------------------ */

static void figure_gather(struct file *f, enum cgroup_figure figure, __u64 value, bool moved, __u64 now_ns)
{
	__u64 *start_ns = &f->start_ns[targets[figure].group];

	if (!(f->based & 1u << figure)) {
		f->based |= 1u << figure;
		if (!*start_ns)
			*start_ns = now_ns;
	} else if (!moved && value > f->last[figure]) {
		f->gathered[figure] += value - f->last[figure];
	}
	/* A smaller one: the file is of another cgroup now, of which only what comes is ours. */
	f->last[figure] = value;
}

/* Bits of the groups for which there is something to show. */
static __u32 groups_to_show(const struct file *f, const struct cgroup_stat *stat)
{
	__u32 groups = f->shown;

	for (unsigned i = 0; i < CGROUP_FIGURES_MAX; i++)
		if (f->gathered[i])
			groups |= 1u << targets[i].group;
	if (cgroup_stat_knows(stat, CGROUP_CPU_PERIODS) && stat->value[CGROUP_CPU_PERIODS])
		groups |= 1u << GROUP_THROTTLING;
	return groups;
}

static void figure_show(struct sched_files *files, struct file *f, enum cgroup_figure figure)
{
	series_add(aggregate_series(files->ctx->sink->aggregate, targets[figure].metric, f->cgroup_id,
				    files->attrs[figure], files->attrs_count[figure],
				    f->start_ns[targets[figure].group]),
		   f->gathered[figure]);
	f->gathered[figure] = 0;
}

void sched_files_cgroup(struct sched_files *files, __u64 cgroup_id, const char *path, __u64 made_ns)
{
	struct file *f = file_find(files, cgroup_id);
	__u64 now_ns = time_now_ns();
	struct cgroup_stat stat;
	__u32 moved;

	if (!f)
		f = file_new(files, cgroup_id, made_ns, now_ns);
	if (!f)
		return;
	f->seen_ns = now_ns;
	cgroup_reader_read(files->reader, path, &f->place, &stat, &moved);
	for (unsigned i = 0; i < CGROUP_FIGURES_MAX; i++)
		if (cgroup_stat_knows(&stat, i))
			figure_gather(f, i, stat.value[i], moved & 1u << i, now_ns);
	f->shown = groups_to_show(f, &stat);
	for (unsigned i = 0; i < CGROUP_FIGURES_MAX; i++)
		if (cgroup_stat_knows(&stat, i) && f->shown & 1u << targets[i].group)
			figure_show(files, f, i);
}

/* --- restarts ----------------------------------------------------------------------------------------------- */

void sched_files_restarted(struct sched_files *files, __u64 cgroup_id, __u64 time_ns)
{
	struct sink *sink = files->ctx->sink;
	struct span span = {
		.signal = files->ctx->signal->id,
		.time_ns = time_ns,
		.cgroup_id = cgroup_id,
		.fields_count = 1,
		.fields = { { .name = "event", .type = FIELD_STR, .str = "restart" } },
	};

	series_add(aggregate_series(sink->aggregate, &sched_restarts, cgroup_id, NULL, 0, files->start_ns), 1);
	if (sink->spans)
		sink->span(sink, &span);
}

/* --- life cycle --------------------------------------------------------------------------------------------- */

static void attrs_intern(struct sched_files *files)
{
	for (unsigned i = 0; i < CGROUP_FIGURES_MAX; i++)
		for (unsigned a = 0; a < 2 && targets[i].key[a]; a++)
			files->attrs[i][files->attrs_count[i]++] = (struct attr){
				.key = intern_str(targets[i].key[a]),
				.type = ATTR_STR,
				.str = intern_str(targets[i].value[a]),
			};
}

int sched_files_new(struct signal_ctx *ctx, struct sched_files **ret, struct why *why)
{
	struct sched_files *files = calloc(1, sizeof(*files));

	if (!files)
		return why_set(why, -ENOMEM, "no memory");
	files->ctx = ctx;
	files->start_ns = time_now_ns();
	attrs_intern(files);
	files->reader = cgroup_reader_open(ctx->features->cgroup_mount, NULL, why);
	if (!files->reader) {
		sched_files_free(files);
		return -ENOENT;
	}
	*ret = files;
	return 0;
}

void sched_files_free(struct sched_files *files)
{
	struct file *f;
	size_t pos = 0;

	if (!files)
		return;
	while ((f = map_next(&files->files, &pos)))
		file_free(f);
	map_done(&files->files);
	cgroup_reader_close(files->reader);
	free(files);
}

void sched_files_table(const struct sched_files *files, struct table_use *ret)
{
	*ret = (struct table_use){
		.name = "sched_files",
		.used = files->files.count,
		.max = SCHED_FILES_MAX,
		.bytes = files->files.count * sizeof(struct file) + map_bytes(&files->files),
	};
}
