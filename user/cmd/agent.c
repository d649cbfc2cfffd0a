/* weir agent: the daemon. Counts in series, exports them, and answers top, hist and trace on its socket. */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/time.h"
#include "base/why.h"
#include "cmd/cmd.h"
#include "cmd/setup.h"
#include "cmd/status.h"
#include "export/otlp.h"
#include "view/web.h"

_Static_assert(OTLP_HISTOGRAM_EXPLICIT == 0 && OTLP_COMPRESSION_NONE == 0, "the order of choices in options.def");

/* ---- what the doors ask */

static struct snapshot *agent_snapshot(void *arg)
{
	return pipeline_snapshot(arg);
}

static int agent_status(void *arg, struct buf *json)
{
	json_t *object = status_json(arg);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	int err = text ? buf_add_str(json, text) : -ENOMEM;

	free(text);
	json_decref(object);
	return err;
}

static bool agent_ready(void *arg, struct why *why)
{
	return pipeline_ready(arg, why);
}

static void agent_want_records(void *arg, unsigned signal, bool wanted)
{
	pipeline_want_records(arg, signal, wanted);
}

static unsigned agent_signal_id(void *arg, const char *name)
{
	struct pipeline_status *status = calloc(1, sizeof(*status));
	unsigned id = 0;

	if (!status)
		return 0;
	pipeline_status(arg, status);
	for (unsigned i = 0; i < status->signals_count; i++)
		if (status->signals[i].running && !strcmp(status->signals[i].signal->name, name))
			id = status->signals[i].signal->id;
	free(status);
	return id;
}

static const char *agent_signal_name(void *arg, unsigned id)
{
	return setup_signal_name(id);
}

static const struct web_ops agent_web_ops = {
	.snapshot = agent_snapshot,
	.status = agent_status,
	.ready = agent_ready,
	.want_records = agent_want_records,
	.signal_id = agent_signal_id,
	.signal_name = agent_signal_name,
};

/* ---- outputs */

static int agent_add(struct pipeline *pipeline, struct output *out, struct why *why)
{
	int err = pipeline_add_output(pipeline, out);

	if (!err)
		return 0;
	if (out->free)
		out->free(out);
	return why_set(why, err, "too many outputs");
}

static const char *address_or_off(const char *address)
{
	return address && *address && strcmp(address, "off") ? address : NULL;
}

static int agent_web(struct pipeline *pipeline, const struct options *options, struct why *why)
{
	struct web_options web = {
		.prometheus = options->sdk_disabled ? NULL : address_or_off(options->prometheus),
		.socket = setup_socket(options),
		.ops = &agent_web_ops,
		.arg = pipeline,
	};
	struct output *out;
	int err;

	if (!web.prometheus && !web.socket)
		return 0;
	err = web_new(pipeline_loop(pipeline), &web, &out, why);
	return err ?: agent_add(pipeline, out, why);
}

/* The URL for metrics alone wins over the general one, unless that was said more directly. */
static const char *otlp_metrics_url(const struct options *options)
{
	if (options->origin[OPTION_otlp_endpoint] > options->origin[OPTION_otlp_metrics_endpoint])
		return NULL;
	return address_or_off(options->otlp_metrics_endpoint);
}

/* OTEL_METRICS_EXPORTER chooses exporters; Prometheus here has an option of its own, so only "otlp" counts. */
static bool otlp_wanted(const struct options *options)
{
	const struct option_list *exporters = &options->metrics_exporter;

	if (options->sdk_disabled || (!address_or_off(options->otlp_endpoint) && !otlp_metrics_url(options)))
		return false;
	for (unsigned i = 0; i < exporters->count; i++)
		if (!strcmp(exporters->items[i], "otlp"))
			return true;
	return !exporters->count;
}

