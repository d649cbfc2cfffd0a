/* The sender of OTLP requests against a server that does what a script says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "export/otlp.h"
#include "export/otlp_pack.h"
#include "export/otlp_send.h"
#include "fake.h"
#include "model/selfstat.h"
#include "otlp_metrics.pb-c.h"

/* The server. One connection at a time; when the script is over it answers 200 without a body, as Prometheus does. */

#define OK_EMPTY     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define STATUS(line) "HTTP/1.1 " line "\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\noops\n"
#define CLOSE	     "close"
#define HANG	     "hang"
#define REQUESTS_MAX 64

struct request {
	__u64 time_ns;
	struct buf head, body;
};

struct server {
	int fd;
	unsigned port;
	pthread_t thread;
	const char *const *script; /* NULL ends it */
	const void *binary;	   /* body of the answer "binary" */
	size_t binary_bytes;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned count;
	struct request requests[REQUESTS_MAX];
};

static size_t content_length(const char *head)
{
	const char *at = strcasestr(head, "\r\nContent-Length: ");

	return at ? strtoul(at + 18, NULL, 10) : 0;
}

/* False: the peer has gone. */
static bool receive(int fd, struct request *request)
{
	char bytes[65536];
	struct buf all;
	char *end;

	buf_init(&all, 64 << 20);
	for (;;) {
		ssize_t got = recv(fd, bytes, sizeof(bytes), 0);

		if (got <= 0) {
			buf_done(&all);
			return false;
		}
		buf_add(&all, bytes, (size_t)got);
		end = memmem(all.data, all.used, "\r\n\r\n", 4);
		if (end && all.used - (size_t)(end + 4 - all.data) >= content_length(all.data))
			break;
	}
	buf_init(&request->head, 1 << 20);
	buf_init(&request->body, 64 << 20);
	buf_add(&request->head, all.data, (size_t)(end + 2 - all.data));
	buf_add(&request->body, end + 4, all.used - (size_t)(end + 4 - all.data));
	request->time_ns = time_now_ns();
	buf_done(&all);
	return true;
}

static void *server_main(void *arg)
{
	struct server *server = arg;
	int fd;

	while ((fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		struct request request;

		while (receive(fd, &request)) {
			const char *answer = *server->script ? *server->script++ : OK_EMPTY;

			pthread_mutex_lock(&server->lock);
			server->requests[server->count++ % REQUESTS_MAX] = request;
			pthread_cond_broadcast(&server->changed);
			pthread_mutex_unlock(&server->lock);
			if (strcmp(answer, CLOSE) == 0)
				break;
			if (strcmp(answer, HANG) == 0) {
				char byte;

				while (recv(fd, &byte, 1, 0) > 0)
					;
				break;
			}
			if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
				break;
			if (server->binary && strstr(answer, "x-protobuf"))
				send(fd, server->binary, server->binary_bytes, MSG_NOSIGNAL);
		}
		close(fd);
	}
	return NULL;
}

static void server_start(struct server *server, const char *const *script)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);

	*server = (struct server){ .script = script };
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->changed, NULL);
	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(server->fd, 8), 0);
	assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &size), 0);
	server->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&server->thread, NULL, server_main, server), 0);
}

static void server_wait(struct server *server, unsigned count)
{
	struct timespec deadline;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 20;
	pthread_mutex_lock(&server->lock);
	while (server->count < count && !err)
		err = pthread_cond_timedwait(&server->changed, &server->lock, &deadline);
	pthread_mutex_unlock(&server->lock);
	if (err)
		fail_msg("%u of %u requests came", server->count, count);
}

/* The client must have gone before. */
static void server_stop(struct server *server)
{
	shutdown(server->fd, SHUT_RDWR);
	close(server->fd);
	pthread_join(server->thread, NULL);
	for (unsigned i = 0; i < server->count && i < REQUESTS_MAX; i++) {
		buf_done(&server->requests[i].head);
		buf_done(&server->requests[i].body);
	}
	pthread_cond_destroy(&server->changed);
	pthread_mutex_destroy(&server->lock);
}

