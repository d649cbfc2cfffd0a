/* How a workload is named on screens and in JSON: once, for all views. */
#ifndef WEIR_VIEW_WHO_H
#define WEIR_VIEW_WHO_H

#include <jansson.h>
#include <stdbool.h>

#include "model/workload.h"

struct buf;

/* What a person calls it: container's name, else the service's; "weir" for NULL (the agent itself). */
const char *who_name(const struct workload *who);
/* What tells two of them apart: container id, else cgroup path; "" for NULL. */
const char *who_key(const struct workload *who);
/* Namespace, pod and container, as far as known: "shop/cart-7d9/cart". */
void who_print(const struct workload *who, struct buf *out);
/* The "container" object, with the same keys as everywhere; NULL: no memory. */
json_t *who_json(const struct workload *who);

/* Appends @text to exactly @width columns: padded, or cut with an ellipsis. @right: aligned right. */
void cell_print(struct buf *out, const char *text, unsigned width, bool right);

#endif
