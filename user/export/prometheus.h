/* A snapshot as Prometheus text 0.0.4 or OpenMetrics 1.0: the same snapshot gives the same bytes.
 *
 * One endpoint shows many resources (export/resources.h), so identity is on every series: service_name always,
 * container_id where there is a container, k8s_pod_uid where there is a pod, and container_name, k8s_pod_name,
 * k8s_namespace_name when known. Where there is no container, weir_cgroup (the path below the cgroup2 mount) tells
 * cgroups of the same last name apart. The agent's own metrics carry service_name="weir" and nothing else.
 * target_info says once per resource what else is known. Metrics are in the order of their names. */
#ifndef WEIR_EXPORT_PROMETHEUS_H
#define WEIR_EXPORT_PROMETHEUS_H

#include <stddef.h>

#include "model/metric.h"
#include "model/snapshot.h"

struct buf;

enum prometheus_format { PROMETHEUS_TEXT, PROMETHEUS_OPENMETRICS };

/* By an Accept header with its q values; NULL, empty and unknown: PROMETHEUS_TEXT. */
enum prometheus_format prometheus_negotiate(const char *accept);
const char *prometheus_content_type(enum prometheus_format format);

/* "http.server.request.duration", "s" -> "http_server_request_duration_seconds"; counters get no "_total" here.
 * 0 or what sticks in @out. */
int prometheus_name(const struct metric *metric, struct buf *out);

/* Text piece by piece, since a thousand containers are 10 MB of it. Takes a reference of the snapshot, so a client may
 * read as slowly as it likes. */
struct prometheus;

struct prometheus *prometheus_new(struct snapshot *snap, enum prometheus_format format); /* NULL: no memory */
void prometheus_free(struct prometheus *prom);
/* Appends the next points until @bytes_min more are there. 1: there is more; 0: that was the end; or what sticks in @out. */
int prometheus_read(struct prometheus *prom, struct buf *out, size_t bytes_min);
size_t prometheus_points(const struct prometheus *prom); /* series it has in all, target_info left out */

#endif
