#include "model/span.h"

#include <stddef.h>
#include <string.h>

const struct field *span_field(const struct span *span, const char *name)
{
	for (unsigned i = 0; i < span->fields_count; i++)
		if (!strcmp(span->fields[i].name, name))
			return &span->fields[i];
	return NULL;
}
