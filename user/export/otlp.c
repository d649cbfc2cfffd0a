#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/why.h"
#include "export/curl.h"
#include "export/gzip.h"
#include "export/otlp.h"
#include "export/otlp_pack.h"
#include "export/otlp_send.h"
#include "model/selfstat.h"

/* Points packed at a time: bounds the memory of one resource with very many series (about 1 KiB a point). */
#define SLICE_POINTS 1000
#define SCRATCH_MAX  (16u << 20)

struct otlp {
	struct output out;
	struct otlp_packer packer;
	struct otlp_sender *sender;
	bool gzip;
};

/* A request that is being filled. */
struct request {
	struct otlp *otlp;
	struct buf body;
	struct gzip gzip;
	size_t raw_bytes; /* before compression */
	size_t points;
	int err;
};

static void request_begin(struct request *request)
{
	buf_init(&request->body, OTLP_QUEUE_MAX);
	request->raw_bytes = 0;
	request->points = 0;
	request->err = request->otlp->gzip ? gzip_open(&request->gzip) : 0;
}

static void request_add(struct request *request, const struct buf *piece, size_t points)
{
	if (!request->err && request->otlp->gzip)
		request->err = gzip_add(&request->gzip, piece->data, piece->used, /* last */ false, &request->body);
	else if (!request->err)
		request->err = buf_add(&request->body, piece->data, piece->used);
	request->raw_bytes += piece->used;
	request->points += points;
}

static void request_end(struct request *request)
{
	void *data = NULL;
	size_t bytes;

	if (!request->err && request->otlp->gzip && request->points)
		request->err = gzip_add(&request->gzip, NULL, 0, /* last */ true, &request->body);
	gzip_close(&request->gzip);
	bytes = request->body.used;
	if (!request->err && request->points)
		data = buf_take(&request->body);
	if (data) {
		void *fitted = realloc(data, bytes); /* it waits in a queue: give back what growing left over */

		otlp_sender_put(request->otlp->sender, fitted ? fitted : data, bytes, request->points);
	} else if (request->points) {
		selfstat_count(SELFSTAT_export_dropped, "otlp", "memory", request->points);
	}
	buf_done(&request->body);
}

static void pack_resource(struct request *request, const struct snapshot *snap, const struct resource *resource,
			  struct buf *scratch)
{
	struct otlp *otlp = request->otlp;

	for (size_t i = 0, count; i < resource->count; i += count) {
		count = resource->count - i < SLICE_POINTS ? resource->count - i : SLICE_POINTS;
		buf_reset(scratch);
		if (otlp_pack(&otlp->packer, snap, resource, &resource->points[i], count, scratch)) {
			selfstat_count(SELFSTAT_export_dropped, "otlp", "memory", count);
			continue;
		}
		if (request->points && request->raw_bytes + scratch->used > OTLP_REQUEST_MAX) {
			request_end(request);
			request_begin(request);
		}
		request_add(request, scratch, count);
	}
}

static void otlp_write(struct output *out, struct snapshot *snap)
{
	struct otlp *otlp = out->priv;
	struct request request = { .otlp = otlp };
	struct resources resources;
	struct buf scratch;

	if (resources_init(&resources, snap)) {
		selfstat_count(SELFSTAT_export_dropped, "otlp", "memory", snap->points_count);
		return;
	}
	buf_init(&scratch, SCRATCH_MAX);
	request_begin(&request);
	for (size_t i = 0; i < resources.count; i++)
		pack_resource(&request, snap, &resources.items[i], &scratch);
	request_end(&request);
	buf_done(&scratch);
	resources_done(&resources);
}

static void otlp_flush(struct output *out, __u64 deadline_ns)
{
	struct otlp *otlp = out->priv;

	otlp_sender_flush(otlp->sender, deadline_ns);
}

static void otlp_free(struct output *out)
{
	struct otlp *otlp = out->priv;

	otlp_sender_free(otlp->sender);
	otlp_packer_done(&otlp->packer);
	free(otlp);
}

static bool said(const char *text)
{
	return text && text[0];
}

