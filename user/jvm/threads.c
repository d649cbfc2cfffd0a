#include "jvm/threads.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/str.h"
#include "base/why.h"

#define DEADLOCKS_MAX  1000
#define DEADLOCKED_MAX 10000 /* of all of them */

/* One line, without its newline. */
struct line {
	const char *at;
	size_t bytes;
};

/* A text of the dump and its printable copy: frames and names of classes come again and again. */
struct text {
	struct line raw;
	const char *shown;
};

/* What is returned is the first member: freed as one. */
struct dump {
	struct jvm_threads result;
	struct arena arena;
};

enum part {
	PART_THREADS,
	PART_DEADLOCK,
	PART_REST, /* the stacks of a deadlock once more, and what is at the end */
};

/* While reading. */
struct reader {
	struct dump *dump;
	enum part part;
	struct map texts, locks, stacks, names; /* of struct text, jvm_lock, jvm_stack, jvm_thread */
	unsigned threads_cap;
	struct jvm_thread *thread; /* whose lines these are */
	const char *frames[JVM_THREAD_FRAMES_MAX];
	unsigned frames_count, frames_left_out;
	struct jvm_lock *held[JVM_THREAD_FRAMES_MAX];
	unsigned held_count;
	struct jvm_deadlocked *deadlocked; /* of all deadlocks */
	unsigned deadlocked_count;
	int err; /* sticks */
};

const char *jvm_thread_state_name(enum jvm_thread_state state)
{
	static const char *const names[JVM_THREAD_STATES_MAX] = {
		[JVM_THREAD_OF_VM] = "VM",
		[JVM_THREAD_NEW] = "NEW",
		[JVM_THREAD_RUNNABLE] = "RUNNABLE",
		[JVM_THREAD_BLOCKED] = "BLOCKED",
		[JVM_THREAD_WAITING] = "WAITING",
		[JVM_THREAD_TIMED_WAITING] = "TIMED_WAITING",
		[JVM_THREAD_TERMINATED] = "TERMINATED",
		[JVM_THREAD_CARRIER] = "CARRIER",
		[JVM_THREAD_VIRTUAL] = "VIRTUAL",
	};

	return state < JVM_THREAD_STATES_MAX ? names[state] : "";
}

const char *jvm_wait_name(enum jvm_wait wait)
{
	switch (wait) {
	case JVM_WAIT_NONE:
		return "";
	case JVM_WAIT_LOCK:
		return "lock";
	case JVM_WAIT_PARK:
		return "park";
	case JVM_WAIT_NOTIFY:
		return "notify";
	}
	return "";
}

/* ---- pieces of a line */

static bool line_skip(struct line *line, const char *text)
{
	size_t bytes = strlen(text);

	if (line->bytes < bytes || memcmp(line->at, text, bytes))
		return false;
	line->at += bytes;
	line->bytes -= bytes;
	return true;
}

static void line_skip_blanks(struct line *line)
{
	while (line->bytes && (*line->at == ' ' || *line->at == '\t')) {
		line->at++;
		line->bytes--;
	}
}

/* Skips to behind the first @text. */
static bool line_seek(struct line *line, const char *text)
{
	const char *found = memmem(line->at, line->bytes, text, strlen(text));

	if (!found)
		return false;
	found += strlen(text);
	line->bytes -= found - line->at;
	line->at = found;
	return true;
}

static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 99;
}

/* "0x1a03" or "6659"; more than 64 bits are no number. */
static bool line_number(struct line *line, __u64 *ret)
{
	unsigned base = line_skip(line, "0x") ? 16 : 10;
	__u64 value = 0;
	size_t i;

	for (i = 0; i < line->bytes && digit(line->at[i]) < base; i++) {
		if (value > (~0ull - 15) / base)
			return false;
		value = value * base + digit(line->at[i]);
	}
	if (!i)
		return false;
	line->at += i;
	line->bytes -= i;
	*ret = value;
	return true;
}

/* ---- things that come more than once */

static bool text_same(const void *item, const void *key)
{
	const struct text *text = item;
	const struct line *line = key;

	return text->raw.bytes == line->bytes && !memcmp(text->raw.at, line->at, line->bytes);
}

