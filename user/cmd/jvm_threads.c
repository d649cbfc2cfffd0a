/* weir jvm threads */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/table.h"
#include "base/why.h"
#include "cmd/cmd.h"
#include "cmd/jvm.h"
#include "cmd/jvm_target.h"
#include "jvm/threads.h"

#define NAMES_SHOWN  8
#define FRAMES_SHOWN 12

/* ---- text */

static void states_text(const struct jvm_threads *threads, struct buf *out)
{
	const char *comma = ":";

	buf_printf(out, "\n%u threads", threads->count);
	for (unsigned i = 0; i < JVM_THREAD_STATES_MAX; i++) {
		if (!threads->by_state[i])
			continue;
		buf_printf(out, "%s %u %s", comma, threads->by_state[i], jvm_thread_state_name(i));
		comma = ",";
	}
	buf_add_char(out, '\n');
}

static void deadlocks_text(const struct jvm_threads *threads, struct buf *out)
{
	for (unsigned i = 0; i < threads->deadlocks_count; i++) {
		const struct jvm_deadlock *deadlock = &threads->deadlocks[i];

		buf_printf(out, "\nDEADLOCK of %u threads\n", deadlock->count);
		for (unsigned k = 0; k < deadlock->count; k++) {
			const struct jvm_deadlocked *one = &deadlock->threads[k];

			buf_printf(out, "  '%s' waits for 0x%llx (%s), held by '%s'\n", one->thread, one->address,
				   one->class_name, one->holder);
		}
	}
}

static void waiters_text(const struct jvm_lock *lock, struct buf *out)
{
	const struct jvm_thread *waiter = lock->waiters;

	for (unsigned i = 0; waiter && i < NAMES_SHOWN; i++, waiter = waiter->next_of_waiters)
		buf_printf(out, "%s%s", i ? ", " : "", waiter->name);
	if (waiter)
		buf_printf(out, " and %u more", lock->waiters_count - NAMES_SHOWN);
}

static const char *wait_text(const struct jvm_lock *lock)
{
	switch (lock->waiters->wait) {
	case JVM_WAIT_LOCK:
		return "to enter";
	case JVM_WAIT_PARK:
		return "parked";
	case JVM_WAIT_NOTIFY:
		return "in wait()";
	case JVM_WAIT_NONE:
		return "";
	}
	return "";
}

static void locks_text(const struct jvm_threads *threads, unsigned rows, struct buf *out)
{
	static const struct table_column columns[] = {
		{ .title = "  WAITING", .right = true }, { .title = "HOW" },	 { .title = "LOCK" },
		{ .title = "CLASS", .width_max = 60 },	 { .title = "HELD BY" }, { .title = "WAITERS" },
	};
	struct table table;

	if (!threads->locks_count)
		return;
	buf_add_str(out, "\nLocks that threads wait for\n");
	table_init(&table, columns, sizeof(columns) / sizeof(*columns));
	for (unsigned i = 0; i < threads->locks_count && i < rows; i++) {
		const struct jvm_lock *lock = threads->locks[i];
		char count[16], address[24];
		struct buf names;
		const char *cells[] = {
			count, wait_text(lock), address, lock->class_name, lock->holder ? lock->holder->name : "-", NULL
		};

		buf_init(&names, 64 << 10);
		waiters_text(lock, &names);
		cells[5] = names.data;
		snprintf(count, sizeof(count), "%u", lock->waiters_count);
		snprintf(address, sizeof(address), "0x%llx", lock->address);
		table_add(&table, cells);
		buf_done(&names);
	}
	table_print(&table, out);
	table_done(&table);
	if (threads->locks_count > rows)
		buf_printf(out, "  and %u more locks\n", threads->locks_count - rows);
}

static void stack_text(const struct jvm_stack *stack, struct buf *out)
{
	const struct jvm_thread *thread = stack->threads;
	unsigned hidden = stack->frames_left_out;

	buf_printf(out, "\n  %u thread%s, %s: ", stack->threads_count, stack->threads_count == 1 ? "" : "s",
		   jvm_thread_state_name(thread->state));
	for (unsigned i = 0; thread && i < NAMES_SHOWN; i++, thread = thread->next_of_stack)
		buf_printf(out, "%s%s", i ? ", " : "", thread->name);
	if (thread)
		buf_printf(out, " and %u more", stack->threads_count - NAMES_SHOWN);
	buf_add_char(out, '\n');
	for (unsigned i = 0; i < stack->frames_count && i < FRAMES_SHOWN; i++)
		buf_printf(out, "      at %s\n", stack->frames[i]);
	if (stack->frames_count > FRAMES_SHOWN)
		hidden += stack->frames_count - FRAMES_SHOWN;
	if (hidden)
		buf_printf(out, "      and %u more\n", hidden);
}

static void stacks_text(const struct jvm_threads *threads, unsigned rows, struct buf *out)
{
	if (threads->stacks_count)
		buf_add_str(out, "\nStacks, those of most threads first\n");
	for (unsigned i = 0; i < threads->stacks_count && i < rows; i++)
		stack_text(threads->stacks[i], out);
	if (threads->stacks_count > rows)
		buf_printf(out, "\n  and %u more stacks (--rows)\n", threads->stacks_count - rows);
}

