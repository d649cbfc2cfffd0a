#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "export/json.h"
#include "export/prometheus.h"
#include "model/selfstat.h"
#include "view/web.h"
#include "view/web_body.h"
#include "view/web_listen.h"
#include "view/web_stream.h"

#define BLOCK_BYTES	 (16u << 10) /* asked of a body at a time */
#define BODY_MAX	 (64u << 20) /* of a body that is made whole */
#define BODIES_MAX	 4	     /* that hold a snapshot at the same time */
#define CONNECTION_BYTES (32u << 10) /* head of a request and of its answer; longer heads get 431 */
#define LINE_MAX_BYTES	 (64u << 10)
#define ERROR_ROOM	 1024

/* One of the two listening sockets with the daemon that serves it, driven by our loop: libmicrohttpd keeps an epoll
 * descriptor, which is readable whenever MHD_run() has something to do. */
struct door {
	struct web *web;
	struct MHD_Daemon *daemon;
	int fd;	      /* listening; the daemon's once it runs */
	int epoll_fd; /* the daemon's */
	int timer;
	bool api;  /* /v1/... is behind this one */
	bool full; /* WEB_CONNECTIONS_MAX were open after the last run */
};

struct web {
	struct output out;
	struct loop *loop;
	const struct web_ops *ops;
	void *arg;
	struct door tcp, local;
	unsigned port;
	char *path;
	unsigned long inode; /* of the socket file */
	unsigned bodies_count;
	unsigned streams_count;
	struct web_stream *streams;
	struct buf line; /* of the span at hand */
	bool closing;
};

/* Answers */

static enum MHD_Result reply_with(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response,
				  const char *type)
{
	enum MHD_Result ret;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	ret = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return ret;
}

/* One line of text; it may hold what the peer has sent. */
static enum MHD_Result reply_text(struct MHD_Connection *connection, unsigned status, const char *text)
{
	char line[ERROR_ROOM];
	size_t bytes = utf8_sanitise(text, strlen(text), line, sizeof(line) - 1);

	line[bytes++] = '\n';
	return reply_with(connection, status, MHD_create_response_from_buffer(bytes, line, MHD_RESPMEM_MUST_COPY),
			  "text/plain; charset=utf-8");
}

/* "gzip", "gzip;q=0.5", among others; "gzip;q=0" is a refusal. */
static bool accepts_gzip(struct MHD_Connection *connection)
{
	const char *at = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT_ENCODING);
	size_t length;

	for (; at && *at; at += length + (at[length] == ',')) {
		const char *weight;

		at += strspn(at, " \t");
		length = strcspn(at, ",");
		if (strncasecmp(at, "gzip", 4) != 0 || !strchr("; \t,", at[4]))
			continue;
		weight = memmem(at, length, "q=", 2);
		return !weight || strcspn(weight + 2, "123456789") < (size_t)(at + length - weight - 2);
	}
	return false;
}

static ssize_t body_read(void *arg, uint64_t position, char *ret, size_t room)
{
	ssize_t bytes = web_body_read(arg, ret, room);

	if (bytes < 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	return bytes ? bytes : MHD_CONTENT_READER_END_OF_STREAM;
}

static void body_free(void *arg)
{
	web_body_free(arg);
}

/* @body NULL, or no memory for the rest: NULL. */
static struct MHD_Response *body_response(struct web_body *body)
{
	struct MHD_Response *response;

	if (!body)
		return NULL;
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, body_read, body, body_free);
	if (!response)
		web_body_free(body);
	return response;
}

