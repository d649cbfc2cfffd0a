#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "export/gzip.h"
#include "export/json.h"
#include "export/prometheus.h"
#include "model/selfstat.h"
#include "model/snapshot.h"
#include "view/web_body.h"

#define PIECE_BYTES (32u << 10) /* made at a time */
#define PIECE_MAX   (1u << 20)	/* one series with all its labels is far below */

struct web_body {
	unsigned *count;
	struct snapshot *snap;
	struct prometheus *prom; /* NULL: JSON */
	size_t at;		 /* of the JSON */
	struct gzip gzip;
	bool whole; /* nothing is to be made any more */
	struct buf raw, out;
	size_t sent; /* of out */
};

static struct web_body *body_new(struct snapshot *snap, unsigned *count)
{
	struct web_body *body = calloc(1, sizeof(*body));

	if (!body) {
		snapshot_unref(snap);
		return NULL;
	}
	body->snap = snap;
	body->count = count;
	++*count;
	buf_init(&body->raw, PIECE_MAX);
	buf_init(&body->out, PIECE_MAX);
	return body;
}

struct web_body *web_body_json(struct snapshot *snap, unsigned *count)
{
	return body_new(snap, count);
}

struct web_body *web_body_metrics(struct snapshot *snap, enum prometheus_format format, bool gzip, unsigned *count)
{
	struct web_body *body = body_new(snap, count);

	if (!body)
		return NULL;
	body->prom = prometheus_new(snap, format);
	/* Without memory for compressing it goes out as it is. */
	if (gzip)
		gzip_open(&body->gzip);
	if (body->prom)
		return body;
	web_body_free(body);
	return NULL;
}

void web_body_free(struct web_body *body)
{
	if (body->prom && body->whole && body->sent == body->out.used)
		selfstat_count(SELFSTAT_export_points, "prometheus", NULL, prometheus_points(body->prom));
	--*body->count;
	gzip_close(&body->gzip);
	prometheus_free(body->prom);
	snapshot_unref(body->snap);
	buf_done(&body->raw);
	buf_done(&body->out);
	free(body);
}

bool web_body_is_gzip(const struct web_body *body)
{
	return body->gzip.stream;
}

static int make_piece(struct web_body *body)
{
	struct buf *raw = body->gzip.stream ? &body->raw : &body->out;
	int more;

	buf_reset(&body->raw);
	more = body->prom ? prometheus_read(body->prom, raw, PIECE_BYTES)
			  : snapshot_to_json_part(body->snap, &body->at, raw, PIECE_BYTES);
	if (more < 0)
		return more;
	body->whole = !more;
	return body->gzip.stream ? gzip_add(&body->gzip, raw->data, raw->used, body->whole, &body->out) : 0;
}

ssize_t web_body_read(struct web_body *body, char *ret, size_t room)
{
	size_t bytes;
	int err;

	while (body->sent == body->out.used && !body->whole) {
		buf_reset(&body->out);
		body->sent = 0;
		err = make_piece(body);
		if (err && body->prom)
			selfstat_count(SELFSTAT_export_failed, "prometheus", NULL, 1);
		if (err)
			return err;
	}
	bytes = body->out.used - body->sent < room ? body->out.used - body->sent : room;
	memcpy(ret, body->out.data + body->sent, bytes);
	body->sent += bytes;
	return (ssize_t)bytes;
}
