/* OTLP metrics over HTTP (protobuf, gzip) to one endpoint, as an output.
 *
 * write() packs the snapshot resource by resource, cuts requests below OTLP_REQUEST_MAX at resource borders, compresses
 * each once and queues it; a thread of its own sends them in order, one at a time, retries what may be retried and
 * counts what is given up. The queue is bounded: the oldest batch leaves first (metrics are cumulative, a newer batch
 * makes up for an older one). Nothing of libcurl is loaded before the first otlp_new(). */
#ifndef WEIR_EXPORT_OTLP_H
#define WEIR_EXPORT_OTLP_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "export/output.h"
#include "model/snapshot.h"

struct why;

#define OTLP_REQUEST_MAX (2u << 20) /* before compression; receivers commonly take 4 MiB */
#define OTLP_QUEUE_MAX (8u << 20)   /* bytes of compressed requests that wait */
#define OTLP_HEADERS_MAX 32

enum otlp_histogram { OTLP_HISTOGRAM_EXPLICIT, OTLP_HISTOGRAM_EXPONENTIAL };
enum otlp_compression { OTLP_COMPRESSION_NONE, OTLP_COMPRESSION_GZIP };

/* Strings are owned; start with otlp_options_init(). */
struct otlp_options {
	char *url;	   /* of the metrics signal, whole; NULL: no export */
	bool url_is_exact; /* from OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: nothing was appended */
	char *headers[OTLP_HEADERS_MAX]; /* "Name: value" */
	unsigned headers_count;
	enum otlp_compression compression;
	enum otlp_histogram histogram;
	__u64 timeout_ns; /* of one batch with its retries; 0: no limit */
	char *ca_file, *client_cert_file, *client_key_file;
	/* Attributes of every resource, from OTEL_RESOURCE_ATTRIBUTES; service.* only on the agent's own. */
	char *resource_keys[OTLP_HEADERS_MAX], *resource_values[OTLP_HEADERS_MAX];
	unsigned resource_count;
	char *service_name; /* of the agent's own resource; NULL: weir */
};

void otlp_options_init(struct otlp_options *options);
void otlp_options_done(struct otlp_options *options);
/* @endpoint: a base URL ("http://host:4318", v1/metrics is appended), NULL: none. Overrides the environment. */
int otlp_options_endpoint(struct otlp_options *options, const char *endpoint, struct why *why);
/* Reads OTEL_EXPORTER_OTLP_{METRICS_,}{ENDPOINT,HEADERS,TIMEOUT,COMPRESSION,CERTIFICATE,CLIENT_KEY,CLIENT_CERTIFICATE,
 * PROTOCOL}, OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME,
 * OTEL_SDK_DISABLED, OTEL_METRICS_EXPORTER. Unknown values are warned about and ignored, as the specification has it;
 * what cannot work (a protocol that is not spoken here, an unreadable URL) is an error. @getenv is libc's, or a test's. */
int otlp_options_from_env(struct otlp_options *options, char *(*getenv_fn)(const char *), struct why *why);

/* Takes nothing: options are copied. *ret is the caller's, usually given to pipeline_add_output(). */
int otlp_new(const struct otlp_options *options, struct output **ret, struct why *why);

#endif
