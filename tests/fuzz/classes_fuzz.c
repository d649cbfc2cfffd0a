/* Any bytes as two class histograms: cut in the middle, the first half is what was before. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "jvm/classes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void text_check(const char *text)
{
	assert(utf8_valid(text, strlen(text)) && !strpbrk(text, "\n\x1b\x7f"));
}

/* Of exactly that size, so that reading on is found; nothing of it is borrowed. */
static struct jvm_classes *parsed(const uint8_t *data, size_t size)
{
	char *text = malloc(size ? size : 1);
	struct jvm_classes *classes = NULL;
	__u64 instances = 0, bytes = 0;

	memcpy(text, data, size);
	jvm_classes_parse(text, size, &classes, NULL);
	free(text);
	if (!classes)
		return NULL;
	assert(classes->count);
	for (unsigned i = 0; i < classes->count; i++) {
		text_check(classes->classes[i]->name);
		text_check(classes->classes[i]->module);
		assert(!i || classes->classes[i]->bytes <= classes->classes[i - 1]->bytes);
		instances += classes->classes[i]->instances;
		bytes += classes->classes[i]->bytes;
	}
	assert(instances == classes->instances && bytes == classes->bytes);
	return classes;
}

static void growth_check(const struct jvm_classes *before, const struct jvm_classes *now)
{
	struct jvm_growth *growth;
	int count = jvm_classes_growth(before, now, &growth);

	assert(count >= 0 && (unsigned)count <= now->count);
	for (int i = 0; i < count; i++) {
		assert(growth[i].bytes > 0 || growth[i].instances > 0);
		assert(!i || growth[i].bytes <= growth[i - 1].bytes);
	}
	free(growth);
	assert(jvm_classes_growth(now, now, &growth) == 0);
	free(growth);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct jvm_classes *before = parsed(data, size / 2), *now = parsed(data + size / 2, size - size / 2);
	struct jvm_classes *all = parsed(data, size);

	if (before && now)
		growth_check(before, now);
	if (before && all)
		growth_check(before, all);
	jvm_classes_free(before);
	jvm_classes_free(now);
	jvm_classes_free(all);
	return 0;
}
