#include "jvm/figures.h"

#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "jvm/perfdata.h"

#define ARGUMENTS_ROOM 4096 /* HotSpot itself cuts its texts to 1024 bytes, -XX:PerfMaxStringConstLength */
#define NAME_ROOM      64

/* Sizes of heaps are whole pages. G1 adds 8 or more bytes to those that may be 0, up to JDK 17 at least, because jstat
 * would divide by them: what is less than a page is not size. */
#define PADDING_MASK 4095ull

/* --- what the JVM is ---------------------------------------------------------------------------------------- */

unsigned jvm_major(const char *version)
{
	__u64 major, minor;
	size_t digits = strspn(version, "0123456789");

	if (!digits || mem_to_u64(version, digits, 999, &major))
		return 0;
	if (major != 1 || version[digits] != '.')
		return (unsigned)major;
	version += digits + 1; /* up to 8 it is 1.8 */
	digits = strspn(version, "0123456789");
	if (!digits || mem_to_u64(version, digits, 999, &minor))
		return 0;
	return (unsigned)minor;
}

/* Collectors of one name, over the versions. */
struct known_collector {
	const char *counter; /* its name, in the counters */
	enum jvm_gc gc;
	const char *name, *action; /* in JMX; NULL: not a collection as JMX has them */
};

#define YOUNG "end of minor GC"
#define FULL  "end of major GC"
#define PAUSE "end of GC pause"

static const struct known_collector known_collectors[] = {
	/* 14 or so to 25 */
	{ "G1 young collection pauses", JVM_GC_G1, "G1 Young Generation", YOUNG },
	{ "G1 full collection pauses", JVM_GC_G1, "G1 Old Generation", FULL },
	{ "G1 concurrent cycle pauses", JVM_GC_G1, "G1 Concurrent GC", "end of concurrent GC pause" },
	{ "Parallel young collection pauses", JVM_GC_PARALLEL, "PS Scavenge", YOUNG },
	{ "Parallel full collection pauses", JVM_GC_PARALLEL, "PS MarkSweep", FULL },
	{ "Serial young collection pauses", JVM_GC_SERIAL, "Copy", YOUNG },
	{ "Serial full collection pauses", JVM_GC_SERIAL, "MarkSweepCompact", FULL },
	{ "Z concurrent cycle pauses", JVM_GC_Z, "ZGC Pauses", PAUSE },
	{ "ZGC minor collection pauses", JVM_GC_Z_GENERATIONS, "ZGC Minor Pauses", PAUSE },
	{ "ZGC major collection pauses", JVM_GC_Z_GENERATIONS, "ZGC Major Pauses", PAUSE },
	{ "Shenandoah partial", JVM_GC_SHENANDOAH, NULL, NULL },
	{ "Shenandoah full", JVM_GC_SHENANDOAH, NULL, NULL },
	/* 8 and 11 */
	{ "G1 incremental collections", JVM_GC_G1, "G1 Young Generation", YOUNG },
	{ "G1 stop-the-world full collections", JVM_GC_G1, "G1 Old Generation", FULL },
	{ "G1 stop-the-world phases", JVM_GC_G1, "G1 Concurrent GC", "end of concurrent GC pause" },
	{ "PSScavenge", JVM_GC_PARALLEL, "PS Scavenge", YOUNG },
	{ "PSParallelCompact", JVM_GC_PARALLEL, "PS MarkSweep", FULL },
	{ "PSMarkSweep", JVM_GC_PARALLEL, "PS MarkSweep", FULL },
	{ "Copy", JVM_GC_SERIAL, "Copy", YOUNG },
	{ "MSC", JVM_GC_SERIAL, "MarkSweepCompact", FULL },
	{ "PCopy", JVM_GC_CMS, "ParNew", YOUNG },
	{ "CMS", JVM_GC_CMS, "ConcurrentMarkSweep", FULL },
};

static const char *const collector_names[JVM_COLLECTORS_MAX] = {
	"sun.gc.collector.0.name",
	"sun.gc.collector.1.name",
	"sun.gc.collector.2.name",
};

static const struct known_collector *collector_find(const struct perfdata *data, unsigned number)
{
	char name[NAME_ROOM];

	if (!perfdata_text(data, collector_names[number], name, sizeof(name)))
		return NULL;
	for (unsigned i = 0; i < sizeof(known_collectors) / sizeof(known_collectors[0]); i++)
		if (!strcmp(known_collectors[i].counter, name))
			return &known_collectors[i];
	return NULL;
}