static void assert_body(const struct server *server, unsigned i, const char *want)
{
	assert_true(i < server->count);
	assert_string_equal(server->requests[i].body.data, want);
}

/* What has been counted since mark(). */

static const char *const reasons[] = { "queue", "timeout", "refused", "rejected", "shutdown", "memory" };
#define REASONS 6
static __u64 marked[3 + REASONS];

static __u64 counted(unsigned i)
{
	static const enum selfstat_id ids[] = { SELFSTAT_export_attempts, SELFSTAT_export_failed,
						SELFSTAT_export_points };

	return i < 3 ? selfstat_counted(ids[i], "otlp", NULL)
		     : selfstat_counted(SELFSTAT_export_dropped, "otlp", reasons[i - 3]);
}

static void mark(void)
{
	for (unsigned i = 0; i < 3 + REASONS; i++)
		marked[i] = counted(i);
}

static void assert_counts(__u64 attempts, __u64 failed, __u64 points)
{
	assert_int_equal(counted(0) - marked[0], attempts);
	assert_int_equal(counted(1) - marked[1], failed);
	assert_int_equal(counted(2) - marked[2], points);
}

/* @reason only; everything else has dropped nothing. */
static void assert_dropped(const char *reason, __u64 points)
{
	for (unsigned i = 0; i < REASONS; i++) {
		__u64 want = reason && strcmp(reasons[i], reason) == 0 ? points : 0;

		if (counted(3 + i) - marked[3 + i] != want)
			fail_msg("%s: %llu", reasons[i], counted(3 + i) - marked[3 + i]);
	}
}

#define FAST_NS (20 * NS_PER_MS) /* first pause */
#define LONG_NS (30 * NS_PER_S)

static struct otlp_sender *sender_start(unsigned port, __u64 timeout_ns, size_t queue_bytes_max)
{
	struct otlp_sender_options options = { .timeout_ns = timeout_ns,
					       .retry_first_ns = FAST_NS,
					       .queue_bytes_max = queue_bytes_max };
	struct otlp_sender *sender = NULL;
	struct why why = {};
	char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1/metrics", port);
	options.url = url;
	if (otlp_sender_new(&options, &sender, &why))
		fail_msg("%s", why.text);
	return sender;
}

static void put(struct otlp_sender *sender, const char *text, size_t points)
{
	otlp_sender_put(sender, strdup(text), strlen(text), points);
}

static __u64 soon(void)
{
	return time_now_ns() + LONG_NS;
}

/* Everything has been sent or given up afterwards. */
static void sender_end(struct otlp_sender *sender)
{
	otlp_sender_flush(sender, soon());
	otlp_sender_free(sender);
}

static void output_end(struct output *out, struct snapshot *snap)
{
	out->write(out, snap);
	out->flush(out, soon());
	out->free(out);
}

static void what_may_be_retried_is_resent_in_order(void **state)
{
	static const char *const script[] = { STATUS("503 x"), STATUS("429 x"), STATUS("502 x"), STATUS("504 x"),
					      CLOSE,	       OK_EMPTY,	STATUS("503 x"), NULL };
	struct otlp_sender *sender;
	struct server server;

	mark();
	server_start(&server, script);
	sender = sender_start(server.port, LONG_NS, 1 << 20);
	put(sender, "first", 3);
	put(sender, "second", 4);
	put(sender, "third", 5);
	sender_end(sender);
	for (unsigned i = 0; i < 6; i++)
		assert_body(&server, i, "first");
	assert_body(&server, 6, "second");
	assert_body(&server, 7, "second");
	assert_body(&server, 8, "third");
	assert_int_equal(server.count, 9);
	/* libcurl itself repeats a request when a connection that it had kept turns out to be closed: 8 attempts, 9 seen. */
	assert_counts(8, 5, 12);
	assert_dropped(NULL, 0);
	server_stop(&server);
}

