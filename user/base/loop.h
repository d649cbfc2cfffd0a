/* The event loop of the one thread that owns the pipeline: file descriptors (epoll), timers (timerfd), signals
 * (signalfd), and work that may block, handed to one worker thread and back (eventfd).
 * All functions are for the loop's own thread, except loop_post() and loop_stop(). A callback may add and delete
 * anything, itself included: what has been deleted is not called any more, not even later in the same turn. */
#ifndef WEIR_BASE_LOOP_H
#define WEIR_BASE_LOOP_H

#include <linux/types.h>
#include <sys/epoll.h>

struct loop;
struct why;

int loop_new(struct loop **ret_loop, struct why *why);
/* Waits for work that is running; work not begun is not begun, its done() is called. Borrowed fds stay open. */
void loop_free(struct loop *loop);

/* @fd is borrowed and must stay open until loop_del_fd(). @events: EPOLLIN, EPOLLOUT, ... 0 or -errno (-EEXIST). */
int loop_add_fd(struct loop *loop, int fd, __u32 events, void (*ready)(void *arg, __u32 events), void *arg);
int loop_change_fd(struct loop *loop, int fd, __u32 events);
void loop_del_fd(struct loop *loop, int fd);

/* Fires @first_ns from now, then every @repeat_ns (0: once; the timer stays and can be set again). @first_ns 0 with
 * @repeat_ns 0: not armed. @late: expirations since the last call, at least 1. Returns an id >= 0 or -errno. */
int loop_add_timer(struct loop *loop, __u64 first_ns, __u64 repeat_ns, void (*fire)(void *arg, __u64 late), void *arg);
int loop_set_timer(struct loop *loop, int id, __u64 first_ns, __u64 repeat_ns);
void loop_del_timer(struct loop *loop, int id);

/* Blocks @signo in this thread (so call it before any thread is started) and calls back in the loop. */
int loop_add_signal(struct loop *loop, int signo, void (*caught)(void *arg, int signo), void *arg);

/* Work for the worker thread; embedded in the caller's object, which the worker owns until done() is called. */
struct work {
	void (*run)(struct work *work);	 /* on the worker thread; may block */
	void (*done)(struct work *work); /* back in the loop; may free @work */
	struct work *next;		 /* the loop's */
};

#define LOOP_WORK_MAX 256
/* Queued in order; the thread starts with the first. 0, -EAGAIN (LOOP_WORK_MAX are waiting) or -errno. */
int loop_work(struct loop *loop, struct work *work);
/* From any thread: done() will be called in the loop; run is not used. Never fails. */
void loop_post(struct loop *loop, struct work *work);

/* Runs until loop_stop(); 0 or -errno. */
int loop_run(struct loop *loop);
/* One turn: waits at most @timeout_ms (-1: for ever) for something to happen. Number of callbacks, or -errno. */
int loop_turn(struct loop *loop, int timeout_ms);
void loop_stop(struct loop *loop); /* any thread, also before loop_run() */
/* CLOCK_MONOTONIC, taken once a turn, after the wait. */
__u64 loop_now_ns(const struct loop *loop);
/* Longest time that callbacks of one turn took since the last call. */
__u64 loop_take_longest_ns(struct loop *loop);

#endif
