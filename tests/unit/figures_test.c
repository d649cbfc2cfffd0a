/* Counters under the names of JMX. The values are what JVMs with -Xmx256m wrote, and what their beans said at that
 * time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "jvm/figures.h"
#include "jvm/perfdata.h"
#include "perfdata_image.h"

struct lab {
	struct image image;
	struct perfdata *data;
	struct jvm_about about;
	struct jvm_figures figures;
};

static int setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	image_init(&lab->image);
	lab->data = perfdata_new();
	*state = lab;
	return 0;
}

static int teardown(void **state)
{
	struct lab *lab = *state;

	perfdata_free(lab->data);
	free(lab);
	return 0;
}

struct counter {
	const char *name;
	__s64 number;
	const char *text;
};

#define N(n, value)                        \
	{                                  \
		.name = n, .number = value \
	}
#define T(n, value)                      \
	{                                \
		.name = n, .text = value \
	}

static void lab_read(struct lab *lab, const struct counter *counters, size_t count)
{
	image_init(&lab->image);
	perfdata_free(lab->data); /* the index of one block is not that of the next */
	lab->data = perfdata_new();
	for (size_t i = 0; i < count; i++)
		if (counters[i].text)
			image_text(&lab->image, counters[i].name, counters[i].text);
		else
			image_number(&lab->image, counters[i].name, counters[i].number);
	assert_int_equal(perfdata_set(lab->data, lab->image.bytes, lab->image.used, NULL), 0);
	jvm_about_read(lab->data, &lab->about);
	jvm_figures_read(lab->data, &lab->about, &lab->figures);
}
#define READ(lab, ...)                                                           \
	do {                                                                     \
		static const struct counter counters[] = { __VA_ARGS__ };        \
		lab_read(lab, counters, sizeof(counters) / sizeof(counters[0])); \
	} while (0)

/* Without a value: -1. */
static void check_pool(struct lab *lab, const char *name, __s64 used, __s64 committed, __s64 limit, bool at_gc)
{
	const struct jvm_pool *pool = NULL;

	for (unsigned i = 0; i < lab->figures.pool_count; i++)
		if (!strcmp(lab->figures.pools[i].name, name))
			pool = &lab->figures.pools[i];
	assert_non_null(pool);
	assert_int_equal(pool->known & JVM_USED ? (__s64)pool->used : -1, used);
	assert_int_equal(pool->known & JVM_COMMITTED ? (__s64)pool->committed : -1, committed);
	assert_int_equal(pool->known & JVM_LIMIT ? (__s64)pool->limit : -1, limit);
	assert_int_equal(pool->known & JVM_USED_AT_GC ? 1 : 0, at_gc);
	assert_int_equal(pool->heap, strcmp(name, "Metaspace") != 0 && strcmp(name, "Compressed Class Space") != 0);
}

static void check_collector(struct lab *lab, unsigned i, const char *name, const char *action, __u64 count, __u64 ns)
{
	assert_true(i < lab->figures.collector_count);
	assert_string_equal(lab->figures.collectors[i].name, name);
	assert_string_equal(lab->figures.collectors[i].action, action);
	assert_int_equal(lab->figures.collectors[i].count, count);
	assert_int_equal(lab->figures.collectors[i].stopped_ns, ns);
}

#define G1_17                                                                                                         \
	T("sun.gc.collector.0.name", "G1 young collection pauses"), N("sun.gc.collector.0.invocations", 16),          \
		N("sun.gc.collector.0.time", 32302314), T("sun.gc.collector.1.name", "G1 full collection pauses"),    \
		N("sun.gc.collector.1.invocations", 2), N("sun.gc.collector.1.time", 18061873),                       \
		N("sun.gc.generation.0.maxCapacity", 268435480), N("sun.gc.generation.0.space.0.capacity", 19922952), \
		N("sun.gc.generation.0.space.0.maxCapacity", 268435464),                                              \
		N("sun.gc.generation.0.space.0.used", 1048576), N("sun.gc.generation.0.space.1.capacity", 8),         \
		N("sun.gc.generation.0.space.1.used", 0), N("sun.gc.generation.0.space.2.capacity", 2097160),         \
		N("sun.gc.generation.0.space.2.maxCapacity", 268435464),                                              \
		N("sun.gc.generation.0.space.2.used", 1500000), N("sun.gc.generation.1.maxCapacity", 268435464),      \
		N("sun.gc.generation.1.space.0.capacity", 22020104), N("sun.gc.generation.1.space.0.used", 8926944)