static void what_is_final_is_not_retried(void **state)
{
	static const char *const script[] = {
		STATUS("400 x"),
		STATUS("401 x"),
		STATUS("403 x"),
		STATUS("404 x"),
		STATUS("405 x"),
		STATUS("408 x"),
		STATUS("413 x"),
		STATUS("415 x"),
		STATUS("500 x"),
		STATUS("501 x"),
		STATUS("505 x"),
		"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
		NULL
	};
	const unsigned count = sizeof(script) / sizeof(script[0]) - 1;
	struct otlp_sender *sender;
	struct server server;

	mark();
	server_start(&server, script);
	sender = sender_start(server.port, LONG_NS, 1 << 20);
	for (unsigned i = 0; i <= count; i++)
		put(sender, "x", 7);
	sender_end(sender);
	assert_int_equal(server.count, count + 1);
	assert_counts(count + 1, count, 7);
	assert_dropped("refused", 7 * count);
	server_stop(&server);
}

static void partial_success_is_counted_and_not_retried(void **state)
{
	static const char *const script[] = {
		"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\n\r\n", NULL
	};
	/* partial_success { rejected_data_points: 3 error_message: "bad" }, by hand */
	static const unsigned char body[] = { 0x0a, 0x07, 0x08, 0x03, 0x12, 0x03, 'b', 'a', 'd' };
	struct otlp_sender *sender;
	struct server server;

	mark();
	server_start(&server, script);
	server.binary = body;
	server.binary_bytes = sizeof(body);
	sender = sender_start(server.port, LONG_NS, 1 << 20);
	put(sender, "x", 10);
	sender_end(sender);
	assert_int_equal(server.count, 1);
	assert_counts(1, 0, 7);
	assert_dropped("rejected", 3);
	server_stop(&server);
}

/* What the log said last, and how often it gave the hint about paths. */
static char logged[1024];
static int hints;