static enum MHD_Result serve_metrics(struct web *web, struct MHD_Connection *connection)
{
	enum prometheus_format format =
		prometheus_negotiate(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
	struct MHD_Response *response;
	struct snapshot *snap;
	struct web_body *body;

	if (web->bodies_count >= BODIES_MAX)
		return reply_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "too many scrapes at the same time");
	selfstat_count(SELFSTAT_export_attempts, "prometheus", NULL, 1);
	snap = web->ops->snapshot(web->arg);
	body = snap ? web_body_metrics(snap, format, accepts_gzip(connection), &web->bodies_count) : NULL;
	response = body_response(body);
	if (!response) {
		selfstat_count(SELFSTAT_export_failed, "prometheus", NULL, 1);
		return reply_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "no memory for a snapshot");
	}
	if (web_body_is_gzip(body))
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
	MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, "Accept, Accept-Encoding");
	return reply_with(connection, MHD_HTTP_OK, response, prometheus_content_type(format));
}

static enum MHD_Result serve_health(struct web *web, struct MHD_Connection *connection)
{
	return reply_text(connection, MHD_HTTP_OK, "ok");
}

static enum MHD_Result serve_ready(struct web *web, struct MHD_Connection *connection)
{
	struct why why = {};

	if (!web->ops->ready || web->ops->ready(web->arg, &why))
		return reply_text(connection, MHD_HTTP_OK, "ready");
	return reply_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, why.text[0] ? why.text : "not ready");
}

static enum MHD_Result serve_snapshot(struct web *web, struct MHD_Connection *connection)
{
	struct MHD_Response *response;
	struct snapshot *snap;

	if (web->bodies_count >= BODIES_MAX)
		return reply_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "too many snapshots at the same time");
	snap = web->ops->snapshot(web->arg);
	response = body_response(snap ? web_body_json(snap, &web->bodies_count) : NULL);
	if (!response)
		return reply_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "no memory for a snapshot");
	return reply_with(connection, MHD_HTTP_OK, response, "application/json");
}

static enum MHD_Result serve_status(struct web *web, struct MHD_Connection *connection)
{
	enum MHD_Result ret;
	struct buf json;

	buf_init(&json, BODY_MAX);
	if (web->ops->status(web->arg, &json) || json.err)
		ret = reply_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "no memory for the status");
	else
		ret = reply_with(connection, MHD_HTTP_OK,
				 MHD_create_response_from_buffer(json.used, json.data, MHD_RESPMEM_MUST_COPY),
				 "application/json");
	buf_done(&json);
	return ret;
}

/* Traces. A stream without lines is suspended, so that nothing polls it; then libmicrohttpd does not see when the peer
 * goes away, and the loop watches the connection for that. */

struct tracer {
	struct web_stream stream;
	struct web *web;
	struct MHD_Connection *connection;
	int fd;
	bool linked;
	bool suspended;
	bool gone;
};

static void tracer_wake(struct web_stream *stream)
{
	struct tracer *tracer = stream->owner;

	if (!tracer->suspended)
		return;
	tracer->suspended = false;
	MHD_resume_connection(tracer->connection);
	/* What is resumed goes on in the next run of the daemon, and its descriptor does not ask for one. */
	loop_set_timer(tracer->web->loop, tracer->web->local.timer, 1, 0);
	/* Its epoll descriptor does not become readable by this: the resumption is seen by nobody until the next MHD_run(). */
	loop_set_timer(tracer->web->loop, tracer->web->local.timer, 1, 0);
}

static void tracer_hung_up(void *arg, __u32 events)
{
	struct tracer *tracer = arg;

	loop_del_fd(tracer->web->loop, tracer->fd);
	tracer->fd = -1;
	tracer->gone = true;
	tracer_wake(&tracer->stream);
}