static enum jvm_gc gc_find(const struct perfdata *data)
{
	const struct known_collector *found;
	char name[NAME_ROOM];

	for (unsigned i = 0; i < JVM_COLLECTORS_MAX; i++) {
		found = collector_find(data, i);
		if (found)
			return found->gc;
	}
	/* The one that never collects has no collector; and ZGC had none up to JDK 14, and no young generation either.
	 *  */
	if (perfdata_text(data, collector_names[0], name, sizeof(name)) ||
	    !perfdata_text(data, "sun.gc.generation.1.name", name, sizeof(name)))
		return JVM_GC_UNKNOWN;
	if (!strcmp(name, "Heap"))
		return JVM_GC_EPSILON;
	if (!strcmp(name, "old") && !perfdata_text(data, "sun.gc.generation.0.name", name, sizeof(name)))
		return JVM_GC_Z;
	return JVM_GC_UNKNOWN;
}

static void argument_read(const char *argument, size_t bytes, struct jvm_about *ret)
{
	static const char metaspace[] = "-XX:MaxMetaspaceSize=";
	char number[STR_NUMBER_ROOM * 2];
	__u64 limit;

	if (mem_equals_str(argument, bytes, "-Xrs") || mem_equals_str(argument, bytes, "-XX:+ReduceSignalUsage"))
		ret->signals_reduced = true;
	if (mem_equals_str(argument, bytes, "-XX:-ReduceSignalUsage"))
		ret->signals_reduced = false;
	if (bytes < sizeof(metaspace) || memcmp(argument, metaspace, sizeof(metaspace) - 1) != 0)
		return;
	argument += sizeof(metaspace) - 1;
	bytes -= sizeof(metaspace) - 1;
	if (bytes >= sizeof(number))
		return;
	memcpy(number, argument, bytes);
	number[bytes] = 0;
	if (number[bytes - 1] >= 'a') /* 64m: our own notation has capitals */
		number[bytes - 1] -= 'a' - 'A';
	if (!str_to_bytes(number, ~0ull >> 1, &limit))
		ret->metaspace_limit = limit;
}

/* What the command line, JDK_JAVA_OPTIONS and JAVA_TOOL_OPTIONS say, separated by single spaces; the last one of a
 * kind counts. An argument can contain a space, and what follows then look like one: for a limit that is tolerable,
 * and for signals it errs on the safe side. */
static void arguments_read(const struct perfdata *data, struct jvm_about *ret)
{
	char text[ARGUMENTS_ROOM];
	const char *at = text;

	perfdata_text(data, "java.rt.vmArgs", text, sizeof(text));
	while (*at) {
		size_t bytes = strcspn(at, " ");

		argument_read(at, bytes, ret);
		at += bytes + strspn(at + bytes, " ");
	}
}

void jvm_about_read(const struct perfdata *data, struct jvm_about *ret)
{
	char capabilities[8];

	*ret = (struct jvm_about){ .gc = gc_find(data) };
	perfdata_text(data, "java.property.java.version", ret->version, sizeof(ret->version));
	perfdata_text(data, "java.property.java.vm.name", ret->vm_name, sizeof(ret->vm_name));
	perfdata_text(data, "java.property.java.vm.vendor", ret->vm_vendor, sizeof(ret->vm_vendor));
	perfdata_text(data, "java.property.java.vm.version", ret->vm_version, sizeof(ret->vm_version));
	perfdata_text(data, "sun.rt.javaCommand", ret->command, sizeof(ret->command));
	ret->major = jvm_major(ret->version);
	/* A row of '0' and '1'; the first one: attach is supported. */
	if (perfdata_text(data, "sun.rt.jvmCapabilities", capabilities, sizeof(capabilities)))
		ret->attach_allowed = capabilities[0] == '1';
	arguments_read(data, ret);
}

bool jvm_gc_cause(const struct perfdata *data, char *ret, unsigned room)
{
	return perfdata_text(data, "sun.gc.lastCause", ret, room) && ret[0] && strcmp(ret, "No GC") != 0;
}

/* --- pools -------------------------------------------------------------------------------------------------- */

enum { EDEN, SURVIVOR, OLD, HEAP_POOLS_MAX };

