/* weir hist: the latency histogram of one metric, by container, pod, namespace or route. */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/why.h"
#include "cmd/cmd.h"
#include "cmd/out.h"
#include "cmd/setup.h"
#include "cmd/source.h"
#include "view/filter.h"
#include "view/hist.h"

static void metric_names(struct buf *out)
{
	for (unsigned id = 1; id < SIGNAL_MAX; id++)
		for (const struct metric *const *metric = signals[id] ? signals[id]->metrics : NULL; metric && *metric;
		     metric++)
			if ((*metric)->kind == METRIC_HIST)
				buf_printf(out, "%s%s", out->used ? ", " : "", (*metric)->name);
}

static bool metric_is_known(const char *name)
{
	for (unsigned id = 1; id < SIGNAL_MAX; id++)
		for (const struct metric *const *metric = signals[id] ? signals[id]->metrics : NULL; metric && *metric;
		     metric++)
			if ((*metric)->kind == METRIC_HIST && !strcmp((*metric)->name, name))
				return true;
	return false;
}

static void hist_stop(void *arg, __u64 late)
{
	source_stop(arg);
}

static void hist_gone(void *arg)
{
	source_stop(arg);
}

/* Waits for --duration, or for a signal that ends it sooner: what has been counted by then is shown. */
static int hist_wait(struct source *source, __u64 duration_ns, struct why *why)
{
	int err;

	if (!duration_ns)
		return 0;
	err = loop_add_timer(source_loop(source), duration_ns, 0, hist_stop, source);
	if (err < 0)
		return why_set(why, err, "cannot make a timer: %s", strerror(-err));
	out_watch(source_loop(source), hist_gone, source);
	/* A script may wait for the line before it makes requests. */
	log_info("observing by %s", source_name(source));
	err = source_run(source);
	return err ? why_set(why, err, "the event loop failed: %s", strerror(-err)) : 0;
}

static int hist_print(const struct options *options, const struct span_filter *filter, const struct snapshot *before,
		      const struct snapshot *now, struct why *why)
{
	struct hist_groups groups;
	struct buf out;
	int err;

	err = hist_groups_init(&groups, before, now, options->argument, options->by, filter);
	if (err)
		return why_set(why, err, "no memory");
	buf_init(&out, 256u << 20);
	if (options->format == FORMAT_JSON)
		hist_groups_json(&groups, options->argument, &out);
	else
		hist_groups_text(&groups, options->argument, out_width(), &out);
	err = out_write(&out);
	buf_done(&out);
	hist_groups_done(&groups);
	return err && err != -EPIPE ? why_set(why, err, "cannot write: %s", strerror(-err)) : 0;
}

static int hist_show(const struct options *options, struct source *source, const struct span_filter *filter,
		     struct why *why)
{
	struct snapshot *before = NULL, *now = NULL;
	int err = 0;

	if (options->hist_duration)
		err = source_snapshot(source, &before, why);
	if (!err)
		err = hist_wait(source, options->hist_duration, why);
	if (!err)
		err = source_snapshot(source, &now, why);
	if (!err)
		err = hist_print(options, filter, before, now, why);
	snapshot_unref(now);
	snapshot_unref(before);
	return err;
}

static enum exit_status hist_run(const struct options *options)
{
	struct span_filter filter;
	struct source *source;
	struct why why = {};
	struct buf known;
	int err;

	if (!metric_is_known(options->argument)) {
		buf_init(&known, 16 << 10);
		metric_names(&known);
		command_fail(EXIT_USAGE, "there is no histogram '%.100s'; there are: %s", options->argument,
			     known.data);
		buf_done(&known);
		return EXIT_USAGE;
	}
	if (setup_filter(options, &filter, &why))
		return command_fail(EXIT_USAGE, "%s", why.text);
	err = source_new(options, &source, &why);
	if (err)
		return command_fail(err == -EINVAL ? EXIT_USAGE : EXIT_FAILED, "%s", why.text);
	if (!options->hist_duration && !source_is_agent(source)) {
		source_free(source);
		return command_fail(EXIT_USAGE,
				    "--duration=0 shows what a running agent has counted, and there is none at %s",
				    options->socket);
	}
	err = source_stop_on_signals(source, &why);
	if (!err)
		err = hist_show(options, source, &filter, &why);
	source_free(source);
	return err ? command_fail(EXIT_FAILED, "%s", why.text) : EXIT_OK;
}

const struct command hist_command = {
	.name = "hist",
	.summary = "draw the latency histogram of a metric by container, pod, namespace or route",
	.argument = "METRIC",
	.verb = VERB_HIST,
	.text = "Asks a running agent through its socket, or loads its own programs when there is none, looks at the\n"
		"given time, and draws one histogram for each container (pod, namespace, route): counts, quantiles, bars.\n",
	.example = "  weir hist http.server.request.duration\n"
		   "  weir hist http.client.request.duration --by=route --duration=1m\n"
		   "  weir hist http.server.request.duration --duration=0 -o json   (all that the agent has counted)\n",
	.run = hist_run,
};
