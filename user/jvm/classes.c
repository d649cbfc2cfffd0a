#include "jvm/classes.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/str.h"
#include "base/why.h"

/* What is returned is the first member: freed as one. */
struct histogram {
	struct jvm_classes result;
	struct arena arena;
	struct map map; /* of struct jvm_class */
	bool ended;	/* "Total" was there */
	int err;
};

struct line {
	const char *at;
	size_t bytes;
};

static __u64 class_hash(const struct jvm_class *class)
{
	return hash_mix(hash_bytes(class->name, strlen(class->name)), hash_bytes(class->module, strlen(class->module)));
}

static bool class_same(const void *item, const void *key)
{
	const struct jvm_class *a = item, *b = key;

	return !strcmp(a->name, b->name) && !strcmp(a->module, b->module);
}

static void line_skip_blanks(struct line *line)
{
	while (line->bytes && *line->at == ' ') {
		line->at++;
		line->bytes--;
	}
}

/* A number with blanks before it. */
static bool line_number(struct line *line, __u64 *ret)
{
	size_t digits = 0;

	line_skip_blanks(line);
	while (digits < line->bytes && line->at[digits] >= '0' && line->at[digits] <= '9')
		digits++;
	if (mem_to_u64(line->at, digits, JVM_CLASS_NUMBER_MAX, ret))
		return false;
	line->at += digits;
	line->bytes -= digits;
	return true;
}

/* Sanitised into @shown; "NAME (MODULE)" or "NAME". */
static void class_texts(struct line line, char *name, char *module, size_t room)
{
	const char *bracket = line.bytes && line.at[line.bytes - 1] == ')' ? memrchr(line.at, '(', line.bytes) : NULL;
	size_t bytes = line.bytes;

	*module = '\0';
	if (bracket && bracket > line.at + 1 && bracket[-1] == ' ') {
		bytes = bracket - line.at - 1;
		utf8_sanitise(bracket + 1, line.bytes - bytes - 3, module, room);
	}
	utf8_sanitise(line.at, bytes, name, room);
}

static struct jvm_class *class_new(struct histogram *h, const struct jvm_class *key, __u64 hash)
{
	size_t name = strlen(key->name) + 1, module = strlen(key->module) + 1;
	struct jvm_class *class;

	if (h->map.count >= JVM_CLASSES_MAX) {
		h->err = -EFBIG;
		return NULL;
	}
	class = arena_alloc(&h->arena, sizeof(*class) + name + module);
	if (!class) {
		h->err = h->arena.used + sizeof(*class) + name + module > h->arena.max ? -EFBIG : -ENOMEM;
		return NULL;
	}
	class->name = memcpy(class + 1, key->name, name);
	class->module = memcpy((char *)(class + 1) + name, key->module, module);
	if (map_add(&h->map, hash, class))
		h->err = -ENOMEM;
	return class;
}

/* "   1:           974        3070608  [I (java.base@17.0.15)". Sums cannot overflow: rows are counted, too. */
static void histogram_row(struct histogram *h, struct line line)
{
	char name[JVM_CLASS_TEXT_MAX], module[JVM_CLASS_TEXT_MAX];
	struct jvm_class key = { .name = name, .module = module }, *class;
	__u64 number, instances, bytes, hash;

	if (!line_number(&line, &number) || !line.bytes || *line.at != ':')
		return;
	line.at++;
	line.bytes--;
	if (!line_number(&line, &instances) || !line_number(&line, &bytes))
		return;
	line_skip_blanks(&line);
	if (!line.bytes)
		return;
	class_texts(line, name, module, sizeof(name));
	hash = class_hash(&key);
	class = map_find(&h->map, hash, class_same, &key) ?: class_new(h, &key, hash);
	if (!class || instances > JVM_CLASS_NUMBER_MAX - class->instances ||
	    bytes > JVM_CLASS_NUMBER_MAX - class->bytes)
		return;
	class->instances += instances;
	class->bytes += bytes;
	h->result.instances += instances;
	h->result.bytes += bytes;
}

