#include "signal/sched_class.h"

#include <string.h>
#include <sys/syscall.h>

static const struct {
	__u16 number;
	__u8 class;
} calls[] = {
	{ SYS_futex, SCHED_CLASS_LOCK },
#ifdef SYS_futex_waitv
	{ SYS_futex_waitv, SCHED_CLASS_LOCK },
#endif
	{ 455,
	  SCHED_CLASS_LOCK }, /* futex_wait, cb8c4312afca (6.7): newer than the headers, the same on all machines */
	{ 456, SCHED_CLASS_LOCK }, /* futex_requeue */
	{ SYS_flock, SCHED_CLASS_LOCK },
	{ SYS_nanosleep, SCHED_CLASS_SLEEP },
	{ SYS_clock_nanosleep, SCHED_CLASS_SLEEP },
	{ SYS_epoll_pwait, SCHED_CLASS_POLL },
#ifdef SYS_epoll_pwait2
	{ SYS_epoll_pwait2, SCHED_CLASS_POLL },
#endif
	{ SYS_ppoll, SCHED_CLASS_POLL },
	{ SYS_pselect6, SCHED_CLASS_POLL },
	{ SYS_io_getevents, SCHED_CLASS_POLL },
#ifdef SYS_io_uring_enter
	{ SYS_io_uring_enter, SCHED_CLASS_POLL },
#endif
/* arm64 never had the first forms of these. */
#ifdef SYS_epoll_wait
	{ SYS_epoll_wait, SCHED_CLASS_POLL },
#endif
#ifdef SYS_poll
	{ SYS_poll, SCHED_CLASS_POLL },
#endif
#ifdef SYS_select
	{ SYS_select, SCHED_CLASS_POLL },
#endif
};

void sched_class_fill(__u8 ret[SCHED_SYSCALL_MAX])
{
	memset(ret, SCHED_CLASS_OTHER, SCHED_SYSCALL_MAX);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		ret[calls[i].number % SCHED_SYSCALL_MAX] = calls[i].class;
}

const char *sched_class_name(enum sched_class class)
{
	switch (class) {
	case SCHED_CLASS_PREEMPTED:
		return "preempted";
	case SCHED_CLASS_IO:
		return "io";
	case SCHED_CLASS_LOCK:
		return "lock";
	case SCHED_CLASS_SLEEP:
		return "sleep";
	case SCHED_CLASS_POLL:
		return "poll";
	case SCHED_CLASS_OTHER:
	case SCHED_CLASS_MAX:
		break;
	}
	return "other";
}
