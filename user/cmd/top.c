/* weir top: the tables of requests, of containers and of JVMs, on a full screen, as text or as JSON. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/time.h"
#include "base/why.h"
#include "cmd/cmd.h"
#include "cmd/out.h"
#include "cmd/setup.h"
#include "cmd/source.h"
#include "view/filter.h"
#include "view/screen.h"
#include "view/tables.h"

#define OUT_MAX (64u << 20)

_Static_assert(TOP_INFLIGHT == 9 && TOP_RETRANSMITS == 10 && TOP_THROTTLED == 16 && TOP_STOPPED == 17 &&
		       TOP_HEAP == 20 && TOP_COLUMN_MAX == 21,
	       "the order of --sort in options.def");

struct top {
	const struct options *options;
	struct source *source;
	struct span_filter filter;
	struct top_options table;
	struct snapshot *first, *before, *now; /* references; before and first may be the same */
	struct screen *screen;		       /* NULL: text or JSON to standard output */
	struct buf out;
	struct why why; /* why it ended */
	int err;
};

static void top_end(struct top *top, int err)
{
	top->err = err;
	source_stop(top->source);
}

static void top_memory(struct top *top)
{
	why_set(&top->why, 0, "no memory");
	top_end(top, -ENOMEM);
}

/* Shifts now to before and takes a new one. */
static int top_advance(struct top *top)
{
	struct snapshot *snap;
	int err = source_snapshot(top->source, &snap, &top->why);

	if (err) {
		top_end(top, err);
		return err;
	}
	if (!top->first)
		top->first = snapshot_ref(snap);
	snapshot_unref(top->before);
	top->before = top->now;
	top->now = snap;
	return 0;
}

/* ---- to standard output */

static void top_print(struct top *top)
{
	struct top_tables tables;
	int err;

	if (top_tables_init(&tables, top->before, top->now, &top->table)) {
		top_memory(top);
		return;
	}
	if (top->options->format == FORMAT_JSON)
		top_tables_json(&tables, &top->out);
	else
		top_tables_text(&tables, out_width(), &top->out);
	top_tables_done(&tables);
	err = out_write(&top->out);
	if (err && err != -EPIPE)
		why_set(&top->why, 0, "cannot write: %s", strerror(-err));
	if (err || top->options->once)
		top_end(top, err == -EPIPE ? 0 : err);
}

/* ---- to the screen */

static void top_draw(struct top *top)
{
	struct top_options options = *screen_options(top->screen);
	struct top_tables interval, since = {};
	bool detailed = screen_detailed(top->screen);

	options.filter = top->table.filter;
	options.quiet = true;
	if (top_tables_init(&interval, top->before, top->now, &options)) {
		top_memory(top);
		return;
	}
	if (detailed && top_tables_init(&since, top->first, top->now, &options)) {
		top_tables_done(&interval);
		top_memory(top);
		return;
	}
	screen_draw(top->screen, &interval, detailed ? &since : NULL);
	top_tables_done(&since);
	top_tables_done(&interval);
}

static void top_tick(void *arg, __u64 late)
{
	struct top *top = arg;

	if (top_advance(top))
		return;
	if (top->screen)
		top_draw(top);
	else
		top_print(top);
}

static void top_keys(void *arg, __u32 events)
{
	struct top *top = arg;

	if (!(events & EPOLLIN)) { /* the terminal has gone */
		top_end(top, 0);
		return;
	}
	for (;;) {
		switch (screen_keys(top->screen)) {
		case SCREEN_QUIT:
			top_end(top, 0);
			return;
		case SCREEN_TABLE:
			top_draw(top);
			break;
		case SCREEN_NOTHING:
			return;
		}
	}
}

static void top_resized(void *arg, int signo)
{
	struct top *top = arg;

	screen_resized(top->screen);
	top_draw(top);
}

/* What would be written across the picture. */
static void top_logged(void *arg, enum log_level level, const char *line)
{
	struct top *top = arg;

	screen_message(top->screen, line);
}