static ssize_t tracer_read(void *arg, uint64_t position, char *ret, size_t room)
{
	struct tracer *tracer = arg;
	size_t bytes;

	if (tracer->gone)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	bytes = web_stream_take(&tracer->stream, ret, room);
	if (bytes)
		return (ssize_t)bytes;
	if (tracer->stream.ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	tracer->suspended = true;
	MHD_suspend_connection(tracer->connection);
	return 0;
}

static void tracer_free(void *arg)
{
	struct tracer *tracer = arg;

	web_stream_done(&tracer->stream);
	free(tracer);
}

static void tracer_link(struct tracer *tracer)
{
	struct web *web = tracer->web;

	tracer->linked = true;
	tracer->stream.next = web->streams;
	web->streams = &tracer->stream;
	web->streams_count++;
	if (web->ops->want_records)
		web->ops->want_records(web->arg, tracer->stream.signal, true);
}

static void tracer_unlink(struct tracer *tracer)
{
	struct web *web = tracer->web;

	if (tracer->fd >= 0)
		loop_del_fd(web->loop, tracer->fd);
	tracer->fd = -1;
	if (!tracer->linked)
		return;
	for (struct web_stream **at = &web->streams; *at; at = &(*at)->next)
		if (*at == &tracer->stream) {
			*at = tracer->stream.next;
			break;
		}
	tracer->linked = false;
	/* When closing, whoever would hear it may be gone already. */
	web->streams_count--;
	if (web->ops->want_records && !web->closing)
		web->ops->want_records(web->arg, tracer->stream.signal, false);
}

struct query {
	struct tracer *tracer;
	struct why why;
	bool bad;
};

static enum MHD_Result tracer_option(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct query *query = arg;
	struct tracer *tracer = query->tracer;
	struct web *web = tracer->web;

	value = value ? value : "";
	if (strcmp(key, "signal") != 0) {
		query->bad = web_stream_option(&tracer->stream, key, value, &query->why) != 0;
	} else {
		tracer->stream.signal = web->ops->signal_id(web->arg, value);
		query->bad = !tracer->stream.signal;
		if (query->bad)
			why_set(&query->why, 0, "signal '%.40s' does not exist or does not run", value);
	}
	return query->bad ? MHD_NO : MHD_YES;
}

static int tracer_fd(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? info->connect_fd : -1;
}

/* *context remembers the tracer, for request_completed(). */
static enum MHD_Result serve_trace(struct web *web, struct MHD_Connection *connection, void **context)
{
	struct tracer *tracer = calloc(1, sizeof(*tracer));
	struct query query = { .tracer = tracer };
	struct MHD_Response *response;

	if (!tracer)
		return reply_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "no memory for a trace");
	web_stream_init(&tracer->stream);
	tracer->stream.owner = tracer;
	tracer->stream.wake = tracer_wake;
	tracer->web = web;
	tracer->connection = connection;
	tracer->fd = -1;
	MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, tracer_option, &query);
	if (query.bad || web->streams_count >= WEB_STREAMS_MAX || web->closing) {
		tracer_free(tracer);
		if (query.bad)
			return reply_text(connection, MHD_HTTP_BAD_REQUEST, query.why.text);
		return reply_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "too many traces at the same time");
	}
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, tracer_read, tracer, tracer_free);
	if (!response) {
		tracer_free(tracer);
		return reply_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "no memory for a trace");
	}
	/* A trace may be silent for as long as nothing happens; so its connection must not be kept for another request. */
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	tracer->fd = tracer_fd(connection);
	if (loop_add_fd(web->loop, tracer->fd, EPOLLRDHUP, tracer_hung_up, tracer))
		tracer->fd = -1;
	tracer_link(tracer);
	*context = tracer;
	return reply_with(connection, MHD_HTTP_OK, response, "application/x-ndjson");
}

/* Requests */

static enum MHD_Result serve(struct door *door, struct MHD_Connection *connection, const char *path, void **context)
{
	struct web *web = door->web;

	if (strcmp(path, "/metrics") == 0)
		return serve_metrics(web, connection);
	if (strcmp(path, "/healthz") == 0)
		return serve_health(web, connection);
	if (strcmp(path, "/readyz") == 0)
		return serve_ready(web, connection);
	if (door->api && strcmp(path, "/v1/snapshot") == 0)
		return serve_snapshot(web, connection);
	if (door->api && strcmp(path, "/v1/status") == 0)
		return serve_status(web, connection);
	if (door->api && strcmp(path, "/v1/trace") == 0)
		return serve_trace(web, connection, context);
	return reply_text(
		connection, MHD_HTTP_NOT_FOUND,
		door->api ? "not here: there are /v1/snapshot, /v1/status, /v1/trace, /metrics, /healthz, /readyz"
			  : "not here: there are /metrics, /healthz, /readyz");
}

