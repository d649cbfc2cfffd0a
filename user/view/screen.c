#include "view/screen.h"

#include <curses.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "view/hist.h"
#include "view/terminal.h"
#include "view/who.h"

#define SEARCH_MAX   64
#define KEY_TEXT_MAX 512
#define HEADER_LINES 2 /* state, titles */
#define KEY_ESCAPE   27

enum view { VIEW_TABLE, VIEW_DETAIL, VIEW_HELP };

enum shown { SHOW_REQUESTS, SHOW_CONTAINERS, SHOW_JVMS, SHOW_MAX };

struct order {
	enum top_column sort;
	bool ascending;
};

struct screen {
	struct screen_options options;
	struct top_options top; /* sorted as the table shown */
	enum shown shown;
	struct order orders[SHOW_MAX]; /* of the tables that are not shown */
	bool jvms;		       /* the last tables have one of JVMs with rows */
	enum view view;
	bool searching; /* keys go into .search */
	char search[SEARCH_MAX];
	/* The selected row is remembered by who it is, not by its place: rows move. */
	char selected_key[KEY_TEXT_MAX];
	char selected_role[8];
	size_t selected, first; /* places in the last table drawn */
	size_t rows_count;
	int moves;	       /* lines the selection is to move at the next drawing */
	unsigned detail_first; /* first line shown of the detail view */
	char message[256];
	struct buf text;
};

int screen_new(const struct screen_options *options, struct screen **ret, struct why *why)
{
	struct screen *screen = calloc(1, sizeof(*screen));
	int err;

	if (!screen)
		return why_set(why, -ENOMEM, "no memory");
	err = terminal_take(why);
	if (err) {
		free(screen);
		return err;
	}
	screen->options = *options;
	screen->top = options->top;
	screen->top.search = screen->search;
	screen->shown = top_sorts(options->top.sort)	      ? SHOW_REQUESTS
			: containers_sorts(options->top.sort) ? SHOW_CONTAINERS
							      : SHOW_JVMS;
	screen->orders[SHOW_REQUESTS].sort = TOP_RATE;
	screen->orders[SHOW_CONTAINERS].sort = TOP_CPU;
	screen->orders[SHOW_JVMS].sort = TOP_STOPPED;
	buf_init(&screen->text, 1 << 20);
	*ret = screen;
	return 0;
}

void screen_free(struct screen *screen)
{
	if (!screen)
		return;
	terminal_restore();
	buf_done(&screen->text);
	free(screen);
}

void screen_resized(struct screen *screen)
{
	struct winsize size;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row && size.ws_col)
		resizeterm(size.ws_row, size.ws_col);
	clear();
}

const struct top_options *screen_options(const struct screen *screen)
{
	return &screen->top;
}

bool screen_detailed(const struct screen *screen)
{
	return screen->view == VIEW_DETAIL;
}

void screen_message(struct screen *screen, const char *text)
{
	str_copy(screen->message, sizeof(screen->message), text);
}

/* ---- keys */

struct sort_key {
	int key;
	enum top_column column;
	const char *text;
};

static const struct sort_key request_keys[] = {
	{ 'r', TOP_RATE, "requests a second" },	     { 'e', TOP_ERRORS, "errors" },
	{ '5', TOP_P50, "median latency" },	     { '9', TOP_P90, "90th percentile" },
	{ 'p', TOP_P99, "99th percentile" },	     { 'm', TOP_MAX, "slowest request" },
	{ 'b', TOP_BYTES, "bytes a second" },	     { 'a', TOP_INFLIGHT, "requests in flight" },
	{ 'n', TOP_CONTAINER, "name of container" }, { 'o', TOP_ROLE, "role" },
};

