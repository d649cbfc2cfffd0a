/* weir jvm histogram */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "base/table.h"
#include "base/time.h"
#include "base/why.h"
#include "cmd/cmd.h"
#include "cmd/jvm.h"
#include "cmd/jvm_target.h"
#include "jvm/classes.h"

static const char *counted(const struct options *options)
{
	return options->jvm_live ? "objects in use, after a collection of the whole heap" : "all objects, garbage too";
}

static void class_cell(const struct jvm_class *class, struct buf *out)
{
	buf_add_str(out, class->name);
	if (*class->module)
		buf_printf(out, " (%s)", class->module);
}

static void classes_text(const struct options *options, const struct jvm_classes *classes, struct buf *out)
{
	static const struct table_column columns[] = { { .title = "BYTES", .right = true },
						       { .title = "%", .right = true },
						       { .title = "OBJECTS", .right = true },
						       { .title = "CLASS" } };
	char size[STR_NUMBER_ROOM];
	struct table table;

	buf_printf(out, "\n%s: %llu of %u classes, %s\n\n", counted(options), classes->instances, classes->count,
		   str_format_bytes(classes->bytes, size));
	table_init(&table, columns, sizeof(columns) / sizeof(*columns));
	for (unsigned i = 0; i < classes->count && i < options->jvm_rows; i++) {
		const struct jvm_class *class = classes->classes[i];
		char bytes[24], percent[16], objects[24];
		const char *cells[] = { bytes, percent, objects, NULL };
		struct buf name;

		buf_init(&name, 16 << 10);
		class_cell(class, &name);
		cells[3] = name.data;
		snprintf(bytes, sizeof(bytes), "%llu", class->bytes);
		snprintf(percent, sizeof(percent), "%.1f",
			 classes->bytes ? 100.0 * class->bytes / classes->bytes : 0.0);
		snprintf(objects, sizeof(objects), "%llu", class->instances);
		table_add(&table, cells);
		buf_done(&name);
	}
	table_print(&table, out);
	table_done(&table);
	if (classes->count > options->jvm_rows)
		buf_printf(out, "and %u more classes (--rows)\n", classes->count - (unsigned)options->jvm_rows);
}

static void growth_text(const struct options *options, const struct jvm_growth *growth, unsigned count, struct buf *out)
{
	static const struct table_column columns[] = { { .title = "BYTES MORE", .right = true },
						       { .title = "OBJECTS MORE", .right = true },
						       { .title = "BYTES", .right = true },
						       { .title = "OBJECTS", .right = true },
						       { .title = "CLASS" } };
	char time[STR_NUMBER_ROOM];
	struct table table;

	buf_printf(out, "\n%s: %u classes grew in %s\n\n", counted(options), count,
		   str_format_duration(options->jvm_diff, time));
	table_init(&table, columns, sizeof(columns) / sizeof(*columns));
	for (unsigned i = 0; i < count && i < options->jvm_rows; i++) {
		char more[24], objects_more[24], bytes[24], objects[24];
		const char *cells[] = { more, objects_more, bytes, objects, NULL };
		struct buf name;

		buf_init(&name, 16 << 10);
		class_cell(growth[i].now, &name);
		cells[4] = name.data;
		snprintf(more, sizeof(more), "%+lld", growth[i].bytes);
		snprintf(objects_more, sizeof(objects_more), "%+lld", growth[i].instances);
		snprintf(bytes, sizeof(bytes), "%llu", growth[i].now->bytes);
		snprintf(objects, sizeof(objects), "%llu", growth[i].now->instances);
		table_add(&table, cells);
		buf_done(&name);
	}
	if (count)
		table_print(&table, out);
	table_done(&table);
	if (count > options->jvm_rows)
		buf_printf(out, "and %u more classes (--rows)\n", count - (unsigned)options->jvm_rows);
}