/* Called when the head is there, for each piece of a body, and at its end. Bodies are read and thrown away, so that the
 * connection can go on after the answer. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path, const char *method,
				  const char *version, const char *data, size_t *data_bytes, void **context)
{
	static char seen; /* its address only: marks a request whose head is known */
	struct MHD_Response *response;

	if (!*context) {
		*context = &seen;
		return MHD_YES;
	}
	if (*data_bytes) {
		*data_bytes = 0;
		return MHD_YES;
	}
	*context = NULL; /* what remains there is a tracer */
	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		return serve(arg, connection, path, context);
	response = MHD_create_response_from_buffer(strlen("only GET is understood here\n"),
						   (void *)"only GET is understood here\n", MHD_RESPMEM_PERSISTENT);
	if (response)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	return reply_with(connection, MHD_HTTP_METHOD_NOT_ALLOWED, response, "text/plain; charset=utf-8");
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	/* A request that broke off before it was answered still has the mark. */
	for (struct web_stream *stream = ((struct door *)arg)->web->streams; stream; stream = stream->next)
		if (stream->owner == *context) {
			tracer_unlink(stream->owner);
			break;
		}
	*context = NULL;
}

/* The loop */

static void door_run(struct door *door)
{
	const union MHD_DaemonInfo *info;
	unsigned long long ms = 0;
	bool again, full;

	MHD_run(door->daemon);
	/* A full daemon does not watch its listening socket, and begins to again only in a run after the one that has
	 * made room: nobody would ask for that run. */
	info = MHD_get_daemon_info(door->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
	full = info && info->num_connections >= WEB_CONNECTIONS_MAX;
	again = door->full && !full;
	door->full = full;
	if (again || MHD_get_timeout(door->daemon, &ms) == MHD_YES)
		loop_set_timer(door->web->loop, door->timer, ms ? ms * NS_PER_MS : 1, 0);
	else
		loop_set_timer(door->web->loop, door->timer, 0, 0);
}

static void door_ready(void *arg, __u32 events)
{
	door_run(arg);
}

static void door_late(void *arg, __u64 late)
{
	door_run(arg);
}

static void log_library(void *arg, const char *format, va_list args)
{
	char text[256];

	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	log_debug("web: %s", text);
}

static int door_open(struct door *door, struct web *web, struct why *why)
{
	const union MHD_DaemonInfo *info;
	int err;

	door->web = web;
	door->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
					on_request, door, MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL,
					MHD_OPTION_LISTEN_SOCKET, door->fd, MHD_OPTION_CONNECTION_LIMIT,
					(unsigned)WEB_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
					(unsigned)WEB_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
					(size_t)CONNECTION_BYTES, MHD_OPTION_NOTIFY_COMPLETED, on_completed, door,
					MHD_OPTION_END);
	if (!door->daemon)
		return why_set(why, -ENOMEM, "libmicrohttpd does not start");
	info = MHD_get_daemon_info(door->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info || info->epoll_fd < 0)
		return why_set(why, -ENOTSUP, "libmicrohttpd was built without epoll");
	door->timer = loop_add_timer(web->loop, 0, 0, door_late, door);
	if (door->timer < 0)
		return why_set(why, door->timer, "cannot make a timer: %s", strerror(-door->timer));
	err = loop_add_fd(web->loop, info->epoll_fd, EPOLLIN, door_ready, door);
	if (err)
		return why_set(why, err, "cannot watch a socket: %s", strerror(-err));
	door->epoll_fd = info->epoll_fd;
	return 0;
}

static void door_close(struct door *door)
{
	if (door->epoll_fd >= 0)
		loop_del_fd(door->web->loop, door->epoll_fd);
	if (door->timer >= 0)
		loop_del_timer(door->web->loop, door->timer);
	if (door->daemon)
		MHD_stop_daemon(door->daemon); /* closes fd */
	else if (door->fd >= 0)
		close(door->fd);
	*door = (struct door){ .fd = -1, .epoll_fd = -1, .timer = -1 };
}