static const struct sort_key container_keys[] = {
	{ 'r', TOP_RETRANSMITS, "retransmitted segments a second" },
	{ 'l', TOP_RTT, "99th percentile of the round-trip time" },
	{ 'f', TOP_FAILED, "failed connects a second" },
	{ 's', TOP_CONNS, "open connections" },
	{ 'c', TOP_CPU, "CPU time" },
	{ 'w', TOP_RUNQ, "99th percentile of the wait for a CPU" },
	{ 'x', TOP_THROTTLED, "time throttled" },
	{ 'n', TOP_CONTAINER, "name of container" },
};

static const struct sort_key jvm_keys[] = {
	{ 's', TOP_STOPPED, "time stopped" },	     { 'p', TOP_PAUSE, "longest pause" },
	{ 'c', TOP_GC, "time in collections" },	     { 'm', TOP_HEAP, "heap in use" },
	{ 'n', TOP_CONTAINER, "name of container" },
};

/* What the tables have of their own on the screen. */
static const struct shown_text {
	const struct sort_key *keys;
	size_t keys_count;
	const char *foot;
	const char *about, *detail, *explain; /* of the help page, which fits on 24 lines */
} shown_texts[SHOW_MAX] = {
	[SHOW_REQUESTS] = {
		.keys = request_keys,
		.keys_count = sizeof(request_keys) / sizeof(*request_keys),
		.foot = "q quit  ? help  / find  Enter detail  v table  t role  sort: r e 5 9 p m b a n o",
		.about = "who serves and makes which requests, how fast, with what errors",
		.detail = "latency histogram and routes",
		.explain = "All figures are of the last interval. ERR%: answers with an error status (5xx; for a client\n"
			   "4xx too) and exchanges that ended without one. ACTIVE: requests in flight now.\n",
	},
	[SHOW_CONTAINERS] = {
		.keys = container_keys,
		.keys_count = sizeof(container_keys) / sizeof(*container_keys),
		.foot = "q quit  ? help  / find  Enter detail  v table  sort: r l f s c w x n",
		.about = "what TCP and the scheduler tell of each container",
		.detail = "round trips and waits for a CPU",
		.explain = "All figures are of the last interval; CPU% 100 is one CPU. CONN: open now.\n"
			   "FAIL/S: connects that failed. DROP/S: connections refused by a full listener.\n"
			   "RUNQ99, WAITMAX: time ready to run without a CPU. THROT%: time stopped by the\n"
			   "CPU limit. NEIGHBOUR: who had the CPU for the longest part of those waits.\n",
	},
	[SHOW_JVMS] = {
		.keys = jvm_keys,
		.keys_count = sizeof(jvm_keys) / sizeof(*jvm_keys),
		.foot = "q quit  ? help  / find  Enter detail  v table  sort: s p c m n",
		.about = "how long the JVMs of each container stood still, and their heaps",
		.detail = "pauses and times to safepoint",
		.explain = "All figures are of the last interval. STOP%: time in which all threads of a JVM\n"
			   "stood still at safepoints; 100 is one JVM all the time. SAFE/S: safepoints.\n"
			   "PAUSE99, PAUSEMAX: from the order to stop until they went on. SYNCMAX: until\n"
			   "the last had stopped. GC%: time stopped for collections. HEAP, HEAPMAX, THREADS:\n"
			   "now, all JVMs of the container together.\n",
	},
};

static void search_erase(struct screen *screen)
{
	size_t bytes = strlen(screen->search);

	while (bytes && ((unsigned char)screen->search[bytes - 1] & 0xc0) == 0x80)
		bytes--;
	screen->search[bytes ? bytes - 1 : 0] = '\0';
}

static enum screen_wish key_search(struct screen *screen, int key)
{
	size_t bytes = strlen(screen->search);

	if (key == '\r' || key == '\n' || key == KEY_ENTER) {
		screen->searching = false;
	} else if (key == KEY_ESCAPE) {
		screen->searching = false;
		screen->search[0] = '\0';
	} else if (key == KEY_BACKSPACE || key == 127 || key == 8) {
		search_erase(screen);
	} else if (key >= ' ' && key < 256 && bytes + 1 < sizeof(screen->search)) {
		screen->search[bytes] = key; /* UTF-8 comes byte by byte */
		screen->search[bytes + 1] = '\0';
	}
	return SCREEN_TABLE;
}

