/* The tables of view/tables.h on a terminal, one at a time, with keys: sorting, a search, a detail view of one row, help.
 * Knows nothing of where tables come from: give it tables, ask it what to make next.
 * The terminal is as it was before on every way out: screen_free(), exit(), and a fatal signal. One at a time. */
#ifndef WEIR_VIEW_SCREEN_H
#define WEIR_VIEW_SCREEN_H

#include <stdbool.h>

#include "view/tables.h"

struct screen;
struct why;

struct screen_options {
	struct top_options top; /* to begin with; the table that has the column .sort is shown first */
	const char *source;	/* where the data comes from, for the first line */
	unsigned interval_ms;
};

enum screen_wish {
	SCREEN_NOTHING,
	SCREEN_TABLE, /* sort, search or view have changed: make the tables again from the same snapshots and draw */
	SCREEN_QUIT,
};

/* Takes over the terminal. -ENOTTY: standard input or output is none; -EINVAL: TERM is not known. */
int screen_new(const struct screen_options *options, struct screen **ret, struct why *why);
void screen_free(struct screen *screen); /* gives it back; NULL is fine */

/* Handles the keys that wait on standard input up to the first that wishes for something: call it again, after that has
 * been done, until it answers SCREEN_NOTHING. What a key means may depend on what the one before has put on the screen. */
enum screen_wish screen_keys(struct screen *screen);
/* The terminal's size has changed (SIGWINCH). */
void screen_resized(struct screen *screen);
/* How tables are to be made now. Borrowed, valid until the next screen_keys(). */
const struct top_options *screen_options(const struct screen *screen);
/* True while the detail view is open: it wants the sums since the view began beside those of the interval. */
bool screen_detailed(const struct screen *screen);
/* A line for the bottom of the screen (what would otherwise go to stderr); copied. */
void screen_message(struct screen *screen, const char *text);
/* @interval: what happened in the last interval. @since: since the view began, used by the detail view; NULL: no detail. */
void screen_draw(struct screen *screen, const struct top_tables *interval, const struct top_tables *since);

#endif
