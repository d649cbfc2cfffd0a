/* The agent's two doors, served by libmicrohttpd on the loop's own thread:
 *   TCP   (options.prometheus, "127.0.0.1:9464"):  /metrics  /healthz  /readyz
 *   unix  (options.socket, mode 0600):  the same, and GET /v1/snapshot  /v1/status  /v1/trace (ndjson, as it happens)
 *
 * /v1/trace?signal=http&count=&and the filters of view/filter.h: one object a line (export/json.h); the last line of a
 * finished stream is {"summary":{"matched":N,"dropped":N}}. A reader that is slower than the traffic loses lines, which
 * are counted ("dropped" in a {"dropped":N} line as soon as there is room again, and in the summary); memory per stream
 * is bounded by WEB_STREAM_BYTES_MAX. What answers is given by callbacks: this file knows no pipeline.
 * It is an output: spans reach it through output->span, and only while a stream is open (ops.want_records). */
#ifndef WEIR_VIEW_WEB_H
#define WEIR_VIEW_WEB_H

#include <stdbool.h>
#include <stddef.h>

#include "export/output.h"
#include "model/snapshot.h"

struct buf;
struct loop;
struct why;

#define WEB_CONNECTIONS_MAX  64 /* per door; the next one is refused */
#define WEB_STREAMS_MAX	     16 /* of /v1/trace; the next one gets 503 */
#define WEB_STREAM_BYTES_MAX (1u << 20)
#define WEB_IDLE_S	     30 /* a connection that says nothing for so long is closed; streams are not */

struct web_ops {
	/* A fresh snapshot, enriched; caller unrefs. NULL: cannot now. */
	struct snapshot *(*snapshot)(void *arg);
	/* Appends one JSON object. 0 or negative errno. */
	int (*status)(void *arg, struct buf *json);
	/* NULL: always ready. False: @why says what is missing. */
	bool (*ready)(void *arg, struct why *why);
	/* True when the first stream opens, false when the last closes. NULL: spans always come. */
	void (*want_records)(void *arg, unsigned signal, bool wanted); /* @signal 0: of all */
	/* enum signal_id of a name; 0: no such signal, or it is off. */
	unsigned (*signal_id)(void *arg, const char *name);
	const char *(*signal_name)(void *arg, unsigned id);
};

struct web_options {
	const char *prometheus; /* "host:port", "[v6]:port", ":port"; NULL or "": this door stays closed */
	const char *socket;	/* path; NULL or "": this door stays closed */
	const struct web_ops *ops;
	void *arg; /* handed to every callback */
};

/* Opens both doors before it returns: a port in use or an unwritable path fails here, with the reason. A stale socket
 * file is replaced only if nobody answers on it. Strings are copied. *ret: hand to pipeline_add_output(). */
int web_new(struct loop *loop, const struct web_options *options, struct output **ret, struct why *why);
/* Port that the TCP door listens on (useful with port 0); 0: closed. */
unsigned web_port(const struct output *out);

#endif
