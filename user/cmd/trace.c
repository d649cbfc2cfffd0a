/* weir trace: one line for each thing as it ends, from a running agent's stream or from programs of its own. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/counts.h"
#include "cmd/out.h"
#include "cmd/setup.h"
#include "export/json.h"
#include "view/filter.h"
#include "view/trace.h"

#define LINE_MAX_BYTES (1u << 20)

struct trace {
	const struct options *options;
	const struct signal *signal;
	struct span_filter filter;
	struct loop *loop;
	struct pipeline *pipeline;  /* own programs, */
	struct client *client;	    /* or an agent */
	struct conservation before; /* the agent's counts when it began */
	struct conservation counts; /* at the end */
	__u64 began_ns, ended_ns;
	__u64 shown, unmatched, dropped;
	__s64 wall_offset_ns;
	bool ended;
	struct buf out;
	struct why why;
	int err;
};

static void trace_end(struct trace *trace, int err)
{
	if (trace->ended)
		return;
	trace->ended = true;
	trace->ended_ns = time_now_ns();
	trace->err = err;
	if (trace->pipeline)
		pipeline_stop(trace->pipeline);
	else
		loop_stop(trace->loop);
}

/* ---- lines */

static void trace_write(struct trace *trace)
{
	int err = out_write(&trace->out);

	if (err == -EPIPE)
		trace_end(trace, 0);
	else if (err)
		trace_end(trace, why_set(&trace->why, err, "cannot write: %s", strerror(-err)));
}

static void trace_shown(struct trace *trace)
{
	trace->shown++;
	trace_write(trace); /* each line at once: somebody watches */
	if (trace->options->count && trace->shown >= trace->options->count)
		trace_end(trace, 0);
}

static void trace_span(struct trace *trace, const struct span *span, const struct workload *who)
{
	if (trace->options->format == FORMAT_JSON) {
		span_to_json(span, who, trace->signal->name, trace->wall_offset_ns, &trace->out);
		buf_add_char(&trace->out, '\n');
	} else {
		trace_line(trace->signal->columns, span, who, span->time_ns + trace->wall_offset_ns, &trace->out);
	}
	trace_shown(trace);
}

static void trace_title(struct trace *trace)
{
	if (trace->options->format == FORMAT_TEXT)
		trace_header(trace->signal->columns, &trace->out);
	trace_write(trace);
}

/* ---- the end, however it came */

static void trace_caught(void *arg, int signo)
{
	trace_end(arg, 0);
}

static void trace_over(void *arg, __u64 late)
{
	trace_end(arg, 0);
}

static void trace_gone(void *arg)
{
	trace_end(arg, 0);
}

/* On stderr, when lines can come from now on: a script may wait for it before it makes requests. */
static void trace_begin(struct trace *trace, const char *source)
{
	__u64 duration_ns = trace->options->trace_duration;

	trace->began_ns = time_now_ns();
	if (duration_ns && loop_add_timer(trace->loop, duration_ns, 0, trace_over, trace) < 0)
		log_warn("no timer for --duration, tracing until it is ended");
	log_info("tracing %s by %s", trace->signal->name, source);
	trace_title(trace);
}

static int trace_watch(struct trace *trace)
{
	static const int signos[] = { SIGINT, SIGTERM, SIGHUP };
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(signos) / sizeof(*signos); i++)
		err = loop_add_signal(trace->loop, signos[i], trace_caught, trace);
	out_watch(trace->loop, trace_gone, trace);
	return err ? why_set(&trace->why, err, "cannot watch for the end: %s", strerror(-err)) : 0;
}

static void trace_summary(struct trace *trace, bool settled)
{
	char time[STR_NUMBER_ROOM];
	struct buf line;

	buf_init(&line, 4096);
	buf_printf(&line, "weir trace: %llu %s in %s; ", (unsigned long long)trace->shown,
		   trace->shown == 1 ? "line" : "lines", str_format_duration(trace->ended_ns - trace->began_ns, time));
	counts_print(&trace->counts, settled, &line);
	if (trace->unmatched)
		buf_printf(&line, "; %llu delivered did not match", (unsigned long long)trace->unmatched);
	if (trace->dropped)
		buf_printf(&line, "; %llu lines dropped: this reader was too slow", (unsigned long long)trace->dropped);
	fprintf(stderr, "%s\n", line.data);
	buf_done(&line);
}

/* ---- own programs */