static enum screen_wish key_sort(struct screen *screen, int key)
{
	const struct shown_text *text = &shown_texts[screen->shown];

	for (size_t i = 0; i < text->keys_count; i++) {
		if (text->keys[i].key != key)
			continue;
		screen->top.ascending = screen->top.sort == text->keys[i].column && !screen->top.ascending;
		screen->top.sort = text->keys[i].column;
		return SCREEN_TABLE;
	}
	return SCREEN_NOTHING;
}

/* Lines that a key moves by; 0: no such key. */
static int key_moves(int key)
{
	int page = LINES > HEADER_LINES + 2 ? LINES - HEADER_LINES - 2 : 1;

	switch (key) {
	case KEY_UP:
	case 'k':
		return -1;
	case KEY_DOWN:
	case 'j':
		return 1;
	case KEY_PPAGE:
		return -page;
	case KEY_NPAGE:
	case ' ':
		return page;
	case KEY_HOME:
	case 'g':
		return -1000000;
	case KEY_END:
	case 'G':
		return 1000000;
	default:
		return 0;
	}
}

static void role_next(struct screen *screen)
{
	const char *role = screen->top.role;

	screen->top.role = !role ? "server" : !strcmp(role, "server") ? "client" : NULL;
}

/* Each table keeps its order while another is shown. Most machines have no JVM, and no need of a table of them. */
static void shown_next(struct screen *screen)
{
	screen->orders[screen->shown] = (struct order){ .sort = screen->top.sort, .ascending = screen->top.ascending };
	screen->shown = (screen->shown + 1) % SHOW_MAX;
	if (screen->shown == SHOW_JVMS && !screen->jvms)
		screen->shown = SHOW_REQUESTS;
	screen->top.sort = screen->orders[screen->shown].sort;
	screen->top.ascending = screen->orders[screen->shown].ascending;
}

static enum screen_wish key_table(struct screen *screen, int key)
{
	switch (key) {
	case 'q':
		return SCREEN_QUIT;
	case KEY_ESCAPE:
		screen->search[0] = '\0';
		return SCREEN_TABLE;
	case '/':
		screen->searching = true;
		return SCREEN_TABLE;
	case 't':
		if (screen->shown == SHOW_REQUESTS)
			role_next(screen);
		return SCREEN_TABLE;
	case 'v':
		shown_next(screen);
		return SCREEN_TABLE;
	case '\r':
	case '\n':
	case KEY_ENTER:
		screen->view = screen->rows_count ? VIEW_DETAIL : VIEW_TABLE;
		screen->detail_first = 0;
		return SCREEN_TABLE;
	default:
		return key_sort(screen, key);
	}
}

static enum screen_wish key_one(struct screen *screen, int key)
{
	int moves = key_moves(key);

	screen->message[0] = '\0';
	if (key == KEY_RESIZE || key == 12) { /* ^L */
		clear();
		return SCREEN_TABLE;
	}
	if (screen->searching)
		return key_search(screen, key);
	if (moves) {
		screen->moves += moves;
		return SCREEN_TABLE;
	}
	if (key == '?' || key == 'h') {
		screen->view = screen->view == VIEW_HELP ? VIEW_TABLE : VIEW_HELP;
		return SCREEN_TABLE;
	}
	if (screen->view == VIEW_TABLE)
		return key_table(screen, key);
	if (key == 'q' || key == KEY_ESCAPE || key == '\r' || key == KEY_ENTER || key == KEY_LEFT)
		screen->view = VIEW_TABLE;
	return SCREEN_TABLE;
}

enum screen_wish screen_keys(struct screen *screen)
{
	int key;

