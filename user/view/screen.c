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

struct screen {
	struct screen_options options;
	struct top_options top;
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

static const struct sort_key {
	int key;
	enum top_column column;
	const char *text;
} sort_keys[] = {
	{ 'r', TOP_RATE, "requests a second" },	     { 'e', TOP_ERRORS, "errors" },
	{ '5', TOP_P50, "median latency" },	     { '9', TOP_P90, "90th percentile" },
	{ 'p', TOP_P99, "99th percentile" },	     { 'm', TOP_MAX, "slowest request" },
	{ 'b', TOP_BYTES, "bytes a second" },	     { 'a', TOP_INFLIGHT, "requests in flight" },
	{ 'n', TOP_CONTAINER, "name of container" }, { 'o', TOP_ROLE, "role" },
};
#define SORT_KEYS_COUNT (sizeof(sort_keys) / sizeof(*sort_keys))

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
	for (size_t i = 0; i < SORT_KEYS_COUNT; i++) {
		if (sort_keys[i].key != key)
			continue;
		screen->top.ascending = screen->top.sort == sort_keys[i].column && !screen->top.ascending;
		screen->top.sort = sort_keys[i].column;
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
		role_next(screen);
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

static bool is_selected(const struct screen *screen, const struct top_row *row)
{
	return !strncmp(screen->selected_key, who_key(row->who), sizeof(screen->selected_key) - 1) &&
	       !strcmp(screen->selected_role, row->role);
}

static const struct top_row *selected_row(const struct screen *screen, const struct top_table *table)
{
	for (size_t i = 0; i < table->rows_count; i++)
		if (is_selected(screen, &table->rows[i]))
			return &table->rows[i];
	return NULL;
}

static void select_row(struct screen *screen, const struct top_table *table)
{
	long place = screen->selected;
	long last = (long)table->rows_count - 1;

	for (size_t i = 0; i < table->rows_count; i++)
		if (is_selected(screen, &table->rows[i]))
			place = i;
	place += screen->moves;
	screen->moves = 0;
	place = place > last ? last : place;
	place = place < 0 ? 0 : place;
	screen->selected = place;
	screen->rows_count = table->rows_count;
	if (last < 0)
		return;
	str_copy(screen->selected_key, sizeof(screen->selected_key), who_key(table->rows[place].who));
	str_copy(screen->selected_role, sizeof(screen->selected_role), table->rows[place].role);
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

static void status_draw(struct screen *screen, const struct top_table *table)
{
	char clock[TIME_ROOM];
	double requests = 0;

	for (size_t i = 0; i < table->rows_count; i++)
		requests += table->rows[i].hist.count;
	if (table->interval_ns)
		requests /= table->interval_ns / 1e9;
	time_format_clock(table->time_unix_ns, clock);
	buf_reset(&screen->text);
	buf_printf(&screen->text, "weir  %.8s  %zu rows  %.1f requests/s  sorted by %s%s%s  every %g s  %s", clock,
		   table->rows_count, requests, top_column_title(screen->top.sort),
		   screen->top.ascending ? " (reversed)" : "",
		   !screen->top.role			 ? ""
		   : !strcmp(screen->top.role, "server") ? "  only servers"
							 : "  only clients",
		   screen->options.interval_ms / 1000.0, screen->options.source);
	line_draw(0, screen->text.data, screen->text.used, A_NORMAL);
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
		static const char help[] = "q quit  ? help  / search  Enter detail  t role  sort: r e 5 9 p m b a n o";

		line_draw(LINES - 1, help, sizeof(help) - 1, A_DIM);
	}
}

/* The text of the table is made for all rows and shown in part: the columns are the same as those of --once. */
static void table_draw(struct screen *screen, const struct top_table *table)
{
	size_t room = LINES > HEADER_LINES + 1 ? LINES - HEADER_LINES - 1 : 0;
	const char *at;
	size_t line = 0;

	select_row(screen, table);
	scroll_rows(screen, room);
	status_draw(screen, table);
	buf_reset(&screen->text);
	top_text(table, COLS, &screen->text);
	at = screen->text.data;
	line_draw(1, at, strcspn(at, "\n"), A_REVERSE);
	for (at += strcspn(at, "\n"); *at && *++at; at += strcspn(at, "\n"), line++) {
		attr_t attributes = line == screen->selected ? A_REVERSE : A_NORMAL;

		if (line < screen->first || line >= screen->first + room)
			continue;
		if (table->rows[line].errors && has_colors())
			attributes |= COLOR_PAIR(1);
		line_draw(HEADER_LINES + line - screen->first, at, strcspn(at, "\n"), attributes);
	}
	if (!table->rows_count)
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

static void detail_text(struct screen *screen, const struct top_table *interval, const struct top_table *since,
			const struct top_row *row)
{
	const struct top_row *now = selected_row(screen, interval);
	char seconds[STR_NUMBER_ROOM];
	struct buf *out = &screen->text;
	unsigned bars = LINES > 30 ? LINES / 2 - 4 : 11;

	buf_reset(out);
	who_print(row->who, out);
	buf_printf(out, "  %s\n", row->role);
	who_draw(row->who, out);
	buf_add_char(out, '\n');
	top_text(&(struct top_table){ .interval_ns = interval->interval_ns,
				      .rows_count = now ? 1 : 0,
				      .rows = (struct top_row *)now },
		 COLS, out);
	buf_printf(out, "\nlatency of %llu requests in %s\n", (unsigned long long)row->hist.count,
		   str_format_duration(since->interval_ns, seconds));
	hist_draw(&row->hist, COLS, bars, out);
	routes_draw(row, out);
}

static void detail_draw(struct screen *screen, const struct top_table *interval, const struct top_table *since)
{
	const struct top_row *row = selected_row(screen, since);
	unsigned room = LINES > 1 ? LINES - 1 : 1;
	unsigned count;
	long first = (long)screen->detail_first + screen->moves;

	screen->moves = 0;
	if (!row) {
		screen->view = VIEW_TABLE;
		table_draw(screen, interval);
		return;
	}
	detail_text(screen, interval, since, row);
	count = 0;
	for (const char *at = screen->text.data; *at; at++)
		count += *at == '\n';
	first = first + room > count ? (long)count - (long)room : first;
	screen->detail_first = first < 0 ? 0 : first;
	lines_draw(&screen->text, screen->detail_first, 0, LINES - 1);
}

static void help_draw(struct screen *screen)
{
	struct buf *out = &screen->text;

	buf_reset(out);
	buf_add_str(out,
		    "weir top: who serves and makes which requests, how fast, with what errors\n\n"
		    "  Enter        detail of the selected row: latency histogram and routes\n"
		    "  up, down     select a row (also j, k, page up, page down, Home, End)\n"
		    "  /            show only rows whose container, pod or namespace holds a text; Esc: all again\n"
		    "  t            servers, clients, both\n"
		    "  ?            this page\n"
		    "  q            back, or quit\n\n"
		    "Sort by (the same key again: the other way round)\n");
	for (size_t i = 0; i < SORT_KEYS_COUNT; i++)
		buf_printf(out, "  %c            %s\n", sort_keys[i].key, sort_keys[i].text);
	buf_add_str(
		out,
		"\nAll figures are of the last interval. ERR%: answers with an error status (5xx; for a client 4xx\n"
		"too) and exchanges that ended without one. ACTIVE: requests in flight now.\n");
	lines_draw(out, 0, 0, LINES - 1);
}

void screen_draw(struct screen *screen, const struct top_table *interval, const struct top_table *since)
{
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
