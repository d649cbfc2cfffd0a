/* The resource of a message: who is measured. Everything is allocated in the packer's arena. */
#ifndef WEIR_EXPORT_OTLP_RESOURCE_H
#define WEIR_EXPORT_OTLP_RESOURCE_H

#include "export/otlp_pack.h"
#include "otlp_metrics.pb-c.h"

/* An empty message. NULL: no memory. */
void *otlp_message(struct arena *arena, const ProtobufCMessageDescriptor *type);
Weir__Otlp__Resource *otlp_resource(struct otlp_packer *packer, const struct resource *resource); /* NULL: no memory */
/* @values must live as long as the message. NULL: no memory. */
Weir__Otlp__KeyValue *otlp_attr_str(struct arena *arena, const char *key, const char *value);
Weir__Otlp__KeyValue *otlp_attr_int(struct arena *arena, const char *key, __s64 value);

#endif
