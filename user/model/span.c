#include "model/span.h"

#include <stddef.h>
#include <string.h>

bool field_known(const struct field *field)
{
	switch (field->type) {
	case FIELD_STR:
		return field->str;
	case FIELD_WHO:
		return field->who;
	case FIELD_INT:
	case FIELD_UINT:
		break;
	}
	return true;
}

const struct field *span_field(const struct span *span, const char *name)
{
	for (unsigned i = 0; i < span->fields_count; i++)
		if (!strcmp(span->fields[i].name, name))
			return &span->fields[i];
	return NULL;
}
