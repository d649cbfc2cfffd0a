/* Bodies that are made as they are sent: a snapshot as text of Prometheus or as JSON. No HTTP in here. */
#ifndef WEIR_VIEW_WEB_BODY_H
#define WEIR_VIEW_WEB_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "export/prometheus.h"

struct snapshot;
struct web_body;

/* Both take the caller's reference of @snap, in any case. @count is how many bodies there are: one more until
 * web_body_free(). NULL: no memory. */
struct web_body *web_body_metrics(struct snapshot *snap, enum prometheus_format format, bool gzip, unsigned *count);
struct web_body *web_body_json(struct snapshot *snap, unsigned *count);
/* Counts what the peer has taken to its end as delivered. */
void web_body_free(struct web_body *body);
/* Bytes written to @ret, at most @room; 0: that was all; or negative errno. */
ssize_t web_body_read(struct web_body *body, char *ret, size_t room);
bool web_body_is_gzip(const struct web_body *body);

#endif
