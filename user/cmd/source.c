#include "cmd/source.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/why.h"
#include "cmd/client.h"
#include "cmd/setup.h"

struct source {
	struct client *client; /* either this and .loop, */
	struct loop *loop;
	struct pipeline *pipeline; /* or this */
	char name[160];
};

/* 0; 1: there is no agent; negative: failed. */
static int source_connect(struct source *source, const char *socket, struct why *why)
{
	struct why inner = {};
	int err;

	if (!socket)
		return 1;
	err = client_new(socket, &source->client, &inner);
	if (err == -ENOENT || err == -ECONNREFUSED)
		return 1;
	if (err == -EACCES || err == -EPERM) {
		log_warn("%s, loading own programs", inner.text);
		return 1;
	}
	if (err)
		return why_set(why, err, "%s", inner.text);
	snprintf(source->name, sizeof(source->name), "agent at %.128s", socket);
	return loop_new(&source->loop, why);
}

static int source_load(struct source *source, const struct options *options, struct why *why)
{
	struct pipeline_options pipeline;
	int err;

	err = setup_pipeline(options, &pipeline, why);
	if (!err)
		err = pipeline_new(&pipeline, &source->pipeline, why);
	if (!err)
		err = pipeline_start(source->pipeline, why);
	snprintf(source->name, sizeof(source->name), "programs of its own");
	return err;
}

int source_new(const struct options *options, struct source **ret, struct why *why)
{
	struct source *source = calloc(1, sizeof(*source));
	int err;

	if (!source)
		return why_set(why, -ENOMEM, "no memory");
	err = source_connect(source, setup_socket(options), why);
	if (err > 0)
		err = source_load(source, options, why);
	if (err) {
		source_free(source);
		return err;
	}
	*ret = source;
	return 0;
}

void source_free(struct source *source)
{
	if (!source)
		return;
	pipeline_free(source->pipeline);
	client_free(source->client);
	loop_free(source->loop);
	free(source);
}

const char *source_name(const struct source *source)
{
	return source->name;
}

bool source_is_agent(const struct source *source)
{
	return source->client != NULL;
}

int source_snapshot(struct source *source, struct snapshot **ret, struct why *why)
{
	struct snapshot *snap;

	if (source->client)
		return client_snapshot(source->client, ret, why);
	snap = pipeline_snapshot(source->pipeline);
	if (!snap)
		return why_set(why, -ENOMEM, "no memory for a snapshot");
	*ret = snap;
	return 0;
}

struct loop *source_loop(struct source *source)
{
	return source->client ? source->loop : pipeline_loop(source->pipeline);
}

int source_run(struct source *source)
{
	return source->client ? loop_run(source->loop) : pipeline_run(source->pipeline);
}

void source_stop(struct source *source)
{
	if (source->client)
		loop_stop(source->loop);
	else
		pipeline_stop(source->pipeline);
}

static void source_caught(void *arg, int signo)
{
	source_stop(arg);
}

int source_stop_on_signals(struct source *source, struct why *why)
{
	static const int signos[] = { SIGINT, SIGTERM, SIGHUP };

	for (size_t i = 0; i < sizeof(signos) / sizeof(*signos); i++) {
		int err = loop_add_signal(source_loop(source), signos[i], source_caught, source);

		if (err)
			return why_set(why, err, "cannot watch for signals: %s", strerror(-err));
	}
	return 0;
}
