/* A snapshot as Prometheus text 0.0.4 or OpenMetrics 1.0: pure function of the snapshot, the same bytes each time.
 *
 * One endpoint shows many resources, so identity is on every series: service_name always, container_id where there is a
 * container, k8s_pod_uid where there is a pod, and container_name, k8s_pod_name, k8s_namespace_name when known. Points of
 * several cgroups whose labels come out the same (two plain processes in cgroups of the same last name) are told apart
 * by weir_cgroup, the path, which is on every series that has neither container_id nor k8s_pod_uid; what still is the
 * same (cgroups below one container) is added up. The agent's own metrics carry service_name="weir" only.
 * target_info says once per resource what else is known. */
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

/* "http.server.request.duration", "s" -> "http_server_request_duration_seconds"; counters get no "_total" here. */
int prometheus_name(const struct metric *metric, struct buf *buf);
/* 0, -ENOMEM or -ENOBUFS. Histograms have the 14 explicit boundaries of bpf/lib/hist.h, values are in base units. */
int prometheus_write(const struct snapshot *snap, enum prometheus_format format, struct buf *buf);

#endif