/* By enum jvm_gc. NULL: no such pool. One pool alone stands for the whole heap. */
static const char *const heap_pools[][HEAP_POOLS_MAX] = {
	[JVM_GC_UNKNOWN] = { NULL },
	[JVM_GC_SERIAL] = { "Eden Space", "Survivor Space", "Tenured Gen" },
	[JVM_GC_PARALLEL] = { "PS Eden Space", "PS Survivor Space", "PS Old Gen" },
	[JVM_GC_CMS] = { "Par Eden Space", "Par Survivor Space", "CMS Old Gen" },
	[JVM_GC_G1] = { "G1 Eden Space", "G1 Survivor Space", "G1 Old Gen" },
	[JVM_GC_Z] = { NULL, NULL, "ZHeap" },
	[JVM_GC_Z_GENERATIONS] = { "ZGC Young Generation", NULL, "ZGC Old Generation" },
	[JVM_GC_SHENANDOAH] = { NULL, NULL, "Shenandoah" },
	[JVM_GC_EPSILON] = { NULL, NULL, "Epsilon Heap" },
};

/* Where the values of a pool are. */
struct pool_counters {
	const char *used, *committed, *limit;
};

static const struct pool_counters eden_counters = {
	.used = "sun.gc.generation.0.space.0.used",
	.committed = "sun.gc.generation.0.space.0.capacity",
	.limit = "sun.gc.generation.0.space.0.maxCapacity",
};
/* Two spaces that take turns: one of them is empty, but while a collection copies. */
static const struct pool_counters survivor_counters[2] = {
	{
		.used = "sun.gc.generation.0.space.1.used",
		.committed = "sun.gc.generation.0.space.1.capacity",
		.limit = "sun.gc.generation.0.space.1.maxCapacity",
	},
	{
		.used = "sun.gc.generation.0.space.2.used",
		.committed = "sun.gc.generation.0.space.2.capacity",
		.limit = "sun.gc.generation.0.space.2.maxCapacity",
	},
};
static const struct pool_counters old_counters = {
	.used = "sun.gc.generation.1.space.0.used",
	.committed = "sun.gc.generation.1.space.0.capacity",
	.limit = "sun.gc.generation.1.maxCapacity",
};
static const struct pool_counters metaspace_counters = {
	.used = "sun.gc.metaspace.used",
	.committed = "sun.gc.metaspace.capacity",
};
static const struct pool_counters class_space_counters = {
	.used = "sun.gc.compressedclassspace.used",
	.committed = "sun.gc.compressedclassspace.capacity",
	.limit = "sun.gc.compressedclassspace.maxCapacity",
};

static void pool_value(const struct perfdata *data, const char *counter, __u32 bit, struct jvm_pool *pool, __u64 *ret)
{
	if (counter && perfdata_number(data, counter, ret))
		pool->known |= bit;
}

static void pool_values(const struct perfdata *data, const struct pool_counters *counters, struct jvm_pool *pool)
{
	pool_value(data, counters->used, JVM_USED, pool, &pool->used);
	pool_value(data, counters->committed, JVM_COMMITTED, pool, &pool->committed);
	pool_value(data, counters->limit, JVM_LIMIT, pool, &pool->limit);
	pool->committed &= ~PADDING_MASK;
	pool->limit &= ~PADDING_MASK;
}

static void pool_forget(struct jvm_pool *pool, __u32 bit)
{
	pool->known &= ~bit;
	if (bit & JVM_USED)
		pool->used = 0;
	if (bit & JVM_LIMIT)
		pool->limit = 0;
}

static struct jvm_pool *pool_add(struct jvm_figures *f, const char *name, bool heap)
{
	struct jvm_pool *pool = &f->pools[f->pool_count++];

	*pool = (struct jvm_pool){ .name = name, .heap = heap };
	return pool;
}

/* The JVM measures its spaces every 50 ms by itself, with a clock that is a counter too; later JDKs have neither. */
static bool is_sampled(const struct perfdata *data)
{
	__u64 ticks;

	return perfdata_number(data, "sun.os.hrt.ticks", &ticks);
}

