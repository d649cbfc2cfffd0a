#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "export/curl.h"
#include "export/otlp_pack.h"
#include "export/otlp_send.h"
#include "model/selfstat.h"
#include "otlp_metrics.pb-c.h"

#define RETRY_FIRST_NS	  NS_PER_S
#define RETRY_MAX_NS	  (30 * NS_PER_S)
#define RETRY_AFTER_MAX_S 3600		  /* who asks for more gets this */
#define ATTEMPT_MAX_NS	  (60 * NS_PER_S) /* a server that is silent for so long is not going to answer */
#define RESPONSE_MAX	  (4u << 20)	  /* more is an error by the specification */
#define RESPONSE_KEPT	  (16u << 10)	  /* of which this much is looked at */
#define SHOWN_BYTES	  256		  /* of an error's text in the log */

struct batch {
	struct batch *next;
	void *data;
	size_t bytes, points;
};

struct otlp_sender {
	const struct curl_api *curl;
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	char *url;
	char peer[300]; /* host:port, for the log: a URL may hold a password */
	bool odd_path;	/* the path does not end in /v1/metrics: worth a hint when the answer is 404 */
	__u64 timeout_ns, retry_first_ns;
	size_t queue_bytes_max;
	unsigned random;
	__u64 not_before_ns; /* the server has asked to be left alone until then */

	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t work;  /* something to send, or quit */
	pthread_cond_t idle;  /* nothing to send */
	struct batch *first, **last;
	size_t queued_bytes;
	bool busy;
	bool quit;
};

static void batch_free(struct batch *batch)
{
	free(batch->data);
	free(batch);
}

/* Only literals may be given to selfstat. */
static void count_dropped(const char *reason, size_t points)
{
	selfstat_count(SELFSTAT_export_dropped, "otlp", reason, points);
}

/* One attempt */

enum verdict { VERDICT_DONE, VERDICT_RETRY, VERDICT_REFUSED, VERDICT_QUIT };

struct response {
	struct buf body;
	size_t bytes; /* of the whole body */
	long status;
	bool protobuf;
	char error[CURL_ERROR_SIZE];
};

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
	struct response *response = arg;
	size_t bytes = size * count, room = RESPONSE_KEPT - response->body.used;

	response->bytes += bytes;
	if (response->bytes > RESPONSE_MAX)
		return 0; /* ends the transfer */
	buf_add(&response->body, data, bytes < room ? bytes : room);
	return bytes;
}

static bool quitting(struct otlp_sender *sender)
{
	bool quit;

	pthread_mutex_lock(&sender->lock);
	quit = sender->quit;
	pthread_mutex_unlock(&sender->lock);
	return quit;
}

/* Of the network, not of what was said. */
static bool transport_may_recover(CURLcode code)
{
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
	case CURLE_AGAIN:
		return true;
	default:
		return false;
	}
}

static bool status_may_recover(long status)
{
	return status == 429 || status == 502 || status == 503 || status == 504;
}

static int ms_until(__u64 then_ns, __u64 now_ns)
{
	__u64 ms = then_ns > now_ns ? (then_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;

	return ms > 1000000 ? 1000000 : (int)ms;
}

/* Runs the prepared transfer; false when the program is to end. */
static bool transfer_run(struct otlp_sender *sender, CURLcode *ret)
{
	const struct curl_api *curl = sender->curl;
	int running = 1, left;
	bool quit = false;
	CURLMsg *message;

	*ret = CURLE_FAILED_INIT;
	if (curl->multi_add_handle(sender->multi, sender->easy) != CURLM_OK)
		return true;
	while (running && !(quit = quitting(sender))) {
		if (curl->multi_perform(sender->multi, &running) != CURLM_OK)
			break;
		/* A second, because libcurl may have timers of its own; multi_wakeup() ends the wait when quitting. */
		if (running)
			curl->multi_poll(sender->multi, NULL, 0, 1000, NULL);
	}
	while ((message = curl->multi_info_read(sender->multi, &left)))
		if (message->msg == CURLMSG_DONE)
			*ret = message->data.result;
	curl->multi_remove_handle(sender->multi, sender->easy);
	return !quit;
}

static CURLcode attempt(struct otlp_sender *sender, const struct batch *batch, __u64 deadline_ns,
			struct response *response, bool *ret_quit)
{
	const struct curl_api *curl = sender->curl;
	__u64 now = time_now_ns(), limit = now + ATTEMPT_MAX_NS;
	const char *type = NULL;
	CURLcode code;

	curl->easy_setopt(sender->easy, CURLOPT_POSTFIELDS, batch->data);
	curl->easy_setopt(sender->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)batch->bytes);
	curl->easy_setopt(sender->easy, CURLOPT_WRITEDATA, response);
	curl->easy_setopt(sender->easy, CURLOPT_ERRORBUFFER, response->error);
	curl->easy_setopt(sender->easy, CURLOPT_TIMEOUT_MS,
			  (long)ms_until(deadline_ns < limit ? deadline_ns : limit, now));
	*ret_quit = !transfer_run(sender, &code);
	curl->easy_getinfo(sender->easy, CURLINFO_RESPONSE_CODE, &response->status);
	curl->easy_getinfo(sender->easy, CURLINFO_CONTENT_TYPE, &type);
	response->protobuf = type && strncasecmp(type, "application/x-protobuf", 22) == 0;
	if (code != CURLE_OK && !response->error[0])
		str_copy(response->error, sizeof(response->error), curl->easy_strerror(code));
	return code;
}