static int reader_fail(struct reader *r, int err)
{
	if (!r->err)
		r->err = err;
	return err;
}

/* NULL: the result is full. */
static void *reader_alloc(struct reader *r, size_t bytes)
{
	void *memory = arena_alloc(&r->dump->arena, bytes);

	if (!memory)
		reader_fail(r, r->dump->arena.used + bytes > r->dump->arena.max ? -EFBIG : -ENOMEM);
	return memory;
}

static void reader_map(struct reader *r, struct map *map, __u64 hash, void *item)
{
	if (map_add(map, hash, item))
		reader_fail(r, -ENOMEM);
}

/* Printable. Never NULL. */
static const char *reader_text(struct reader *r, struct line line)
{
	char shown[4 * JVM_THREADS_TEXT_MAX + 1];
	struct text *text;
	__u64 hash;
	size_t bytes;

	if (line.bytes > JVM_THREADS_TEXT_MAX)
		line.bytes = JVM_THREADS_TEXT_MAX;
	hash = hash_bytes(line.at, line.bytes);
	text = map_find(&r->texts, hash, text_same, &line);
	if (text)
		return text->shown;
	bytes = utf8_sanitise(line.at, line.bytes, shown, sizeof(shown));
	text = reader_alloc(r, sizeof(*text) + bytes + 1);
	if (!text)
		return "";
	text->raw = line;
	text->shown = memcpy(text + 1, shown, bytes + 1);
	reader_map(r, &r->texts, hash, text);
	return text->shown;
}

static bool lock_same(const void *item, const void *key)
{
	return ((const struct jvm_lock *)item)->address == *(const __u64 *)key;
}

/* NULL: no memory. */
static struct jvm_lock *reader_lock(struct reader *r, __u64 address, struct line class_name)
{
	__u64 hash = hash_mix(address, 0);
	struct jvm_lock *lock = map_find(&r->locks, hash, lock_same, &address);

	if (lock)
		return lock;
	lock = reader_alloc(r, sizeof(*lock));
	if (!lock)
		return NULL;
	lock->address = address;
	lock->class_name = reader_text(r, class_name);
	reader_map(r, &r->locks, hash, lock);
	return lock;
}

static bool name_same(const void *item, const void *key)
{
	return !strcmp(((const struct jvm_thread *)item)->name, key);
}

/* The first of that name; NULL: none. */
static struct jvm_thread *reader_named(struct reader *r, const char *name)
{
	return map_find(&r->names, hash_bytes(name, strlen(name)), name_same, name);
}

/* ---- a thread's stack, when all of it has been read */

static bool stack_same(const void *item, const void *key)
{
	const struct jvm_stack *stack = item;
	const struct reader *r = key;

	return stack->frames_count == r->frames_count && stack->frames_left_out == r->frames_left_out &&
	       !memcmp(stack->frames, r->frames, r->frames_count * sizeof(*r->frames));
}

static struct jvm_stack *stack_new(struct reader *r, __u64 hash)
{
	size_t bytes = r->frames_count * sizeof(*r->frames);
	struct jvm_stack *stack = reader_alloc(r, sizeof(*stack) + bytes);

	if (!stack)
		return NULL;
	stack->frames = memcpy(stack + 1, r->frames, bytes);
	stack->frames_count = r->frames_count;
	stack->frames_left_out = r->frames_left_out;
	reader_map(r, &r->stacks, hash, stack);
	return stack;
}

/* Equal frames are one text, so equal stacks are equal pointers. Lists are made backwards and turned at the end. */
static void thread_stack(struct reader *r)
{
	struct jvm_stack *stack;
	__u64 hash;

	if (!r->frames_count)
		return;
	hash = hash_bytes(r->frames, r->frames_count * sizeof(*r->frames));
	stack = map_find(&r->stacks, hash, stack_same, r) ?: stack_new(r, hash);
	if (!stack)
		return;
	r->thread->stack = stack;
	r->thread->next_of_stack = stack->threads;
	stack->threads = r->thread;
	stack->threads_count++;
}