static void the_reason_of_a_failure_is_told(void **state)
{
	/* google.rpc.Status { code: 3 message: "no\x1b[31m good" }, by hand */
	static const unsigned char status[] = "\x08\x03\x12\x0cno\x1b[31m good";
	static const struct {
		const char *answer, *says;
	} rows[] = {
		{ "HTTP/1.1 400 x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 16\r\n\r\n",
		  "HTTP status 400: no\\x1b[31m good" },
		{ "HTTP/1.1 500 x\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nout of\nit",
		  "HTTP status 500: out of\\x0ait" },
		{ "HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n", "HTTP status 413; dropped" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct otlp_sender *sender;
		struct server server;

		server_start(&server, (const char *const[]){ rows[i].answer, NULL });
		server.binary = status;
		server.binary_bytes = 16;
		sender = sender_start(server.port, LONG_NS, 1 << 20);
		put(sender, "x", 1);
		otlp_sender_flush(sender, soon());
		otlp_sender_free(sender);
		if (!strstr(logged, rows[i].says))
			fail_msg("'%s' is not in '%s'", rows[i].says, logged);
		server_stop(&server);
	}
}

/* Four MiB are the limit for an answer; more is no reason to send again. */
static void an_endless_answer_is_cut_off(void **state)
{
	static const char *const script[] = {
		"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 5242880\r\n\r\n", NULL
	};
	struct otlp_sender *sender;
	struct server server;
	char *body = calloc(1, 5 << 20);

	mark();
	server_start(&server, script);
	server.binary = body;
	server.binary_bytes = 5 << 20;
	sender = sender_start(server.port, LONG_NS, 1 << 20);
	put(sender, "x", 7);
	sender_end(sender);
	assert_int_equal(server.count, 1);
	assert_counts(1, 1, 0);
	assert_dropped("refused", 7);
	server_stop(&server);
	free(body);
}

static void an_exact_endpoint_that_is_not_found_gets_a_hint(void **state)
{
	static const char *const script[] = { STATUS("404 x"), NULL };
	struct snapshot *snap = fake_snapshot();

	for (int whole = 0; whole < 2; whole++) {
		struct server server;
		struct output *out = NULL;
		struct otlp_options options = { .timeout_ns = LONG_NS };
		char url[64];

		server_start(&server, script);
		snprintf(url, sizeof(url), "http://127.0.0.1:%u", server.port);
		if (whole)
			options.metrics_endpoint = url;
		else
			options.endpoint = url;
		hints = 0;
		assert_int_equal(otlp_new(&options, &out, NULL), 0);
		output_end(out, snap);
		assert_int_equal(hints, whole);
		server_stop(&server);
	}
	snapshot_unref(snap);
}

static void retry_after_is_honoured(void **state)
{
	static const char *const script[] = { "HTTP/1.1 503 x\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", OK_EMPTY,
					      NULL };
	struct otlp_sender *sender;
	struct server server;

	mark();
	server_start(&server, script);
	sender = sender_start(server.port, LONG_NS, 1 << 20);
	put(sender, "x", 1);
	sender_end(sender);
	assert_int_equal(server.count, 2);
	/* Without the header the pause would be 30 ms at most. */
	assert_in_range(server.requests[1].time_ns - server.requests[0].time_ns, 950 * NS_PER_MS, 10 * NS_PER_S);
	server_stop(&server);
}

static void retry_after_longer_than_the_timeout_gives_up_at_once(void **state)
{
	static const char *const script[] = { "HTTP/1.1 429 x\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n", NULL };
	struct otlp_sender *sender;
	struct server server;
	__u64 start;

	mark();
	start = time_now_ns();
	server_start(&server, script);
	sender = sender_start(server.port, LONG_NS, 1 << 20);
	put(sender, "first", 1);
	put(sender, "second", 2); /* the server has asked to be left alone: not even tried */
	sender_end(sender);
	assert_true(time_now_ns() - start < LONG_NS / 2);
	assert_int_equal(server.count, 1);
	assert_dropped("timeout", 3);
	server_stop(&server);
}

static void a_silent_server_costs_the_timeout_and_no_more(void **state)
{
	static const char *const script[] = { HANG, NULL };
	struct otlp_sender *sender;
	struct server server;

	mark();
	server_start(&server, script);
	sender = sender_start(server.port, 300 * NS_PER_MS, 1 << 20);
	put(sender, "first", 5);
	put(sender, "second", 6);
	sender_end(sender);
	assert_body(&server, server.count - 1, "second");
	assert_int_equal(counted(2) - marked[2], 6);
	assert_dropped("timeout", 5);
	server_stop(&server);
}

static void nobody_there_is_retried_until_the_timeout(void **state)
{
	struct otlp_sender *sender;
	struct server server;

	mark();
	server_start(&server, (const char *const[]){ NULL });
	server_stop(&server); /* the port is free now */
	sender = sender_start(server.port, 300 * NS_PER_MS, 1 << 20);
	put(sender, "x", 5);
	sender_end(sender);
	assert_true(counted(0) - marked[0] > 2);
	assert_int_equal(counted(1) - marked[1], counted(0) - marked[0]);
	assert_dropped("timeout", 5);
}

static void a_full_queue_drops_the_oldest_and_keeps_the_newest(void **state)
{
	static const char *const script[] = { HANG, NULL };
	struct otlp_sender *sender;
	struct server server;

	mark();
	server_start(&server, script);
	sender = sender_start(server.port, 1 * NS_PER_S, 100);
	put(sender, "in flight", 1);
	server_wait(&server, 1);
	for (unsigned i = 0; i < 12; i++) {
		char text[32];

		snprintf(text, sizeof(text), "number %02u of twelve  ", i); /* 22 bytes: four fit */
		put(sender, text, 10);
	}
	sender_end(sender);
	/* The one in flight has timed out, then the last four came in their order. */
	assert_int_equal(server.count, 5);
	assert_body(&server, 1, "number 08 of twelve  ");
	assert_body(&server, 4, "number 11 of twelve  ");
	assert_int_equal(counted(2) - marked[2], 40);
	assert_int_equal(selfstat_counted(SELFSTAT_export_dropped, "otlp", "queue") - marked[3], 80);
	assert_int_equal(selfstat_counted(SELFSTAT_export_dropped, "otlp", "timeout") - marked[4], 1);
	server_stop(&server);
}

static void a_batch_larger_than_the_queue_is_still_sent(void **state)
{
	struct otlp_sender *sender;
	struct server server;

	mark();
	server_start(&server, (const char *const[]){ NULL });
	sender = sender_start(server.port, LONG_NS, 3);
	put(sender, "longer than three", 1);
	sender_end(sender);
	assert_int_equal(server.count, 1);
	assert_counts(1, 0, 1);
	server_stop(&server);
}

static void flush_ends_at_its_deadline_and_counts_what_is_left(void **state)
{
	static const char *const script[] = { HANG, NULL };
	struct otlp_sender *sender;
	struct server server;
	__u64 start;

	mark();
	server_start(&server, script);
	sender = sender_start(server.port, 0, 1 << 20);
	put(sender, "first", 3);
	put(sender, "second", 4);
	server_wait(&server, 1);
	start = time_now_ns();
	otlp_sender_flush(sender, start + 200 * NS_PER_MS);
	put(sender, "late", 5);
	otlp_sender_free(sender);
	assert_in_range(time_now_ns() - start, 200 * NS_PER_MS, 5 * NS_PER_S);
	assert_int_equal(server.count, 1);
	assert_dropped("shutdown", 12);
	server_stop(&server);
}

static void free_does_not_wait_for_the_network(void **state)
{
	static const char *const script[] = { HANG, NULL };
	struct otlp_sender *sender;
	struct server server;
	__u64 start;

	mark();
	server_start(&server, script);
	sender = sender_start(server.port, 0, 1 << 20);
	put(sender, "first", 3);
	server_wait(&server, 1);
	start = time_now_ns();
	otlp_sender_free(sender);
	assert_true(time_now_ns() - start < 5 * NS_PER_S);
	assert_dropped("shutdown", 3);
	server_stop(&server);
}

/* The whole output. */

static bool header_is(const struct request *request, const char *name, const char *value)
{
	char line[256];

	snprintf(line, sizeof(line), "\r\n%s: %s\r\n", name, value);
	return strstr(request->head.data, line);
}

static void gunzip(const struct buf *in, struct buf *out)
{
	z_stream stream = {};
	int status;

	assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
	stream.next_in = (Bytef *)in->data;
	stream.avail_in = (uInt)in->used;
	do {
		assert_int_equal(buf_reserve(out, 65536), 0);
		stream.next_out = (Bytef *)out->data + out->used;
		stream.avail_out = 65536;
		status = inflate(&stream, Z_NO_FLUSH);
		assert_true(status == Z_OK || status == Z_STREAM_END);
		buf_commit(out, 65536 - stream.avail_out);
	} while (status != Z_STREAM_END);
	assert_int_equal(stream.avail_in, 0);
	inflateEnd(&stream);
}

static size_t points_of(const struct request *request, bool gzip, size_t *ret_bytes)
{
	Weir__Otlp__ExportMetricsServiceRequest *message;
	struct buf plain;
	size_t points = 0;

	buf_init(&plain, 64 << 20);
	if (gzip)
		gunzip(&request->body, &plain);
	else
		buf_add(&plain, request->body.data, request->body.used);
	*ret_bytes = plain.used;
	message = weir__otlp__export_metrics_service_request__unpack(NULL, plain.used, (unsigned char *)plain.data);
	assert_non_null(message);
	for (size_t i = 0; i < message->n_resource_metrics; i++) {
		const Weir__Otlp__ScopeMetrics *scope = message->resource_metrics[i]->scope_metrics[0];

		for (size_t k = 0; k < scope->n_metrics; k++)
			points += scope->metrics[k]->data_case == WEIR__OTLP__METRIC__DATA_HISTOGRAM
					  ? scope->metrics[k]->histogram->n_data_points
					  : 1;
	}
	weir__otlp__export_metrics_service_request__free_unpacked(message, NULL);
	buf_done(&plain);
	return points;
}

static struct output *output_start(struct otlp_options options)
{
	struct output *out = NULL;
	struct why why = {};

	options.timeout_ns = LONG_NS;
	if (otlp_new(&options, &out, &why))
		fail_msg("%s", why.text);
	return out;
}

static void output_sends_a_snapshot_with_the_right_headers(void **state)
{
	char base[64], exact[64];
	struct {
		struct otlp_options options;
		const char *line;
		bool gzip;
	} rows[] = {
		{ { .endpoint = base, .compression = OTLP_COMPRESSION_GZIP }, "POST /v1/metrics HTTP/1.1\r\n", true },
		{ { .endpoint = base, .metrics_endpoint = exact }, "POST /odd?k=v HTTP/1.1\r\n", false },
		{ { .metrics_endpoint = base }, "POST / HTTP/1.1\r\n", false },
	};
	struct snapshot *snap = fake_snapshot();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct server server;
		struct output *out;
		size_t bytes;

		server_start(&server, (const char *const[]){ NULL });
		snprintf(base, sizeof(base), "http://127.0.0.1:%u", server.port);
		snprintf(exact, sizeof(exact), "http://127.0.0.1:%u/odd?k=v", server.port);
		rows[i].options.headers = "X-Scope-OrgID=tenant%201,Authorization=Basic%20eA==";
		out = output_start(rows[i].options);
		output_end(out, snap);
		assert_int_equal(server.count, 1);
		assert_true(str_starts(server.requests[0].head.data, rows[i].line));
		assert_true(header_is(&server.requests[0], "Content-Type", "application/x-protobuf"));
		assert_true(header_is(&server.requests[0], "X-Scope-OrgID", "tenant 1"));
		assert_true(header_is(&server.requests[0], "Authorization", "Basic eA=="));
		assert_true(header_is(&server.requests[0], "User-Agent",
				      "weir/" WEIR_VERSION " OTel-OTLP-Exporter-C/" WEIR_VERSION));
		assert_int_equal(header_is(&server.requests[0], "Content-Encoding", "gzip"), rows[i].gzip);
		assert_null(strcasestr(server.requests[0].head.data, "\r\nExpect:"));
		assert_int_equal(points_of(&server.requests[0], rows[i].gzip, &bytes), FAKE_POINTS);
		server_stop(&server);
	}
	snapshot_unref(snap);
}