static int threads_text(const struct options *options, const struct jvm_target *target,
			const struct jvm_threads *threads, struct why *why)
{
	struct buf out;
	int err;

	buf_init(&out, JVM_OUT_MAX);
	jvm_target_text(target, &out);
	states_text(threads, &out);
	deadlocks_text(threads, &out);
	locks_text(threads, options->jvm_rows, &out);
	stacks_text(threads, options->jvm_rows, &out);
	err = jvm_print(&out, why);
	buf_done(&out);
	return err;
}

/* ---- JSON */

static json_t *address_json(__u64 address)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%llx", address);
	return json_string(text);
}

static json_t *states_json(const struct jvm_threads *threads)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < JVM_THREAD_STATES_MAX; i++)
		json_object_set_new(object, jvm_thread_state_name(i), json_integer(threads->by_state[i]));
	return object;
}

static json_t *threads_list_json(const struct jvm_threads *threads)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < threads->count; i++) {
		const struct jvm_thread *thread = threads->threads[i];
		const struct jvm_lock *lock = thread->waits_for;

		json_array_append_new(
			array, json_pack("{s:s, s:I, s:I, s:b, s:I, s:s, s:s, s:o}", "name", thread->name, "number",
					 (json_int_t)thread->number, "nid", (json_int_t)thread->nid, "daemon",
					 thread->daemon, "priority", (json_int_t)thread->priority, "state",
					 jvm_thread_state_name(thread->state), "wait", jvm_wait_name(thread->wait),
					 "waits_for", lock ? address_json(lock->address) : json_null()));
	}
	return array;
}

static json_t *deadlocks_json(const struct jvm_threads *threads)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < threads->deadlocks_count; i++) {
		const struct jvm_deadlock *deadlock = &threads->deadlocks[i];
		json_t *members = json_array();

		for (unsigned k = 0; k < deadlock->count; k++) {
			const struct jvm_deadlocked *one = &deadlock->threads[k];

			json_array_append_new(members,
					      json_pack("{s:s, s:o, s:s, s:s}", "thread", one->thread, "lock",
							one->address ? address_json(one->address) : json_null(),
							"class", one->class_name, "holder", one->holder));
		}
		json_array_append_new(array, members);
	}
	return array;
}

static json_t *locks_json(const struct jvm_threads *threads)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < threads->locks_count; i++) {
		const struct jvm_lock *lock = threads->locks[i];
		json_t *waiters = json_array();

		for (const struct jvm_thread *waiter = lock->waiters; waiter; waiter = waiter->next_of_waiters)
			json_array_append_new(waiters, json_string(waiter->name));
		json_array_append_new(array,
				      json_pack("{s:o, s:s, s:s, s:o, s:o}", "lock", address_json(lock->address),
						"class", lock->class_name, "wait", jvm_wait_name(lock->waiters->wait),
						"holder", lock->holder ? json_string(lock->holder->name) : json_null(),
						"waiters", waiters));
	}
	return array;
}

static json_t *stacks_json(const struct jvm_threads *threads)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < threads->stacks_count; i++) {
		const struct jvm_stack *stack = threads->stacks[i];
		json_t *frames = json_array(), *names = json_array();

		for (unsigned k = 0; k < stack->frames_count; k++)
			json_array_append_new(frames, json_string(stack->frames[k]));
		for (const struct jvm_thread *thread = stack->threads; thread; thread = thread->next_of_stack)
			json_array_append_new(names, json_string(thread->name));
		json_array_append_new(array, json_pack("{s:o, s:o, s:I}", "threads", names, "frames", frames,
						       "frames_left_out", (json_int_t)stack->frames_left_out));
	}
	return array;
}

static int threads_json(const struct jvm_target *target, const struct jvm_threads *threads, struct why *why)
{
	json_t *object = jvm_target_json(target);

	json_object_set_new(object, "states", states_json(threads));
	json_object_set_new(object, "deadlocks", deadlocks_json(threads));
	json_object_set_new(object, "locks", locks_json(threads));
	json_object_set_new(object, "stacks", stacks_json(threads));
	json_object_set_new(object, "threads", threads_list_json(threads));
	return jvm_print_json(object, why);
}

/* ---- */

/* Byte for byte, so that other tools read it. But what a thread is called may not talk to a terminal. */
static int raw_print(struct buf *answer, struct why *why)
{
	struct buf out;
	int err;

	if (!isatty(STDOUT_FILENO))
		return jvm_print(answer, why);
	buf_init(&out, JVM_OUT_MAX);
	jvm_lines(answer->data, answer->used, 0, &out);
	err = jvm_print(&out, why);
	buf_done(&out);
	return err;
}

static int answer_show(const struct options *options, const struct jvm_target *target, struct buf *answer,
		       struct why *why)
{
	struct jvm_threads *threads;
	int err;

	if (options->jvm_raw)
		return raw_print(answer, why);
	err = jvm_threads_parse(answer->data, answer->used, &threads, why);
	if (err)
		return err;
	if (options->format == FORMAT_JSON)
		err = threads_json(target, threads, why);
	else
		err = threads_text(options, target, threads, why);
	jvm_threads_free(threads);
	return err;
}

int jvm_threads(const struct options *options, const struct jvm_target *target, struct why *why)
{
	struct buf answer;
	int err;

	buf_init(&answer, JVM_ATTACH_BYTES_MAX);
	err = jvm_ask(target, options->jvm_locks ? "Thread.print -l" : "Thread.print", &answer, why);
	if (!err)
		err = answer_show(options, target, &answer, why);
	buf_done(&answer);
	return err;
}
