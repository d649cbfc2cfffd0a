/* Both doors, driven by hand: the loop turns while plain sockets ask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/time.h"
#include "base/why.h"
#include "export/json.h"
#include "fake.h"
#include "model/selfstat.h"
#include "model/span.h"
#include "view/web.h"

/* Who answers */

struct agent {
	struct loop *loop;
	struct output *out;
	char dir[64], socket[96];
	int wanted; /* +1 and -1 of want_records */
	unsigned snapshots;
	bool not_ready, no_memory;
	struct snapshot *(*make)(void);
};

static struct snapshot *agent_snapshot(void *arg)
{
	struct agent *agent = arg;

	agent->snapshots++;
	return agent->no_memory ? NULL : agent->make ? agent->make() : fake_snapshot();
}

static int agent_status(void *arg, struct buf *json)
{
	return ((struct agent *)arg)->no_memory ? -ENOMEM : buf_add_str(json, "{\"up\":true}");
}

static bool agent_ready(void *arg, struct why *why)
{
	if (((struct agent *)arg)->not_ready)
		why_set(why, 0, "no signal runs\x1b[31m");
	return !((struct agent *)arg)->not_ready;
}

static void agent_want(void *arg, unsigned signal, bool wanted)
{
	assert_true(signal <= 2);
	((struct agent *)arg)->wanted += wanted ? 1 : -1;
}

static unsigned agent_id(void *arg, const char *name)
{
	return strcmp(name, "http") == 0 ? 1 : strcmp(name, "oom") == 0 ? 2 : 0;
}

static const char *agent_name(void *arg, unsigned id)
{
	return id == 1 ? "http" : "oom";
}

static const struct web_ops ops = {
	.snapshot = agent_snapshot,
	.status = agent_status,
	.ready = agent_ready,
	.want_records = agent_want,
	.signal_id = agent_id,
	.signal_name = agent_name,
};

static int setup(void **state)
{
	static struct agent agent;
	struct web_options options = { .prometheus = "127.0.0.1:0", .ops = &ops, .arg = &agent };
	struct why why = {};

	agent = (struct agent){ .dir = "/tmp/weir-web-XXXXXX" };
	if (!mkdtemp(agent.dir) || loop_new(&agent.loop, &why))
		return -1;
	snprintf(agent.socket, sizeof(agent.socket), "%s/s", agent.dir);
	options.socket = agent.socket;
	if (web_new(agent.loop, &options, &agent.out, &why)) {
		print_message("%s\n", why.text);
		return -1;
	}
	*state = &agent;
	return 0;
}

static int teardown(void **state)
{
	struct agent *agent = *state;

	if (agent->out)
		agent->out->free(agent->out);
	loop_free(agent->loop);
	if (access(agent->socket, F_OK) == 0)
		return -1; /* it removes what it made */
	rmdir(agent->dir);
	return 0;
}

/* Who asks */

struct client {
	int fd;
	struct buf in;
	bool closed;
};