static void thread_end(struct reader *r)
{
	struct jvm_thread *thread = r->thread;

	if (!thread)
		return;
	thread_stack(r);
	for (unsigned i = 0; i < r->held_count; i++)
		if (r->held[i] != thread->waits_for && !r->held[i]->holder)
			r->held[i]->holder = thread;
	if (thread->waits_for) {
		thread->next_of_waiters = thread->waits_for->waiters;
		thread->waits_for->waiters = thread;
		thread->waits_for->waiters_count++;
	}
	r->dump->result.by_state[thread->state]++;
	r->thread = NULL;
	r->frames_count = r->frames_left_out = r->held_count = 0;
}

/* ---- lines of a thread */

static int reader_room(struct reader *r)
{
	struct jvm_threads *result = &r->dump->result;
	struct jvm_thread **more;
	unsigned cap = r->threads_cap ? r->threads_cap * 2 : 64;

	if (result->count >= JVM_THREADS_MAX)
		return reader_fail(r, -EFBIG);
	if (result->count < r->threads_cap)
		return 0;
	more = realloc(result->threads, cap * sizeof(*more));
	if (!more)
		return reader_fail(r, -ENOMEM);
	result->threads = more;
	r->threads_cap = cap;
	return 0;
}

/* What comes after the name: "#32 [18705] daemon prio=5 os_prio=0 cpu=0.26ms elapsed=0.70s tid=0x7f.. nid=0x47f4 waiting". */
static void thread_words(struct jvm_thread *thread, struct line line)
{
	while (line.bytes) {
		__u64 value;

		line_skip_blanks(&line);
		if (line_skip(&line, "#")) {
			line_number(&line, &thread->number);
		} else if (line_skip(&line, "[")) {
			/* Of a carrier the number comes only here. "[0x00007f..]" is where its stack is. */
			if (line.bytes > 1 && line.at[1] != 'x')
				line_number(&line, &thread->nid);
		} else if (line_skip(&line, "daemon")) {
			thread->daemon = true;
		} else if (line_skip(&line, "prio=")) {
			if (line_number(&line, &value) && value <= 99)
				thread->priority = value;
		} else if (line_skip(&line, "nid=")) {
			line_number(&line, &thread->nid);
			return; /* the rest is words for people */
		}
		while (line.bytes && *line.at != ' ') {
			line.at++;
			line.bytes--;
		}
	}
}

static struct jvm_thread *thread_new(struct reader *r, struct line name)
{
	struct jvm_threads *result = &r->dump->result;
	struct jvm_thread *thread = reader_room(r) ? NULL : reader_alloc(r, sizeof(*thread));
	__u64 hash;

	if (!thread)
		return NULL;
	thread->name = reader_text(r, name);
	result->threads[result->count++] = thread;
	r->thread = thread;
	hash = hash_bytes(thread->name, strlen(thread->name));
	if (!map_find(&r->names, hash, name_same, thread->name))
		reader_map(r, &r->names, hash, thread);
	return thread;
}

/* "   Mounted virtual thread #22", below the frames of its carrier, then its own. */
static void thread_mounted(struct reader *r, struct line line)
{
	struct jvm_thread *thread;

	thread_end(r);
	thread = thread_new(r, line);
	if (!thread)
		return;
	thread->state = JVM_THREAD_VIRTUAL;
	if (line_seek(&line, "#"))
		line_number(&line, &thread->number);
}

/* "\"NAME\" ...". There may be quotes in a name, but none after it. */
static void thread_begin(struct reader *r, struct line line)
{
	const char *end = memrchr(line.at + 1, '"', line.bytes - 1);
	struct line name = { line.at + 1, 0 };
	struct jvm_thread *thread;

	if (!end || end + 1 >= line.at + line.bytes || end[1] != ' ')
		return;
	name.bytes = end - name.at;
	thread = thread_new(r, name);
	if (!thread)
		return;
	line.bytes -= end + 1 - line.at;
	line.at = end + 1;
	thread_words(thread, line);
}