static void g1_has_one_limit_and_no_padding(void **state)
{
	struct lab *lab = *state;

	READ(lab, G1_17, N("sun.os.hrt.ticks", 1));
	assert_int_equal(lab->about.gc, JVM_GC_G1);
	assert_int_equal(lab->figures.pool_count, 3);
	check_pool(lab, "G1 Eden Space", 1048576, 19922944, -1, false);
	check_pool(lab, "G1 Survivor Space", 1500000, 2097152, -1, false);
	check_pool(lab, "G1 Old Gen", 8926944, 22020096, 268435456, true);
	assert_true(lab->figures.known & JVM_HEAP_LIMIT);
	assert_int_equal(lab->figures.heap_limit, 268435456);
	assert_int_equal(lab->figures.collector_count, 2);
	check_collector(lab, 0, "G1 Young Generation", "end of minor GC", 16, 32302314);
	check_collector(lab, 1, "G1 Old Generation", "end of major GC", 2, 18061873);
}

#define PARALLEL                                                                                                       \
	T("sun.gc.collector.0.name", "Parallel young collection pauses"), N("sun.gc.collector.0.invocations", 3),      \
		N("sun.gc.collector.0.time", 5), N("sun.gc.generation.0.maxCapacity", 89128960),                       \
		N("sun.gc.generation.0.space.0.capacity", 67108864),                                                   \
		N("sun.gc.generation.0.space.0.maxCapacity", 88080384),                                                \
		N("sun.gc.generation.0.space.0.used", 1970296), N("sun.gc.generation.0.space.1.capacity", 11010048),   \
		N("sun.gc.generation.0.space.1.maxCapacity", 29360128),                                                \
		N("sun.gc.generation.0.space.2.capacity", 11010048),                                                   \
		N("sun.gc.generation.0.space.2.maxCapacity", 29360128),                                                \
		N("sun.gc.generation.1.maxCapacity", 179306496), N("sun.gc.generation.1.space.0.capacity", 179306496), \
		N("sun.gc.generation.1.space.0.used", 8324688)

static void parallel_limits_follow_the_survivors(void **state)
{
	struct lab *lab = *state;

	READ(lab, PARALLEL, N("sun.gc.generation.0.space.1.used", 0), N("sun.gc.generation.0.space.2.used", 4711),
	     N("sun.os.hrt.ticks", 1));
	check_pool(lab, "PS Eden Space", 1970296, 67108864, 67108864, false);
	check_pool(lab, "PS Survivor Space", 4711, 11010048, 11010048, false);
	check_pool(lab, "PS Old Gen", 8324688, 179306496, 179306496, false);
	assert_int_equal(lab->figures.heap_limit, 268435456);
	/* The other one's turn. */
	READ(lab, PARALLEL, N("sun.gc.generation.0.space.1.used", 17), N("sun.gc.generation.0.space.2.used", 0),
	     N("sun.os.hrt.ticks", 1));
	check_pool(lab, "PS Survivor Space", 17, 11010048, 11010048, false);
}

static void eden_that_nobody_samples_is_not_known(void **state)
{
	struct lab *lab = *state;

	READ(lab, PARALLEL, N("sun.gc.generation.0.space.1.used", 0), N("sun.gc.generation.0.space.2.used", 4711));
	check_pool(lab, "PS Eden Space", -1, 67108864, 67108864, false);
	check_pool(lab, "PS Survivor Space", 4711, 11010048, 11010048, true);
	check_pool(lab, "PS Old Gen", 8324688, 179306496, 179306496, true);
}

