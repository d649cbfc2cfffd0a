/* perfdata_dump PID [START_TICKS]: what weir reads of the JVM PID, as one line of JSON, again for each line of
 * standard input: an empty one, or a number: then it reads as often, and tells what that took. At the end, or if it
 * cannot: {"error": errno, "reason": text}. With --proc DIR for /proc. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "base/why.h"
#include "jvm/figures.h"
#include "jvm/kind.h"
#include "jvm/perf_source.h"
#include "jvm/perfdata.h"

static void text(const char *name, const char *value)
{
	printf("\"%s\": \"", name);
	for (; *value; value++)
		printf(*value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
	printf("\", ");
}

static int fail(int err, const struct why *why)
{
	printf("{");
	text("reason", why->text);
	printf("\"error\": %d}\n", -err);
	return 0;
}

static void known(const char *name, __u64 value, bool is)
{
	if (is)
		printf("\"%s\": %llu, ", name, value);
	else
		printf("\"%s\": null, ", name);
}

static void about_print(const struct jvm_about *a)
{
	known("major", a->major, true);
	text("version", a->version);
	text("vm_name", a->vm_name);
	text("vm_vendor", a->vm_vendor);
	text("vm_version", a->vm_version);
	text("command", a->command);
	known("gc", a->gc, true);
	known("attach_allowed", a->attach_allowed, true);
	known("signals_reduced", a->signals_reduced, true);
}

static void figures_print(const struct jvm_figures *f)
{
	known("threads_live", f->threads_live, f->known & JVM_THREADS);
	known("threads_daemon", f->threads_daemon, f->known & JVM_THREADS);
	known("classes_loaded", f->classes_loaded, f->known & JVM_CLASSES);
	known("classes_unloaded", f->classes_unloaded, f->known & JVM_CLASSES);
	known("safepoints", f->safepoints, f->known & JVM_SAFEPOINTS);
	known("safepoint_stopped_ns", f->safepoint_stopped_ns, f->known & JVM_SAFEPOINTS);
	known("safepoint_sync_ns", f->safepoint_sync_ns, f->known & JVM_SAFEPOINTS);
	known("gc_cpu_ns", f->gc_cpu_ns, f->known & JVM_GC_CPU);
	known("heap_limit", f->heap_limit, f->known & JVM_HEAP_LIMIT);
	printf("\"collectors\": [");
	for (unsigned i = 0; i < f->collector_count; i++) {
		printf("%s{", i ? ", " : "");
		text("name", f->collectors[i].name);
		text("action", f->collectors[i].action);
		printf("\"count\": %llu, \"stopped_ns\": %llu}", f->collectors[i].count, f->collectors[i].stopped_ns);
	}
	printf("], \"pools\": [");
	for (unsigned i = 0; i < f->pool_count; i++) {
		const struct jvm_pool *p = &f->pools[i];

		printf("%s{", i ? ", " : "");
		text("name", p->name);
		known("used", p->used, p->known & JVM_USED);
		known("committed", p->committed, p->known & JVM_COMMITTED);
		known("limit", p->limit, p->known & JVM_LIMIT);
		printf("\"heap\": %s, \"at_gc\": %s}", p->heap ? "true" : "false",
		       p->known & JVM_USED_AT_GC ? "true" : "false");
	}
	printf("], ");
}

static void addresses_print(const struct perf_source *s)
{
	static const char *const names[] = { "sun.rt.safepoints", "sun.rt.safepointSyncTime", "sun.rt.safepointTime" };
	__u64 address;

	printf("\"addresses\": {");
	for (unsigned i = 0; i < 3; i++)
		if (!perf_source_address(s, names[i], &address))
			printf("%s\"%s\": %llu", i ? ", " : "", names[i], address);
	printf("}");
}

static void source_print(const struct perf_source *s, enum jvm_kind kind, __u64 took_ns)
{
	const struct perfdata *data = perf_source_data(s);
	struct jvm_figures figures;
	struct jvm_about about;
	char cause[128];

	jvm_about_read(data, &about);
	jvm_figures_read(data, &about, &figures);
	printf("{");
	text("way", perf_source_way(s));
	text("cause", jvm_gc_cause(data, cause, sizeof(cause)) ? cause : "");
	known("kind", kind, true);
	known("entries", perfdata_count(data), true);
	known("bytes", perf_source_bytes(s), true);
	known("took_ns", took_ns, true);
	known("cpu_ns", perf_source_stat(s)->cpu_ns, true);
	about_print(&about);
	figures_print(&figures);
	addresses_print(s);
	printf("}\n");
	fflush(stdout);
}

/* What a poll costs: to read, and to understand. */
static int poll(struct perf_source *s, unsigned times, __u64 *ret_took_ns, struct why *why)
{
	struct jvm_figures figures;
	struct jvm_about about;
	__u64 begin_ns;
	int err = 0;

	jvm_about_read(perf_source_data(s), &about);
	begin_ns = time_now_ns();
	for (unsigned i = 0; i < times && !err; i++) {
		err = perf_source_read(s, why);
		if (!err)
			jvm_figures_read(perf_source_data(s), &about, &figures);
	}
	*ret_took_ns = (time_now_ns() - begin_ns) / times;
	return err;
}

static int run(const char *proc, __u32 pid, __u64 start_ticks)
{
	struct perf_source *s = NULL;
	struct why why = { "" };
	enum jvm_kind kind;
	__u64 took_ns = time_now_ns();
	char line[32];
	int err;

	err = jvm_kind_of(proc, pid, &kind);
	if (err)
		return fail(err, &why);
	if (kind == JVM_KIND_OPENJ9 || kind == JVM_KIND_NATIVE_IMAGE) {
		why_set(&why, 0, "%s", jvm_kind_sentence(kind));
		return fail(-ENOTSUP, &why);
	}
	took_ns = time_now_ns();
	err = perf_source_open(proc, pid, start_ticks, &s, &why);
	took_ns = time_now_ns() - took_ns;
	if (!err)
		source_print(s, kind, took_ns);
	while (!err && fgets(line, sizeof(line), stdin)) {
		unsigned times = (unsigned)strtoul(line, NULL, 10);

		err = poll(s, times ? times : 1, &took_ns, &why);
		if (!err)
			source_print(s, kind, took_ns);
	}
	perf_source_close(s);
	return err ? fail(err, &why) : 0;
}

int main(int argc, char **argv)
{
	struct process_stat stat;
	const char *proc = "/proc";
	__u32 pid;
	int err;

	if (argc > 2 && !strcmp(argv[1], "--proc")) {
		proc = argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc < 2)
		return 2;
	pid = (__u32)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		return run(proc, pid, strtoull(argv[2], NULL, 10));
	err = process_stat_read(proc, pid, &stat);
	return err ? fail(err, &(struct why){ "no such process" }) : run(proc, pid, stat.start_ticks);
}