static void base_url_keeps_its_path_and_query(void **state)
{
	static const struct {
		const char *tail, *line;
	} rows[] = {
		{ "/", "POST /v1/metrics HTTP/1.1\r\n" },
		{ "/otlp", "POST /otlp/v1/metrics HTTP/1.1\r\n" },
		{ "/api/v1/otlp/", "POST /api/v1/otlp/v1/metrics HTTP/1.1\r\n" },
		{ "/p?key=1", "POST /p/v1/metrics?key=1 HTTP/1.1\r\n" },
	};
	struct snapshot *snap = fake_snapshot();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct server server;
		struct output *out;
		char base[64];

		server_start(&server, (const char *const[]){ NULL });
		snprintf(base, sizeof(base), "http://127.0.0.1:%u%s", server.port, rows[i].tail);
		out = output_start((struct otlp_options){ .endpoint = base });
		output_end(out, snap);
		assert_int_equal(server.count, 1);
		if (!str_starts(server.requests[0].head.data, rows[i].line))
			fail_msg("%s", server.requests[0].head.data);
		server_stop(&server);
	}
	snapshot_unref(snap);
}

static void an_empty_snapshot_is_not_sent(void **state)
{
	struct snapshot *snap = snapshot_new(0);
	struct server server;
	struct output *out;
	char base[64];

	server_start(&server, (const char *const[]){ NULL });
	snprintf(base, sizeof(base), "http://127.0.0.1:%u", server.port);
	out = output_start((struct otlp_options){ .endpoint = base, .compression = OTLP_COMPRESSION_GZIP });
	output_end(out, snap);
	assert_int_equal(server.count, 0);
	server_stop(&server);
	snapshot_unref(snap);
}