static void serial_has_fixed_shares(void **state)
{
	struct lab *lab = *state;

	READ(lab, T("sun.gc.collector.0.name", "Copy"), N("sun.gc.collector.0.invocations", 1),
	     N("sun.gc.collector.0.time", 30), T("sun.gc.collector.1.name", "MSC"),
	     N("sun.gc.collector.1.invocations", 1), N("sun.gc.collector.1.time", 22), N("sun.os.hrt.ticks", 1),
	     N("sun.gc.generation.0.maxCapacity", 89456640), N("sun.gc.generation.0.space.0.capacity", 71630848),
	     N("sun.gc.generation.0.space.0.maxCapacity", 71630848), N("sun.gc.generation.0.space.0.used", 2105848),
	     N("sun.gc.generation.0.space.1.capacity", 8912896), N("sun.gc.generation.0.space.1.maxCapacity", 8912896),
	     N("sun.gc.generation.0.space.1.used", 0), N("sun.gc.generation.0.space.2.capacity", 8912896),
	     N("sun.gc.generation.0.space.2.maxCapacity", 8912896), N("sun.gc.generation.0.space.2.used", 0),
	     N("sun.gc.generation.1.maxCapacity", 178978816), N("sun.gc.generation.1.space.0.capacity", 178978816),
	     N("sun.gc.generation.1.space.0.used", 8324688));
	check_pool(lab, "Eden Space", 2105848, 71630848, 71630848, false);
	check_pool(lab, "Survivor Space", 0, 8912896, 8912896, false);
	check_pool(lab, "Tenured Gen", 8324688, 178978816, 178978816, false);
	assert_int_equal(lab->figures.heap_limit, 268435456);
	check_collector(lab, 0, "Copy", "end of minor GC", 1, 30);
	check_collector(lab, 1, "MarkSweepCompact", "end of major GC", 1, 22);
}

static void z_is_one_pool_or_two(void **state)
{
	struct lab *lab = *state;

	READ(lab, T("sun.gc.collector.2.name", "Z concurrent cycle pauses"), N("sun.gc.collector.2.invocations", 41),
	     N("sun.gc.collector.2.time", 1102460), N("sun.gc.generation.1.maxCapacity", 268435456),
	     N("sun.gc.generation.1.space.0.capacity", 268435456), N("sun.gc.generation.1.space.0.used", 23068672));
	assert_int_equal(lab->figures.pool_count, 1);
	check_pool(lab, "ZHeap", 23068672, 268435456, 268435456, true);
	check_collector(lab, 0, "ZGC Pauses", "end of GC pause", 41, 1102460);

	READ(lab, T("sun.gc.collector.0.name", "ZGC minor collection pauses"), N("sun.gc.collector.0.invocations", 25),
	     N("sun.gc.collector.0.time", 493044), T("sun.gc.collector.2.name", "ZGC major collection pauses"),
	     N("sun.gc.collector.2.invocations", 30), N("sun.gc.collector.2.time", 713552),
	     N("sun.gc.generation.0.maxCapacity", 268435456), N("sun.gc.generation.0.space.0.capacity", 245366784),
	     N("sun.gc.generation.0.space.0.maxCapacity", 268435456), N("sun.gc.generation.0.space.0.used", 0),
	     N("sun.gc.generation.1.maxCapacity", 268435456), N("sun.gc.generation.1.space.0.capacity", 23068672),
	     N("sun.gc.generation.1.space.0.used", 23068672));
	assert_int_equal(lab->figures.pool_count, 2);
	check_pool(lab, "ZGC Young Generation", 0, 245366784, 268435456, true);
	check_pool(lab, "ZGC Old Generation", 23068672, 23068672, 268435456, true);
	check_collector(lab, 0, "ZGC Minor Pauses", "end of GC pause", 25, 493044);
	check_collector(lab, 1, "ZGC Major Pauses", "end of GC pause", 30, 713552);
	assert_int_equal(lab->figures.heap_limit, 268435456);
}

/* JDK 11, and the one that never collects. */
static void heaps_without_collectors_are_one_pool(void **state)
{
	struct lab *lab = *state;

	READ(lab, T("sun.gc.generation.1.name", "old"), N("sun.gc.generation.1.maxCapacity", 268435456),
	     N("sun.gc.generation.1.space.0.capacity", 268435456), N("sun.gc.generation.1.space.0.used", 4194304));
	assert_int_equal(lab->figures.pool_count, 1);
	check_pool(lab, "ZHeap", 4194304, 268435456, 268435456, true);
	assert_int_equal(lab->figures.collector_count, 0);
	READ(lab, T("sun.gc.generation.1.name", "Heap"), N("sun.gc.generation.1.maxCapacity", 268435456),
	     N("sun.gc.generation.1.space.0.capacity", 268435456), N("sun.gc.generation.1.space.0.used", 4194304));
	assert_int_equal(lab->figures.pool_count, 1);
	check_pool(lab, "Epsilon Heap", 4194304, 268435456, 268435456, false);
	/* Something else, or a JVM that has just begun. */
	READ(lab, T("sun.gc.generation.1.name", "old"), T("sun.gc.generation.0.name", "new"),
	     N("sun.gc.generation.1.maxCapacity", 268435456));
	assert_int_equal(lab->figures.pool_count, 0);
}

