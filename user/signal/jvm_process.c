#include "signal/jvm_process.h"

#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/map.h"
#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "jvm/figures.h"
#include "jvm/kind.h"
#include "jvm/perf_source.h"
#include "kernel/watch.h"

#define WATCHES		3
#define THREADS_MAX	4096 /* looked at to find the one that makes safepoints */
#define VM_THREAD	"VM Thread"
#define TRY_NS		500000000ull /* after which counters that were not there are looked for again, then twice that... */
#define TRIES		8
#define STOPPED_NS	100000000ull /* between two looks because of a safepoint that need not have been a collection */
#define COLLECTIONS_MAX 100000
/* To get to know new ones may take this part of a CPU, and this much at once: a JVM without a file of counters takes 10 ms,
 * and hundreds may be there when we come. */
#define COMPLETE_PART	  20
#define COMPLETE_BURST_NS (300 * NS_PER_MS)

struct jvm_process {
	__u32 pid;
	__u64 start; /* clock ticks since boot, field 22 of /proc/PID/stat: tells two processes of one number apart */
	__u64 cgroup_id;
	bool hotspot;
	char kind[64];
	char why[160];
	enum jvm_source source;
	struct jvm_library *library;
	struct perf_source *counters; /* NULL: none, or not found yet */
	struct bpf_link *watches[WATCHES];
	unsigned tries;
	__u64 try_ns;
	__u64 stopped_ns; /* last look because of a safepoint */
	__u64 cpu_ns;	  /* as last told */
	bool read;	  /* .figures is what was last read */
	struct jvm_about about;
	struct jvm_figures figures;
	struct jvm_pool after_gc[JVM_POOLS_MAX]; /* as they were after the last collection */
	unsigned after_gc_count;
};

struct jvm_processes {
	struct jvm_processes_options options;
	struct map map;
	__u64 boot_ns; /* our own start, on the clock by which processes are dated */
	__u64 counted;
	__s64 budget_ns; /* left for getting to know new ones */
	__u64 budget_time_ns;
};

struct jvm_processes *jvm_processes_new(const struct jvm_processes_options *options)
{
	struct jvm_processes *ps = calloc(1, sizeof(*ps));
	struct timespec now;

	if (!ps)
		return NULL;
	ps->options = *options;
	clock_gettime(CLOCK_BOOTTIME, &now);
	ps->budget_ns = COMPLETE_BURST_NS;
	ps->boot_ns = (__u64)now.tv_sec * NS_PER_S + (__u64)now.tv_nsec;
	return ps;
}

static void process_unwatch(struct jvm_process *p)
{
	for (unsigned i = 0; i < WATCHES; i++)
		bpf_link__destroy(p->watches[i]);
	memset(p->watches, 0, sizeof(p->watches));
}

static void process_free(struct jvm_process *p)
{
	process_unwatch(p);
	perf_source_close(p->counters);
	free(p);
}

void jvm_processes_detach(struct jvm_processes *ps)
{
	struct jvm_process *p;
	size_t pos = 0;

	while ((p = map_next(&ps->map, &pos)))
		process_unwatch(p);
}

void jvm_processes_free(struct jvm_processes *ps)
{
	struct jvm_process *p;
	size_t pos = 0;

	if (!ps)
		return;
	while ((p = map_next(&ps->map, &pos)))
		process_free(p);
	map_done(&ps->map);
	free(ps);
}

/* ---- what /proc says of a process */

