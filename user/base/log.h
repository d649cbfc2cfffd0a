/* The log: one line a message to standard error (or a sink of one's own), any thread. Only pipeline and cmd log above
 * debug; everybody else returns a struct why. The same message (same place in the source) is written LOG_BURST times,
 * then counted, and the count is written every LOG_REPEAT_NS, so a fault that repeats cannot flood anybody.
 * Lines are sanitised: what came from the network cannot reach a terminal as an escape sequence. */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include <linux/types.h>

/* Not LOG_*: that is syslog's. */
enum log_level { LEVEL_ERROR = 0, LEVEL_WARN = 1, LEVEL_INFO = 2, LEVEL_DEBUG = 3, LEVEL_MAX = 4 };

#define LOG_BURST     3
#define LOG_REPEAT_NS (30ull * 1000000000ull)

/* Levels above this are not written. LEVEL_INFO at start. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* "error", "warn", "info", "debug" -> 0 and *ret_level, or -EINVAL. */
int log_level_from_str(const char *text, enum log_level *ret_level);
/* Takes lines away from standard error (a full-screen view does); NULL gives them back. @line has no newline. */
void log_set_sink(void (*sink)(void *arg, enum log_level level, const char *line), void *arg);

/* @place: identifies the caller for counting repeats; the macros below pass the format literal. */
__attribute__((format(printf, 3, 4))) void log_write(enum log_level level, const void *place, const char *format, ...);
/* Writes the counts of repeats that have waited for LOG_REPEAT_NS; the pipeline calls it once an interval.
 * ~0 as @now_ns: all of them (at exit). */
void log_flush(__u64 now_ns);

#define log_error(format, ...) log_write(LEVEL_ERROR, format, format, ##__VA_ARGS__)
#define log_warn(format, ...)  log_write(LEVEL_WARN, format, format, ##__VA_ARGS__)
#define log_info(format, ...)  log_write(LEVEL_INFO, format, format, ##__VA_ARGS__)
#define log_debug(format, ...) log_write(LEVEL_DEBUG, format, format, ##__VA_ARGS__)

#endif