	while ((key = getch()) != ERR) {
		enum screen_wish wish = key_one(screen, key);

		if (wish != SCREEN_NOTHING)
			return wish;
	}
	return SCREEN_NOTHING;
}

/* ---- drawing */

/* One line of text at @y, cut to the screen. */
static void line_draw(int y, const char *text, size_t bytes, attr_t attributes)
{
	char line[1024];

	if (y < 0 || y >= LINES)
		return;
	if (bytes >= sizeof(line))
		bytes = sizeof(line) - 1;
	memcpy(line, text, bytes);
	line[bytes] = '\0';
	while (bytes && !utf8_valid(line, bytes)) /* cut in the middle of a character */
		line[--bytes] = '\0';
	line[utf8_prefix(line, COLS)] = '\0';
	attrset(attributes);
	mvaddstr(y, 0, line);
	attrset(A_NORMAL);
}

/* Lines of @text from number @first on, at screen lines @top .. @bottom - 1. Returns how many lines there are in all. */
static unsigned lines_draw(const struct buf *text, unsigned first, int top, int bottom)
{
	const char *at = text->data;
	unsigned count = 0;

	while (*at) {
		size_t bytes = strcspn(at, "\n");
		int y = top + (int)count - (int)first;

		if (count >= first && y < bottom)
			line_draw(y, at, bytes, A_NORMAL);
		count++;
		at += bytes + (at[bytes] == '\n');
	}
	return count;
}

/* The table that is shown, as far as they are alike. */

static size_t shown_count(const struct screen *screen, const struct top_tables *tables)
{
	switch (screen->shown) {
	case SHOW_REQUESTS:
		return tables->requests.rows_count;
	case SHOW_CONTAINERS:
		return tables->containers.rows_count;
	case SHOW_JVMS:
		return tables->jvms.rows_count;
	case SHOW_MAX:
		break;
	}
	return 0;
}

static const struct workload *shown_who(const struct screen *screen, const struct top_tables *tables, size_t row)
{
	switch (screen->shown) {
	case SHOW_REQUESTS:
		return tables->requests.rows[row].who;
	case SHOW_CONTAINERS:
		return tables->containers.rows[row].who;
	case SHOW_JVMS:
		return tables->jvms.rows[row]->who;
	case SHOW_MAX:
		break;
	}
	return NULL;
}

/* "" where rows are not told apart by it. */
static const char *shown_role(const struct screen *screen, const struct top_tables *tables, size_t row)
{
	return screen->shown == SHOW_REQUESTS ? tables->requests.rows[row].role : "";
}

static bool shown_bad(const struct screen *screen, const struct top_tables *tables, size_t row)
{
	const __u64 *totals;

	if (screen->shown == SHOW_REQUESTS)
		return tables->requests.rows[row].errors;
	if (screen->shown == SHOW_JVMS)
		return false;
	totals = tables->containers.rows[row].totals;
	return totals[TOTAL_FAILED] || totals[TOTAL_DROPS];
}

static void shown_table_text(const struct screen *screen, const struct top_tables *tables, struct buf *out)
{
	switch (screen->shown) {
	case SHOW_REQUESTS:
		top_text(&tables->requests, COLS, out);
		break;
	case SHOW_CONTAINERS:
		containers_text(&tables->containers, COLS, out);
		break;
	case SHOW_JVMS:
		jvms_text(&tables->jvms, COLS, out);
		break;
	case SHOW_MAX:
		break;
	}
}

static bool is_selected(const struct screen *screen, const struct top_tables *tables, size_t row)
{
	return !strncmp(screen->selected_key, who_key(shown_who(screen, tables, row)),
			sizeof(screen->selected_key) - 1) &&
	       !strcmp(screen->selected_role, shown_role(screen, tables, row));
}

/* Its place; -1: it is not in this table. */
static long selected_row(const struct screen *screen, const struct top_tables *tables)
{
	for (size_t i = 0; i < shown_count(screen, tables); i++)
		if (is_selected(screen, tables, i))
			return (long)i;
	return -1;
}