static ssize_t proc_read(const struct jvm_processes *ps, __u32 pid, const char *name, char *ret, size_t room)
{
	char path[64];
	ssize_t bytes;
	int fd;

	snprintf(path, sizeof(path), "%s/%u/%s", ps->options.proc, pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	bytes = read(fd, ret, room - 1);
	if (bytes < 0)
		bytes = -errno;
	else
		ret[bytes] = '\0';
	close(fd);
	return bytes;
}

/* The cgroup in the v2 hierarchy: the inode of its directory is its number. */
static __u64 process_cgroup(const struct jvm_processes *ps, __u32 pid)
{
	char text[4096], path[4400], *line, *end;
	struct stat st;

	if (!ps->options.cgroup_mount || proc_read(ps, pid, "cgroup", text, sizeof(text)) <= 0)
		return 0;
	line = !strncmp(text, "0::/", 4) ? text : strstr(text, "\n0::/");
	if (!line)
		return 0;
	line = strchr(line, '/');
	end = strchr(line, '\n');
	if (!end || strstr(line, "/../"))
		return 0; /* above the root of our cgroup namespace: a record will tell */
	*end = '\0';
	snprintf(path, sizeof(path), "%s%s", ps->options.cgroup_mount, line);
	return stat(path, &st) ? 0 : st.st_ino;
}

/* ---- watchpoints */

/* The thread that makes safepoints, or 0. */
static __u32 vm_thread(const struct jvm_processes *ps, __u32 pid)
{
	char path[64], name[64];
	struct dirent *entry;
	unsigned looked = 0;
	__u64 tid, found = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%u/task", ps->options.proc, pid);
	dir = opendir(path);
	if (!dir)
		return 0;
	while (!found && looked++ < THREADS_MAX && (entry = readdir(dir))) {
		if (str_to_u64(entry->d_name, ~0u, &tid))
			continue;
		snprintf(path, sizeof(path), "task/%u/comm", (__u32)tid);
		if (proc_read(ps, pid, path, name, sizeof(name)) > 0 && !strcmp(name, VM_THREAD "\n"))
			found = tid;
	}
	closedir(dir);
	return found;
}

static int process_watch(struct jvm_processes *ps, struct jvm_process *p, struct why *why)
{
	/* What ends safepoints first, so that none begins that could not end. */
	static const struct {
		const char *counter, *program;
	} moments[WATCHES] = {
		{ "sun.rt.safepointTime", "jvm_watch_end" },
		{ "sun.rt.safepointSyncTime", "jvm_watch_synchronised" },
		{ "sun.rt.safepoints", "jvm_watch_begin" },
	};
	__u32 tid = vm_thread(ps, p->pid);
	int err = tid ? 0 : why_set(why, -ESRCH, "it has no thread '" VM_THREAD "' yet");

	for (unsigned i = 0; !err && i < WATCHES; i++) {
		struct bpf_program *prog = bpf_object__find_program_by_name(ps->options.obj, moments[i].program);
		__u64 address = 0;

		err = perf_source_address(p->counters, moments[i].counter, &address);
		if (err)
			why_set(why, err, "it has no counter '%s'", moments[i].counter);
		else
			err = watch_attach(prog, tid, address, &p->watches[i], why);
	}
	if (err)
		process_unwatch(p);
	return err;
}

/* ---- which source */

/* The library can be probed, or else its counters watched, or else read. */
static void process_choose(struct jvm_processes *ps, struct jvm_process *p)
{
	struct why why = { "" };

	if (p->source != JVM_SOURCE_NONE && p->source != JVM_SOURCE_COUNTERS)
		return;
	if (p->library && p->library->source != JVM_SOURCE_NONE) {
		p->source = p->library->source;
		str_copy(p->why, sizeof(p->why), p->library->why);
		return;
	}
	if (!p->counters)
		return;
	if (ps->options.at_best != JVM_SOURCE_COUNTERS) {
		if (!process_watch(ps, p, &why)) {
			p->source = JVM_SOURCE_WATCHPOINTS;
			snprintf(p->why, sizeof(p->why), "%s", p->library ? p->library->why : "");
			return;
		}
		snprintf(p->why, sizeof(p->why), "%.150s", why.text);
	}
	p->source = JVM_SOURCE_COUNTERS;
}

/* Library and counters, as far as they are not known yet. The latter out of budget: not now, but soon. */
static void process_complete(struct jvm_processes *ps, struct jvm_process *p, __u64 now_ns)
{
	struct why why = { "" };
	int err;

	if (!p->library) {
		err = jvm_library_get(ps->options.libraries, p->pid, &p->library, &why);
		if (err)
			snprintf(p->why, sizeof(p->why), "%.150s", why.text);
	}
	process_choose(ps, p);
	if (ps->budget_ns <= 0)
		return;
	p->try_ns = now_ns + (TRY_NS << p->tries);
	p->tries++;
	if (!p->counters) {
		err = perf_source_open(ps->options.proc, p->pid, p->start, &p->counters, &why);
		if (!err) {
			jvm_about_read(perf_source_data(p->counters), &p->about);
			snprintf(p->kind, sizeof(p->kind), "HotSpot %.40s", p->about.version);
		} else if (p->library && p->library->source == JVM_SOURCE_NONE) {
			snprintf(p->why, sizeof(p->why), "%.150s", why.text);
		}
	}
	process_choose(ps, p);
	ps->budget_ns -= (__s64)(time_now_ns() - now_ns);
}

static bool process_incomplete(const struct jvm_process *p)
{
	if (p->hotspot && p->tries < TRIES)
		return !p->library || !p->counters || p->source == JVM_SOURCE_COUNTERS;
	return false;
}

/* ---- which there are */

static bool process_same(const void *item, const void *key)
{
	return ((const struct jvm_process *)item)->pid == *(const __u32 *)key;
}

struct jvm_process *jvm_processes_get(struct jvm_processes *ps, __u32 pid)
{
	return map_find(&ps->map, hash_mix(pid, 0), process_same, &pid);
}

static void process_remove(struct jvm_processes *ps, struct jvm_process *p)
{
	map_del(&ps->map, hash_mix(p->pid, 0), p);
	jvm_library_put(ps->options.libraries, p->library, time_now_ns());
	process_free(p);
}

static struct jvm_process *process_new(struct jvm_processes *ps, __u32 pid, __u64 start)
{
	struct jvm_process *p = ps->map.count < JVM_PROCESSES_MAX ? calloc(1, sizeof(*p)) : NULL;

	if (!p)
		return NULL;
	p->pid = pid;
	p->start = start;
	p->cgroup_id = process_cgroup(ps, pid);
	if (map_add(&ps->map, hash_mix(pid, 0), p)) {
		free(p);
		return NULL;
	}
	return p;
}

bool jvm_processes_look(struct jvm_processes *ps, __u32 pid)
{
	struct jvm_process *p = jvm_processes_get(ps, pid);
	struct process_stat stat;
	enum jvm_kind kind;

	if (process_stat_read(ps->options.proc, pid, &stat))
		return true; /* gone */
	if (p && p->start == stat.start_ticks)
		return true;
	if (p)
		process_remove(ps, p);
	if (jvm_kind_of(ps->options.proc, pid, &kind) || kind == JVM_KIND_NONE)
		return false;
	p = process_new(ps, pid, stat.start_ticks);
	if (!p)
		return true;
	p->hotspot = kind == JVM_KIND_HOTSPOT;
	if (p->hotspot) {
		str_copy(p->kind, sizeof(p->kind), "HotSpot");
		process_complete(ps, p, time_now_ns());
	} else {
		str_copy(p->kind, sizeof(p->kind), kind == JVM_KIND_OPENJ9 ? "OpenJ9" : "native image");
		str_copy(p->why, sizeof(p->why), jvm_kind_sentence(kind));
	}
	return true;
}

const struct jvm_library *jvm_process_library(const struct jvm_process *p)
{
	return p->library;
}

void jvm_process_in(struct jvm_process *p, __u64 cgroup_id)
{
	if (cgroup_id)
		p->cgroup_id = cgroup_id;
}

/* ---- what the counters say */

static __u64 grown(__u64 now, __u64 before)
{
	return now > before ? now - before : 0;
}

/* Of a JVM that was there before us only what comes is counted; of others all. */
static void figures_begin(const struct jvm_processes *ps, struct jvm_process *p, const struct jvm_figures *now)
{
	__u64 start_ns = p->start * (NS_PER_S / (__u64)sysconf(_SC_CLK_TCK));

	p->read = true;
	if (start_ns >= ps->boot_ns)
		return; /* .figures are zero */
	p->figures = *now;
	p->figures.classes_loaded = p->figures.classes_unloaded = 0;
}

static void collectors_count(struct jvm_processes *ps, struct jvm_process *p, const struct jvm_figures *now)
{
	bool collected = false;

	for (unsigned i = 0; i < now->collector_count; i++) {
		const struct jvm_collector *c = &now->collectors[i], *before = &p->figures.collectors[i];
		__u64 count = i < p->figures.collector_count ? grown(c->count, before->count) : c->count;
		__u64 stopped_ns = i < p->figures.collector_count ? grown(c->stopped_ns, before->stopped_ns)
								  : c->stopped_ns;

		if (!count)
			continue;
		collected = true;
		/* A counter that a process makes up may be anything; nobody collects so often between two looks. */
		if (count <= COLLECTIONS_MAX)
			jvm_series_gc(ps->options.series, p->cgroup_id, c->name, c->action, count, stopped_ns);
	}
	if (!collected)
		return;
	memcpy(p->after_gc, now->pools, sizeof(p->after_gc));
	p->after_gc_count = now->pool_count;
}

static void safepoints_count(struct jvm_processes *ps, struct jvm_process *p, const struct jvm_figures *now)
{
	__u64 count = grown(now->safepoints, p->figures.safepoints);

	if (p->source != JVM_SOURCE_COUNTERS || !(now->known & JVM_SAFEPOINTS))
		return;
	jvm_series_counted(ps->options.series, p->cgroup_id, count,
			   grown(now->safepoint_stopped_ns, p->figures.safepoint_stopped_ns),
			   grown(now->safepoint_sync_ns, p->figures.safepoint_sync_ns));
	ps->counted += count;
}

/* What has come since the last look. False: they cannot be read now. */
static bool process_poll(struct jvm_processes *ps, struct jvm_process *p, bool *ret_gone)
{
	struct jvm_figures now;
	int err = p->counters ? perf_source_read(p->counters, NULL) : -ENODATA;

	*ret_gone = err == -ESRCH;
	if (err)
		return false;
	jvm_figures_read(perf_source_data(p->counters), &p->about, &now);
	if (!p->read)
		figures_begin(ps, p, &now);
	collectors_count(ps, p, &now);
	safepoints_count(ps, p, &now);
	jvm_series_add(ps->options.series, &jvm_class_loaded, p->cgroup_id,
		       grown(now.classes_loaded, p->figures.classes_loaded));
	jvm_series_add(ps->options.series, &jvm_class_unloaded, p->cgroup_id,
		       grown(now.classes_unloaded, p->figures.classes_unloaded));
	p->figures = now;
	return true;
}

void jvm_process_stopped(struct jvm_processes *ps, struct jvm_process *p, bool collects, __u64 now_ns)
{
	bool gone;

	/* Where the operation has no name it may have been a collection or not: then not each time. */
	if (!collects && now_ns - p->stopped_ns < STOPPED_NS)
		return;
	p->stopped_ns = now_ns;
	process_poll(ps, p, &gone);
}

static void pool_show(struct jvm_processes *ps, const struct jvm_process *p, const struct jvm_pool *pool)
{
	struct jvm_series *s = ps->options.series;

	if (pool->known & JVM_USED)
		jvm_series_memory(s, &jvm_memory_used, p->cgroup_id, pool->name, pool->heap, pool->used);
	if (pool->known & JVM_COMMITTED)
		jvm_series_memory(s, &jvm_memory_committed, p->cgroup_id, pool->name, pool->heap, pool->committed);
	if (pool->known & JVM_LIMIT)
		jvm_series_memory(s, &jvm_memory_limit, p->cgroup_id, pool->name, pool->heap, pool->limit);
}

/* What it has now, for the gauges. */
static void process_show(struct jvm_processes *ps, struct jvm_process *p)
{
	const struct jvm_figures *f = &p->figures;
	const struct process_stat *stat = perf_source_stat(p->counters);

	for (unsigned i = 0; i < f->pool_count; i++)
		pool_show(ps, p, &f->pools[i]);
	for (unsigned i = 0; i < p->after_gc_count; i++)
		if (p->after_gc[i].heap && p->after_gc[i].known & JVM_USED)
			jvm_series_memory(ps->options.series, &jvm_memory_after_gc, p->cgroup_id, p->after_gc[i].name,
					  true, p->after_gc[i].used);
	if (f->known & JVM_THREADS) {
		jvm_series_threads(ps->options.series, p->cgroup_id, true, f->threads_daemon);
		jvm_series_threads(ps->options.series, p->cgroup_id, false, grown(f->threads_live, f->threads_daemon));
	}
	if (f->known & JVM_CLASSES)
		jvm_series_classes(ps->options.series, p->cgroup_id, grown(f->classes_loaded, f->classes_unloaded));
	jvm_series_add(ps->options.series, &jvm_cpu_time, p->cgroup_id, grown(stat->cpu_ns, p->cpu_ns));
	p->cpu_ns = stat->cpu_ns;
}

/* The items are collected first: the map must not change while it is walked. Owned by the caller; NULL: none. */
static struct jvm_process **processes_list(const struct jvm_processes *ps)
{
	struct jvm_process *p, **list = ps->map.count ? malloc(ps->map.count * sizeof(*list)) : NULL;
	size_t pos = 0, count = 0;

	while (list && (p = map_next(&ps->map, &pos)))
		list[count++] = p;
	return list;
}

void jvm_processes_read(struct jvm_processes *ps, __u64 now_ns)
{
	struct jvm_process **list = processes_list(ps);
	size_t count = list ? ps->map.count : 0;

	jvm_series_begin(ps->options.series);
	for (size_t i = 0; i < count; i++) {
		struct jvm_process *p = list[i];
		struct process_stat stat;
		bool gone = false;

		if (process_poll(ps, p, &gone))
			process_show(ps, p);
		else if (!gone)
			gone = process_stat_read(ps->options.proc, p->pid, &stat) || stat.start_ticks != p->start;
		if (gone)
			process_remove(ps, p);
	}
	jvm_series_end(ps->options.series);
	free(list);
}

void jvm_processes_tick(struct jvm_processes *ps, __u64 now_ns)
{
	struct jvm_process *p;
	size_t pos = 0;
	bool gone;

	ps->budget_ns += (__s64)((now_ns - ps->budget_time_ns) / COMPLETE_PART);
	if (ps->budget_ns > (__s64)COMPLETE_BURST_NS)
		ps->budget_ns = (__s64)COMPLETE_BURST_NS;
	ps->budget_time_ns = now_ns;
	while (ps->budget_ns > 0 && (p = map_next(&ps->map, &pos))) {
		if (now_ns < p->try_ns || !process_incomplete(p))
			continue;
		/* Before it is watched: what was only counted so far. */
		if (p->source == JVM_SOURCE_COUNTERS)
			process_poll(ps, p, &gone);
		process_complete(ps, p, time_now_ns());
	}
}

void jvm_processes_forget(struct jvm_processes *ps, __u64 cgroup_id)
{
	struct jvm_process **list = processes_list(ps);
	size_t count = list ? ps->map.count : 0;

	for (size_t i = 0; i < count; i++)
		if (list[i]->cgroup_id == cgroup_id)
			process_remove(ps, list[i]);
	free(list);
}

unsigned jvm_processes_count(const struct jvm_processes *ps)
{
	return ps->map.count;
}

bool jvm_processes_next(const struct jvm_processes *ps, size_t *pos, struct jvm_process_state *ret)
{
	const struct jvm_process *p = map_next(&ps->map, pos);

	if (!p)
		return false;
	*ret = (struct jvm_process_state){
		.pid = p->pid,
		.source = p->source,
		.kind = p->kind,
		.library = p->library ? p->library->path : "",
		.why = p->why,
	};
	return true;
}

__u64 jvm_processes_counted(const struct jvm_processes *ps)
{
	return ps->counted;
}
