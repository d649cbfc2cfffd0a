/* The state of a pipeline as a JSON object: what the agent answers to GET /v1/status, and what doctor prints, be it from
 * an agent or from a pipeline of its own.
 *   { "version", "pid", "uptime_ns", "interval_ns", "cgroup_mount",
 *     "signals": [ { "name", "running", "reason", "counts": { "seen", "delivered", "filtered", "lost": {reason: n} },
 *                    "tables": [ { "name", "used", "max", "bytes" } ] } ],
 *     "tables":  [ the same, of user space: series, identities, strings ],
 *     "reader":  { "records", "bytes", "bad" } } */
#ifndef WEIR_CMD_STATUS_H
#define WEIR_CMD_STATUS_H

#include <jansson.h>

struct pipeline;

json_t *status_json(struct pipeline *pipeline); /* NULL: no memory */

#endif