#define MANY_RESOURCES 300
#define MANY_SERIES    60

static void requests_are_cut_below_the_limit_and_lose_nothing(void **state)
{
	static struct workload who[MANY_RESOURCES];
	static char routes[MANY_SERIES][32], paths[MANY_RESOURCES][16];
	struct snapshot *snap = snapshot_new(MANY_RESOURCES * MANY_SERIES);
	size_t points = 0, bytes;
	struct server server;
	struct output *out;
	char base[64];

	snap->start_ns = 1;
	snap->time_ns = 2;
	snap->time_unix_ns = 3;
	for (unsigned i = 0; i < MANY_RESOURCES; i++) {
		who[i] = fake_odd1;
		snprintf(paths[i], sizeof(paths[i]), "/c%u", i);
		who[i].cgroup = paths[i];
		for (unsigned k = 0; k < MANY_SERIES; k++) {
			snprintf(routes[k], sizeof(routes[k]), "/route/%u", k);
			fake_str(fake_request(snap, &who[i], "GET", 200, fake_durations, 3), "http.route", routes[k]);
		}
	}
	server_start(&server, (const char *const[]){ NULL });
	snprintf(base, sizeof(base), "http://127.0.0.1:%u", server.port);
	out = output_start((struct otlp_options){ .endpoint = base, .compression = OTLP_COMPRESSION_GZIP });
	output_end(out, snap);
	assert_true(server.count > 1);
	for (unsigned i = 0; i < server.count; i++) {
		points += points_of(&server.requests[i], true, &bytes);
		assert_true(bytes <= OTLP_REQUEST_MAX);
	}
	assert_int_equal(points, MANY_RESOURCES * MANY_SERIES);
	server_stop(&server);
	snapshot_unref(snap);
}