static void shenandoah_is_a_pool_without_collections(void **state)
{
	struct lab *lab = *state;

	READ(lab, T("sun.gc.collector.0.name", "Shenandoah partial"), N("sun.gc.collector.0.invocations", 0),
	     N("sun.gc.collector.0.time", 0), T("sun.gc.collector.1.name", "Shenandoah full"),
	     N("sun.gc.collector.1.invocations", 152), N("sun.gc.collector.1.time", 656434681),
	     N("sun.gc.generation.0.maxCapacity", 0), N("sun.gc.generation.1.maxCapacity", 268435456),
	     N("sun.gc.generation.1.space.0.capacity", 268435456), N("sun.gc.generation.1.space.0.used", 9396896));
	assert_int_equal(lab->figures.pool_count, 1);
	check_pool(lab, "Shenandoah", 9396896, 268435456, 268435456, false);
	assert_int_equal(lab->figures.collector_count, 0);
}

static void metaspace_is_known_after_a_collection(void **state)
{
	struct lab *lab = *state;

	READ(lab, N("sun.gc.metaspace.used", 1505944), N("sun.gc.metaspace.capacity", 1769472),
	     N("sun.gc.metaspace.maxCapacity", 1140850688), N("sun.gc.compressedclassspace.used", 170056),
	     N("sun.gc.compressedclassspace.capacity", 327680),
	     N("sun.gc.compressedclassspace.maxCapacity", 1073741824));
	check_pool(lab, "Metaspace", 1505944, 1769472, -1, true);
	check_pool(lab, "Compressed Class Space", 170056, 327680, 1073741824, true);

	READ(lab, N("sun.gc.metaspace.used", 0), N("sun.gc.metaspace.capacity", 0),
	     N("sun.gc.compressedclassspace.used", 0), N("sun.gc.compressedclassspace.capacity", 0),
	     N("sun.gc.compressedclassspace.maxCapacity", 1073741824),
	     T("java.rt.vmArgs", "-Xmx256m -XX:MaxMetaspaceSize=64m -ea"));
	check_pool(lab, "Metaspace", -1, -1, 67108864, false);
	check_pool(lab, "Compressed Class Space", -1, -1, 1073741824, false);
}

/* From begin to end: of 20 ms stopped, 5 ms were waited for threads. */
static void stopped_time_is_by_version(void **state)
{
	static const struct {
		const char *version;
		__u64 ns;
	} versions[] = {
		{ "1.8.0_504", 20 }, { "11.0.24", 20 }, { "12.0.2", 20 },    { "13", 25 },
		{ "17.0.15", 25 },   { "21.0.12", 25 }, { "25.0.3-ea", 25 }, { "", 0 },
	};
	struct lab *lab = *state;

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		const struct counter counters[] = {
			T("java.property.java.version", versions[i].version),
			N("sun.rt.safepoints", 18),
			N("sun.rt.safepointSyncTime", 5),
			N("sun.rt.safepointTime", 20),
			N("sun.os.hrt.frequency", 1000000000),
		};

		lab_read(lab, counters, 5);
		assert_int_equal(lab->figures.known & JVM_SAFEPOINTS ? 1 : 0, versions[i].ns > 0);
		assert_int_equal(lab->figures.safepoint_stopped_ns, versions[i].ns);
		assert_int_equal(lab->figures.safepoint_sync_ns, versions[i].ns ? 5 : 0);
	}
	READ(lab, T("java.property.java.version", "8"), N("sun.rt.safepoints", 1), N("sun.rt.safepointSyncTime", 3),
	     N("sun.rt.safepointTime", INT64_MAX), N("sun.os.hrt.frequency", 2000000000));
	assert_int_equal(lab->figures.safepoint_sync_ns, 1);
	assert_int_equal(lab->figures.safepoint_stopped_ns, INT64_MAX / 2);
}

