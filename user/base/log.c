#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/time.h"

#define LOG_LINE_ROOM  1024
#define LOG_PLACES_MAX 64
#define LOG_KEPT_ROOM  200

/* What one place in the source has said lately. */
struct log_place {
	__u64 key; /* 0: free */
	__u64 since_ns;
	unsigned written, held;
	enum log_level level;
	char last[LOG_KEPT_ROOM]; /* the last line held back */
};

/* One log for the process: a message may come from any thread and layer, and there is one standard error. */
static _Atomic int log_level = LEVEL_INFO;
static struct {
	pthread_mutex_t lock;
	void (*sink)(void *arg, enum log_level level, const char *line);
	void *sink_arg;
	struct log_place places[LOG_PLACES_MAX];
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const char *const level_names[LEVEL_MAX] = {
	[LEVEL_ERROR] = "error", [LEVEL_WARN] = "warn", [LEVEL_INFO] = "info", [LEVEL_DEBUG] = "debug"
};

static const char *const level_prefixes[LEVEL_MAX] = {
	[LEVEL_ERROR] = "error: ", [LEVEL_WARN] = "warning: ", [LEVEL_INFO] = "", [LEVEL_DEBUG] = "debug: "
};

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

int log_level_from_str(const char *text, enum log_level *ret_level)
{
	for (int i = 0; i < LEVEL_MAX; i++)
		if (!strcmp(text, level_names[i])) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

void log_set_sink(void (*sink)(void *arg, enum log_level level, const char *line), void *arg)
{
	pthread_mutex_lock(&state.lock);
	state.sink = sink;
	state.sink_arg = arg;
	pthread_mutex_unlock(&state.lock);
}

static void line_out(enum log_level level, const char *text)
{
	char line[LOG_LINE_ROOM + 32];
	int bytes;

	if (state.sink) {
		state.sink(state.sink_arg, level, text);
		return;
	}
	bytes = snprintf(line, sizeof(line), "weir: %s%s\n", level_prefixes[level], text);
	/* One write, so lines of several processes do not mix. Nobody is left to tell when it fails. */
	if (write(STDERR_FILENO, line, (size_t)bytes) < 0)
		return;
}

/* @now_ns may be of a moment before the place was last used: the caller takes its time once a turn. */
static bool place_waited(const struct log_place *place, __u64 now_ns)
{
	return now_ns > place->since_ns && now_ns - place->since_ns >= LOG_REPEAT_NS;
}

/* Says what has been held back, and begins anew. */
static void place_settle(struct log_place *place, __u64 now_ns)
{
	char line[LOG_LINE_ROOM];

	if (place->held) {
		__u64 seconds = now_ns == ~0ull ? 0 : (now_ns - place->since_ns) / NS_PER_S;

		if (place->held == 1)
			snprintf(line, sizeof(line), "%s", place->last);
		else if (seconds)
			snprintf(line, sizeof(line), "%u more in %llu s like: %s", place->held, seconds, place->last);
		else
			snprintf(line, sizeof(line), "%u more like: %s", place->held, place->last);
		line_out(place->level, line);
	}
	if (now_ns != ~0ull)
		place->since_ns = now_ns;
	place->written = 0;
	place->held = 0;
}

/* The place with @key; a new one takes the free or the oldest entry. */
static struct log_place *place_find(__u64 key, __u64 now_ns)
{
	struct log_place *oldest = &state.places[0];

	for (struct log_place *place = state.places; place < state.places + LOG_PLACES_MAX; place++) {
		if (place->key == key)
			return place;
		if (oldest->key && (!place->key || place->since_ns < oldest->since_ns))
			oldest = place;
	}
	place_settle(oldest, now_ns);
	oldest->key = key;
	return oldest;
}

/* "%s" says nothing about where it comes from, so the text itself (digits left out) tells such messages apart. */
static __u64 place_key(const void *place, const char *format, const char *line)
{
	char letters[LOG_KEPT_ROOM];
	size_t used = 0;

	if (strcmp(format, "%s"))
		return (__u64)(size_t)place;
	for (; *line && used < sizeof(letters); line++)
		if (*line < '0' || *line > '9')
			letters[used++] = *line;
	return hash_bytes(letters, used) | 1;
}

void log_write(enum log_level level, const void *place, const char *format, ...)
{
	char raw[LOG_LINE_ROOM / 2], line[LOG_LINE_ROOM];
	struct log_place *p;
	va_list args;
	__u64 now_ns;

	if (level > log_get_level())
		return;
	va_start(args, format);
	vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	utf8_sanitise(raw, strlen(raw), line, sizeof(line));

	pthread_mutex_lock(&state.lock);
	if (level == LEVEL_DEBUG) { /* who asks for it wants all of it */
		line_out(level, line);
	} else {
		now_ns = time_now_ns();
		p = place_find(place_key(place, format, line), now_ns);
		if (place_waited(p, now_ns))
			place_settle(p, now_ns);
		p->level = level;
		if (p->written < LOG_BURST) {
			p->written++;
			line_out(level, line);
		} else {
			p->held++;
			str_copy(p->last, sizeof(p->last), line);
		}
	}
	pthread_mutex_unlock(&state.lock);
}

void log_flush(__u64 now_ns)
{
	pthread_mutex_lock(&state.lock);
	for (struct log_place *place = state.places; place < state.places + LOG_PLACES_MAX; place++)
		if (place->held && place_waited(place, now_ns))
			place_settle(place, now_ns);
	pthread_mutex_unlock(&state.lock);
}
