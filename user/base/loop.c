#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/time.h"
#include "base/why.h"

#define LOOP_EVENTS_MAX 64
/* Resolver and TLS code run on it; the usual 8 MiB would be counted against a container's limit once touched. */
#define WORKER_STACK_BYTES (512u << 10)

enum source_kind { SOURCE_FD, SOURCE_TIMER, SOURCE_SIGNAL, SOURCE_WAKE };

struct source {
	enum source_kind kind;
	int fd;
	bool dead; /* deleted in this turn: an event for it may still wait in the list */
	union {
		void (*ready)(void *arg, __u32 events);
		void (*fire)(void *arg, __u64 late);
		void (*caught)(void *arg, int signo);
	};
	void *arg;
	struct source *next_dead;
};

struct work_list {
	struct work *first, **end;
	unsigned count;
};

struct loop {
	int epoll_fd;
	int wake_fd;
	struct source **sources; /* by file descriptor */
	size_t sources_cap;
	struct source *dead;
	__u64 now_ns, longest_ns;
	_Atomic bool stop;

	pthread_t worker;
	bool worker_runs;
	/* Below: shared with other threads, under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t wake_worker;
	bool worker_ends;
	struct work_list waiting, finished;
};

static void work_append(struct work_list *list, struct work *work)
{
	work->next = NULL;
	*list->end = work;
	list->end = &work->next;
	list->count++;
}

static void work_list_init(struct work_list *list)
{
	*list = (struct work_list){ .end = &list->first };
}

/* Source of @fd of one of our own kinds, or NULL. */
static struct source *source_get(struct loop *loop, int fd)
{
	return fd >= 0 && (size_t)fd < loop->sources_cap ? loop->sources[fd] : NULL;
}

static int source_add(struct loop *loop, const struct source *wanted, __u32 events)
{
	size_t cap = loop->sources_cap ? loop->sources_cap : 32;
	struct epoll_event event = { .events = events };
	struct source *source, **sources;

	if (wanted->fd < 0)
		return -EBADF;
	if (source_get(loop, wanted->fd))
		return -EEXIST;
	while (cap <= (size_t)wanted->fd)
		cap *= 2;
	if (cap > loop->sources_cap) {
		sources = realloc(loop->sources, cap * sizeof(*sources));
		if (!sources)
			return -ENOMEM;
		memset(sources + loop->sources_cap, 0, (cap - loop->sources_cap) * sizeof(*sources));
		loop->sources = sources;
		loop->sources_cap = cap;
	}
	source = malloc(sizeof(*source));
	if (!source)
		return -ENOMEM;
	*source = *wanted;
	event.data.ptr = source;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event)) {
		int err = -errno;

		free(source);
		return err;
	}
	loop->sources[source->fd] = source;
	return 0;
}

static void source_del(struct loop *loop, struct source *source)
{
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	loop->sources[source->fd] = NULL;
	if (source->kind != SOURCE_FD)
		close(source->fd);
	source->dead = true;
	source->next_dead = loop->dead;
	loop->dead = source;
}

static void sources_bury(struct loop *loop)
{
	while (loop->dead) {
		struct source *source = loop->dead;

		loop->dead = source->next_dead;
		free(source);
	}
}

int loop_new(struct loop **ret_loop, struct why *why)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int err;

	if (!loop)
		return why_set(why, -ENOMEM, "no memory for the event loop");
	work_list_init(&loop->waiting);
	work_list_init(&loop->finished);
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->wake_worker, NULL);
	loop->now_ns = time_now_ns();
	loop->wake_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		err = why_set(why, -errno, "cannot create an epoll instance: %s", strerror(errno));
		goto out_free;
	}
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0) {
		err = why_set(why, -errno, "cannot create an eventfd: %s", strerror(errno));
		goto out_free;
	}
	err = source_add(loop, &(struct source){ .kind = SOURCE_WAKE, .fd = loop->wake_fd }, EPOLLIN);
	if (err) {
		why_set(why, err, "cannot watch the event loop's eventfd: %s", strerror(-err));
		close(loop->wake_fd);
		goto out_free;
	}
	*ret_loop = loop;
	return 0;

