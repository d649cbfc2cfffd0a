/* The event loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/time.h"
#include "base/why.h"

static struct loop *loop;

static int begin(void **state)
{
	struct why why;

	return loop_new(&loop, &why);
}

static int end(void **state)
{
	loop_free(loop);
	loop = NULL;
	return 0;
}

/* Turns until @value reaches @want; fails after ten seconds. */
#define TURN_UNTIL(value, want)                                         \
	do {                                                            \
		__u64 deadline_ns = time_now_ns() + 10 * NS_PER_S;      \
		while ((value) < (want) && time_now_ns() < deadline_ns) \
			assert_true(loop_turn(loop, 100) >= 0);         \
		assert_true((value) >= (want));                         \
	} while (0)

struct counter {
	int count;
	int fds[2];
	char last;
};

static void pipe_read(void *arg, __u32 events)
{
	struct counter *c = arg;

	assert_true(events & EPOLLIN);
	assert_int_equal(read(c->fds[0], &c->last, 1), 1);
	c->count++;
}

static void fd_is_called_when_ready_and_not_otherwise(void **state)
{
	struct counter c = { 0 };

	assert_int_equal(pipe(c.fds), 0);
	assert_int_equal(loop_add_fd(loop, c.fds[0], EPOLLIN, pipe_read, &c), 0);
	assert_int_equal(loop_add_fd(loop, c.fds[0], EPOLLIN, pipe_read, &c), -EEXIST);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(write(c.fds[1], "ab", 2), 2);
	TURN_UNTIL(c.count, 2);
	assert_int_equal(c.last, 'b');
	assert_int_equal(loop_change_fd(loop, c.fds[0], 0), 0);
	assert_int_equal(write(c.fds[1], "c", 1), 1);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(loop_change_fd(loop, c.fds[0], EPOLLIN), 0);
	TURN_UNTIL(c.count, 3);
	loop_del_fd(loop, c.fds[0]);
	loop_del_fd(loop, c.fds[0]);
	assert_int_equal(loop_change_fd(loop, c.fds[0], EPOLLIN), -ENOENT);
	assert_int_equal(write(c.fds[1], "d", 1), 1);
	assert_int_equal(loop_turn(loop, 0), 0);
	close(c.fds[0]);
	close(c.fds[1]);
	assert_int_equal(loop_add_fd(loop, c.fds[0], EPOLLIN, pipe_read, &c), -EBADF);
	assert_int_equal(loop_add_fd(loop, -1, EPOLLIN, pipe_read, &c), -EBADF);
}

static struct counter pair[2];

static void pipe_read_and_delete_other(void *arg, __u32 events)
{
	struct counter *c = arg;
	struct counter *other = c == &pair[0] ? &pair[1] : &pair[0];

	pipe_read(arg, events);
	loop_del_fd(loop, other->fds[0]);
}

static void fd_deleted_by_another_callback_is_not_called(void **state)
{
	memset(pair, 0, sizeof(pair));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pipe(pair[i].fds), 0);
		assert_int_equal(loop_add_fd(loop, pair[i].fds[0], EPOLLIN, pipe_read_and_delete_other, &pair[i]), 0);
		assert_int_equal(write(pair[i].fds[1], "x", 1), 1);
	}
	/* both are ready in the same turn; whoever comes first deletes the other */
	assert_int_equal(loop_turn(loop, 1000), 1);
	assert_int_equal(pair[0].count + pair[1].count, 1);
	assert_int_equal(loop_turn(loop, 0), 0);
	for (int i = 0; i < 2; i++) {
		close(pair[i].fds[0]);
		close(pair[i].fds[1]);
	}
}

static void delete_self(void *arg, __u64 late)
{
	int *id = arg;

	loop_del_timer(loop, *id);
	*id = -1;
}

static void timer_may_delete_itself(void **state)
{
	int id = loop_add_timer(loop, 1, 1, delete_self, &id);

	assert_true(id >= 0);
	while (id >= 0)
		assert_true(loop_turn(loop, 1000) >= 0);
	assert_int_equal(loop_turn(loop, 20), 0);
}

static void tick(void *arg, __u64 late)
{
	int *count = arg;

	assert_true(late >= 1);
	*count += (int)late;
}

static void timer_fires_once_or_again_and_can_be_set(void **state)
{
	int once = 0, again = 0, never = 0, id;
	__u64 start_ns = time_now_ns();

	id = loop_add_timer(loop, 5 * NS_PER_MS, 0, tick, &once);
	assert_true(id >= 0);
	assert_true(loop_add_timer(loop, 0, 2 * NS_PER_MS, tick, &again) >= 0);
	assert_true(loop_add_timer(loop, 0, 0, tick, &never) >= 0);
	TURN_UNTIL(again, 10);
	TURN_UNTIL(once, 1); /* all ten may have come at once, before it had its turn */
	assert_true(time_now_ns() - start_ns >= 20 * NS_PER_MS);
	assert_int_equal(once, 1);
	assert_int_equal(never, 0);
	assert_int_equal(loop_set_timer(loop, id, 1, 0), 0);
	TURN_UNTIL(once, 2);
	loop_del_timer(loop, id);
	assert_int_equal(loop_set_timer(loop, id, 1, 0), -ENOENT);
}

static void signal_caught(void *arg, int signo)
{
	int *got = arg;

	*got = signo;
	loop_stop(loop);
}

