/* Readers of /v1/trace: each has a filter and a bounded buffer of lines that wait for it. No HTTP in here. */
#ifndef WEIR_VIEW_WEB_STREAM_H
#define WEIR_VIEW_WEB_STREAM_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "view/filter.h"

struct span;
struct why;
struct workload;

struct web_stream {
	struct web_stream *next;
	/* Lines have come, or the end: the reader may go on. */
	void (*wake)(struct web_stream *stream);
	void *owner;
	unsigned signal; /* 0: all */
	__u64 count_max; /* 0: no end */
	struct span_filter filter;

	struct buf lines; /* wait to be read */
	__u64 matched;	  /* lines that the filter let through, those dropped included */
	__u64 dropped;	  /* no room */
	__u64 told;	  /* of these, already told in a line */
	bool ended;	  /* the summary has been added: nothing follows */
};

void web_stream_init(struct web_stream *stream);
void web_stream_done(struct web_stream *stream);
/* One condition of the query. "signal" is not for here. 0 or -EINVAL with the reason. */
int web_stream_option(struct web_stream *stream, const char *key, const char *value, struct why *why);
bool web_stream_wants(const struct web_stream *stream, const struct span *span, const struct workload *who);
/* @line: one JSON object without newline. Drops and counts it when there is no room. */
void web_stream_add(struct web_stream *stream, const struct buf *line);
/* Adds the summary, once. */
void web_stream_end(struct web_stream *stream);
/* Moves up to @room bytes to @ret; 0: nothing there. */
size_t web_stream_take(struct web_stream *stream, char *ret, size_t room);

#endif
