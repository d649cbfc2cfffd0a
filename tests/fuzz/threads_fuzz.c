/* Any bytes as a thread dump. What comes out holds together: counts add up, lists end, texts are printable. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "jvm/threads.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void text_check(const char *text)
{
	assert(utf8_valid(text, strlen(text)) && !strpbrk(text, "\n\x1b\x7f"));
}

static void threads_check(const struct jvm_threads *threads)
{
	unsigned states = 0, waiting = 0, waiters = 0, stacked = 0, members = 0;

	for (unsigned i = 0; i < JVM_THREAD_STATES_MAX; i++)
		states += threads->by_state[i];
	assert(threads->count && states == threads->count);
	for (unsigned i = 0; i < threads->count; i++) {
		const struct jvm_thread *thread = threads->threads[i];

		text_check(thread->name);
		waiting += thread->waits_for != NULL;
		stacked += thread->stack != NULL;
		assert(thread->wait || !thread->waits_for);
		assert(!thread->waits_for || thread->waits_for->holder != thread || threads->deadlocks_count);
	}
	for (unsigned i = 0; i < threads->locks_count; i++) {
		const struct jvm_thread *waiter = threads->locks[i]->waiters;
		unsigned count = 0;

		text_check(threads->locks[i]->class_name);
		for (; waiter; waiter = waiter->next_of_waiters, count++)
			assert(waiter->waits_for == threads->locks[i]);
		assert(count && count == threads->locks[i]->waiters_count);
		waiters += count;
	}
	assert(waiters == waiting);
	for (unsigned i = 0; i < threads->stacks_count; i++) {
		const struct jvm_stack *stack = threads->stacks[i];
		const struct jvm_thread *member = stack->threads;
		unsigned count = 0;

		assert(stack->frames_count && (!i || stack->threads_count <= threads->stacks[i - 1]->threads_count));
		for (unsigned f = 0; f < stack->frames_count; f++)
			text_check(stack->frames[f]);
		for (; member; member = member->next_of_stack, count++)
			assert(member->stack == stack);
		assert(count == stack->threads_count);
		members += count;
	}
	assert(members == stacked);
	for (unsigned i = 0; i < threads->deadlocks_count; i++)
		for (unsigned k = 0; k < threads->deadlocks[i].count; k++) {
			text_check(threads->deadlocks[i].threads[k].thread);
			text_check(threads->deadlocks[i].threads[k].class_name);
			text_check(threads->deadlocks[i].threads[k].holder);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size ? size : 1); /* of exactly that size, so that reading on is found */
	struct jvm_threads *threads = NULL;

	memcpy(text, data, size);
	if (!jvm_threads_parse(text, size, &threads, NULL)) {
		memset(text, 'x', size); /* nothing of it is borrowed */
		threads_check(threads);
	}
	jvm_threads_free(threads);
	free(text);
	return 0;
}