static void signal_is_a_callback(void **state)
{
	int got = 0;

	assert_int_equal(loop_add_signal(loop, SIGUSR1, signal_caught, &got), 0);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(got, SIGUSR1);
	assert_int_equal(loop_add_signal(loop, 4711, signal_caught, &got), -EINVAL);
}

static void stop_before_run_is_not_lost(void **state)
{
	loop_stop(loop);
	assert_int_equal(loop_run(loop), 0);
}

struct job {
	struct work work;
	pthread_t ran_on;
	atomic_int ran;
	int done;
	int order;
};

static int jobs_done;

static void job_run(struct work *work)
{
	struct job *job = (struct job *)work;

	job->ran_on = pthread_self();
	atomic_fetch_add(&job->ran, 1);
}

static void job_done(struct work *work)
{
	struct job *job = (struct job *)work;

	job->done++;
	job->order = jobs_done++;
}

static void work_runs_elsewhere_and_ends_here_in_order(void **state)
{
	struct job jobs[100] = { 0 };

	jobs_done = 0;
	for (int i = 0; i < 100; i++) {
		jobs[i].work = (struct work){ .run = job_run, .done = job_done };
		assert_int_equal(loop_work(loop, &jobs[i].work), 0);
	}
	TURN_UNTIL(jobs_done, 100);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(jobs[i].ran, 1);
		assert_int_equal(jobs[i].done, 1);
		assert_int_equal(jobs[i].order, i);
		assert_false(pthread_equal(jobs[i].ran_on, pthread_self()));
	}
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void job_wait(struct work *work)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	job_run(work);
}

static void work_is_bounded_and_given_back_when_the_loop_ends(void **state)
{
	static struct job jobs[LOOP_WORK_MAX + 8];
	int accepted = 0, ran = 0, err = 0;

	memset(jobs, 0, sizeof(jobs));
	jobs_done = 0;
	pthread_mutex_lock(&gate);
	for (int i = 0; i < LOOP_WORK_MAX + 8; i++) {
		jobs[i].work = (struct work){ .run = job_wait, .done = job_done };
		err = loop_work(loop, &jobs[i].work);
		if (err)
			break;
		accepted++;
	}
	assert_int_equal(err, -EAGAIN);
	/* one may have been taken by the thread already */
	assert_in_range(accepted, LOOP_WORK_MAX, LOOP_WORK_MAX + 1);
	pthread_mutex_unlock(&gate);
	loop_free(loop);
	loop = NULL;
	assert_int_equal(jobs_done, accepted);
	for (int i = 0; i < accepted; i++) {
		assert_int_equal(jobs[i].done, 1);
		ran += jobs[i].ran;
	}
	assert_true(ran <= accepted);
}

static void *poster(void *arg)
{
	struct job *jobs = arg;

	for (int i = 0; i < 100; i++)
		loop_post(loop, &jobs[i].work);
	return NULL;
}

static void post_reaches_the_loop_from_any_thread(void **state)
{
	static struct job jobs[4][100];
	pthread_t threads[4];

	memset(jobs, 0, sizeof(jobs));
	jobs_done = 0;
	for (int t = 0; t < 4; t++) {
		for (int i = 0; i < 100; i++)
			jobs[t][i].work.done = job_done;
		assert_int_equal(pthread_create(&threads[t], NULL, poster, jobs[t]), 0);
	}
	TURN_UNTIL(jobs_done, 400);
	for (int t = 0; t < 4; t++)
		pthread_join(threads[t], NULL);
	assert_int_equal(jobs_done, 400);
}

static void *stopper(void *arg)
{
	loop_stop(loop);
	return NULL;
}

static void stop_wakes_the_loop_from_another_thread(void **state)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, stopper, NULL), 0);
	assert_int_equal(loop_run(loop), 0);
	pthread_join(thread, NULL);
}

static void spin(void *arg, __u64 late)
{
	__u64 until_ns = time_now_ns() + 3 * NS_PER_MS;

	while (time_now_ns() < until_ns)
		;
}

static void longest_turn_is_measured_and_taken(void **state)
{
	int id = loop_add_timer(loop, 1, 0, spin, NULL);

	assert_true(id >= 0);
	assert_int_equal(loop_turn(loop, 1000), 1);
	assert_true(loop_now_ns(loop) <= time_now_ns() - 3 * NS_PER_MS);
	assert_true(loop_take_longest_ns(loop) >= 3 * NS_PER_MS);
	assert_int_equal(loop_take_longest_ns(loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(fd_is_called_when_ready_and_not_otherwise, begin, end),
		cmocka_unit_test_setup_teardown(fd_deleted_by_another_callback_is_not_called, begin, end),
		cmocka_unit_test_setup_teardown(timer_may_delete_itself, begin, end),
		cmocka_unit_test_setup_teardown(timer_fires_once_or_again_and_can_be_set, begin, end),
		cmocka_unit_test_setup_teardown(signal_is_a_callback, begin, end),
		cmocka_unit_test_setup_teardown(stop_before_run_is_not_lost, begin, end),
		cmocka_unit_test_setup_teardown(work_runs_elsewhere_and_ends_here_in_order, begin, end),
		cmocka_unit_test_setup_teardown(work_is_bounded_and_given_back_when_the_loop_ends, begin, end),
		cmocka_unit_test_setup_teardown(post_reaches_the_loop_from_any_thread, begin, end),
		cmocka_unit_test_setup_teardown(stop_wakes_the_loop_from_another_thread, begin, end),
		cmocka_unit_test_setup_teardown(longest_turn_is_measured_and_taken, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