static void eden_read(const struct perfdata *data, enum jvm_gc gc, struct jvm_figures *f)
{
	struct jvm_pool *pool = pool_add(f, heap_pools[gc][EDEN], true);
	__u64 generation, survivor[2];

	pool_values(data, &eden_counters, pool);
	if (gc == JVM_GC_G1)
		pool_forget(pool, JVM_LIMIT);
	else if (gc != JVM_GC_Z_GENERATIONS && !is_sampled(data))
		pool_forget(pool, JVM_USED);
	/* Parallel moves the borders within a generation; the survivors can be anything else. */
	if (gc != JVM_GC_PARALLEL)
		return;
	if (perfdata_number(data, "sun.gc.generation.0.maxCapacity", &generation) &&
	    perfdata_number(data, survivor_counters[0].committed, &survivor[0]) &&
	    perfdata_number(data, survivor_counters[1].committed, &survivor[1]) && survivor[0] <= generation &&
	    survivor[1] <= generation - survivor[0]) {
		pool->limit = generation - survivor[0] - survivor[1];
		pool->known |= JVM_LIMIT;
	} else {
		pool_forget(pool, JVM_LIMIT);
	}
}

static void survivor_read(const struct perfdata *data, enum jvm_gc gc, struct jvm_figures *f)
{
	struct jvm_pool *pool = pool_add(f, heap_pools[gc][SURVIVOR], true), second = {};

	/* G1 has but one, the second. */
	pool_values(data, &survivor_counters[gc == JVM_GC_G1], pool);
	if (gc == JVM_GC_G1) {
		pool_forget(pool, JVM_LIMIT);
		return;
	}
	pool_values(data, &survivor_counters[1], &second);
	if (second.used) {
		second.name = pool->name;
		second.heap = true;
		*pool = second;
	}
	if (gc != JVM_GC_PARALLEL)
		return;
	/* Its size of now is what JMX gives as its limit. */
	pool_forget(pool, JVM_LIMIT);
	pool->limit = pool->committed;
	pool->known |= pool->known & JVM_COMMITTED ? JVM_LIMIT : 0;
}

static void heap_read(const struct perfdata *data, enum jvm_gc gc, struct jvm_figures *f)
{
	const char *const *names = heap_pools[gc];
	struct jvm_pool *pool;
	__u64 old, young = 0;
	bool stale;

	if (names[EDEN])
		eden_read(data, gc, f);
	if (names[SURVIVOR])
		survivor_read(data, gc, f);
	if (names[OLD]) {
		pool = pool_add(f, names[OLD], true);
		pool_values(data, &old_counters, pool);
	}
	stale = gc == JVM_GC_Z || gc == JVM_GC_Z_GENERATIONS ||
		((gc == JVM_GC_SERIAL || gc == JVM_GC_PARALLEL) && !is_sampled(data));
	for (unsigned i = 0; i < f->pool_count; i++)
		if (f->pools[i].known & JVM_USED && (stale || (gc == JVM_GC_G1 && f->pools[i].name == names[OLD])))
			f->pools[i].known |= JVM_USED_AT_GC;

	if (!names[OLD] || !perfdata_number(data, old_counters.limit, &old))
		return;
	/* Generations of a fixed share each; those of G1 and ZGC may each grow into the whole heap. */
	if ((gc == JVM_GC_SERIAL || gc == JVM_GC_PARALLEL || gc == JVM_GC_CMS) &&
	    !perfdata_number(data, "sun.gc.generation.0.maxCapacity", &young))
		return;
	f->heap_limit = (old & ~PADDING_MASK) + (young & ~PADDING_MASK);
	f->known |= JVM_HEAP_LIMIT;
}

/* 0 until the first collection; there is always some. */
static void metaspace_read(const struct perfdata *data, const struct jvm_about *about, struct jvm_figures *f)
{
	struct jvm_pool *pool;
	__u64 reserved;

	if (perfdata_number(data, metaspace_counters.used, &reserved)) {
		pool = pool_add(f, "Metaspace", false);
		if (reserved)
			pool_values(data, &metaspace_counters, pool);
		if (about->metaspace_limit) {
			pool->limit = about->metaspace_limit;
			pool->known |= JVM_LIMIT;
		}
	}
	/* Without compressed class pointers, there is none. */
	if (!perfdata_number(data, class_space_counters.limit, &reserved) || !reserved)
		return;
	pool = pool_add(f, "Compressed Class Space", false);
	pool_values(data, &class_space_counters, pool);
	if (!pool->committed) {
		pool->known &= JVM_LIMIT;
		pool->used = 0;
	}
	for (unsigned i = 0; i < f->pool_count; i++)
		if (!f->pools[i].heap && f->pools[i].known & JVM_USED)
			f->pools[i].known |= JVM_USED_AT_GC;
}