static void threads_and_classes_are_counted_like_jmx(void **state)
{
	struct lab *lab = *state;

	READ(lab, N("java.threads.live", 7), N("java.threads.daemon", 6), N("java.cls.loadedClasses", 321),
	     N("java.cls.sharedLoadedClasses", 699), N("java.cls.unloadedClasses", 5),
	     N("java.cls.sharedUnloadedClasses", 2), N("sun.threads.total_gc_cpu_time", 76694796));
	assert_int_equal(lab->figures.known, JVM_THREADS | JVM_CLASSES | JVM_GC_CPU);
	assert_int_equal(lab->figures.threads_live, 7);
	assert_int_equal(lab->figures.threads_daemon, 6);
	assert_int_equal(lab->figures.classes_loaded, 1020);
	assert_int_equal(lab->figures.classes_unloaded, 7);
	assert_int_equal(lab->figures.gc_cpu_ns, 76694796);
}

static void nothing_is_known_of_nothing(void **state)
{
	struct lab *lab = *state;

	READ(lab, N("sun.os.hrt.frequency", 0));
	assert_int_equal(lab->figures.known, 0);
	assert_int_equal(lab->figures.pool_count, 0);
	assert_int_equal(lab->figures.collector_count, 0);
	assert_int_equal(lab->about.gc, JVM_GC_UNKNOWN);
	assert_int_equal(lab->about.major, 0);
	assert_false(lab->about.attach_allowed);
}

static void about_is_what_the_jvm_says(void **state)
{
	struct lab *lab = *state;

	READ(lab, T("java.property.java.version", "17.0.15"),
	     T("java.property.java.vm.name", "OpenJDK 64-Bit Server VM"), T("java.property.java.vm.vendor", "Debian"),
	     T("java.property.java.vm.version", "17.0.15+6-Debian-1deb12u1"), T("sun.rt.javaCommand", "Dump \x1b[m"),
	     T("sun.rt.jvmCapabilities", "1100000000000000"), T("java.rt.vmArgs", "-Xmx256m -Xrs"));
	assert_int_equal(lab->about.major, 17);
	assert_string_equal(lab->about.version, "17.0.15");
	assert_string_equal(lab->about.vm_name, "OpenJDK 64-Bit Server VM");
	assert_string_equal(lab->about.vm_vendor, "Debian");
	assert_string_equal(lab->about.vm_version, "17.0.15+6-Debian-1deb12u1");
	assert_null(strchr(lab->about.command, 0x1b));
	assert_true(lab->about.attach_allowed);
	assert_true(lab->about.signals_reduced);
	READ(lab, T("sun.rt.jvmCapabilities", "0100000000000000"),
	     T("java.rt.vmArgs", "-Xrsx -XX:+ReduceSignalUsage -XX:-ReduceSignalUsage -XX:MaxMetaspaceSize="));
	assert_false(lab->about.attach_allowed);
	assert_false(lab->about.signals_reduced);
	assert_int_equal(lab->about.metaspace_limit, 0);
	assert_int_equal(jvm_major("1.8.0_504"), 8);
	assert_int_equal(jvm_major("9-internal"), 9);
	assert_int_equal(jvm_major("1"), 1);
	assert_int_equal(jvm_major("1."), 0);
	assert_int_equal(jvm_major("x17"), 0);
	assert_int_equal(jvm_major("99999999999999999999"), 0);
}

static void cause_is_of_the_last_collection(void **state)
{
	struct lab *lab = *state;
	char cause[32];

	READ(lab, T("sun.gc.cause", "No GC"), T("sun.gc.lastCause", "No GC"));
	assert_false(jvm_gc_cause(lab->data, cause, sizeof(cause)));
	READ(lab, T("sun.gc.cause", "No GC"), T("sun.gc.lastCause", "System.gc()"));
	assert_true(jvm_gc_cause(lab->data, cause, sizeof(cause)));
	assert_string_equal(cause, "System.gc()");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(g1_has_one_limit_and_no_padding),
		TEST(parallel_limits_follow_the_survivors),
		TEST(eden_that_nobody_samples_is_not_known),
		TEST(serial_has_fixed_shares),
		TEST(z_is_one_pool_or_two),
		TEST(heaps_without_collectors_are_one_pool),
		TEST(shenandoah_is_a_pool_without_collections),
		TEST(metaspace_is_known_after_a_collection),
		TEST(stopped_time_is_by_version),
		TEST(threads_and_classes_are_counted_like_jmx),
		TEST(nothing_is_known_of_nothing),
		TEST(about_is_what_the_jvm_says),
		TEST(cause_is_of_the_last_collection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