static void client_open_unix(struct client *client, const struct agent *agent)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", agent->socket);
	*client = (struct client){ .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) };
	buf_init(&client->in, 256 << 20);
	assert_int_equal(connect(client->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void client_open_tcp(struct client *client, const struct agent *agent)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	address.sin_port = htons((unsigned short)web_port(agent->out));
	*client = (struct client){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	buf_init(&client->in, 256 << 20);
	assert_int_equal(connect(client->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	fcntl(client->fd, F_SETFL, O_NONBLOCK);
}

static void client_send(struct client *client, const char *text)
{
	assert_int_equal(send(client->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void client_receive(struct client *client)
{
	char bytes[65536];
	ssize_t got;

	while ((got = recv(client->fd, bytes, sizeof(bytes), 0)) > 0)
		buf_add(&client->in, bytes, (size_t)got);
	if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
		client->closed = true;
}

static void client_close(struct client *client)
{
	close(client->fd);
	buf_done(&client->in);
}

static bool has(struct client *client, const char *text)
{
	client_receive(client);
	return memmem(client->in.data, client->in.used, text, strlen(text)) != NULL;
}

/* Turns the loop until @text has come. */
static void expect(struct agent *agent, struct client *client, const char *text)
{
	__u64 deadline = time_now_ns() + 10 * NS_PER_S;

	while (!has(client, text)) {
		if (time_now_ns() > deadline || client->closed)
			fail_msg("no '%s' in: %s", text, client->in.data);
		loop_turn(agent->loop, 10);
	}
}

static void expect_closed(struct agent *agent, struct client *client)
{
	__u64 deadline = time_now_ns() + 10 * NS_PER_S;

	for (client_receive(client); !client->closed; client_receive(client)) {
		if (time_now_ns() > deadline)
			fail_msg("not closed: %s", client->in.data);
		loop_turn(agent->loop, 10);
	}
}

static void turn_until(struct agent *agent, const int *value, int want)
{
	__u64 deadline = time_now_ns() + 10 * NS_PER_S;

	while (*value != want) {
		assert_true(time_now_ns() < deadline);
		loop_turn(agent->loop, 10);
	}
}

#define HEAD(method, path, more) method " " path " HTTP/1.1\r\nHost: x\r\n" more "\r\n"
#define LAST			 "Connection: close\r\n"

/* The whole answer to one request on a connection of its own. */
static void ask(struct agent *agent, struct client *client, bool local, const char *request)
{
	if (local)
		client_open_unix(client, agent);
	else
		client_open_tcp(client, agent);
	client_send(client, request);
	expect_closed(agent, client);
}

static void assert_answer(struct agent *agent, bool local, const char *request, const char *status, const char *text)
{
	struct client client;

	ask(agent, &client, local, request);
	if (!has(&client, status) || !has(&client, text))
		fail_msg("%s got: %s", request, client.in.data);
	client_close(&client);
}

/* Body of a chunked answer. */
static void dechunk(const struct buf *answer, struct buf *out)
{
	const char *at = memmem(answer->data, answer->used, "\r\n\r\n", 4);
	const char *end = answer->data + answer->used;

	assert_non_null(at);
	assert_non_null(memmem(answer->data, answer->used, "Transfer-Encoding: chunked", 26));
	for (at += 4; at < end;) {
		char *body;
		size_t bytes = strtoul(at, &body, 16);

		body += 2;
		if (!bytes)
			return;
		assert_true(body + bytes + 2 <= end);
		buf_add(out, body, bytes);
		at = body + bytes + 2;
	}
	fail_msg("no last chunk");
}

static void metrics_are_served_on_both_doors_in_the_format_asked_for(void **state)
{
	__u64 before = selfstat_counted(SELFSTAT_export_points, "prometheus", NULL);
	struct agent *agent = *state;

	for (int local = 0; local < 2; local++) {
		assert_answer(agent, local, HEAD("GET", "/metrics", LAST),
			      "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
			      "http_server_request_duration_seconds_count{service_name=\"cart\"");
		assert_answer(
			agent, local,
			HEAD("GET", "/metrics", LAST "Accept: application/openmetrics-text;version=1.0.0\r\n"),
			"Content-Type: application/openmetrics-text; version=1.0.0; escaping=underscores; charset=utf-8\r\n",
			"# EOF\n");
		assert_answer(agent, local, HEAD("HEAD", "/metrics", LAST), "HTTP/1.1 200",
			      "text/plain; version=0.0.4");
	}
	assert_int_equal(agent->snapshots, 6); /* a fresh one each time */
	/* Delivered is what was read to its end: not the two heads. */
	assert_int_equal(selfstat_counted(SELFSTAT_export_points, "prometheus", NULL) - before, 4 * FAKE_POINTS);
}

#define MANY 3000

static struct snapshot *many(void)
{
	static struct workload who[MANY];
	static char paths[MANY][16];
	struct snapshot *snap = snapshot_new(MANY);

	for (unsigned i = 0; i < MANY; i++) {
		who[i] = fake_odd1;
		snprintf(paths[i], sizeof(paths[i]), "/c%u", i);
		who[i].cgroup = paths[i];
		fake_request(snap, &who[i], "GET", 200, fake_durations, 5);
	}
	return snap;
}

static void gzip_of_a_large_body_is_whole(void **state)
{
	struct agent *agent = *state;
	struct client plain, packed;
	struct buf body, deflated, inflated;
	z_stream stream = {};

	agent->make = many;
	ask(agent, &plain, false, HEAD("GET", "/metrics", LAST));
	ask(agent, &packed, false, HEAD("GET", "/metrics", LAST "Accept-Encoding: br, gzip;q=0.8\r\n"));
	assert_true(has(&packed, "Content-Encoding: gzip\r\n"));
	buf_init(&body, 64 << 20);
	buf_init(&deflated, 64 << 20);
	buf_init(&inflated, 64 << 20);
	dechunk(&plain.in, &body);
	dechunk(&packed.in, &deflated);
	assert_true(body.used > 5 << 20);
	assert_int_equal(buf_reserve(&inflated, body.used + 1), 0);
	assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
	stream.next_in = (Bytef *)deflated.data;
	stream.avail_in = (uInt)deflated.used;
	stream.next_out = (Bytef *)inflated.data;
	stream.avail_out = (uInt)body.used + 1;
	assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
	assert_int_equal(stream.total_out, body.used);
	assert_memory_equal(inflated.data, body.data, body.used);
	inflateEnd(&stream);
	buf_done(&inflated);
	buf_done(&deflated);
	buf_done(&body);
	client_close(&plain);
	client_close(&packed);
}

static void gzip_is_sent_only_to_those_who_take_it(void **state)
{
	static const struct {
		const char *accept;
		bool gzip;
	} rows[] = {
		{ "gzip", true },
		{ "deflate, gzip", true },
		{ "gzip;q=0.1", true },
		{ "GZIP", true },
		{ "gzip ; q=1", true },
		{ "gzip;q=0", false },
		{ "gzip;q=0.0, br;q=1", false },
		{ "identity", false },
		{ "", false },
		{ "xgzip", false },
		{ "gzipx", false },
		{ "br;q=0.5,gzip;q=0,deflate;q=0.5", false },
	};
	struct agent *agent = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct client client;
		char request[256];

		snprintf(request, sizeof(request), HEAD("GET", "/metrics", LAST "Accept-Encoding: %s\r\n"),
			 rows[i].accept);
		ask(agent, &client, false, request);
		if (has(&client, "Content-Encoding: gzip") != rows[i].gzip)
			fail_msg("%s", rows[i].accept);
		client_close(&client);
	}
}

static void health_and_readiness_are_told_apart(void **state)
{
	struct agent *agent = *state;

	assert_answer(agent, false, HEAD("GET", "/healthz", LAST), "HTTP/1.1 200", "ok\n");
	assert_answer(agent, false, HEAD("GET", "/readyz", LAST), "HTTP/1.1 200", "ready\n");
	agent->not_ready = true;
	assert_answer(agent, false, HEAD("GET", "/healthz", LAST), "HTTP/1.1 200", "ok\n");
	/* What is not for a terminal does not get there. */
	assert_answer(agent, false, HEAD("GET", "/readyz", LAST), "HTTP/1.1 503", "no signal runs\\x1b[31m\n");
}

static void bad_requests_get_one_clear_line(void **state)
{
	struct agent *agent = *state;

	assert_answer(agent, false, HEAD("GET", "/", LAST), "HTTP/1.1 404", "there are /metrics, /healthz, /readyz\n");
	assert_answer(agent, true, HEAD("GET", "/v1/nothing", LAST), "HTTP/1.1 404", "/v1/snapshot");
	assert_answer(agent, true, HEAD("DELETE", "/v1/snapshot", LAST), "HTTP/1.1 405", "Allow: GET, HEAD\r\n");
	assert_answer(agent, true, HEAD("POST", "/v1/snapshot", LAST "Content-Length: 5\r\n") "12345", "HTTP/1.1 405",
		      "only GET");
	assert_answer(agent, true, HEAD("GET", "/v1/trace?signal=nope", LAST), "HTTP/1.1 400", "'nope'");
	assert_answer(agent, true, HEAD("GET", "/v1/trace?count=0", LAST), "HTTP/1.1 400", "count");
	assert_answer(agent, true, HEAD("GET", "/v1/trace?count=-1", LAST), "HTTP/1.1 400", "count");
	assert_answer(agent, true, HEAD("GET", "/v1/trace?min_ns=x", LAST), "HTTP/1.1 400", "\n");
	assert_answer(agent, true, HEAD("GET", "/v1/trace?colour=%1b%5b31m", LAST), "HTTP/1.1 400", "colour");
	assert_answer(agent, true, "NONSENSE\r\n\r\n", "", ""); /* closed, nothing else */
	agent->no_memory = true;
	assert_answer(agent, true, HEAD("GET", "/v1/snapshot", LAST), "HTTP/1.1 503", "no memory");
	assert_answer(agent, true, HEAD("GET", "/v1/status", LAST), "HTTP/1.1 503", "no memory");
	assert_answer(agent, false, HEAD("GET", "/metrics", LAST), "HTTP/1.1 503", "no memory");
	assert_int_equal(agent->wanted, 0);
}

static void the_api_is_not_behind_the_tcp_door(void **state)
{
	struct agent *agent = *state;

	assert_answer(agent, false, HEAD("GET", "/v1/snapshot", LAST), "HTTP/1.1 404", "");
	assert_answer(agent, false, HEAD("GET", "/v1/status", LAST), "HTTP/1.1 404", "");
	assert_answer(agent, false, HEAD("GET", "/v1/trace", LAST), "HTTP/1.1 404", "");
}

static void snapshot_and_status_are_json(void **state)
{
	struct agent *agent = *state;
	struct json_reader *reader = json_reader_new();
	struct snapshot *back = NULL;
	struct client client;
	struct buf body;

	assert_answer(agent, true, HEAD("GET", "/v1/status", LAST), "Content-Type: application/json\r\n",
		      "{\"up\":true}");
	agent->make = many;
	ask(agent, &client, true, HEAD("GET", "/v1/snapshot", LAST));
	buf_init(&body, 64 << 20);
	dechunk(&client.in, &body);
	assert_int_equal(snapshot_from_json(reader, body.data, body.used, &back, NULL), 0);
	assert_int_equal(back->points_count, MANY);
	snapshot_unref(back);
	json_reader_free(reader);
	buf_done(&body);
	client_close(&client);
}

/* Traces */

static struct span span_of(__u64 number, __u64 duration_ns, const char *path)
{
	struct span span = {
		.signal = 1,
		.time_ns = number,
		.cgroup_id = 42,
		.fields_count = 3,
		.fields = {
			{ .name = "number", .type = FIELD_UINT, .unum = number },
			{ .name = "duration_ns", .type = FIELD_UINT, .unum = duration_ns },
			{ .name = "path", .type = FIELD_STR, .str = path },
		},
	};

	return span;
}

static void send_span(struct agent *agent, __u64 number, __u64 duration_ns, const char *path)
{
	struct span span = span_of(number, duration_ns, path);

	agent->out->span(agent->out, &span, &fake_pod);
}

static void trace_open(struct agent *agent, struct client *client, const char *query)
{
	char request[512];
	int before = agent->wanted;

	client_open_unix(client, agent);
	snprintf(request, sizeof(request), HEAD("GET", "/v1/trace?%s", ""), query);
	client_send(client, request);
	expect(agent, client, "\r\n\r\n");
	assert_true(has(client, "Content-Type: application/x-ndjson\r\n"));
	assert_int_equal(agent->wanted, before + 1);
}

static void trace_sends_lines_as_they_come_and_a_summary(void **state)
{
	struct agent *agent = *state;
	struct client client;

	trace_open(agent, &client, "signal=http&count=3&min=1ms&path=%2Fa*");
	assert_int_equal(agent->wanted, 1);
	send_span(agent, 1, 1000000, "/a");
	expect(agent, &client, "\"number\":1,");
	assert_false(has(&client, "\"number\":2,"));
	send_span(agent, 2, 999999, "/a");  /* too short */
	send_span(agent, 3, 1000000, "/b"); /* another path */
	send_span(agent, 4, 1000000, "/a");
	expect(agent, &client, "\"number\":4,");
	send_span(agent, 5, 1000000, "/abc");
	expect(agent, &client, "{\"summary\":{\"matched\":3,\"dropped\":0}}\n");
	expect_closed(agent, &client);
	assert_false(has(&client, "\"number\":2,"));
	assert_false(has(&client, "\"number\":3,"));
	client_close(&client);
	turn_until(agent, &agent->wanted, 0);
	send_span(agent, 6, 1000000, "/a"); /* nobody there: no harm */
}

static void several_tracers_have_their_own_filters(void **state)
{
	struct agent *agent = *state;
	struct client a, b, other;

	trace_open(agent, &a, "path=/a");
	trace_open(agent, &b, "path=/b");
	trace_open(agent, &other, "signal=oom");
	assert_int_equal(agent->wanted, 3); /* each for its signal */
	for (__u64 i = 0; i < 100; i++)
		send_span(agent, i, 1, i % 2 ? "/a" : "/b");
	expect(agent, &a, "\"number\":99,");
	expect(agent, &b, "\"number\":98,");
	assert_false(has(&a, "\"number\":98,"));
	assert_false(has(&b, "\"number\":99,"));
	assert_false(has(&other, "\"number\""));
	client_close(&a);
	client_close(&b);
	client_close(&other);
	turn_until(agent, &agent->wanted, 0);
}

/* No span comes, and still the agent notices: otherwise the kernel half would send records for ever. */
static void a_tracer_that_goes_away_is_noticed_in_silence(void **state)
{
	struct agent *agent = *state;
	struct client client;

	for (int i = 0; i < WEB_STREAMS_MAX * 2; i++) {
		trace_open(agent, &client, "");
		client_close(&client);
		turn_until(agent, &agent->wanted, 0);
	}
}

static void a_slow_reader_loses_lines_and_is_told(void **state)
{
	struct agent *agent = *state;
	struct client client;
	char path[1025];
	struct buf body;
	__u64 sent = 0, lines = 0, dropped = 0;

	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	trace_open(agent, &client, "");
	/* Far more than the socket and the stream's own buffer hold, and nobody reads. */
	for (; sent < 20000; sent++) {
		send_span(agent, sent, 1, path);
		if (sent % 100 == 0)
			loop_turn(agent->loop, 0);
	}
	/* Read what waits, then one more: it is preceded by what is missing. */
	for (int quiet = 0; quiet < 20; quiet++) {
		size_t before = client.in.used;

		loop_turn(agent->loop, 5);
		client_receive(&client);
		if (client.in.used != before)
			quiet = 0;
	}
	send_span(agent, sent++, 1, "/last");
	expect(agent, &client, "/last");
	agent->out->flush(agent->out, time_now_ns() + 5 * NS_PER_S);
	expect_closed(agent, &client);
	buf_init(&body, 256 << 20);
	dechunk(&client.in, &body);
	for (const char *at = body.data; *at; at = strchr(at, '\n') + 1) {
		unsigned long long count;

		if (strncmp(at, "{\"time\"", 7) == 0)
			lines++;
		else if (sscanf(at, "{\"dropped\":%llu}", &count) == 1)
			dropped += count;
	}
	assert_true(dropped > 10000);
	assert_int_equal(lines + dropped, sent);
	buf_reset(&client.in);
	buf_printf(&client.in, "{\"summary\":{\"matched\":%llu,\"dropped\":%llu}}\n", sent, dropped);
	assert_non_null(strstr(body.data, client.in.data));
	buf_done(&body);
	client_close(&client);
}

static void too_many_tracers_are_refused(void **state)
{
	struct agent *agent = *state;
	struct client clients[WEB_STREAMS_MAX];

	for (unsigned i = 0; i < WEB_STREAMS_MAX; i++)
		trace_open(agent, &clients[i], "");
	assert_answer(agent, true, HEAD("GET", "/v1/trace", LAST), "HTTP/1.1 503", "too many traces");
	for (unsigned i = 0; i < WEB_STREAMS_MAX; i++)
		client_close(&clients[i]);
	turn_until(agent, &agent->wanted, 0);
	trace_open(agent, &clients[0], "");
	client_close(&clients[0]);
}

static void shutdown_ends_traces_with_their_summary(void **state)
{
	struct agent *agent = *state;
	struct client client;

	trace_open(agent, &client, "");
	send_span(agent, 1, 1, "/a");
	agent->out->flush(agent->out, time_now_ns() + 5 * NS_PER_S);
	expect_closed(agent, &client);
	assert_true(has(&client, "{\"summary\":{\"matched\":1,\"dropped\":0}}\n"));
	client_close(&client);
}

static void ending_with_tracers_and_half_requests_open_frees_all(void **state)
{
	struct agent *agent = *state;
	struct client silent, busy, half, idle;

	trace_open(agent, &silent, "");
	trace_open(agent, &busy, "");
	client_open_unix(&half, agent);
	client_send(&half, "GET /v1/tr");
	client_open_tcp(&idle, agent);
	loop_turn(agent->loop, 10);
	send_span(agent, 1, 1, "/a");
	agent->out->free(agent->out);
	agent->out = NULL;
	client_close(&silent);
	client_close(&busy);
	client_close(&half);
	client_close(&idle);
}

/* Doors */

static int try_socket(struct agent *agent, const char *path, struct why *why)
{
	struct web_options options = { .socket = path, .ops = &ops, .arg = agent };
	struct output *out = NULL;
	int err = web_new(agent->loop, &options, &out, why);

	if (!err)
		out->free(out);
	return err;
}

static void socket_is_for_its_owner_alone(void **state)
{
	struct agent *agent = *state;
	struct stat info;

	assert_int_equal(stat(agent->socket, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
}

static void socket_that_answers_is_not_replaced(void **state)
{
	struct agent *agent = *state;
	struct why why = {};

	assert_int_equal(try_socket(agent, agent->socket, &why), -EADDRINUSE);
	assert_non_null(strstr(why.text, agent->socket));
	assert_answer(agent, true, HEAD("GET", "/healthz", LAST), "HTTP/1.1 200", "ok\n");
}

static void stale_socket_is_replaced_and_other_files_are_not(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct agent *agent = *state;
	struct why why = {};
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "%s/stale", agent->dir);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(try_socket(agent, path, &why), 0);
	assert_int_not_equal(access(path, F_OK), 0);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(try_socket(agent, path, &why), -EEXIST);
	assert_non_null(strstr(why.text, "no socket"));
	assert_int_equal(access(path, F_OK), 0);
	close(fd);
	unlink(path);
}

static void doors_that_cannot_open_say_why(void **state)
{
	struct agent *agent = *state;
	static const char *const addresses[] = {
		"9464",	    "127.0.0.1", "127.0.0.1:",	  "127.0.0.1:x", "127.0.0.1:65536",
		"::1:9464", "[::1:9464", "1.2.3.4.5.6:1",
	};
	struct why why;
	char taken[32], longer[200];
	struct output *out = NULL;

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		struct web_options options = { .prometheus = addresses[i], .ops = &ops };

		why = (struct why){};
		if (web_new(agent->loop, &options, &out, &why) >= 0 || !strstr(why.text, "listen"))
			fail_msg("%s: %s", addresses[i], why.text);
	}
	snprintf(taken, sizeof(taken), "127.0.0.1:%u", web_port(agent->out));
	assert_int_equal(web_new(agent->loop, &(struct web_options){ .prometheus = taken, .ops = &ops }, &out, &why),
			 -EADDRINUSE);
	assert_non_null(strstr(why.text, taken));
	assert_non_null(strstr(why.text, "--prometheus"));
	assert_int_equal(try_socket(agent, "/nonexistent/dir/s", &why), -ENOENT);
	assert_non_null(strstr(why.text, "/nonexistent/dir/s"));
	memset(longer, 'a', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(try_socket(agent, longer, &why), -ENAMETOOLONG);
	assert_null(out);
}

static void any_address_and_v6_are_understood(void **state)
{
	struct agent *agent = *state;
	static const char *const addresses[] = { ":0", "[::1]:0", "localhost:0", "0.0.0.0:0" };

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		struct web_options options = { .prometheus = addresses[i], .ops = &ops };
		struct output *out = NULL;
		struct why why = {};

		if (web_new(agent->loop, &options, &out, &why))
			fail_msg("%s: %s", addresses[i], why.text);
		assert_true(web_port(out) > 0);
		out->free(out);
	}
}

static void a_crowd_of_connections_leaves_the_agent_answering(void **state)
{
	struct agent *agent = *state;
	struct client crowd[WEB_CONNECTIONS_MAX * 2];

	for (size_t i = 0; i < sizeof(crowd) / sizeof(crowd[0]); i++) {
		client_open_tcp(&crowd[i], agent);
		loop_turn(agent->loop, 0);
	}
	for (size_t i = 0; i < sizeof(crowd) / sizeof(crowd[0]); i++)
		client_close(&crowd[i]);
	for (int i = 0; i < 50; i++)
		loop_turn(agent->loop, 1);
	assert_answer(agent, false, HEAD("GET", "/healthz", LAST), "HTTP/1.1 200", "ok\n");
}

static void endless_head_is_refused(void **state)
{
	struct agent *agent = *state;
	struct client client;
	char line[1024];

	memset(line, 'a', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	memcpy(line, "X: ", 3);
	memcpy(line + sizeof(line) - 3, "\r\n", 2);
	client_open_tcp(&client, agent);
	client_send(&client, "GET /metrics HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < 200 && !client.closed; i++) {
		send(client.fd, line, strlen(line), MSG_NOSIGNAL);
		loop_turn(agent->loop, 1);
		client_receive(&client);
	}
	assert_true(has(&client, "HTTP/1.1 4")); /* 431 or 413 */
	client_close(&client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(metrics_are_served_on_both_doors_in_the_format_asked_for),
		TEST(gzip_of_a_large_body_is_whole),
		TEST(gzip_is_sent_only_to_those_who_take_it),
		TEST(health_and_readiness_are_told_apart),
		TEST(bad_requests_get_one_clear_line),
		TEST(the_api_is_not_behind_the_tcp_door),
		TEST(snapshot_and_status_are_json),
		TEST(trace_sends_lines_as_they_come_and_a_summary),
		TEST(several_tracers_have_their_own_filters),
		TEST(a_tracer_that_goes_away_is_noticed_in_silence),
		TEST(a_slow_reader_loses_lines_and_is_told),
		TEST(too_many_tracers_are_refused),
		TEST(shutdown_ends_traces_with_their_summary),
		TEST(ending_with_tracers_and_half_requests_open_frees_all),
		TEST(socket_is_for_its_owner_alone),
		TEST(socket_that_answers_is_not_replaced),
		TEST(stale_socket_is_replaced_and_other_files_are_not),
		TEST(doors_that_cannot_open_say_why),
		TEST(any_address_and_v6_are_understood),
		TEST(a_crowd_of_connections_leaves_the_agent_answering),
		TEST(endless_head_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