static void thread_state(struct jvm_thread *thread, struct line line)
{
	for (unsigned state = JVM_THREAD_NEW; state <= JVM_THREAD_TERMINATED; state++) {
		const char *name = jvm_thread_state_name(state);
		size_t bytes = strlen(name);

		if (line.bytes >= bytes && !memcmp(line.at, name, bytes) &&
		    (line.bytes == bytes || line.at[bytes] == ' '))
			thread->state = state;
	}
}

/* "<0x00000000ffd1bde8> (a Locks$Gate)". NULL: an object that has no address any more, or no memory. */
static struct jvm_lock *line_lock(struct reader *r, struct line line)
{
	__u64 address;

	line_skip_blanks(&line);
	if (!line_skip(&line, "<0x"))
		return NULL;
	line.at -= 2;
	line.bytes += 2;
	if (!line_number(&line, &address) || !line_skip(&line, ">"))
		return NULL;
	if (line_skip(&line, " (a ") && line.bytes && line.at[line.bytes - 1] == ')')
		line.bytes--;
	else
		line.bytes = 0;
	return reader_lock(r, address, line);
}

static void thread_holds(struct reader *r, struct line line)
{
	struct jvm_lock *lock = line_lock(r, line);

	if (lock && r->held_count < JVM_THREAD_FRAMES_MAX)
		r->held[r->held_count++] = lock;
}

/* The innermost wait is the one that lasts. */
static void thread_waits(struct reader *r, enum jvm_wait wait, struct line line)
{
	if (r->thread->wait)
		return;
	r->thread->wait = wait;
	r->thread->waits_for = line_lock(r, line);
}

/* "- ..." below a frame. */
static void thread_lock(struct reader *r, struct line line)
{
	if (line_skip(&line, "locked ") || line_skip(&line, "eliminated "))
		thread_holds(r, line);
	else if (line_skip(&line, "waiting to lock "))
		thread_waits(r, JVM_WAIT_LOCK, line);
	else if (line_skip(&line, "waiting to re-lock in wait() "))
		thread_waits(r, JVM_WAIT_LOCK, line); /* it was notified, and somebody else was faster */
	else if (line_skip(&line, "parking to wait for "))
		thread_waits(r, JVM_WAIT_PARK, line);
	else if (line_skip(&line, "waiting on "))
		thread_waits(r, JVM_WAIT_NOTIFY, line);
	else
		thread_holds(r, line); /* "Locked ownable synchronizers:" are addresses without a word */
}

static void thread_frame(struct reader *r, struct line line)
{
	if (r->frames_count < JVM_THREAD_FRAMES_MAX)
		r->frames[r->frames_count++] = reader_text(r, line);
	else
		r->frames_left_out++;
}

static void threads_line(struct reader *r, struct line line)
{
	if (line.bytes && *line.at == '"') {
		thread_end(r);
		thread_begin(r, line);
		return;
	}
	if (line_skip(&line, "JNI global ref")) {
		thread_end(r);
		return;
	}
	if (!r->thread)
		return;
	line_skip_blanks(&line);
	if (line_skip(&line, "at "))
		thread_frame(r, line);
	else if (line_skip(&line, "- "))
		thread_lock(r, line);
	else if (line_skip(&line, "java.lang.Thread.State: "))
		thread_state(r->thread, line);
	else if (line_skip(&line, "Carrying virtual thread #"))
		r->thread->state = JVM_THREAD_CARRIER;
	else if (line_skip(&line, "Mounted "))
		thread_mounted(r, line);
}

/* ---- lines of a deadlock */

static void deadlock_begin(struct reader *r)
{
	struct jvm_threads *result = &r->dump->result;

	thread_end(r);
	if (result->deadlocks_count >= DEADLOCKS_MAX) {
		reader_fail(r, -EFBIG);
		return;
	}
	if (!result->deadlocks)
		result->deadlocks = reader_alloc(r, DEADLOCKS_MAX * sizeof(*result->deadlocks));
	if (!r->deadlocked)
		r->deadlocked = reader_alloc(r, DEADLOCKED_MAX * sizeof(*r->deadlocked));
	if (!result->deadlocks || !r->deadlocked)
		return;
	result->deadlocks[result->deadlocks_count++].threads = &r->deadlocked[r->deadlocked_count];
	r->part = PART_DEADLOCK;
}

