#include "cmd/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "export/curl.h"

#define STREAM_CHECK_NS (1 * NS_PER_S) /* libcurl's own timers; data comes by its socket */
#define STREAM_STEPS	4	       /* of libcurl, from nothing to a request that is sent */

struct client {
	const struct curl_api *curl;
	struct json_reader *reader;
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	CURL *easy; /* for single answers */
	/* the stream */
	CURLM *multi;
	CURL *stream;
	struct loop *loop;
	int fd; /* of the stream; -1: not watched */
	int timer;
	bool opened;
	struct buf line;
	const struct client_stream_ops *ops;
	void *arg;
};

/* ---- is there somebody? */

static int socket_try(const char *path, struct why *why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, err = 0;

	if (strlen(path) >= sizeof(address.sun_path))
		return why_set(why, -ENAMETOOLONG, "socket path '%.200s' is longer than %zu bytes", path,
			       sizeof(address.sun_path) - 1);
	str_copy(address.sun_path, sizeof(address.sun_path), path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return why_set(why, -errno, "cannot make a socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		err = why_set(why, -errno, "cannot connect to the agent at %.200s: %s", path, strerror(errno));
	close(fd);
	return err;
}

int client_new(const char *socket, struct client **ret, struct why *why)
{
	struct client *client;
	int err;

	err = socket_try(socket, why);
	if (err)
		return err;
	client = calloc(1, sizeof(*client));
	if (!client)
		return why_set(why, -ENOMEM, "no memory");
	client->fd = client->timer = -1;
	buf_init(&client->line, CLIENT_LINE_MAX);
	str_copy(client->socket, sizeof(client->socket), socket);
	client->curl = curl_load(why);
	if (!client->curl) {
		client_free(client);
		return -ENOTSUP;
	}
	client->easy = client->curl->easy_init();
	client->reader = json_reader_new();
	if (!client->easy || !client->reader) {
		client_free(client);
		return why_set(why, -ENOMEM, "no memory");
	}
	*ret = client;
	return 0;
}

void client_free(struct client *client)
{
	if (!client)
		return;
	client_stream_close(client);
	if (client->easy)
		client->curl->easy_cleanup(client->easy);
	json_reader_free(client->reader);
	buf_done(&client->line);
	free(client);
}

struct json_reader *client_reader(struct client *client)
{
	return client->reader;
}

/* ---- one answer */

static size_t body_write(char *data, size_t size, size_t count, void *arg)
{
	return buf_add(arg, data, size * count) ? 0 : size * count;
}

static void request_prepare(struct client *client, CURL *easy, const char *path)
{
	char url[2048];

	snprintf(url, sizeof(url), "http://weir%s", path);
	client->curl->easy_setopt(easy, CURLOPT_URL, url);
	client->curl->easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, client->socket);
	client->curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	client->curl->easy_setopt(easy, CURLOPT_PROXY, "");
}

/* First line of what the agent says when it refuses. */
static int refused(const struct client *client, long status, const char *body, struct why *why)
{
	return why_set(why, -EPROTO, "the agent at %.100s answers %ld: %.*s", client->socket, status,
		       (int)strcspn(body, "\r\n"), body);
}

int client_get(struct client *client, const char *path, struct buf *body, struct why *why)
{
	const struct curl_api *curl = client->curl;
	CURL *easy = client->easy;
	long status = 0;
	CURLcode code;

	request_prepare(client, easy, path);
	curl->easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)CLIENT_TIMEOUT_MS);
	curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, body_write);
	curl->easy_setopt(easy, CURLOPT_WRITEDATA, body);
	code = curl->easy_perform(easy);
	if (code != CURLE_OK)
		return why_set(why, -EIO, "the agent at %.100s does not answer: %s", client->socket,
			       curl->easy_strerror(code));
	curl->easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	return status == 200 ? 0 : refused(client, status, body->data, why);
}

int client_snapshot(struct client *client, struct snapshot **ret, struct why *why)
{
	struct buf body;
	int err;

	buf_init(&body, CLIENT_ANSWER_MAX);
	err = client_get(client, "/v1/snapshot", &body, why);
	if (!err)
		err = snapshot_from_json(client->reader, body.data, body.used, ret, why);
	buf_done(&body);
	return err;
}

/* ---- the stream */

static void stream_lines(struct client *client)
{
	char *at = client->line.data, *end;

	while (client->stream && (end = memchr(at, '\n', client->line.data + client->line.used - at))) {
		*end = '\0';
		client->ops->line(client->arg, at, end - at);
		at = end + 1;
	}
	if (client->stream)
		buf_consume(&client->line, at - client->line.data);
}