static json_t *classes_json(const struct jvm_classes *classes)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < classes->count; i++) {
		const struct jvm_class *class = classes->classes[i];

		json_array_append_new(array, json_pack("{s:s, s:s, s:I, s:I}", "class", class->name, "module",
						       class->module, "instances", (json_int_t) class->instances,
						       "bytes", (json_int_t) class->bytes));
	}
	return array;
}

static json_t *growth_json(const struct jvm_growth *growth, unsigned count)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < count; i++) {
		const struct jvm_class *class = growth[i].now;

		json_array_append_new(array,
				      json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "class", class->name, "module",
						class->module, "instances_more", (json_int_t)growth[i].instances,
						"bytes_more", (json_int_t)growth[i].bytes, "instances",
						(json_int_t) class->instances, "bytes", (json_int_t) class->bytes));
	}
	return array;
}

/* @growth: NULL without --diff. */
static int histogram_print(const struct options *options, const struct jvm_target *target,
			   const struct jvm_classes *now, const struct jvm_growth *growth, unsigned count,
			   struct why *why)
{
	struct buf out;
	int err;

	if (options->format == FORMAT_JSON) {
		json_t *object = jvm_target_json(target);

		json_object_set_new(object, "live", json_boolean(options->jvm_live));
		json_object_set_new(object, "instances", json_integer(now->instances));
		json_object_set_new(object, "bytes", json_integer(now->bytes));
		if (growth) {
			json_object_set_new(object, "interval_ns", json_integer(options->jvm_diff));
			json_object_set_new(object, "grew", growth_json(growth, count));
		} else {
			json_object_set_new(object, "classes", classes_json(now));
		}
		return jvm_print_json(object, why);
	}
	buf_init(&out, JVM_OUT_MAX);
	jvm_target_text(target, &out);
	if (growth)
		growth_text(options, growth, count, &out);
	else
		classes_text(options, now, &out);
	err = jvm_print(&out, why);
	buf_done(&out);
	return err;
}

static int histogram_ask(const struct options *options, const struct jvm_target *target, struct jvm_classes **ret,
			 struct why *why)
{
	struct buf answer;
	int err;

	if (options->jvm_live)
		log_warn("asking process %u to collect its whole heap first: it stands still meanwhile", target->pid);
	buf_init(&answer, JVM_ATTACH_BYTES_MAX);
	err = jvm_ask(target, options->jvm_live ? "GC.class_histogram" : "GC.class_histogram -all", &answer, why)
		      ?: jvm_classes_parse(answer.data, answer.used, ret, why);
	buf_done(&answer);
	return err;
}

/* On stderr: a script may wait for the line before it does what is to be seen. */
static void histogram_wait(const struct options *options)
{
	__u64 end_ns = time_now_ns() + options->jvm_diff;
	struct timespec end = { .tv_sec = end_ns / NS_PER_S, .tv_nsec = end_ns % NS_PER_S };
	char time[STR_NUMBER_ROOM];

	log_info("the first is taken, the second follows in %s", str_format_duration(options->jvm_diff, time));
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
		;
}

static int histogram_diff(const struct options *options, const struct jvm_target *target,
			  const struct jvm_classes *before, struct why *why)
{
	struct jvm_growth *growth;
	struct jvm_classes *now;
	int err, count;

	histogram_wait(options);
	err = histogram_ask(options, target, &now, why);
	if (err)
		return err;
	count = jvm_classes_growth(before, now, &growth);
	if (count < 0)
		err = why_set(why, count, "no memory");
	else
		err = histogram_print(options, target, now, growth, count, why);
	if (count >= 0)
		free(growth);
	jvm_classes_free(now);
	return err;
}

int jvm_histogram(const struct options *options, const struct jvm_target *target, struct why *why)
{
	struct jvm_classes *classes;
	int err = histogram_ask(options, target, &classes, why);

	if (err)
		return err;
	if (options->jvm_diff)
		err = histogram_diff(options, target, classes, why);
	else
		err = histogram_print(options, target, classes, NULL, 0, why);
	jvm_classes_free(classes);
	return err;
}