static struct jvm_deadlocked *deadlock_last(struct reader *r)
{
	struct jvm_deadlock *deadlock = &r->dump->result.deadlocks[r->dump->result.deadlocks_count - 1];

	return deadlock->count ? &deadlock->threads[deadlock->count - 1] : NULL;
}

/* "\"left\":" */
static void deadlock_thread(struct reader *r, struct line line)
{
	if (line.bytes < 3 || memcmp(line.at + line.bytes - 2, "\":", 2))
		return;
	if (r->deadlocked_count >= DEADLOCKED_MAX) {
		reader_fail(r, -EFBIG);
		return;
	}
	line.at++;
	line.bytes -= 3;
	r->deadlocked[r->deadlocked_count++] =
		(struct jvm_deadlocked){ .thread = reader_text(r, line), .class_name = "", .holder = "" };
	r->dump->result.deadlocks[r->dump->result.deadlocks_count - 1].count++;
}

/* "waiting to lock monitor 0x.. (object 0x.., a CLASS),", "waiting for ownable synchronizer 0x.., (a CLASS),". */
static void deadlock_waits(struct jvm_deadlocked *last, struct reader *r, struct line line)
{
	bool monitor = line_skip(&line, "waiting to lock monitor ");
	bool known = monitor ? line_seek(&line, "(object ") : line_skip(&line, "waiting for ownable synchronizer ");

	if (!known || !line_number(&line, &last->address))
		return;
	if (!line_skip(&line, monitor ? ", a " : ", (a "))
		return;
	if (line.bytes >= 2 && !memcmp(line.at + line.bytes - 2, "),", 2)) {
		line.bytes -= 2;
		last->class_name = reader_text(r, line);
	}
}

static void deadlock_held(struct jvm_deadlocked *last, struct reader *r, struct line line)
{
	if (!line_seek(&line, "which is held by \"") || !line.bytes || line.at[line.bytes - 1] != '"')
		return;
	line.bytes--;
	last->holder = reader_text(r, line);
}

static void deadlock_line(struct reader *r, struct line line)
{
	struct jvm_deadlocked *last = deadlock_last(r);

	if (line_skip(&line, "Java stack information")) {
		r->part = PART_REST;
	} else if (line.bytes && *line.at == '"') {
		deadlock_thread(r, line);
	} else if (last) {
		line_skip_blanks(&line);
		deadlock_held(last, r, line);
		deadlock_waits(last, r, line);
	}
}

/* Here the dump tells who holds a lock of java.util.concurrent. */
static void deadlock_holders(struct reader *r)
{
	for (unsigned i = 0; i < r->deadlocked_count; i++) {
		const struct jvm_deadlocked *one = &r->deadlocked[i];
		struct jvm_lock *lock = map_find(&r->locks, hash_mix(one->address, 0), lock_same, &one->address);

		if (one->address && lock && !lock->holder)
			lock->holder = reader_named(r, one->holder);
	}
}

/* ---- all of it */

static void reader_line(struct reader *r, struct line line)
{
	struct line rest = line;

	if (line.bytes && line.at[line.bytes - 1] == '\r')
		line.bytes--, rest.bytes--;
	if (line_skip(&rest, "Found one Java-level deadlock"))
		deadlock_begin(r);
	else if (r->part == PART_THREADS)
		threads_line(r, line);
	else if (r->part == PART_DEADLOCK)
		deadlock_line(r, line);
}

static struct jvm_thread *waiters_turned(struct jvm_thread *list)
{
	struct jvm_thread *out = NULL, *next;

	for (; list; list = next) {
		next = list->next_of_waiters;
		list->next_of_waiters = out;
		out = list;
	}
	return out;
}

static struct jvm_thread *stack_turned(struct jvm_thread *list)
{
	struct jvm_thread *out = NULL, *next;

	for (; list; list = next) {
		next = list->next_of_stack;
		list->next_of_stack = out;
		out = list;
	}
	return out;
}

static int number_order(__u64 a, __u64 b)
{
	return (a > b) - (a < b);
}

