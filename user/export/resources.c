#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/resources.h"

#define FIELD(key, member, place)                             \
	{                                                     \
		key, offsetof(struct workload, member), place \
	}
const struct resource_attr resource_attrs[RESOURCE_ATTRS_COUNT] = {
	FIELD("service.name", service_name, PLACE_SERIES),
	FIELD("container.id", container_id, PLACE_SERIES),
	FIELD("k8s.pod.uid", pod_uid, PLACE_SERIES),
	FIELD("container.name", container_name, PLACE_SERIES),
	FIELD("k8s.pod.name", pod_name, PLACE_SERIES),
	FIELD("k8s.namespace.name", namespace_name, PLACE_SERIES),
	FIELD("weir.cgroup", cgroup, PLACE_SERIES_UNLESS_CONTAINER),
	FIELD("container.runtime.name", runtime, PLACE_INFO),
	FIELD("weir.pod.qos", pod_qos, PLACE_INFO),
};

const char *resource_attr_value(const struct workload *who, const struct resource_attr *attr)
{
	const char *value;

	memcpy(&value, (const char *)who + attr->offset, sizeof(value));
	return value ? value : "";
}

bool resource_attr_on_series(const struct workload *who, const struct resource_attr *attr)
{
	switch (attr->place) {
	case PLACE_SERIES:
		return true;
	case PLACE_INFO:
		return false;
	case PLACE_SERIES_UNLESS_CONTAINER:
		return !who->container_id[0];
	}
	return true;
}

static bool begins_resource(const struct snapshot *snap, size_t i)
{
	return i == 0 || snap->points[i - 1].who != snap->points[i].who;
}

int resources_init(struct resources *res, const struct snapshot *snap)
{
	size_t count = 0;

	*res = (struct resources){};
	for (size_t i = 0; i < snap->points_count; i++)
		count += begins_resource(snap, i);
	res->items = calloc(count ? count : 1, sizeof(*res->items));
	if (!res->items)
		return -ENOMEM;
	for (size_t i = 0; i < snap->points_count; i++) {
		if (begins_resource(snap, i))
			res->items[res->count++] =
				(struct resource){ .who = snap->points[i].who, .points = &snap->points[i] };
		res->items[res->count - 1].count++;
	}
	return 0;
}

void resources_done(struct resources *res)
{
	free(res->items);
	*res = (struct resources){};
}