/* What it means */

static void log_hint(const struct otlp_sender *sender)
{
	if (sender->odd_path)
		log_warn(
			"otlp: '%s' does not know this path: an endpoint for metrics alone is used as it is, did you mean "
			"one that ends in /v1/metrics?",
			sender->peer);
}

/* The server took the request. It may say that it did not take all, or has advice. */
static size_t rejected_points(const struct otlp_sender *sender, const struct batch *batch,
			      const struct response *response)
{
	Weir__Otlp__ExportMetricsServiceResponse *message = NULL;
	char text[SHOWN_BYTES];
	size_t rejected = 0;

	if (response->protobuf && response->body.used && response->bytes == response->body.used)
		message = weir__otlp__export_metrics_service_response__unpack(
			NULL, response->body.used, (const unsigned char *)response->body.data);
	if (message && message->partial_success) {
		const Weir__Otlp__ExportMetricsPartialSuccess *partial = message->partial_success;

		if (partial->rejected_data_points > 0)
			rejected = (size_t)partial->rejected_data_points < batch->points
					   ? (size_t)partial->rejected_data_points
					   : batch->points;
		utf8_sanitise(partial->error_message, strlen(partial->error_message), text, sizeof(text));
		if (rejected)
			log_warn("otlp: '%s' did not take %zu of %zu points: %s", sender->peer, rejected, batch->points,
				 text);
		else if (text[0])
			log_warn("otlp: '%s' took all points and says: %s", sender->peer, text);
	}
	if (message)
		weir__otlp__export_metrics_service_response__free_unpacked(message, NULL);
	return rejected;
}

/* The reason in one line: what the protocol or the server's text says. */
static void describe_failure(const struct response *response, CURLcode code, char *ret, size_t room)
{
	Weir__Otlp__Status *status = NULL;
	char text[SHOWN_BYTES] = "";

	if (code != CURLE_OK) {
		str_copy(ret, room, response->error);
		return;
	}
	if (response->protobuf)
		status = weir__otlp__status__unpack(NULL, response->body.used,
						    (const unsigned char *)response->body.data);
	if (status)
		utf8_sanitise(status->message, strlen(status->message), text, sizeof(text));
	else if (!response->protobuf)
		utf8_sanitise(response->body.data,
			      response->body.used < SHOWN_BYTES ? response->body.used : SHOWN_BYTES, text,
			      sizeof(text));
	snprintf(ret, room, "HTTP status %ld%s%s", response->status, text[0] ? ": " : "", text);
	if (status)
		weir__otlp__status__free_unpacked(status, NULL);
}