static int lock_order(const void *left, const void *right)
{
	const struct jvm_lock *a = *(struct jvm_lock *const *)left, *b = *(struct jvm_lock *const *)right;

	return number_order(b->holder != NULL, a->holder != NULL)
		       ?: number_order(b->waiters_count, a->waiters_count)
		       ?: number_order(a->address, b->address);
}

static int text_order(const struct jvm_stack *a, const struct jvm_stack *b)
{
	for (unsigned i = 0; i < a->frames_count && i < b->frames_count; i++)
		if (a->frames[i] != b->frames[i])
			return strcmp(a->frames[i], b->frames[i]);
	return number_order(a->frames_count, b->frames_count);
}

static int stack_order(const void *left, const void *right)
{
	const struct jvm_stack *a = *(struct jvm_stack *const *)left, *b = *(struct jvm_stack *const *)right;

	return number_order(b->threads_count, a->threads_count) ?: text_order(a, b);
}

static void result_locks(struct reader *r)
{
	struct jvm_threads *result = &r->dump->result;
	struct jvm_lock *lock;
	size_t pos = 0;

	result->locks = reader_alloc(r, (r->locks.count + 1) * sizeof(*result->locks));
	if (!result->locks)
		return;
	while ((lock = map_next(&r->locks, &pos))) {
		if (!lock->waiters_count)
			continue;
		lock->waiters = waiters_turned(lock->waiters);
		result->locks[result->locks_count++] = lock;
	}
	qsort(result->locks, result->locks_count, sizeof(*result->locks), lock_order);
}

static void result_stacks(struct reader *r)
{
	struct jvm_threads *result = &r->dump->result;
	struct jvm_stack *stack;
	size_t pos = 0;

	result->stacks = reader_alloc(r, (r->stacks.count + 1) * sizeof(*result->stacks));
	if (!result->stacks)
		return;
	while ((stack = map_next(&r->stacks, &pos))) {
		stack->threads = stack_turned(stack->threads);
		result->stacks[result->stacks_count++] = stack;
	}
	qsort(result->stacks, result->stacks_count, sizeof(*result->stacks), stack_order);
}

static void reader_run(struct reader *r, const char *text, size_t bytes)
{
	while (bytes && !r->err) {
		const char *end = memchr(text, '\n', bytes);
		size_t length = end ? (size_t)(end - text) : bytes;

		reader_line(r, (struct line){ text, length });
		text += length + (end != NULL);
		bytes -= length + (end != NULL);
	}
	thread_end(r);
	deadlock_holders(r);
	result_locks(r);
	result_stacks(r);
}

static int reader_why(const struct reader *r, struct why *why)
{
	if (r->err == -EFBIG)
		return why_set(why, r->err, "the thread dump holds more than %u threads or %u MiB", JVM_THREADS_MAX,
			       JVM_THREADS_BYTES_MAX >> 20);
	if (r->err)
		return why_set(why, r->err, "no memory");
	if (!r->dump->result.count)
		return why_set(why, -EBADMSG, "there is no thread in what should be a thread dump");
	return 0;
}

int jvm_threads_parse(const char *text, size_t bytes, struct jvm_threads **ret, struct why *why)
{
	struct reader *r = calloc(1, sizeof(*r)); /* 16 KiB */
	struct dump *dump = calloc(1, sizeof(*dump));
	int err;

	if (!r || !dump) {
		free(r);
		free(dump);
		return why_set(why, -ENOMEM, "no memory");
	}
	arena_init(&dump->arena, JVM_THREADS_BYTES_MAX);
	r->dump = dump;
	reader_run(r, text, bytes);
	err = reader_why(r, why);
	map_done(&r->texts);
	map_done(&r->locks);
	map_done(&r->stacks);
	map_done(&r->names);
	free(r);
	if (err)
		jvm_threads_free(&dump->result);
	else
		*ret = &dump->result;
	return err;
}

void jvm_threads_free(struct jvm_threads *threads)
{
	struct dump *dump = (struct dump *)threads;

	_Static_assert(offsetof(struct dump, result) == 0, "the first member is what is freed");
	if (!dump)
		return;
	free(threads->threads);
	arena_done(&dump->arena);
	free(dump);
}