static void select_row(struct screen *screen, const struct top_tables *tables)
{
	long found = selected_row(screen, tables);
	long place = found < 0 ? (long)screen->selected : found;
	long last = (long)shown_count(screen, tables) - 1;

	place += screen->moves;
	screen->moves = 0;
	place = place > last ? last : place;
	place = place < 0 ? 0 : place;
	screen->selected = place;
	screen->rows_count = last + 1;
	if (last < 0)
		return;
	str_copy(screen->selected_key, sizeof(screen->selected_key), who_key(shown_who(screen, tables, place)));
	str_copy(screen->selected_role, sizeof(screen->selected_role), shown_role(screen, tables, place));
}

/* First row on the screen, such that the selected one is. */
static void scroll_rows(struct screen *screen, size_t room)
{
	if (screen->selected < screen->first)
		screen->first = screen->selected;
	if (room && screen->selected >= screen->first + room)
		screen->first = screen->selected - room + 1;
	if (screen->first + room > screen->rows_count)
		screen->first = screen->rows_count > room ? screen->rows_count - room : 0;
}

static void status_requests(const struct screen *screen, const struct top_table *table, struct buf *out)
{
	double requests = 0;

	for (size_t i = 0; i < table->rows_count; i++)
		requests += table->rows[i].hist.count;
	if (table->interval_ns)
		requests /= table->interval_ns / 1e9;
	buf_printf(out, "%zu rows  %.1f requests/s  sorted by %s%s%s", table->rows_count, requests,
		   top_column_title(screen->top.sort), screen->top.ascending ? " (reversed)" : "",
		   !screen->top.role			 ? ""
		   : !strcmp(screen->top.role, "server") ? "  only servers"
							 : "  only clients");
}

static void status_draw(struct screen *screen, const struct top_tables *tables)
{
	struct buf *out = &screen->text;
	char clock[TIME_ROOM];

	time_format_clock(tables->requests.time_unix_ns, clock);
	buf_reset(out);
	buf_printf(out, "weir  %.8s  ", clock);
	if (screen->shown == SHOW_REQUESTS)
		status_requests(screen, &tables->requests, out);
	else
		buf_printf(out, "%zu containers%s  sorted by %s%s", shown_count(screen, tables),
			   screen->shown == SHOW_JVMS ? " with JVMs" : "",
			   screen->shown == SHOW_JVMS ? jvms_sort_title(screen->top.sort)
						      : containers_sort_title(screen->top.sort),
			   screen->top.ascending ? " (reversed)" : "");
	buf_printf(out, "  every %g s  %s", screen->options.interval_ms / 1000.0, screen->options.source);
	line_draw(0, out->data, out->used, A_NORMAL);
}

static void foot_draw(const struct screen *screen)
{
	char line[SEARCH_MAX + 16];

	if (screen->searching || (screen->search[0] && !screen->message[0])) {
		snprintf(line, sizeof(line), "/%s%s", screen->search, screen->searching ? "_" : "");
		line_draw(LINES - 1, line, strlen(line), A_BOLD);
	} else if (screen->message[0]) {
		line_draw(LINES - 1, screen->message, strlen(screen->message), A_BOLD);
	} else {
		const char *help = shown_texts[screen->shown].foot;

		line_draw(LINES - 1, help, strlen(help), A_DIM);
	}
}