out_free:
	loop_free(loop);
	return err;
}

static void finished_call(struct loop *loop)
{
	struct work *work, *next;

	pthread_mutex_lock(&loop->lock);
	work = loop->finished.first;
	work_list_init(&loop->finished);
	pthread_mutex_unlock(&loop->lock);
	for (; work; work = next) {
		next = work->next; /* done() may free it */
		work->done(work);
	}
}

static void worker_stop(struct loop *loop)
{
	struct work *work, *next;

	if (loop->worker_runs) {
		pthread_mutex_lock(&loop->lock);
		loop->worker_ends = true;
		pthread_cond_signal(&loop->wake_worker);
		pthread_mutex_unlock(&loop->lock);
		pthread_join(loop->worker, NULL);
		loop->worker_runs = false;
	}
	finished_call(loop);
	work = loop->waiting.first;
	work_list_init(&loop->waiting);
	for (; work; work = next) {
		next = work->next;
		work->done(work);
	}
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	worker_stop(loop);
	for (size_t i = 0; i < loop->sources_cap; i++)
		if (loop->sources[i])
			source_del(loop, loop->sources[i]); /* the wake_fd with them */
	sources_bury(loop);
	free(loop->sources);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	pthread_cond_destroy(&loop->wake_worker);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

int loop_add_fd(struct loop *loop, int fd, __u32 events, void (*ready)(void *arg, __u32 events), void *arg)
{
	return source_add(loop, &(struct source){ .kind = SOURCE_FD, .fd = fd, .ready = ready, .arg = arg }, events);
}

int loop_change_fd(struct loop *loop, int fd, __u32 events)
{
	struct source *source = source_get(loop, fd);
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (!source || source->kind != SOURCE_FD)
		return -ENOENT;
	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &event) ? -errno : 0;
}

void loop_del_fd(struct loop *loop, int fd)
{
	struct source *source = source_get(loop, fd);

	if (source && source->kind == SOURCE_FD)
		source_del(loop, source);
}

static struct timespec ns_to_timespec(__u64 ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };
}

int loop_set_timer(struct loop *loop, int id, __u64 first_ns, __u64 repeat_ns)
{
	struct source *source = source_get(loop, id);
	struct itimerspec spec = {
		.it_value = ns_to_timespec(first_ns ? first_ns : repeat_ns),
		.it_interval = ns_to_timespec(repeat_ns),
	};

	if (!source || source->kind != SOURCE_TIMER)
		return -ENOENT;
	return timerfd_settime(id, 0, &spec, NULL) ? -errno : 0;
}

int loop_add_timer(struct loop *loop, __u64 first_ns, __u64 repeat_ns, void (*fire)(void *arg, __u64 late), void *arg)
{
	int fd, err;

	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	err = source_add(loop, &(struct source){ .kind = SOURCE_TIMER, .fd = fd, .fire = fire, .arg = arg }, EPOLLIN);
	if (err) {
		close(fd);
		return err;
	}
	err = loop_set_timer(loop, fd, first_ns, repeat_ns);
	if (err) {
		loop_del_timer(loop, fd);
		return err;
	}
	return fd;
}

void loop_del_timer(struct loop *loop, int id)
{
	struct source *source = source_get(loop, id);

	if (source && source->kind == SOURCE_TIMER)
		source_del(loop, source);
}

int loop_add_signal(struct loop *loop, int signo, void (*caught)(void *arg, int signo), void *arg)
{
	sigset_t set;
	int fd, err;

	sigemptyset(&set);
	if (sigaddset(&set, signo))
		return -EINVAL;
	err = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (err)
		return -err;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	err = source_add(loop, &(struct source){ .kind = SOURCE_SIGNAL, .fd = fd, .caught = caught, .arg = arg },
			 EPOLLIN);
	if (err)
		close(fd);
	return err;
}

