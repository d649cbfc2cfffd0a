#include "view/terminal.h"

#include <curses.h>
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

#include "base/str.h"
#include "base/why.h"

/* Mutable statics because a handler of fatal signals and atexit() get no argument. */
static struct termios terminal_before;
static char terminal_leave[64];
static size_t terminal_leave_bytes;
static volatile sig_atomic_t terminal_taken;

static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGQUIT };

void terminal_restore(void)
{
	if (terminal_taken)
		endwin();
	terminal_taken = 0;
}

/* Only what may be called in a signal handler: no curses. The default action follows: a core dump as ever. */
static void terminal_rescue(int signo)
{
	if (terminal_taken) {
		ssize_t written = write(STDOUT_FILENO, terminal_leave, terminal_leave_bytes);

		(void)written;
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
	}
	raise(signo); /* SA_RESETHAND: the default action, when the handler returns */
}

static void terminal_leave_add(const char *capability)
{
	const char *text = tigetstr(capability);

	if (!text || text == (const char *)-1)
		return;
	terminal_leave_bytes +=
		str_copy(terminal_leave + terminal_leave_bytes, sizeof(terminal_leave) - terminal_leave_bytes, text);
}

static void terminal_guard(void)
{
	static bool once; /* atexit() must not be called again for a second screen */
	struct sigaction action = { .sa_handler = terminal_rescue, .sa_flags = SA_RESETHAND };

	terminal_leave_bytes = 0;
	terminal_leave_add("sgr0");
	terminal_leave_add("cnorm");
	terminal_leave_add("rmcup");
	for (size_t i = 0; i < sizeof(fatal_signals) / sizeof(*fatal_signals); i++)
		sigaction(fatal_signals[i], &action, NULL);
	if (!once)
		atexit(terminal_restore);
	once = true;
}

int terminal_take(struct why *why)
{
	int err;

	/* Our text is UTF-8 whatever the locale; in a container there is often none. */
	if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1)
		setlocale(LC_CTYPE, "C.UTF-8");
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return why_set(why, -ENOTTY, "this is no terminal: use --once or -o json");
	if (tcgetattr(STDIN_FILENO, &terminal_before))
		return why_set(why, -errno, "cannot read the terminal's settings: %s", strerror(errno));
	/* initscr() would end the program on a bad TERM; setupterm() says so. */
	if (setupterm(NULL, STDOUT_FILENO, &err) != OK)
		return why_set(why, -EINVAL, "the terminal type '%.50s' is not known: set TERM, or use --once",
			       getenv("TERM") ?: "");
	/* initscr() makes its own. */
	del_curterm(set_curterm(NULL));
	if (!initscr())
		return why_set(why, -EINVAL, "cannot take the terminal: use --once");
	terminal_taken = 1;
	terminal_guard();
	cbreak();
	noecho();
	nonl();
	curs_set(0);
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(25);
	if (has_colors()) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_RED, -1);
	}
	return 0;
}