/* The text of the table is made for all rows and shown in part: the columns are the same as those of --once. */
static void table_draw(struct screen *screen, const struct top_tables *tables)
{
	size_t room = LINES > HEADER_LINES + 1 ? LINES - HEADER_LINES - 1 : 0;
	const char *at;
	size_t line = 0;

	select_row(screen, tables);
	scroll_rows(screen, room);
	status_draw(screen, tables);
	buf_reset(&screen->text);
	shown_table_text(screen, tables, &screen->text);
	at = screen->text.data;
	line_draw(1, at, strcspn(at, "\n"), A_REVERSE);
	for (at += strcspn(at, "\n"); *at && *++at; at += strcspn(at, "\n"), line++) {
		attr_t attributes = line == screen->selected ? A_REVERSE : A_NORMAL;

		if (line < screen->first || line >= screen->first + room)
			continue;
		if (shown_bad(screen, tables, line) && has_colors())
			attributes |= COLOR_PAIR(1);
		line_draw(HEADER_LINES + line - screen->first, at, strcspn(at, "\n"), attributes);
	}
	if (!screen->rows_count)
		line_draw(HEADER_LINES + 1, "  nothing to show", 17, A_DIM);
}

static void who_draw(const struct workload *who, struct buf *out)
{
	static const struct {
		const char *title;
		size_t offset;
	} lines[] = {
		{ "container id", offsetof(struct workload, container_id) },
		{ "runtime", offsetof(struct workload, runtime) },
		{ "pod uid", offsetof(struct workload, pod_uid) },
		{ "cgroup", offsetof(struct workload, cgroup) },
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		const char *text = *(const char *const *)((const char *)who + lines[i].offset);

		if (*text)
			buf_printf(out, "  %-13s %s\n", lines[i].title, text);
	}
}

static void routes_draw(const struct top_row *row, struct buf *out)
{
	char p50[STR_NUMBER_ROOM], p99[STR_NUMBER_ROOM], max[STR_NUMBER_ROOM];

	buf_printf(out, "\n  %9s %6s %8s %8s %8s  %s\n", "REQUESTS", "ERR%", "P50", "P99", "MAX", "ROUTE");
	for (size_t i = 0; i < row->routes_count; i++) {
		const struct top_route *route = &row->routes[i];

		buf_printf(out, "  %9llu %6.1f %8s %8s %8s  %s\n", (unsigned long long)route->hist.count,
			   100.0 * route->errors / route->hist.count,
			   str_format_duration(hist_quantile_ns(&route->hist, 0.50), p50),
			   str_format_duration(hist_quantile_ns(&route->hist, 0.99), p99),
			   str_format_duration(hist_quantile_ns(&route->hist, 1.00), max), route->name);
	}
}

static void detail_requests(const struct top_tables *interval, const struct top_table *since, long now, size_t place,
			    struct buf *out)
{
	const struct top_row *row = &since->rows[place];
	char seconds[STR_NUMBER_ROOM];

	top_text(&(struct top_table){ .interval_ns = interval->requests.interval_ns,
				      .rows_count = now < 0 ? 0 : 1,
				      .rows = now < 0 ? NULL : &interval->requests.rows[now] },
		 COLS, out);
	buf_printf(out, "\nlatency of %llu requests in %s\n", (unsigned long long)row->hist.count,
		   str_format_duration(since->interval_ns, seconds));
	hist_draw(&row->hist, COLS, LINES > 30 ? LINES / 2 - 4 : 11, out);
	routes_draw(row, out);
}

static void times_draw(const struct hist *times, const char *what, __u64 interval_ns, struct buf *out)
{
	char seconds[STR_NUMBER_ROOM];

	buf_printf(out, "\n%llu %s in %s\n", (unsigned long long)times->count, what,
		   str_format_duration(interval_ns, seconds));
	hist_draw(times, COLS, LINES > 40 ? LINES / 2 - 9 : 11, out);
}

static void detail_containers(const struct top_tables *interval, const struct containers_table *since, long now,
			      size_t place, struct buf *out)
{
	const struct containers_row *row = &since->rows[place];

	containers_text(&(struct containers_table){ .interval_ns = interval->containers.interval_ns,
						    .rows_count = now < 0 ? 0 : 1,
						    .rows = now < 0 ? NULL : &interval->containers.rows[now] },
			COLS, out);
	times_draw(&row->times[TIMES_RTT], "round-trip times", since->interval_ns, out);
	times_draw(&row->times[TIMES_RUNQ], "waits for a CPU", since->interval_ns, out);
}