static void loop_wake(struct loop *loop)
{
	__u64 one = 1;

	/* Fails only when the counter is full, and then the loop is awake already. */
	if (write(loop->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void loop_post(struct loop *loop, struct work *work)
{
	pthread_mutex_lock(&loop->lock);
	work_append(&loop->finished, work);
	pthread_mutex_unlock(&loop->lock);
	loop_wake(loop);
}

static void *worker_main(void *arg)
{
	struct loop *loop = arg;
	struct work *work;

	for (;;) {
		pthread_mutex_lock(&loop->lock);
		while (!loop->waiting.first && !loop->worker_ends)
			pthread_cond_wait(&loop->wake_worker, &loop->lock);
		if (loop->worker_ends) {
			pthread_mutex_unlock(&loop->lock);
			return NULL;
		}
		work = loop->waiting.first;
		loop->waiting.first = work->next;
		loop->waiting.count--;
		if (!work->next)
			loop->waiting.end = &loop->waiting.first;
		pthread_mutex_unlock(&loop->lock);
		work->run(work);
		loop_post(loop, work);
	}
}

/* All signals are blocked on it: they belong to the loop's signalfds. */
static int worker_start(struct loop *loop)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES);
	err = pthread_create(&loop->worker, &attr, worker_main, loop);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	loop->worker_runs = !err;
	return -err;
}

int loop_work(struct loop *loop, struct work *work)
{
	int err = loop->worker_runs ? 0 : worker_start(loop);

	if (err)
		return err;
	pthread_mutex_lock(&loop->lock);
	if (loop->waiting.count < LOOP_WORK_MAX) {
		work_append(&loop->waiting, work);
		pthread_cond_signal(&loop->wake_worker);
	} else {
		err = -EAGAIN;
	}
	pthread_mutex_unlock(&loop->lock);
	return err;
}

static int source_dispatch(struct loop *loop, struct source *source, __u32 events)
{
	struct signalfd_siginfo info;
	__u64 count;

	switch (source->kind) {
	case SOURCE_FD:
		source->ready(source->arg, events);
		return 1;
	case SOURCE_TIMER:
		/* Nothing to read: it was set anew since it fired. */
		if (read(source->fd, &count, sizeof(count)) != sizeof(count))
			return 0;
		source->fire(source->arg, count);
		return 1;
	case SOURCE_SIGNAL:
		/* One a turn; the descriptor stays readable while there are more. */
		if (read(source->fd, &info, sizeof(info)) != sizeof(info))
			return 0;
		source->caught(source->arg, (int)info.ssi_signo);
		return 1;
	case SOURCE_WAKE:
		if (read(source->fd, &count, sizeof(count)) != sizeof(count))
			return 0;
		finished_call(loop);
		return 1;
	}
	return 0;
}

int loop_turn(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[LOOP_EVENTS_MAX];
	int count, called = 0;
	__u64 took_ns;

	count = epoll_wait(loop->epoll_fd, events, LOOP_EVENTS_MAX, timeout_ms);
	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	loop->now_ns = time_now_ns();
	for (int i = 0; i < count; i++) {
		struct source *source = events[i].data.ptr;

		if (!source->dead)
			called += source_dispatch(loop, source, events[i].events);
	}
	sources_bury(loop);
	took_ns = time_now_ns() - loop->now_ns;
	if (took_ns > loop->longest_ns)
		loop->longest_ns = took_ns;
	return called;
}

int loop_run(struct loop *loop)
{
	int err = 0;

	while (!atomic_load(&loop->stop)) {
		err = loop_turn(loop, -1);
		if (err < 0)
			break;
		err = 0;
	}
	atomic_store(&loop->stop, false);
	return err;
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stop, true);
	loop_wake(loop);
}

__u64 loop_now_ns(const struct loop *loop)
{
	return loop->now_ns;
}

__u64 loop_take_longest_ns(struct loop *loop)
{
	__u64 longest_ns = loop->longest_ns;

	loop->longest_ns = 0;
	return longest_ns;
}