/* How long the server wants to be left alone; 0: it does not say. libcurl reads both forms, seconds and date. */
static __u64 retry_after_ns(struct otlp_sender *sender, const struct response *response)
{
	curl_off_t seconds = 0;

	if (response->status != 429 && response->status != 503)
		return 0;
	if (sender->curl->easy_getinfo(sender->easy, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK || seconds <= 0)
		return 0;
	return (__u64)(seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * NS_PER_S;
}

static enum verdict try_once(struct otlp_sender *sender, const struct batch *batch, __u64 deadline_ns, char *reason,
			     size_t reason_room)
{
	struct response response = {};
	enum verdict verdict;
	size_t rejected;
	CURLcode code;
	bool quit;

	buf_init(&response.body, RESPONSE_KEPT);
	selfstat_count(SELFSTAT_export_attempts, "otlp", NULL, 1);
	code = attempt(sender, batch, deadline_ns, &response, &quit);
	if (code == CURLE_OK && response.status >= 200 && response.status < 300) {
		rejected = rejected_points(sender, batch, &response);
		if (rejected)
			count_dropped("rejected", rejected);
		selfstat_count(SELFSTAT_export_points, "otlp", NULL, batch->points - rejected);
		verdict = VERDICT_DONE;
	} else {
		selfstat_count(SELFSTAT_export_failed, "otlp", NULL, 1);
		describe_failure(&response, code, reason, reason_room);
		verdict = code == CURLE_OK ? (status_may_recover(response.status) ? VERDICT_RETRY : VERDICT_REFUSED)
					   : (transport_may_recover(code) ? VERDICT_RETRY : VERDICT_REFUSED);
		if (code == CURLE_OK && retry_after_ns(sender, &response))
			sender->not_before_ns = time_now_ns() + retry_after_ns(sender, &response);
		if (response.status == 404)
			log_hint(sender);
	}
	buf_done(&response.body);
	return quit ? VERDICT_QUIT : verdict;
}

/* Waits; false when the program is to end. */
static bool pause_until(struct otlp_sender *sender, __u64 then_ns)
{
	struct timespec then = { .tv_sec = (time_t)(then_ns / NS_PER_S), .tv_nsec = (long)(then_ns % NS_PER_S) };
	bool quit;

	pthread_mutex_lock(&sender->lock);
	while (!sender->quit && time_now_ns() < then_ns)
		pthread_cond_timedwait(&sender->work, &sender->lock, &then);
	quit = sender->quit;
	pthread_mutex_unlock(&sender->lock);
	return !quit;
}

/* Half to one and a half of @mean_ns: senders that failed together do not come back together. */
static __u64 jitter(struct otlp_sender *sender, __u64 mean_ns)
{
	return mean_ns / 2 + mean_ns * ((__u64)rand_r(&sender->random) % 1024) / 1024;
}

static void give_up(struct otlp_sender *sender, const struct batch *batch, const char *literal, const char *reason)
{
	count_dropped(literal, batch->points);
	log_warn("otlp: '%s' did not take %zu points: %s; dropped, the next export has newer totals", sender->peer,
		 batch->points, reason);
}

static void send_batch(struct otlp_sender *sender, const struct batch *batch)
{
	__u64 deadline = sender->timeout_ns ? time_now_ns() + sender->timeout_ns : ~0ull;
	__u64 pause = sender->retry_first_ns, next = time_now_ns();
	char reason[SHOWN_BYTES + 64] = "it has asked to be left alone for longer than an export may take";

	for (;;) {
		/* Retry-After stands for the pause when it is longer, and binds the batches that follow, too. */
		if (sender->not_before_ns > next)
			next = sender->not_before_ns;
		if (next >= deadline) {
			give_up(sender, batch, "timeout", reason);
			return;
		}
		if (!pause_until(sender, next))
			break;
		switch (try_once(sender, batch, deadline, reason, sizeof(reason))) {
		case VERDICT_DONE:
			return;
		case VERDICT_REFUSED:
			give_up(sender, batch, "refused", reason);
			return;
		case VERDICT_QUIT:
			count_dropped("shutdown", batch->points);
			return;
		case VERDICT_RETRY:
			break;
		}
		next = time_now_ns() + jitter(sender, pause);
		pause = pause * 3 / 2 < RETRY_MAX_NS ? pause * 3 / 2 : RETRY_MAX_NS;
	}
	count_dropped("shutdown", batch->points);
}

/* The queue */

static struct batch *queue_take(struct otlp_sender *sender)
{
	struct batch *batch = sender->first;

	if (!batch)
		return NULL;
	sender->first = batch->next;
	if (!sender->first)
		sender->last = &sender->first;
	sender->queued_bytes -= batch->bytes;
	return batch;
}

static void *sender_main(void *arg)
{
	struct otlp_sender *sender = arg;
	struct batch *batch;

	pthread_mutex_lock(&sender->lock);
	for (;;) {
		while (!sender->quit && !sender->first)
			pthread_cond_wait(&sender->work, &sender->lock);
		if (sender->quit)
			break;
		batch = queue_take(sender);
		sender->busy = true;
		pthread_mutex_unlock(&sender->lock);
		send_batch(sender, batch);
		batch_free(batch);
		pthread_mutex_lock(&sender->lock);
		sender->busy = false;
		if (!sender->first)
			pthread_cond_signal(&sender->idle);
	}
	pthread_mutex_unlock(&sender->lock);
	return NULL;
}

void otlp_sender_put(struct otlp_sender *sender, void *data, size_t bytes, size_t points)
{
	struct batch *batch = malloc(sizeof(*batch)), *old;
	size_t dropped = 0;

	if (!batch) {
		free(data);
		count_dropped("memory", points);
		return;
	}
	*batch = (struct batch){ .data = data, .bytes = bytes, .points = points };
	pthread_mutex_lock(&sender->lock);
	if (sender->quit) {
		pthread_mutex_unlock(&sender->lock);
		count_dropped("shutdown", points);
		batch_free(batch);
		return;
	}
	*sender->last = batch;
	sender->last = &batch->next;
	sender->queued_bytes += bytes;
	/* The newest stays even if it alone is too large: it is what the others have been waiting to be replaced by. */
	while (sender->queued_bytes > sender->queue_bytes_max && sender->first != batch) {
		old = queue_take(sender);
		dropped += old->points;
		batch_free(old);
	}
	pthread_cond_signal(&sender->work);
	pthread_mutex_unlock(&sender->lock);
	if (dropped)
		count_dropped("queue", dropped);
}

static void sender_stop(struct otlp_sender *sender)
{
	struct batch *batch;

	pthread_mutex_lock(&sender->lock);
	sender->quit = true;
	while ((batch = queue_take(sender))) {
		count_dropped("shutdown", batch->points);
		batch_free(batch);
	}
	pthread_cond_signal(&sender->work);
	pthread_mutex_unlock(&sender->lock);
	sender->curl->multi_wakeup(sender->multi);
}

void otlp_sender_flush(struct otlp_sender *sender, __u64 deadline_ns)
{
	struct timespec deadline = { .tv_sec = (time_t)(deadline_ns / NS_PER_S),
				     .tv_nsec = (long)(deadline_ns % NS_PER_S) };

	pthread_mutex_lock(&sender->lock);
	while ((sender->first || sender->busy) && time_now_ns() < deadline_ns)
		pthread_cond_timedwait(&sender->idle, &sender->lock, &deadline);
	pthread_mutex_unlock(&sender->lock);
	sender_stop(sender);
}

/* Setting up */

static int add_header(struct otlp_sender *sender, const char *text)
{
	struct curl_slist *list = sender->curl->slist_append(sender->headers, text);

	if (!list)
		return -ENOMEM;
	sender->headers = list;
	return 0;
}

static bool is_token(const char *name)
{
	return name[0] &&
	       !name[strspn(name, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")];
}

static int set_headers(struct otlp_sender *sender, const struct otlp_sender_options *options, struct why *why)
{
	char line[4096];
	int err;

	/* No parameters after the type: Prometheus compares the text. An empty Expect keeps libcurl from asking first. */
	err = add_header(sender, "Content-Type: application/x-protobuf");
	if (!err)
		err = add_header(sender, "Expect:");
	if (!err && options->gzip)
		err = add_header(sender, "Content-Encoding: gzip");
	for (unsigned i = 0; !err && options->headers && i < options->headers->count; i++) {
		const struct otlp_pair *pair = &options->headers->items[i];
		int bytes = snprintf(line, sizeof(line), "%s: %s", pair->key, pair->value);

		if (!is_token(pair->key) || bytes >= (int)sizeof(line))
			return why_set(why, -EINVAL, "otlp header %u cannot be sent: bad name or too long", i + 1);
		err = add_header(sender, line);
	}
	return err ? why_set(why, err, "no memory") : 0;
}

static int set_peer(struct otlp_sender *sender, struct why *why)
{
	const struct curl_api *curl = sender->curl;
	char *host = NULL, *port = NULL, *path = NULL;
	CURLU *url = curl->url();
	int err = -ENOMEM;

	if (!url)
		return why_set(why, -ENOMEM, "no memory");
	if (curl->url_set(url, CURLUPART_URL, sender->url, 0) == CURLUE_OK &&
	    curl->url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    curl->url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
	    curl->url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK) {
		snprintf(sender->peer, sizeof(sender->peer), "%s:%s", host, port);
		sender->odd_path = !str_ends(path, "/v1/metrics");
		err = 0;
	}
	curl->free(host);
	curl->free(port);
	curl->free(path);
	curl->url_cleanup(url);
	return err ? why_set(why, -EINVAL, "the OTLP endpoint is no URL") : 0;
}

static int set_transfer(struct otlp_sender *sender, const struct otlp_sender_options *options)
{
	const struct curl_api *curl = sender->curl;
	const struct {
		CURLoption option;
		const char *value;
	} texts[] = {
		{ CURLOPT_URL, sender->url },
		{ CURLOPT_PROTOCOLS_STR, "http,https" },
		{ CURLOPT_USERAGENT, "weir/" WEIR_VERSION " OTel-OTLP-Exporter-C/" WEIR_VERSION },
		{ CURLOPT_CAINFO, options->ca_file },
		{ CURLOPT_SSLCERT, options->client_cert_file },
		{ CURLOPT_SSLKEY, options->client_key_file },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].value && texts[i].value[0] &&
		    curl->easy_setopt(sender->easy, texts[i].option, texts[i].value) != CURLE_OK)
			return -EINVAL;
	curl->easy_setopt(sender->easy, CURLOPT_HTTPHEADER, sender->headers);
	curl->easy_setopt(sender->easy, CURLOPT_POST, 1L);
	curl->easy_setopt(sender->easy, CURLOPT_NOSIGNAL, 1L);
	curl->easy_setopt(sender->easy, CURLOPT_WRITEFUNCTION, take_body);
	return 0;
}

/* Signals are for the loop's thread. SIGPIPE too: blocked, a broken connection is an error of write(). */
static int thread_start(struct otlp_sender *sender)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&sender->thread, NULL, sender_main, sender);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

static void sender_release(struct otlp_sender *sender)
{
	const struct curl_api *curl = sender->curl;

	if (sender->easy)
		curl->easy_cleanup(sender->easy);
	if (sender->multi)
		curl->multi_cleanup(sender->multi);
	curl->slist_free_all(sender->headers);
	pthread_cond_destroy(&sender->idle);
	pthread_cond_destroy(&sender->work);
	pthread_mutex_destroy(&sender->lock);
	free(sender->url);
	free(sender);
}

static void init_locks(struct otlp_sender *sender)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&sender->lock, NULL);
	pthread_cond_init(&sender->work, &monotonic);
	pthread_cond_init(&sender->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

int otlp_sender_new(const struct otlp_sender_options *options, struct otlp_sender **ret, struct why *why)
{
	const struct curl_api *curl = curl_load(why);
	struct otlp_sender *sender;
	int err;

	if (!curl)
		return -ENOENT;
	sender = calloc(1, sizeof(*sender));
	if (!sender)
		return why_set(why, -ENOMEM, "no memory");
	sender->curl = curl;
	sender->timeout_ns = options->timeout_ns;
	sender->retry_first_ns = options->retry_first_ns ? options->retry_first_ns : RETRY_FIRST_NS;
	sender->queue_bytes_max = options->queue_bytes_max;
	sender->random = (unsigned)time_now_ns();
	sender->last = &sender->first;
	init_locks(sender);
	sender->url = strdup(options->url);
	sender->multi = curl->multi_init();
	sender->easy = curl->easy_init();
	if (!sender->url || !sender->multi || !sender->easy) {
		err = why_set(why, -ENOMEM, "no memory");
		goto out_release;
	}
	err = set_peer(sender, why);
	if (!err)
		err = set_headers(sender, options, why);
	if (err)
		goto out_release;
	err = set_transfer(sender, options);
	if (err) {
		why_set(why, err, "this libcurl cannot speak to the OTLP endpoint as configured");
		goto out_release;
	}
	err = thread_start(sender);
	if (err) {
		why_set(why, err, "cannot start a thread for OTLP: %s", strerror(-err));
		goto out_release;
	}
	*ret = sender;
	return 0;

out_release:
	sender_release(sender);
	return err;
}

void otlp_sender_free(struct otlp_sender *sender)
{
	if (!sender)
		return;
	sender_stop(sender);
	pthread_join(sender->thread, NULL);
	sender_release(sender);
}