/* Called inside perform(): the handle must not be freed there, so what closes the stream is done after it. */
static size_t stream_write(char *data, size_t size, size_t count, void *arg)
{
	struct client *client = arg;

	return buf_add(&client->line, data, size * count) ? 0 : size * count;
}

static long stream_status(const struct client *client)
{
	long status = 0;

	client->curl->easy_getinfo(client->stream, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static void stream_end(struct client *client)
{
	const struct client_stream_ops *ops = client->ops;
	long status = stream_status(client);
	struct why why = {};
	int left, err = 0;
	CURLMsg *message = client->curl->multi_info_read(client->multi, &left);
	void *arg = client->arg;

	if (status && status != 200)
		err = refused(client, status, client->line.data, &why);
	else if (message && message->data.result != CURLE_OK)
		err = why_set(&why, -EIO, "the agent at %.100s has gone: %s", client->socket,
			      client->curl->easy_strerror(message->data.result));
	client_stream_close(client);
	ops->end(arg, err, why.text);
}

static void stream_perform(struct client *client)
{
	int running = 0;

	client->curl->multi_perform(client->multi, &running);
	if (!client->opened && stream_status(client) == 200) {
		client->opened = true;
		client->ops->open(client->arg);
	}
	if (client->opened)
		stream_lines(client);
	if (!client->stream)
		return; /* a line has made its reader close it */
	if (!running)
		stream_end(client);
}

static void stream_ready(void *arg, __u32 events)
{
	stream_perform(arg);
}

/* Connecting to a unix socket and sending the request wait for nothing, but take libcurl several steps. */
static void stream_tick(void *arg, __u64 late)
{
	struct client *client = arg;

	for (int i = 0; i < STREAM_STEPS && client->stream; i++)
		stream_perform(client);
}

/* The stream's socket is made and closed here, so that the loop can watch it: libcurl does not tell which it uses before
 * an answer has come. */
static curl_socket_t stream_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct client *client = arg;
	int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (client->fd < 0 && !loop_add_fd(client->loop, fd, EPOLLIN, stream_ready, client))
		client->fd = fd;
	return fd;
}

static int stream_socket_close(void *arg, curl_socket_t fd)
{
	struct client *client = arg;

	if (fd == client->fd) {
		loop_del_fd(client->loop, fd);
		client->fd = -1;
	}
	return close(fd);
}

int client_stream(struct client *client, struct loop *loop, const char *path, const struct client_stream_ops *ops,
		  void *arg, struct why *why)
{
	const struct curl_api *curl = client->curl;

	client->loop = loop;
	client->ops = ops;
	client->arg = arg;
	client->opened = false;
	client->multi = curl->multi_init();
	client->stream = curl->easy_init();
	if (!client->multi || !client->stream) {
		client_stream_close(client);
		return why_set(why, -ENOMEM, "no memory");
	}
	request_prepare(client, client->stream, path);
	curl->easy_setopt(client->stream, CURLOPT_WRITEFUNCTION, stream_write);
	curl->easy_setopt(client->stream, CURLOPT_WRITEDATA, client);
	curl->easy_setopt(client->stream, CURLOPT_OPENSOCKETFUNCTION, stream_socket);
	curl->easy_setopt(client->stream, CURLOPT_OPENSOCKETDATA, client);
	curl->easy_setopt(client->stream, CURLOPT_CLOSESOCKETFUNCTION, stream_socket_close);
	curl->easy_setopt(client->stream, CURLOPT_CLOSESOCKETDATA, client);
	curl->multi_add_handle(client->multi, client->stream);
	/* At once for the connection, and until the socket is known. */
	client->timer = loop_add_timer(loop, 1, STREAM_CHECK_NS, stream_tick, client);
	if (client->timer < 0) {
		int err = client->timer;

		client_stream_close(client);
		return why_set(why, err, "cannot make a timer: %s", strerror(-err));
	}
	return 0;
}

void client_stream_close(struct client *client)
{
	if (client->timer >= 0)
		loop_del_timer(client->loop, client->timer);
	client->timer = -1;
	if (client->stream && client->multi)
		client->curl->multi_remove_handle(client->multi, client->stream);
	if (client->stream)
		client->curl->easy_cleanup(client->stream);
	if (client->multi)
		client->curl->multi_cleanup(client->multi);
	client->stream = NULL;
	client->multi = NULL;
	buf_reset(&client->line);
}