static int top_screen(struct top *top)
{
	struct loop *loop = source_loop(top->source);
	struct screen_options options = {
		.top = top->table,
		.source = source_name(top->source),
		.interval_ms = top->options->refresh / NS_PER_MS,
	};
	int err = screen_new(&options, &top->screen, &top->why);

	if (err)
		return err;
	log_set_sink(top_logged, top);
	err = loop_add_fd(loop, STDIN_FILENO, EPOLLIN, top_keys, top)
		      ?: loop_add_signal(loop, SIGWINCH, top_resized, top);
	if (err)
		return why_set(&top->why, err, "cannot watch the terminal: %s", strerror(-err));
	top_draw(top);
	return 0;
}

/* ---- both */

static void top_over(void *arg, __u64 late)
{
	top_end(arg, 0);
}

static void top_gone(void *arg)
{
	top_end(arg, 0);
}

static int top_timers(struct top *top)
{
	struct loop *loop = source_loop(top->source);
	int id = loop_add_timer(loop, top->options->refresh, top->options->refresh, top_tick, top);

	if (id >= 0 && top->options->top_duration)
		id = loop_add_timer(loop, top->options->top_duration, 0, top_over, top);
	return id < 0 ? why_set(&top->why, id, "cannot make a timer: %s", strerror(-id)) : 0;
}

/* A script may wait for the line before it makes requests: what comes from now on is in the table. */
static void top_begin(struct top *top)
{
	out_watch(source_loop(top->source), top_gone, top);
	log_info("observing by %s", source_name(top->source));
}

static int top_show(struct top *top)
{
	bool screen = !top->options->once && top->options->format == FORMAT_TEXT && isatty(STDOUT_FILENO);
	int err;

	err = source_stop_on_signals(top->source, &top->why) ?: top_advance(top) ?: top_timers(top);
	if (!err && screen)
		err = top_screen(top);
	else if (!err)
		top_begin(top);
	if (!err)
		err = source_run(top->source);
	log_set_sink(NULL, NULL);
	screen_free(top->screen);
	return err ?: top->err;
}

static enum exit_status top_run(const struct options *options)
{
	struct top top = { .options = options };
	int err;

	if (setup_filter(options, &top.filter, &top.why))
		return command_fail(EXIT_USAGE, "%s", top.why.text);
	top.table = (struct top_options){
		.sort = options->sort,
		.role = setup_role(options),
		.filter = &top.filter,
	};
	err = source_new(options, &top.source, &top.why);
	if (err)
		return command_fail(err == -EINVAL ? EXIT_USAGE : EXIT_FAILED, "%s", top.why.text);
	buf_init(&top.out, OUT_MAX);
	err = top_show(&top);
	buf_done(&top.out);
	snapshot_unref(top.now);
	snapshot_unref(top.before);
	snapshot_unref(top.first);
	source_free(top.source);
	return err ? command_fail(EXIT_FAILED, "%s", top.why.text) : EXIT_OK;
}

const struct command top_command = {
	.name = "top",
	.summary = "show the requests of each container, and what TCP, the scheduler and its JVMs tell of it",
	.verb = VERB_TOP,
	.text = "Asks a running agent through its socket, or loads its own programs when there is none. On a terminal it\n"
		"fills the screen (the key v shows the next table, ? lists the keys); otherwise it prints all, or one\n"
		"JSON object, each interval. Errors are answers with an error status (5xx; for a client 4xx too) and\n"
		"exchanges without one. Columns of containers: RETR/S segments sent again, RTT50 and RTT99 round trips,\n"
		"FAIL/S failed connects, RUNQ99 and WAITMAX time ready to run without a CPU, THROT% time stopped by the\n"
		"CPU limit, NEIGHBOUR who had the CPU for the longest part of the waits. Of JVMs, where there are some:\n"
		"STOP% time in which their threads stood still at safepoints, SAFE/S safepoints, PAUSE99 and PAUSEMAX\n"
		"pauses, SYNCMAX time until all threads had stopped, GC% time stopped for collections.\n",
	.example = "  weir top\n"
		   "  weir top --once --interval=5s --sort=p99\n"
		   "  weir top --sort=retransmits\n"
		   "  weir top --sort=pause\n"
		   "  weir top --once -o json | jq '.rows[] | [.container.name, .role, .requests_per_s]'\n"
		   "  weir top --once -o json | jq '.containers[] | [.container.name, .sched.neighbour]'\n",
	.run = top_run,
};