static void options_that_cannot_work_fail_with_a_reason(void **state)
{
	static const struct {
		struct otlp_options options;
		const char *says;
	} rows[] = {
		{ {}, "no OTLP endpoint" },
		{ { .endpoint = "localhost:4318" }, "http://localhost:4318" },
		{ { .endpoint = "ftp://localhost" }, "http" },
		{ { .endpoint = "http://" }, "no URL" },
		{ { .endpoint = "http://[::1" }, "no URL" },
		{ { .endpoint = "http://a", .headers = "broken" }, "headers" },
		{ { .endpoint = "http://a", .headers = "bad name=x" }, "header 1" },
		{ { .endpoint = "http://a", .ca_file = "/nonexistent/ca.pem" }, "/nonexistent/ca.pem" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct output *out = NULL;
		struct why why = {};

		if (otlp_new(&rows[i].options, &out, &why) >= 0 || out || !strstr(why.text, rows[i].says))
			fail_msg("row %zu: %s", i, why.text);
	}
}

static void swallow(void *arg, enum log_level level, const char *line)
{
	str_copy(logged, sizeof(logged), line);
	hints += strstr(line, "/v1/metrics?") != NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_reason_of_a_failure_is_told), /* first: the log counts repeats and tells fewer */
		cmocka_unit_test(what_may_be_retried_is_resent_in_order),
		cmocka_unit_test(what_is_final_is_not_retried),
		cmocka_unit_test(partial_success_is_counted_and_not_retried),
		cmocka_unit_test(an_endless_answer_is_cut_off),
		cmocka_unit_test(an_exact_endpoint_that_is_not_found_gets_a_hint),
		cmocka_unit_test(retry_after_is_honoured),
		cmocka_unit_test(retry_after_longer_than_the_timeout_gives_up_at_once),
		cmocka_unit_test(a_silent_server_costs_the_timeout_and_no_more),
		cmocka_unit_test(nobody_there_is_retried_until_the_timeout),
		cmocka_unit_test(a_full_queue_drops_the_oldest_and_keeps_the_newest),
		cmocka_unit_test(a_batch_larger_than_the_queue_is_still_sent),
		cmocka_unit_test(flush_ends_at_its_deadline_and_counts_what_is_left),
		cmocka_unit_test(free_does_not_wait_for_the_network),
		cmocka_unit_test(output_sends_a_snapshot_with_the_right_headers),
		cmocka_unit_test(base_url_keeps_its_path_and_query),
		cmocka_unit_test(an_empty_snapshot_is_not_sent),
		cmocka_unit_test(requests_are_cut_below_the_limit_and_lose_nothing),
		cmocka_unit_test(options_that_cannot_work_fail_with_a_reason),
	};

	log_set_sink(swallow, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
