#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "export/otlp_resource.h"

void *otlp_message(struct arena *arena, const ProtobufCMessageDescriptor *type)
{
	void *ret = arena_alloc(arena, type->sizeof_message);

	if (ret)
		protobuf_c_message_init(type, ret);
	return ret;
}

struct pair_of_messages {
	Weir__Otlp__KeyValue pair;
	Weir__Otlp__AnyValue value;
};

static struct pair_of_messages *pair_new(struct arena *arena, const char *key)
{
	struct pair_of_messages *ret = arena_alloc(arena, sizeof(*ret));

	if (!ret)
		return NULL;
	weir__otlp__key_value__init(&ret->pair);
	weir__otlp__any_value__init(&ret->value);
	ret->pair.key = (char *)key; /* generated structs know no const; packing writes nothing */
	ret->pair.value = &ret->value;
	return ret;
}

Weir__Otlp__KeyValue *otlp_attr_str(struct arena *arena, const char *key, const char *value)
{
	struct pair_of_messages *ret = pair_new(arena, key);

	if (!ret)
		return NULL;
	ret->value.value_case = WEIR__OTLP__ANY_VALUE__VALUE_STRING_VALUE;
	ret->value.string_value = (char *)value;
	return &ret->pair;
}

Weir__Otlp__KeyValue *otlp_attr_int(struct arena *arena, const char *key, __s64 value)
{
	struct pair_of_messages *ret = pair_new(arena, key);

	if (!ret)
		return NULL;
	ret->value.value_case = WEIR__OTLP__ANY_VALUE__VALUE_INT_VALUE;
	ret->value.int_value = value;
	return &ret->pair;
}

#define DEFAULTS_MAX 8
#define ATTRS_ROOM   (RESOURCE_ATTRS_COUNT + OTLP_ATTRS_MAX + DEFAULTS_MAX)

/* Keys must be unique: who comes first wins. An empty value says nothing and is left out. */
static bool add(struct otlp_packer *packer, Weir__Otlp__Resource *to, const char *key, const char *value)
{
	if (!value || !value[0])
		return true;
	for (size_t i = 0; i < to->n_attributes; i++)
		if (strcmp(to->attributes[i]->key, key) == 0)
			return true;
	to->attributes[to->n_attributes] = otlp_attr_str(&packer->arena, key, value);
	return to->attributes[to->n_attributes++] != NULL;
}

/* service.instance.id, unique in the world: back ends tell two resources of one service apart by nothing else. */
static const char *instance_id(struct otlp_packer *packer, const struct workload *who)
{
	const char *host = packer->host_id[0] ? packer->host_id : packer->host_name;
	const char *what = who ? who->cgroup : "weir";
	size_t bytes;
	char *ret;

	if (who && who->container_id[0])
		return who->container_id;
	bytes = strlen(host) + strlen(what) + 2;
	ret = arena_alloc(&packer->arena, bytes);
	if (ret)
		snprintf(ret, bytes, "%s:%s", host, what);
	return ret;
}

static bool add_own(struct otlp_packer *packer, Weir__Otlp__Resource *to)
{
	return add(packer, to, "service.name", "weir") &&
	       add(packer, to, "service.instance.id", instance_id(packer, NULL)) &&
	       add(packer, to, "service.version", WEIR_VERSION);
}

static bool add_workload(struct otlp_packer *packer, Weir__Otlp__Resource *to, const struct workload *who)
{
	bool ok = true;

	for (size_t i = 0; ok && i < RESOURCE_ATTRS_COUNT; i++)
		ok = add(packer, to, resource_attrs[i].key, resource_attr_value(who, &resource_attrs[i]));
	return ok && add(packer, to, "service.instance.id", instance_id(packer, who));
}

/* The environment's attributes may say which pod and container the agent is: that is not true of those whom it
 * observes. Where they all run is. */
static bool describes_the_agent(const char *key)
{
	static const char *const own[] = { "service.", "container.", "process.", "telemetry.", "weir." };

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (str_starts(key, own[i]))
			return true;
	return str_starts(key, "k8s.") && !str_starts(key, "k8s.cluster.") && !str_starts(key, "k8s.node.");
}

Weir__Otlp__Resource *otlp_resource(struct otlp_packer *packer, const struct resource *resource)
{
	Weir__Otlp__Resource *ret = otlp_message(&packer->arena, &weir__otlp__resource__descriptor);
	const struct otlp_pairs *extra = &packer->extra;
	bool ok;

	if (!ret)
		return NULL;
	ret->attributes = arena_array(&packer->arena, ATTRS_ROOM, sizeof(ret->attributes[0]));
	if (!ret->attributes)
		return NULL;
	if (resource->who)
		ok = add_workload(packer, ret, resource->who);
	else
		ok = add(packer, ret, "service.name", packer->service_name);
	for (unsigned i = 0; ok && i < extra->count; i++)
		if (!resource->who || !describes_the_agent(extra->items[i].key))
			ok = add(packer, ret, extra->items[i].key, extra->items[i].value);
	if (!resource->who)
		ok = ok && add_own(packer, ret);
	ok = ok && add(packer, ret, "host.name", packer->host_name) && add(packer, ret, "host.id", packer->host_id) &&
	     add(packer, ret, "telemetry.sdk.name", "weir") && add(packer, ret, "telemetry.sdk.language", "c") &&
	     add(packer, ret, "telemetry.sdk.version", WEIR_VERSION);
	return ok ? ret : NULL;
}
