/* Any bytes as a cgroup path. What is found must lie within the path, and the own path must parse to the same. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "identity/container.h"
#include "identity/workload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void slice_check(const struct slice *s, const char *path, size_t bytes)
{
	assert(!s->bytes || (s->text >= path && s->text + s->bytes <= path + bytes));
	assert(!memchr(s->bytes ? s->text : "", '/', s->bytes));
}

static void text_check(const char *text)
{
	assert(utf8_valid(text, strlen(text)));
	for (; *text; text++)
		assert((unsigned char)*text >= ' ' && *text != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *path = malloc(size ? size : 1); /* of exactly that size, so that reading on is found */
	struct container whole, own;
	struct workload *who;

	memcpy(path, data, size);
	container_parse(path, size, &whole);
	slice_check(&whole.id, path, size);
	slice_check(&whole.unit, path, size);
	assert(whole.own_bytes <= size);
	assert(strlen(whole.pod_uid) == 0 || strlen(whole.pod_uid) == 32 || strlen(whole.pod_uid) == POD_UID_MAX);
	assert(!whole.pod_uid[0] == !whole.pod_qos[0]);
	assert(!(whole.id.bytes && whole.unit.bytes));
	assert(!!whole.runtime[0] == (whole.id.bytes || whole.unit.bytes));

	container_parse(path, whole.own_bytes, &own);
	assert(own.own_bytes == whole.own_bytes && own.id.bytes == whole.id.bytes && own.id.text == whole.id.text);
	assert(own.unit.bytes == whole.unit.bytes && !strcmp(own.runtime, whole.runtime));

	who = workload_new(1, path, size, "");
	if (who) {
		assert(who->service_name[0]);
		text_check(who->service_name);
		text_check(who->cgroup);
		text_check(who->container_id);
		text_check(who->container_name);
		assert(!who->container_id[0] == !whole.id.bytes);
		workload_unref(who);
	}
	free(path);
	return 0;
}
