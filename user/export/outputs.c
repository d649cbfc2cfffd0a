#include <errno.h>
#include <stddef.h>

#include "export/outputs.h"

int outputs_add(struct outputs *outputs, struct output *out)
{
	if (outputs->count == OUTPUTS_MAX)
		return -ENOSPC;
	outputs->items[outputs->count++] = out;
	return 0;
}

void outputs_write(struct outputs *outputs, struct snapshot *snap)
{
	for (unsigned i = 0; i < outputs->count; i++)
		if (outputs->items[i]->write)
			outputs->items[i]->write(outputs->items[i], snap);
}

bool outputs_take_spans(const struct outputs *outputs)
{
	for (unsigned i = 0; i < outputs->count; i++)
		if (outputs->items[i]->span)
			return true;
	return false;
}

void outputs_span(struct outputs *outputs, const struct span *span, const struct workload *who)
{
	for (unsigned i = 0; i < outputs->count; i++)
		if (outputs->items[i]->span)
			outputs->items[i]->span(outputs->items[i], span, who);
}

void outputs_flush(struct outputs *outputs, __u64 deadline_ns)
{
	for (unsigned i = 0; i < outputs->count; i++)
		if (outputs->items[i]->flush)
			outputs->items[i]->flush(outputs->items[i], deadline_ns);
}

void outputs_free(struct outputs *outputs)
{
	while (outputs->count) {
		struct output *out = outputs->items[--outputs->count];

		outputs->items[outputs->count] = NULL;
		out->free(out);
	}
}
