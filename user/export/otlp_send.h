/* Sends finished request bodies to one URL, in order, one at a time, from a thread of its own.
 *
 * Retried, with growing random pauses or after what Retry-After asks for, until the batch's time is over: 429, 502, 503,
 * 504, and connections that fail or break. Everything else is final. What is given up is counted in weir.export.dropped
 * under queue (no room: the oldest leaves), timeout, refused, rejected (partial success), shutdown. */
#ifndef WEIR_EXPORT_OTLP_SEND_H
#define WEIR_EXPORT_OTLP_SEND_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct otlp_pairs;
struct otlp_sender;
struct why;

/* Strings are borrowed during the call. */
struct otlp_sender_options {
	const char *url;
	const struct otlp_pairs *headers;
	const char *ca_file, *client_cert_file, *client_key_file; /* NULL or "": libcurl's own, none, none */
	bool gzip;						  /* bodies are compressed */
	__u64 timeout_ns;					  /* of a batch with its retries; 0: none */
	__u64 retry_first_ns;					  /* mean of the first pause; 0: one second */
	size_t queue_bytes_max;
};

int otlp_sender_new(const struct otlp_sender_options *options, struct otlp_sender **ret, struct why *why);
/* Takes @data (malloc). Never blocks. */
void otlp_sender_put(struct otlp_sender *sender, void *data, size_t bytes, size_t points);
/* Until everything has been sent or given up, or @deadline_ns; what is left then is dropped. Ends the sender: what is
 * put later is dropped. */
void otlp_sender_flush(struct otlp_sender *sender, __u64 deadline_ns);
void otlp_sender_free(struct otlp_sender *sender); /* does not wait for the network */

#endif
