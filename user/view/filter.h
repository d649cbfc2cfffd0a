/* Which spans a person wants to see. Filled from the command line or from the query of the agent's API, with the same
 * keys and the same text: container, pod, namespace, path (globs: * and ?), role, status, min (a duration), min_ns and
 * closed (1: also connections as they end).
 * Spans without the field that is asked for do not match. */
#ifndef WEIR_VIEW_FILTER_H
#define WEIR_VIEW_FILTER_H

#include <linux/types.h>
#include <stdbool.h>

#include "model/span.h"
#include "model/workload.h"

struct buf;
struct why;

#define FILTER_TEXT_MAX 256

struct span_filter {
	__u64 min_ns;
	bool status; /* status_min .. status_max is asked for; 0 .. 0: no answer came */
	unsigned status_min, status_max;
	bool closed;   /* spans whose event is "close" are wanted as well: there are as many as there are connections */
	char role[16]; /* "": both */
	char container[FILTER_TEXT_MAX]; /* "": all; matches name, id, id's first 12 digits, or service name */
	char pod[FILTER_TEXT_MAX];	 /* name or UID */
	char namespace_name[FILTER_TEXT_MAX];
	char path[FILTER_TEXT_MAX];
};

/* Sets one condition. 0; -ENOENT: no such key; -EINVAL: bad value. Either with a line in @why. An empty value asks for nothing. */
int span_filter_set(struct span_filter *filter, const char *key, const char *value, struct why *why);
bool span_filter_match(const struct span_filter *filter, const struct span *span, const struct workload *who);
/* The conditions on who it is about only: for views of series. @who NULL (the agent itself) matches when nothing is asked for. */
bool span_filter_match_workload(const struct span_filter *filter, const struct workload *who);
/* Appends "key=value&..." that span_filter_set understands, percent-encoded; nothing when all match. */
void span_filter_query(const struct span_filter *filter, struct buf *out);

#endif
