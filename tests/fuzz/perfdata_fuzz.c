/* Any bytes as the counters of a JVM, read twice with something changed in between (the index of the first is used for
 * the second, if its prologue says so), and as /proc/PID/stat. Texts are valid UTF-8; figures that are not known are
 * 0. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "jvm/figures.h"
#include "jvm/perf_source.h"
#include "jvm/perfdata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void about_check(const struct jvm_about *about)
{
	const char *texts[] = { about->version, about->vm_name, about->vm_vendor, about->vm_version, about->command };

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert(utf8_valid(texts[i], strlen(texts[i])) && !strpbrk(texts[i], "\n\x1b\x7f"));
	assert(about->major <= 999);
}

static void pool_check(const struct jvm_pool *pool)
{
	assert(pool->name && pool->name[0]);
	assert(pool->known & JVM_USED || (!pool->used && !(pool->known & JVM_USED_AT_GC)));
	assert(pool->known & JVM_COMMITTED || !pool->committed);
	assert(pool->known & JVM_LIMIT || !pool->limit);
}

static void figures_check(const struct perfdata *perfdata)
{
	struct jvm_figures figures;
	struct jvm_about about;
	char cause[64];

	jvm_about_read(perfdata, &about);
	about_check(&about);
	jvm_figures_read(perfdata, &about, &figures);
	assert(figures.pool_count <= JVM_POOLS_MAX && figures.collector_count <= JVM_COLLECTORS_MAX);
	for (unsigned i = 0; i < figures.pool_count; i++)
		pool_check(&figures.pools[i]);
	for (unsigned i = 0; i < figures.collector_count; i++)
		assert(figures.collectors[i].name && figures.collectors[i].action);
	assert(figures.known & JVM_THREADS || !figures.threads_live);
	assert(figures.threads_daemon <= figures.threads_live);
	assert(figures.known & JVM_HEAP_LIMIT || !figures.heap_limit);
	if (jvm_gc_cause(perfdata, cause, sizeof(cause)))
		assert(cause[0] && utf8_valid(cause, strlen(cause)));
}

static void set_check(struct perfdata *perfdata, const char *image, size_t size)
{
	size_t used, place;

	if (perfdata_set(perfdata, image, size, NULL)) {
		assert(!perfdata_count(perfdata));
	} else {
		assert(!perfdata_used(image, size, &used, NULL));
		assert(used >= PERFDATA_PROLOGUE_BYTES && used <= PERFDATA_BYTES_MAX);
		assert(perfdata_count(perfdata) <= PERFDATA_ENTRIES_MAX);
		if (perfdata_place(perfdata, "sun.rt.safepoints", &place))
			assert(place <= size - 8);
	}
	figures_check(perfdata);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *image = malloc(size ? size : 1), *second; /* of exactly that size, so that reading on is found */
	struct perfdata *perfdata = perfdata_new();
	struct process_stat stat;

	assert(perfdata);
	memcpy(image, data, size);
	process_stat_parse(image, size, &stat);
	set_check(perfdata, image, size);
	/* Cut, and other bytes in the entries. */
	second = malloc(size / 2 + 1);
	memcpy(second, image, size / 2);
	for (size_t i = PERFDATA_PROLOGUE_BYTES; i < size / 2; i++)
		second[i] ^= image[size - i];
	free(image);
	set_check(perfdata, second, size / 2);
	perfdata_free(perfdata);
	free(second);
	return 0;
}
