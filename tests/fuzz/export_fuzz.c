/* What comes in where things go out: JSON of snapshots and spans, Accept headers, pairs of OpenTelemetry's environment.
 * Property of the JSON: what was read, written again, reads as the same; and what was read can be shown in every format.
 * Input: byte 0 chooses, the rest is the text. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "export/json.h"
#include "export/otlp_pack.h"
#include "export/prometheus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX (16u << 20)

static void show(struct snapshot *snap)
{
	struct prometheus *prom = prometheus_new(snap, PROMETHEUS_OPENMETRICS);
	struct resources resources;
	struct otlp_packer packer;
	struct buf out;

	buf_init(&out, TEXT_MAX);
	assert(prom);
	while (prometheus_read(prom, &out, 100) > 0)
		;
	prometheus_free(prom);
	buf_reset(&out);
	assert(!otlp_packer_init(&packer, OTLP_HISTOGRAM_EXPONENTIAL, NULL, NULL));
	assert(!resources_init(&resources, snap));
	for (size_t i = 0; i < resources.count; i++)
		otlp_pack(&packer, snap, &resources.items[i], resources.items[i].points, resources.items[i].count,
			  &out);
	resources_done(&resources);
	otlp_packer_done(&packer);
	buf_done(&out);
}

static void snapshot_check(const char *text, size_t bytes)
{
	struct json_reader *reader = json_reader_new();
	struct snapshot *snap = NULL, *again = NULL;
	struct buf first, second;

	assert(reader);
	buf_init(&first, TEXT_MAX);
	buf_init(&second, TEXT_MAX);
	if (!snapshot_from_json(reader, text, bytes, &snap, NULL)) {
		show(snap);
		if (!snapshot_to_json(snap, &first)) {
			assert(!snapshot_from_json(reader, first.data, first.used, &again, NULL));
			assert(!snapshot_to_json(again, &second));
			assert(!strcmp(first.data, second.data));
		}
	}
	buf_done(&first);
	buf_done(&second);
	snapshot_unref(again);
	snapshot_unref(snap);
	json_reader_free(reader);
}

static void span_check(const char *text, size_t bytes)
{
	struct json_reader *reader = json_reader_new();
	const struct workload *who;
	struct span span;
	struct buf first, second;

	assert(reader);
	buf_init(&first, TEXT_MAX);
	buf_init(&second, TEXT_MAX);
	if (!span_from_json(reader, text, bytes, NULL, 0, &span, &who, NULL)) {
		unsigned fields_count = span.fields_count;

		assert(!span_to_json(&span, who, "", 0, &first));
		assert(!span_from_json(reader, first.data, first.used, NULL, 0, &span, &who, NULL));
		assert(span.fields_count == fields_count);
		assert(!span_to_json(&span, who, "", 0, &second));
		assert(!strcmp(first.data, second.data));
	}
	buf_done(&first);
	buf_done(&second);
	json_reader_free(reader);
}

static void pairs_check(const char *text)
{
	struct otlp_pairs pairs;

	if (otlp_pairs_parse(&pairs, text, NULL))
		assert(!pairs.count);
	for (unsigned i = 0; i < pairs.count; i++) {
		assert(pairs.items[i].key[0] && utf8_valid(pairs.items[i].key, strlen(pairs.items[i].key)));
		assert(utf8_valid(pairs.items[i].value, strlen(pairs.items[i].value)));
		assert(!strpbrk(pairs.items[i].value, "\r\n"));
	}
	otlp_pairs_done(&pairs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (!size)
		return 0;
	text = malloc(size);
	assert(text);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	switch (data[0] & 3) {
	case 0:
		snapshot_check(text, size - 1);
		break;
	case 1:
		span_check(text, size - 1);
		break;
	case 2:
		prometheus_negotiate(text);
		break;
	case 3:
		pairs_check(text);
		break;
	}
	free(text);
	return 0;
}
