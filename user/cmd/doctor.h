/* What doctor finds out, as one JSON object, and that object as text. The object is what `-o json` prints:
 *   { "version", "kernel", "machine", "ok", "cgroup": { "mount", "root", "reason" },
 *     "features": [ { "name", "available", "reason", "serves", "remedy", "since" } ],
 *     "signals":  [ { "name", "text", "runs", "reason" } ],
 *     "agent":    { "socket", "running", "reason" },
 *     "source":   "agent" | "own programs", "status": (cmd/status.h) or null,
 *     "warnings": [ text ] } */
#ifndef WEIR_CMD_DOCTOR_H
#define WEIR_CMD_DOCTOR_H

#include <jansson.h>

struct buf;

/* Things that do not stop weir and make its figures wrong: appended to @warnings. @cgroup_mount: NULL when not found. */
void doctor_warnings(json_t *warnings, const char *cgroup_mount);
void doctor_text(const json_t *report, struct buf *out);

#endif