static int agent_otlp(struct pipeline *pipeline, const struct options *options, struct why *why)
{
	struct otlp_options otlp = {
		.endpoint = address_or_off(options->otlp_endpoint),
		.metrics_endpoint = otlp_metrics_url(options),
		.headers = options->otlp_headers,
		.resource_attributes = options->resource_attributes,
		.service_name = options->service_name,
		.ca_file = options->otlp_certificate,
		.client_cert_file = options->otlp_client_certificate,
		.client_key_file = options->otlp_client_key,
		.compression = options->otlp_compression,
		.histogram = options->otlp_histogram,
		.timeout_ns = options->otlp_timeout,
	};
	struct output *out;
	int err;

	if (!otlp_wanted(options))
		return 0;
	err = otlp_new(&otlp, &out, why);
	return err ?: agent_add(pipeline, out, why);
}

/* ---- life */

static void agent_caught(void *arg, int signo)
{
	log_info("%s: last export, then the end", strsignal(signo));
	pipeline_stop(arg);
}

static int agent_signals(struct pipeline *pipeline, struct why *why)
{
	int err;

	signal(SIGHUP, SIG_IGN); /* a restart reads a new configuration; there is nothing to reload */
	err = loop_add_signal(pipeline_loop(pipeline), SIGTERM, agent_caught, pipeline)
		      ?: loop_add_signal(pipeline_loop(pipeline), SIGINT, agent_caught, pipeline);
	return err ? why_set(why, err, "cannot watch for signals: %s", strerror(-err)) : 0;
}

/* One line when everything is up: what runs and where it can be reached. */
static void agent_tell(struct pipeline *pipeline, const struct options *options)
{
	struct pipeline_status *status = calloc(1, sizeof(*status));
	const char *prometheus = options->sdk_disabled ? NULL : address_or_off(options->prometheus);
	const char *socket = setup_socket(options);
	struct buf names;

	if (!status)
		return;
	buf_init(&names, 4096);
	pipeline_status(pipeline, status);
	/* Those that were asked for and do not run, the pipeline has told of. */
	for (unsigned i = 0; i < status->signals_count; i++)
		if (status->signals[i].running)
			buf_printf(&names, "%s%s", names.used ? "," : "", status->signals[i].signal->name);
	log_info("ready: signals %s, prometheus %s, socket %s, otlp %s", names.data, prometheus ?: "off",
		 socket ?: "off", otlp_wanted(options) ? "on" : "off"); /* its URL may hold a password */
	buf_done(&names);
	free(status);
}

static int agent_start(struct pipeline *pipeline, const struct options *options, struct why *why)
{
	int err;

	/* Signals first: they must be blocked before a thread exists. The doors before the programs: a port in use
	 * is the more common mistake, and is found at once. */
	err = agent_signals(pipeline, why) ?:
	      agent_web(pipeline, options, why) ?:
	      agent_otlp(pipeline, options, why) ?:
	      pipeline_start(pipeline, why);
	if (!err)
		agent_tell(pipeline, options);
	return err;
}

static enum exit_status agent_run(const struct options *options)
{
	struct pipeline_options settings;
	struct pipeline *pipeline = NULL;
	struct why why = {};
	int err;

	err = setup_pipeline(options, &settings, &why);
	if (!err)
		err = pipeline_new(&settings, &pipeline, &why);
	if (!err)
		err = agent_start(pipeline, options, &why);
	if (err) {
		pipeline_free(pipeline);
		return command_fail(err == -EINVAL ? EXIT_USAGE : EXIT_FAILED, "%s", why.text);
	}
	err = pipeline_run(pipeline);
	pipeline_free(pipeline);
	log_flush(~0ull);
	return err ? command_fail(EXIT_FAILED, "the event loop failed: %s", strerror(-err)) : EXIT_OK;
}

const struct command agent_command = {
	.name = "agent",
	.summary = "run as a daemon: export metrics, serve Prometheus, answer top, hist and trace",
	.verb = VERB_AGENT,
	.text = "Counts the requests of every container on this machine and exports them: Prometheus, OTLP, and an API on\n"
		"a unix socket that the other commands use. Options are read from the file, then from the environment,\n"
		"then from the command line; a later one wins. SIGTERM and SIGINT send a last export and end it.\n",
	.example = "  weir agent\n"
		   "  weir agent --otlp-endpoint=http://collector:4318 --interval=30s --prometheus=off\n"
		   "  weir agent -c /etc/weir.yaml\n",
	.run = agent_run,
};