/* --- collectors, threads, classes, safepoints --------------------------------------------------------------- */

/* In the JVM's own clock, of which it says the frequency: 1,000,000,000 Hz on Linux. */
static __u64 ticks_to_ns(const struct perfdata *data, __u64 ticks)
{
	__u64 hertz;

	if (!perfdata_number(data, "sun.os.hrt.frequency", &hertz) || !hertz || hertz == NS_PER_S)
		return ticks;
	return (__u64)((unsigned __int128)ticks * NS_PER_S / hertz);
}

static void collectors_read(const struct perfdata *data, struct jvm_figures *f)
{
	static const char *const counts[JVM_COLLECTORS_MAX] = {
		"sun.gc.collector.0.invocations",
		"sun.gc.collector.1.invocations",
		"sun.gc.collector.2.invocations",
	};
	static const char *const times[JVM_COLLECTORS_MAX] = {
		"sun.gc.collector.0.time",
		"sun.gc.collector.1.time",
		"sun.gc.collector.2.time",
	};
	__u64 count, ticks;

	for (unsigned i = 0; i < JVM_COLLECTORS_MAX; i++) {
		const struct known_collector *known = collector_find(data, i);

		if (!known || !known->name || !perfdata_number(data, counts[i], &count) ||
		    !perfdata_number(data, times[i], &ticks))
			continue;
		f->collectors[f->collector_count++] = (struct jvm_collector){
			.name = known->name,
			.action = known->action,
			.count = count,
			.stopped_ns = ticks_to_ns(data, ticks),
		};
	}
}

static void threads_read(const struct perfdata *data, struct jvm_figures *f)
{
	__u64 live, daemon;

	/* Two counters, written one after the other. */
	if (!perfdata_number(data, "java.threads.live", &live) ||
	    !perfdata_number(data, "java.threads.daemon", &daemon))
		return;
	f->threads_live = live;
	f->threads_daemon = daemon < live ? daemon : live;
	f->known |= JVM_THREADS;
}

/* Classes from the archive that all JVMs share are counted apart. */
static void classes_read(const struct perfdata *data, struct jvm_figures *f)
{
	__u64 loaded, unloaded, shared = 0, shared_unloaded = 0;

	if (!perfdata_number(data, "java.cls.loadedClasses", &loaded) ||
	    !perfdata_number(data, "java.cls.unloadedClasses", &unloaded))
		return;
	perfdata_number(data, "java.cls.sharedLoadedClasses", &shared);
	perfdata_number(data, "java.cls.sharedUnloadedClasses", &shared_unloaded);
	f->classes_loaded = loaded + shared;
	f->classes_unloaded = unloaded + shared_unloaded;
	f->known |= JVM_CLASSES;
}

/* Up to JDK 12 "safepointTime" is from the begin to the end, since 13 from where all threads stand still to the end. */
static void safepoints_read(const struct perfdata *data, const struct jvm_about *about, struct jvm_figures *f)
{
	__u64 count, stopped, sync;

	if (!about->major || !perfdata_number(data, "sun.rt.safepoints", &count) ||
	    !perfdata_number(data, "sun.rt.safepointTime", &stopped) ||
	    !perfdata_number(data, "sun.rt.safepointSyncTime", &sync))
		return;
	f->safepoints = count;
	f->safepoint_sync_ns = ticks_to_ns(data, sync);
	f->safepoint_stopped_ns = ticks_to_ns(data, stopped) + (about->major > 12 ? f->safepoint_sync_ns : 0);
	f->known |= JVM_SAFEPOINTS;
}

void jvm_figures_read(const struct perfdata *data, const struct jvm_about *about, struct jvm_figures *ret)
{
	*ret = (struct jvm_figures){ .known = 0 };
	heap_read(data, about->gc, ret);
	metaspace_read(data, about, ret);
	collectors_read(data, ret);
	threads_read(data, ret);
	classes_read(data, ret);
	safepoints_read(data, about, ret);
	if (perfdata_number(data, "sun.threads.total_gc_cpu_time", &ret->gc_cpu_ns))
		ret->known |= JVM_GC_CPU;
}
