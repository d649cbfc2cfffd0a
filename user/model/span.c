#include "model/span.h"

#include <stddef.h>
#include <assert.h>
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

void span_str(struct span *span, const char *name, const char *str)
{
	assert(span->fields_count < SPAN_FIELDS_MAX);
	span->fields[span->fields_count++] = (struct field){ .name = name, .type = FIELD_STR, .str = str };
}

void span_uint(struct span *span, const char *name, __u64 unum)
{
	assert(span->fields_count < SPAN_FIELDS_MAX);
	span->fields[span->fields_count++] = (struct field){ .name = name, .type = FIELD_UINT, .unum = unum };
}

void span_who(struct span *span, const char *name, __u64 cgroup_id)
{
	assert(span->fields_count < SPAN_FIELDS_MAX);
	span->fields[span->fields_count++] = (struct field){ .name = name, .type = FIELD_WHO, .cgroup_id = cgroup_id };
}