/* http://host:4318/base?query -> http://host:4318/base/v1/metrics?query */
static int append_signal(const struct curl_api *curl, CURLU *url, struct why *why)
{
	char *path = NULL, *whole;
	size_t bytes;
	int err;

	if (curl->url_get(url, CURLUPART_PATH, &path, 0) != CURLUE_OK)
		return why_set(why, -ENOMEM, "no memory");
	bytes = strlen(path) + sizeof("/v1/metrics");
	whole = malloc(bytes);
	err = whole ? 0 : -ENOMEM;
	if (whole) {
		stpcpy(stpcpy(whole, path), path[0] && path[strlen(path) - 1] == '/' ? "v1/metrics" : "/v1/metrics");
		err = curl->url_set(url, CURLUPART_PATH, whole, 0) == CURLUE_OK ? 0 : -ENOMEM;
	}
	free(whole);
	curl->free(path);
	return err ? why_set(why, err, "no memory") : 0;
}

/* *ret: free with curl->free(). */
static int make_url(const struct curl_api *curl, const struct otlp_options *options, char **ret, struct why *why)
{
	bool whole = said(options->metrics_endpoint);
	const char *text = whole ? options->metrics_endpoint : options->endpoint;
	CURLU *url = curl->url();
	char *scheme = NULL;
	CURLUcode code;
	int err = 0;

	if (!url)
		return why_set(why, -ENOMEM, "no memory");
	code = curl->url_set(url, CURLUPART_URL, text, 0);
	if (code == CURLUE_OK)
		code = curl->url_get(url, CURLUPART_SCHEME, &scheme, 0);
	if (code != CURLUE_OK || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		err = why_set(why, -EINVAL,
			      "OTLP endpoint is no URL of http or https (%s): write for example http://localhost:4318",
			      code == CURLUE_OK ? "another scheme" : curl->url_strerror(code));
	if (!err && !whole)
		err = append_signal(curl, url, why);
	if (!err && curl->url_get(url, CURLUPART_URL, ret, 0) != CURLUE_OK)
		err = why_set(why, -ENOMEM, "no memory");
	curl->free(scheme);
	curl->url_cleanup(url);
	return err;
}

/* Said at the start, not with each request that fails. */
static int check_files(const struct otlp_options *options, struct why *why)
{
	const char *const files[] = { options->ca_file, options->client_cert_file, options->client_key_file };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (said(files[i]) && access(files[i], R_OK))
			return why_set(why, -errno, "cannot read '%s' for OTLP: %s", files[i], strerror(errno));
	return 0;
}

static int make_sender(struct otlp *otlp, const struct otlp_options *options, struct why *why)
{
	const struct curl_api *curl = curl_load(why);
	struct otlp_pairs headers = { .count = 0 };
	struct otlp_sender_options sender = {
		.headers = &headers,
		.ca_file = options->ca_file,
		.client_cert_file = options->client_cert_file,
		.client_key_file = options->client_key_file,
		.gzip = otlp->gzip,
		.timeout_ns = options->timeout_ns,
		.queue_bytes_max = OTLP_QUEUE_MAX,
	};
	struct why inner = {};
	char *url = NULL;
	int err;

	if (!curl)
		return -ENOENT;
	err = check_files(options, why);
	if (!err)
		err = make_url(curl, options, &url, why);
	if (err)
		return err;
	sender.url = url;
	if (otlp_pairs_parse(&headers, options->headers, &inner))
		err = why_set(why, -EINVAL, "OTLP headers: %s", inner.text);
	if (!err)
		err = otlp_sender_new(&sender, &otlp->sender, why);
	otlp_pairs_done(&headers);
	curl->free(url);
	return err;
}

int otlp_new(const struct otlp_options *options, struct output **ret, struct why *why)
{
	struct otlp_pairs extra = { .count = 0 };
	struct otlp *otlp;
	struct why inner = {};
	int err;

	if (!said(options->endpoint) && !said(options->metrics_endpoint))
		return why_set(why, -EINVAL, "no OTLP endpoint is given");
	otlp = calloc(1, sizeof(*otlp));
	if (!otlp)
		return why_set(why, -ENOMEM, "no memory");
	otlp->gzip = options->compression == OTLP_COMPRESSION_GZIP;
	if (otlp_pairs_parse(&extra, options->resource_attributes, &inner))
		log_warn("resource attributes are left out, all of them: %s", inner.text);
	err = otlp_packer_init(&otlp->packer, options->histogram, options->service_name, &extra);
	if (err) {
		why_set(why, err, "no memory");
		goto out_free;
	}
	err = make_sender(otlp, options, why);
	if (err)
		goto out_free;
	otlp->out = (struct output){
		.name = "otlp",
		.write = otlp_write,
		.flush = otlp_flush,
		.free = otlp_free,
		.priv = otlp,
	};
	*ret = &otlp->out;
	return 0;

out_free:
	otlp_packer_done(&otlp->packer);
	free(otlp);
	return err;
}