static void histogram_line(struct histogram *h, struct line line)
{
	struct line rest = line;

	if (line.bytes && line.at[line.bytes - 1] == '\r')
		line.bytes--, rest.bytes--;
	if (rest.bytes < 5 || memcmp(rest.at, "Total", 5)) {
		histogram_row(h, line);
		return;
	}
	rest.at += 5;
	rest.bytes -= 5;
	h->ended = line_number(&rest, &h->result.told_instances) && line_number(&rest, &h->result.told_bytes);
}

static int class_order(const void *left, const void *right)
{
	const struct jvm_class *a = *(struct jvm_class *const *)left, *b = *(struct jvm_class *const *)right;

	if (a->bytes != b->bytes)
		return a->bytes < b->bytes ? 1 : -1;
	if (a->instances != b->instances)
		return a->instances < b->instances ? 1 : -1;
	return strcmp(a->name, b->name) ?: strcmp(a->module, b->module);
}

static void histogram_sort(struct histogram *h)
{
	struct jvm_class *class;
	size_t pos = 0;

	h->result.classes = calloc(h->map.count + 1, sizeof(*h->result.classes));
	if (!h->result.classes) {
		h->err = -ENOMEM;
		return;
	}
	while ((class = map_next(&h->map, &pos)))
		h->result.classes[h->result.count++] = class;
	qsort(h->result.classes, h->result.count, sizeof(*h->result.classes), class_order);
}

static int histogram_why(const struct histogram *h, struct why *why)
{
	if (h->err == -EFBIG)
		return why_set(why, h->err, "the class histogram holds more than %u classes or %u MiB", JVM_CLASSES_MAX,
			       JVM_CLASSES_BYTES_MAX >> 20);
	if (h->err)
		return why_set(why, h->err, "no memory");
	if (!h->map.count)
		return why_set(why, -EBADMSG, "there is no class in what should be a class histogram");
	if (!h->ended)
		return why_set(why, -EBADMSG, "the end of the class histogram is missing");
	return 0;
}

int jvm_classes_parse(const char *text, size_t bytes, struct jvm_classes **ret, struct why *why)
{
	struct histogram *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return why_set(why, -ENOMEM, "no memory");
	arena_init(&h->arena, JVM_CLASSES_BYTES_MAX);
	while (bytes && !h->err) {
		const char *end = memchr(text, '\n', bytes);
		size_t length = end ? (size_t)(end - text) : bytes;

		histogram_line(h, (struct line){ text, length });
		text += length + (end != NULL);
		bytes -= length + (end != NULL);
	}
	if (!h->err)
		histogram_sort(h);
	err = histogram_why(h, why);
	if (err)
		jvm_classes_free(&h->result);
	else
		*ret = &h->result;
	return err;
}

void jvm_classes_free(struct jvm_classes *classes)
{
	struct histogram *h = (struct histogram *)classes;

	_Static_assert(offsetof(struct histogram, result) == 0, "the first member is what is freed");
	if (!h)
		return;
	free(classes->classes);
	map_done(&h->map);
	arena_done(&h->arena);
	free(h);
}

/* ---- difference */

static int growth_order(const void *left, const void *right)
{
	const struct jvm_growth *a = left, *b = right;

	if (a->bytes != b->bytes)
		return a->bytes < b->bytes ? 1 : -1;
	if (a->instances != b->instances)
		return a->instances < b->instances ? 1 : -1;
	return strcmp(a->now->name, b->now->name) ?: strcmp(a->now->module, b->now->module);
}

int jvm_classes_growth(const struct jvm_classes *before, const struct jvm_classes *now, struct jvm_growth **ret)
{
	const struct histogram *old = (const struct histogram *)before;
	struct jvm_growth *all = calloc(now->count + 1, sizeof(*all));
	unsigned count = 0;

	_Static_assert(JVM_CLASSES_MAX < INT_MAX, "the count is the return value");
	if (!all)
		return -ENOMEM;
	for (unsigned i = 0; i < now->count; i++) {
		const struct jvm_class *class = now->classes[i];
		const struct jvm_class *was = map_find(&old->map, class_hash(class), class_same, class);
		struct jvm_growth growth = { .now = class,
					     .instances = class->instances - (was ? was->instances : 0),
					     .bytes = class->bytes - (was ? was->bytes : 0) };

		if (growth.bytes > 0 || growth.instances > 0)
			all[count++] = growth;
	}
	qsort(all, count, sizeof(*all), growth_order);
	*ret = all;
	return count;
}
