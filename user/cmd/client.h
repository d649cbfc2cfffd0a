/* A running agent, seen through its unix socket (HTTP, by libcurl). Answers are bounded; an agent that hangs is given up
 * after CLIENT_TIMEOUT_MS. One thread. */
#ifndef WEIR_CMD_CLIENT_H
#define WEIR_CMD_CLIENT_H

#include <stddef.h>

#include "export/json.h"
#include "model/snapshot.h"

struct buf;
struct client;
struct loop;
struct why;

#define CLIENT_TIMEOUT_MS 5000
#define CLIENT_ANSWER_MAX (256u << 20)
#define CLIENT_LINE_MAX	  (1u << 20)

/* 0; -ENOENT or -ECONNREFUSED: no agent is there (then its work is done in this process); others: it cannot be used. */
int client_new(const char *socket, struct client **ret, struct why *why);
void client_free(struct client *client);
struct json_reader *client_reader(struct client *client); /* borrowed: decodes what the agent sends */

/* Body of the answer to GET @path, appended. 0 or negative with @why; a status other than 200 is -EPROTO. */
int client_get(struct client *client, const char *path, struct buf *body, struct why *why);
/* The caller unrefs it, before client_free(). */
int client_snapshot(struct client *client, struct snapshot **ret, struct why *why);

struct client_stream_ops {
	void (*line)(void *arg, const char *line, size_t bytes); /* without newline, NUL-terminated */
	void (*open)(void *arg);				 /* the agent has accepted; lines may come from now */
	/* Over. @err 0: the agent has ended it; else @text says why. Not called after client_stream_close(). */
	void (*end)(void *arg, int err, const char *text);
};

/* Streams GET @path line by line, in @loop. One at a time. */
int client_stream(struct client *client, struct loop *loop, const char *path, const struct client_stream_ops *ops,
		  void *arg, struct why *why);
void client_stream_close(struct client *client);

#endif
