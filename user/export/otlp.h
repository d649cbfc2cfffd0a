/* OTLP metrics over HTTP (protobuf, gzip) to one endpoint, as an output.
 *
 * write() packs the snapshot resource by resource, cuts requests below OTLP_REQUEST_MAX at resource borders, compresses
 * each once and queues it; a thread of its own sends them in order, one at a time, retries what may be retried and
 * counts what is given up. The queue is bounded: the oldest batch leaves first (metrics are cumulative, a newer batch
 * makes up for an older one). Nothing of libcurl is loaded before the first otlp_new(). */
#ifndef WEIR_EXPORT_OTLP_H
#define WEIR_EXPORT_OTLP_H

#include <linux/types.h>

#include "export/output.h"

struct why;

#define OTLP_REQUEST_MAX (2u << 20) /* before compression; receivers commonly take 4 MiB */
#define OTLP_QUEUE_MAX	 (4u << 20) /* bytes of requests that wait */

enum otlp_histogram { OTLP_HISTOGRAM_EXPLICIT, OTLP_HISTOGRAM_EXPONENTIAL };
enum otlp_compression { OTLP_COMPRESSION_NONE, OTLP_COMPRESSION_GZIP };

/* What the user said, as text; all strings are borrowed and may be NULL or "" (not said). */
struct otlp_options {
	const char *endpoint;		 /* base URL: v1/metrics is appended */
	const char *metrics_endpoint;	 /* URL of the metrics, used as it is; wins */
	const char *headers;		 /* "key=value,key=value", values percent-encoded */
	const char *resource_attributes; /* the same form; what describes the agent (service, container, pod) is
					  * only on its own resource, the rest on every one */
	const char *service_name;	 /* of the agent's own resource; not said: weir */
	const char *ca_file, *client_cert_file, *client_key_file; /* PEM */
	enum otlp_compression compression;
	enum otlp_histogram histogram;
	__u64 timeout_ns; /* of one batch with its retries; 0: no limit */
};

/* Fails with the reason when there is no endpoint, a URL or header cannot be read, or libcurl is not there. Malformed
 * resource_attributes are left out whole and logged, as the specification has it. */
int otlp_new(const struct otlp_options *options, struct output **ret, struct why *why);

#endif