static void output_span(struct output *out, const struct span *span, const struct workload *who)
{
	struct trace *trace = out->priv;

	if (trace->ended || span->signal != trace->signal->id)
		return;
	if (span_filter_match(&trace->filter, span, who)) {
		trace_span(trace, span, who);
		return;
	}
	trace->unmatched++;
	/* Who a cgroup belongs to does not change, once it is known: the kernel need not show more of this one. */
	if (who->cgroup[0] && !span_filter_match_workload(&trace->filter, who))
		pipeline_mute(trace->pipeline, span->signal, span->cgroup_id);
}

/* There is no interval, so this is the last one: the programs are detached and everything has been read. */
static void output_write(struct output *out, struct snapshot *snap)
{
	struct trace *trace = out->priv;

	counts_from_snapshot(snap, trace->signal->name, &trace->counts);
}

static void output_free(struct output *out)
{
	free(out);
}

static int trace_output(struct trace *trace)
{
	struct output *out = calloc(1, sizeof(*out));
	int err;

	if (!out)
		return why_set(&trace->why, -ENOMEM, "no memory");
	*out = (struct output){
		.name = "trace",
		.write = output_write,
		.span = output_span,
		.free = output_free,
		.priv = trace,
	};
	err = pipeline_add_output(trace->pipeline, out);
	if (err) {
		free(out);
		return why_set(&trace->why, err, "too many outputs");
	}
	return 0;
}

static int trace_load(struct trace *trace)
{
	struct pipeline_options options;
	int err;

	err = setup_pipeline(trace->options, &options, &trace->why);
	if (err)
		return err;
	options.signals = 1u << trace->signal->id;
	options.required = true;
	options.signal.records = true;
	options.signal.kernel_filters = true;
	options.signal.min_ns = trace->filter.min_ns;
	/* 0, 0 means all to the kernel half: "no answer" is left to the filter here. */
	options.signal.status_min = trace->filter.status ? trace->filter.status_min : 0;
	options.signal.status_max = trace->filter.status ? trace->filter.status_max : 0;
	err = pipeline_new(&options, &trace->pipeline, &trace->why);
	if (err)
		return err;
	trace->loop = pipeline_loop(trace->pipeline);
	return trace_output(trace) ?: trace_watch(trace) ?: pipeline_start(trace->pipeline, &trace->why);
}

static int trace_own(struct trace *trace)
{
	int err;

	err = trace_load(trace);
	if (err)
		return err;
	trace->wall_offset_ns = time_wall_offset_ns();
	trace_begin(trace, "programs of its own");
	err = pipeline_run(trace->pipeline);
	if (err)
		return why_set(&trace->why, err, "the event loop failed: %s", strerror(-err));
	pipeline_free(trace->pipeline); /* what is still in the ring is counted, not shown */
	trace->pipeline = NULL;
	trace->loop = NULL;
	trace_summary(trace, /* settled */ true);
	return trace->err;
}

/* ---- a running agent */

static int agent_counts(struct trace *trace, struct conservation *ret, struct why *why)
{
	struct snapshot *snap;
	int err = client_snapshot(trace->client, &snap, why);

	if (err)
		return err;
	counts_from_snapshot(snap, trace->signal->name, ret);
	snapshot_unref(snap);
	return 0;
}

/* {"dropped":12}, alone or inside of a summary. */
static void line_dropped(struct trace *trace, const char *line)
{
	const char *at = strstr(line, "\"dropped\":");
	__u64 dropped;

	if (!at)
		return;
	at += strlen("\"dropped\":");
	if (!mem_to_u64(at, strspn(at, "0123456789"), ~0ull, &dropped))
		trace->dropped = dropped > trace->dropped ? dropped : trace->dropped;
}

static void line_text(struct trace *trace, const char *line, size_t bytes)
{
	const struct workload *who;
	struct why why = {};
	struct span span;
	int err;

	err = span_from_json(client_reader(trace->client), line, bytes, setup_signal_id, trace->wall_offset_ns, &span,
			     &who, &why);
	if (err)
		trace_end(trace, why_set(&trace->why, err, "cannot read what the agent sends: %s", why.text));
	else
		trace_span(trace, &span, who);
}

static void stream_line(void *arg, const char *line, size_t bytes)
{
	struct trace *trace = arg;

	if (trace->ended || !bytes)
		return;
	if (str_starts(line, "{\"summary\"") || str_starts(line, "{\"dropped\"")) {
		line_dropped(trace, line);
	} else if (trace->options->format == FORMAT_JSON) {
		buf_add(&trace->out, line, bytes);
		buf_add_char(&trace->out, '\n');
		trace_shown(trace);
	} else {
		line_text(trace, line, bytes);
	}
}

static void stream_open(void *arg)
{
	struct trace *trace = arg;
	char source[160];

	snprintf(source, sizeof(source), "the agent at %.128s", trace->options->socket);
	trace_begin(trace, source);
}

