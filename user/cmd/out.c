#include "cmd/out.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/str.h"

#define WIDTH_USUAL 100
#define WIDTH_MIN   40
#define WIDTH_MAX   400

/* Somebody else may have made the file description non-blocking: then wait, output is worth it. */
static int out_wait(void)
{
	struct pollfd fd = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&fd, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

int out_write(struct buf *buf)
{
	size_t done = 0;
	int err = buf->err;

	while (!err && done < buf->used) {
		ssize_t bytes = write(STDOUT_FILENO, buf->data + done, buf->used - done);

		if (bytes >= 0)
			done += bytes;
		else if (errno == EAGAIN)
			err = out_wait();
		else if (errno != EINTR)
			err = -errno;
	}
	buf_reset(buf);
	return err;
}

static unsigned width_clamp(__u64 width)
{
	if (width < WIDTH_MIN)
		return WIDTH_MIN;
	return width > WIDTH_MAX ? WIDTH_MAX : width;
}

unsigned out_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	__u64 width;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col)
		return width_clamp(size.ws_col);
	if (columns && !str_to_u64(columns, ~0u, &width) && width)
		return width_clamp(width);
	return WIDTH_USUAL;
}

struct out_watcher {
	struct loop *loop;
	void (*gone)(void *arg);
	void *arg;
};

static void out_event(void *arg, __u32 events)
{
	struct out_watcher *watcher = arg;

	loop_del_fd(watcher->loop, STDOUT_FILENO);
	watcher->gone(watcher->arg);
}

void out_watch(struct loop *loop, void (*gone)(void *arg), void *arg)
{
	static struct out_watcher watcher; /* there is one standard output */
	struct stat stat;

	if (fstat(STDOUT_FILENO, &stat) || !(S_ISFIFO(stat.st_mode) || S_ISSOCK(stat.st_mode)))
		return;
	watcher = (struct out_watcher){ .loop = loop, .gone = gone, .arg = arg };
	/* No events are asked for: errors and hang-ups are always reported. */
	loop_add_fd(loop, STDOUT_FILENO, 0, out_event, &watcher);
}
