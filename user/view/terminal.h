/* Takes the terminal over for a full screen, and gives it back on every way out: terminal_restore(), exit(), and a signal
 * that kills. One screen at a time. */
#ifndef WEIR_VIEW_TERMINAL_H
#define WEIR_VIEW_TERMINAL_H

struct why;

/* -ENOTTY: standard input or output is none; -EINVAL: TERM is not known. Colour pair 1 is a warning's. */
int terminal_take(struct why *why);
void terminal_restore(void); /* does nothing when it was not taken */

#endif