/* The output */

static void web_span(struct output *out, const struct span *span, const struct workload *who)
{
	struct web *web = out->priv;
	bool made = false;

	for (struct web_stream *stream = web->streams; stream; stream = stream->next) {
		if (!web_stream_wants(stream, span, who))
			continue;
		if (!made) {
			const char *signal = web->ops->signal_name(web->arg, span->signal);

			buf_reset(&web->line);
			if (span_to_json(span, who, signal ? signal : "", time_wall_offset_ns(), &web->line))
				return;
			made = true;
		}
		web_stream_add(stream, &web->line);
	}
}

/* Ends every trace with its summary. */
static void web_flush(struct output *out, __u64 deadline_ns)
{
	struct web *web = out->priv;

	web->closing = true;
	for (struct web_stream *stream = web->streams; stream; stream = stream->next)
		web_stream_end(stream);
	while (web->streams && time_now_ns() < deadline_ns) {
		struct epoll_event event;
		__u64 left_ms = (deadline_ns - time_now_ns()) / NS_PER_MS;

		/* Not the loop: it would call others, who are being shut down. Readers that are slow wait for no event. */
		MHD_run(web->local.daemon);
		if (web->streams)
			epoll_wait(web->local.epoll_fd, &event, 1, left_ms < 10 ? (int)left_ms : 10);
	}
}

static void web_free(struct output *out)
{
	struct web *web = out->priv;

	web->closing = true;
	/* A daemon must not be stopped while connections are suspended. */
	for (struct web_stream *stream = web->streams; stream; stream = stream->next) {
		((struct tracer *)stream->owner)->gone = true;
		tracer_wake(stream);
	}
	door_close(&web->local);
	door_close(&web->tcp);
	if (web->path)
		web_unlink_unix(web->path, web->inode);
	buf_done(&web->line);
	free(web->path);
	free(web);
}

static int open_tcp(struct web *web, const char *address, struct why *why)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} bound = {};
	socklen_t size = sizeof(bound);

	web->tcp.fd = web_listen_tcp(address, why);
	if (web->tcp.fd < 0)
		return web->tcp.fd;
	if (getsockname(web->tcp.fd, &bound.any, &size) == 0)
		web->port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
	return door_open(&web->tcp, web, why);
}

static int open_local(struct web *web, const char *path, struct why *why)
{
	struct stat info;

	web->path = strdup(path);
	if (!web->path)
		return why_set(why, -ENOMEM, "no memory");
	web->local.fd = web_listen_unix(path, why);
	if (web->local.fd < 0)
		return web->local.fd;
	if (lstat(path, &info) == 0)
		web->inode = info.st_ino;
	web->local.api = true;
	return door_open(&web->local, web, why);
}

int web_new(struct loop *loop, const struct web_options *options, struct output **ret, struct why *why)
{
	struct web *web = calloc(1, sizeof(*web));
	int err = 0;

	if (!web)
		return why_set(why, -ENOMEM, "no memory");
	web->loop = loop;
	web->ops = options->ops;
	web->arg = options->arg;
	web->tcp = web->local = (struct door){ .fd = -1, .epoll_fd = -1, .timer = -1 };
	buf_init(&web->line, LINE_MAX_BYTES);
	web->out = (struct output){
		.name = "web",
		.span = web_span,
		.flush = web_flush,
		.free = web_free,
		.priv = web,
	};
	if (options->prometheus && options->prometheus[0])
		err = open_tcp(web, options->prometheus, why);
	if (!err && options->socket && options->socket[0])
		err = open_local(web, options->socket, why);
	if (err) {
		web_free(&web->out);
		return err;
	}
	*ret = &web->out;
	return 0;
}

unsigned web_port(const struct output *out)
{
	return ((const struct web *)out->priv)->port;
}
