/* A snapshot as exporters need it: grouped by resource.
 *
 * A resource is a workload: one container, or, where there is no container, one cgroup path; the agent itself comes
 * first. enrich() has already put the points of one workload together and added up series that became the same. */
#ifndef WEIR_EXPORT_RESOURCES_H
#define WEIR_EXPORT_RESOURCES_H

#include <stdbool.h>
#include <stddef.h>

#include "model/snapshot.h"

struct resource {
	const struct workload *who; /* NULL: the agent itself */
	const struct point *points; /* sorted by metric name, then attributes */
	size_t count;
};

/* Borrows the snapshot. */
struct resources {
	size_t count;
	struct resource *items;
};

int resources_init(struct resources *res, const struct snapshot *snap); /* 0 or -ENOMEM (then nothing to free) */
void resources_done(struct resources *res);

/* What a resource is called, most important first. OTLP has all of it on the resource. Prometheus carries some on
 * every series and says the others once, in target_info. */
enum resource_place {
	PLACE_SERIES,
	PLACE_INFO,
	PLACE_SERIES_UNLESS_CONTAINER, /* the path tells cgroups of one last name apart; a container has its id */
};

struct resource_attr {
	const char *key; /* OpenTelemetry name */
	size_t offset;	 /* of the const char * in struct workload */
	enum resource_place place;
};

#define RESOURCE_ATTRS_COUNT 9
extern const struct resource_attr resource_attrs[RESOURCE_ATTRS_COUNT];

/* "" when not known. */
const char *resource_attr_value(const struct workload *who, const struct resource_attr *attr);
bool resource_attr_on_series(const struct workload *who, const struct resource_attr *attr);

#endif