static void detail_jvms(const struct top_tables *interval, const struct jvms_table *since, long now, size_t place,
			struct buf *out)
{
	const struct containers_row *row = since->rows[place];

	jvms_text(&(struct jvms_table){ .interval_ns = interval->jvms.interval_ns,
					.rows_count = now < 0 ? 0 : 1,
					.rows = now < 0 ? NULL : &interval->jvms.rows[now] },
		  COLS, out);
	times_draw(&row->times[TIMES_PAUSES], "pauses", since->interval_ns, out);
	times_draw(&row->times[TIMES_SYNC], "times to safepoint", since->interval_ns, out);
}

static void detail_text(struct screen *screen, const struct top_tables *interval, const struct top_tables *since,
			size_t place)
{
	const struct workload *who = shown_who(screen, since, place);
	const char *role = shown_role(screen, since, place);
	long now = selected_row(screen, interval);
	struct buf *out = &screen->text;

	buf_reset(out);
	who_print(who, out);
	buf_printf(out, "%s%s\n", *role ? "  " : "", role);
	who_draw(who, out);
	buf_add_char(out, '\n');
	if (screen->shown == SHOW_REQUESTS)
		detail_requests(interval, &since->requests, now, place, out);
	else if (screen->shown == SHOW_CONTAINERS)
		detail_containers(interval, &since->containers, now, place, out);
	else
		detail_jvms(interval, &since->jvms, now, place, out);
}

static void detail_draw(struct screen *screen, const struct top_tables *interval, const struct top_tables *since)
{
	long place = selected_row(screen, since);
	unsigned room = LINES > 1 ? LINES - 1 : 1;
	unsigned count;
	long first = (long)screen->detail_first + screen->moves;

	screen->moves = 0;
	if (place < 0) {
		screen->view = VIEW_TABLE;
		table_draw(screen, interval);
		return;
	}
	detail_text(screen, interval, since, place);
	count = 0;
	for (const char *at = screen->text.data; *at; at++)
		count += *at == '\n';
	first = first + room > count ? (long)count - (long)room : first;
	screen->detail_first = first < 0 ? 0 : first;
	lines_draw(&screen->text, screen->detail_first, 0, LINES - 1);
}

static void help_draw(struct screen *screen)
{
	const struct shown_text *text = &shown_texts[screen->shown];
	struct buf *out = &screen->text;

	buf_reset(out);
	buf_printf(out,
		   "weir top: %s\n\n"
		   "  Enter        detail of the selected row: %s\n"
		   "  v            the next table: requests, containers, JVMs where there are some\n"
		   "  up, down     select a row (also j, k, page up, page down, Home, End)\n"
		   "  /            show only rows whose container, pod or namespace holds a text; Esc: all again\n",
		   text->about, text->detail);
	if (screen->shown == SHOW_REQUESTS)
		buf_add_str(out, "  t            servers, clients, both\n");
	buf_add_str(out, "  ?, q         this page; back, or quit\n\n"
			 "Sort by (the same key again: the other way round)\n");
	for (size_t i = 0; i < text->keys_count; i++)
		buf_printf(out, "  %c            %s\n", text->keys[i].key, text->keys[i].text);
	buf_printf(out, "\n%s", text->explain);
	lines_draw(out, 0, 0, LINES - 1);
}

void screen_draw(struct screen *screen, const struct top_tables *interval, const struct top_tables *since)
{
	screen->jvms = interval->jvms.rows_count;
	erase();
	if (screen->view == VIEW_HELP)
		help_draw(screen);
	else if (screen->view == VIEW_DETAIL && since)
		detail_draw(screen, interval, since);
	else
		table_draw(screen, interval);
	foot_draw(screen);
	refresh();
}