static void stream_end(void *arg, int err, const char *text)
{
	struct trace *trace = arg;

	if (err)
		why_set(&trace->why, 0, "%s", text);
	else if (!trace->options->count || trace->shown < trace->options->count)
		err = why_set(&trace->why, -EIO, "the agent has ended the trace");
	trace_end(trace, err);
}

static int trace_path(struct trace *trace, struct buf *path)
{
	size_t filters;

	buf_printf(path, "/v1/trace?signal=%s", trace->signal->name);
	if (trace->options->count)
		buf_printf(path, "&count=%llu", (unsigned long long)trace->options->count);
	buf_add_char(path, '&');
	filters = path->used;
	span_filter_query(&trace->filter, path);
	if (path->used == filters && !path->err)
		path->data[--path->used] = '\0';
	return path->err ? why_set(&trace->why, path->err, "the filters are too long") : 0;
}

static const struct client_stream_ops stream_ops = {
	.line = stream_line,
	.open = stream_open,
	.end = stream_end,
};

static int trace_stream(struct trace *trace)
{
	struct buf path;
	int err;

	buf_init(&path, 2000);
	err = trace_path(trace, &path);
	if (!err)
		err = client_stream(trace->client, trace->loop, path.data, &stream_ops, trace, &trace->why);
	buf_done(&path);
	return err;
}

static int trace_agent(struct trace *trace)
{
	struct why why = {};
	int err;

	trace->wall_offset_ns = time_wall_offset_ns();
	err = loop_new(&trace->loop, &trace->why);
	if (!err)
		err = trace_watch(trace) ?: agent_counts(trace, &trace->before, &trace->why) ?: trace_stream(trace);
	if (err)
		return err;
	err = loop_run(trace->loop);
	if (err)
		return why_set(&trace->why, err, "the event loop failed: %s", strerror(-err));
	client_stream_close(trace->client);
	if (trace->err)
		return trace->err;
	if (agent_counts(trace, &trace->counts, &why)) {
		log_warn("no counts: %s", why.text);
		return 0;
	}
	counts_subtract(&trace->counts, &trace->before);
	trace_summary(trace, /* settled */ false);
	return 0;
}

/* ---- the command */

/* 0: trace->client is an agent; 1: there is none. */
static int trace_connect(struct trace *trace)
{
	const char *socket = setup_socket(trace->options);
	struct why why = {};
	int err;

	if (!socket)
		return 1;
	err = client_new(socket, &trace->client, &why);
	if (err == -ENOENT || err == -ECONNREFUSED)
		return 1;
	if (err == -EACCES || err == -EPERM) {
		log_warn("%s, loading own programs", why.text);
		return 1;
	}
	return err ? why_set(&trace->why, err, "%s", why.text) : 0;
}

static enum exit_status trace_run(const struct options *options)
{
	unsigned id = setup_signal_id(options->argument);
	struct trace trace = { .options = options };
	struct buf known;
	int err;

	if (!id || !signals[id]->columns) {
		buf_init(&known, 4096);
		setup_signal_names(&known);
		command_fail(EXIT_USAGE, "there is no signal '%.50s' to trace; there are: %s", options->argument,
			     known.data);
		buf_done(&known);
		return EXIT_USAGE;
	}
	trace.signal = signals[id];
	if (setup_filter(options, &trace.filter, &trace.why))
		return command_fail(EXIT_USAGE, "%s", trace.why.text);
	buf_init(&trace.out, LINE_MAX_BYTES);
	err = trace_connect(&trace);
	if (!err)
		err = trace_agent(&trace);
	else if (err > 0)
		err = trace_own(&trace);
	client_free(trace.client);
	if (trace.pipeline)
		pipeline_free(trace.pipeline); /* with its loop: something failed before the end */
	else
		loop_free(trace.loop);
	buf_done(&trace.out);
	return err ? command_fail(err == -EINVAL ? EXIT_USAGE : EXIT_FAILED, "%s", trace.why.text) : EXIT_OK;
}

const struct command trace_command = {
	.name = "trace",
	.summary = "print one line for each request as it ends",
	.argument = "SIGNAL",
	.verb = VERB_TRACE,
	.text = "Uses a running agent through its socket, or loads its own programs when there is none (then role, status\n"
		"and least duration are filtered in the kernel). Ends with Ctrl-C, --count or --duration, and tells on\n"
		"stderr what was seen, delivered, filtered and lost.\n",
	.example = "  weir trace http --min=100ms\n"
		   "  weir trace http --container='shop*' --status=5xx --role=server\n"
		   "  weir trace http --path='/orders/*' --count=10 -o json\n"
		   "  weir trace sched --min=5ms --container='shop*'\n",
	.run = trace_run,
};
