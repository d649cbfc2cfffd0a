/* The child lives some milliseconds, or as long as the JVM takes to listen. It ends by itself: at the deadline, or when its
 * parent has gone; and takes the file away that it made. All signals but SIGKILL are blocked in it, so that a Ctrl-C does
 * not leave that file behind. If it hangs (a /tmp that is a dead network file system), the parent kills it, and does not wait
 * for its end longer than GRACE_NS. */
#include "jvm/attach_connect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "base/why.h"
#include "jvm/attach_target.h"

#define GRACE_NS	 (300 * NS_PER_MS)
#define LISTEN_PERIOD_MS 2		   /* it takes about as long to listen */
#define TASKS_MAX	 100000		   /* threads whose name is looked at */
#define LISTENER	 "Attach Listener" /* the thread that serves the socket, in all versions */

/* From child to parent. */
struct message {
	enum { MESSAGE_SIGNAL = 1, MESSAGE_END = 2 } what;
	int err;
	struct why why;
};

struct child {
	const struct attach_target *t;
	bool look_only;
	int channel;
	int tmp, cwd, tasks;
	char socket_name[32], file_name[32];
	int file_dir; /* where the file is that was made; -1: none */
	struct why why;
};

/* --- messages ------------------------------------------------------------------------------------------------- */

static int message_send(int channel, const struct message *m, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)m, .iov_len = sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
							 .cmsg_level = SOL_SOCKET,
							 .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof(fd));
	}
	return sendmsg(channel, &msg, MSG_NOSIGNAL) == sizeof(*m) ? 0 : -errno;
}

/* 0, -EAGAIN (nothing there), -EPIPE (it has gone). *@ret_fd is -1 where none came along. */
static int message_receive(int channel, struct message *ret, int *ret_fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	ssize_t got = recvmsg(channel, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *header;

	*ret_fd = -1;
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
	header = CMSG_FIRSTHDR(&msg);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(header), sizeof(*ret_fd));
	return got == sizeof(*ret) ? 0 : -EPIPE;
}

/* --- child: before it is the other user ------------------------------------------------------------------------- */

/* A link is followed as the process would: below its root. */
static int open_tmp(int root)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, root, "tmp", &how, sizeof(how));

	/* Before 5.6, or forbidden by a filter of system calls. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = openat(root, "tmp", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd;
}

static int child_dirs(struct child *c)
{
	int root = openat(c->t->dir, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0 && errno == EACCES)
		return why_set(&c->why, -EACCES, "the root of process %u may not be entered (CAP_SYS_PTRACE)",
			       c->t->pid);
	if (root < 0)
		return why_set(&c->why, -ESRCH, "process %u has ended", c->t->pid);
	c->tmp = open_tmp(root);
	if (c->tmp < 0)
		return why_set(&c->why, -EROFS, "the JVM %u has no /tmp for its socket: %s", c->t->pid,
			       strerror(errno));
	c->cwd = openat(c->t->dir, "cwd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	c->tasks = openat(c->t->dir, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

/* As the user of the JVM, with no more and no less rights than it has. */
static int child_user(struct child *c)
{
	const struct process_status *status = &c->t->status;

	if (geteuid() == status->uid && getegid() == status->gid && geteuid() != 0)
		return 0;
	if (setgroups(status->group_count, status->groups) || setresgid(status->gid, status->gid, status->gid))
		return why_set(&c->why, -errno, "cannot ask as the group of the JVM %u: %s (CAP_SETGID)", c->t->pid,
			       strerror(errno));
	if (setresuid(status->uid, status->uid, status->uid))
		return why_set(&c->why, -errno, "cannot ask as the user of the JVM %u: %s (CAP_SETUID)", c->t->pid,
			       strerror(errno));
	/* That user has no business in a process that was another's a moment ago. */
	prctl(PR_SET_DUMPABLE, 0);
	return 0;
}

/* --- child: as the other user ----------------------------------------------------------------------------------- */

/* What lies there under the name of the socket. O_PATH: nothing but a name. */
static int socket_open(struct child *c)
{
	int fd = openat(c->tmp, c->socket_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0)
		return why_set(&c->why, -errno, "cannot look at /tmp/%s of the JVM %u: %s", c->socket_name, c->t->pid,
			       strerror(errno));
	if (fstat(fd, &st))
		st = (struct stat){ 0 };
	if (S_ISSOCK(st.st_mode) && st.st_uid == c->t->status.uid)
		return fd;
	close(fd);
	return why_set(&c->why, -EBADMSG, "/tmp/%s of the JVM %u is %s", c->socket_name, c->t->pid,
		       S_ISSOCK(st.st_mode) ? "somebody else's" : "no socket");
}

/* Containers of one pod can share /tmp, and a JVM be process 1 in each: then the socket with that name is of the one that began
 * to listen last. The kernel knows who listens. */
static int peer_check(struct child *c, int fd)
{
	struct ucred peer = { 0 };
	socklen_t room = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &room))
		return why_set(&c->why, -errno, "cannot tell who listens for the JVM %u: %s", c->t->pid,
			       strerror(errno));
	if (peer.pid > 0 && (__u32)peer.pid == c->t->pid)
		return 0;
	return why_set(&c->why, -EBADMSG, "/tmp/%s of the JVM %u is somebody else's: process %d listens there",
		       c->socket_name, c->t->pid, peer.pid);
}

/* A connected socket; or -ENOENT, -ECONNREFUSED: it does not listen; -EAGAIN: too many want to ask; others with a reason. */
static int socket_connect(struct child *c)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, path = socket_open(c);

	if (path < 0)
		return path;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		close(path);
		return why_set(&c->why, -errno, "cannot make a socket: %s", strerror(errno));
	}
	/* By the descriptor: what was looked at, whatever has that name by now. */
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		int err = -errno;

		close(fd);
		fd = err;
		if (err == -EPROTOTYPE)
			fd = -EBADMSG;
		if (fd != -ECONNREFUSED && fd != -EAGAIN)
			why_set(&c->why, fd, "cannot connect to /tmp/%s of the JVM %u: %s", c->socket_name, c->t->pid,
				strerror(-err));
	}
	close(path);
	if (fd >= 0) {
		int err = peer_check(c, fd);

		if (err) {
			close(fd);
			return err;
		}
	}
	return fd;
}

static bool is_listener(int tasks, const char *tid)
{
	char path[300], name[sizeof(LISTENER)];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "%s/comm", tid);
	fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = read(fd, name, sizeof(name));
	close(fd);
	return got == sizeof(name) && !memcmp(name, LISTENER "\n", sizeof(name));
}

/* Does it listen, wherever its socket is? */
static bool has_listener(struct child *c)
{
	DIR *dir = c->tasks < 0 ? NULL : fdopendir(c->tasks);
	struct dirent *entry;
	bool found = false;

	for (unsigned i = 0; dir && !found && i < TASKS_MAX && (entry = readdir(dir)); i++)
		found = is_listener(c->tasks, entry->d_name);
	if (dir)
		closedir(dir);
	c->tasks = -1;
	return found;
}

/* One that listens already takes the signal for a request to print all its stacks, unless it finds that its socket has no name
 * any more, and is of a version that looks. */
static int listener_check(struct child *c, bool name_is_there)
{
	if (!has_listener(c))
		return 0;
	if (name_is_there)
		return why_set(&c->why, -EBADMSG,
			       "the JVM %u listens, but /tmp/%s is not its socket any more, and nobody's: take it away",
			       c->t->pid, c->socket_name);
	if (!c->t->listens_anew)
		return why_set(&c->why, -ENOTSUP,
			       "the JVM %u listens, but its socket /tmp/%s was taken away, and its version, as far as "
			       "known, makes no other",
			       c->t->pid, c->socket_name);
	return 0;
}

/* The JVM is to make its socket there, and would print all its stacks where it cannot. */
static int tmp_check(struct child *c)
{
	struct statvfs fs;

	if (!fstatvfs(c->tmp, &fs) && fs.f_flag & ST_RDONLY)
		return why_set(&c->why, -EROFS, "the JVM %u cannot make its socket: its /tmp is read-only", c->t->pid);
	if (faccessat(c->tmp, ".", W_OK | X_OK, 0))
		return why_set(&c->why, -EROFS, "the JVM %u cannot make its socket in its /tmp: %s", c->t->pid,
			       strerror(errno));
	return 0;
}

/* The file by which the JVM knows that the signal means this: in its directory, or else in /tmp. */
static int file_create(struct child *c)
{
	int dirs[] = { c->cwd, c->tmp }, err = -ENOENT;

	for (unsigned i = 0; i < 2; i++) {
		int fd = dirs[i] < 0 ? -1
				     : openat(dirs[i], c->file_name,
					      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

		if (fd >= 0) {
			close(fd);
			c->file_dir = dirs[i];
			return 0;
		}
		err = -errno;
	}
	if (err == -EEXIST)
		return why_set(&c->why, -EBUSY,
			       "the JVM %u is being asked by another tool just now: %s is there already", c->t->pid,
			       c->file_name);
	return why_set(&c->why, err, "cannot make %s for the JVM %u: %s", c->file_name, c->t->pid, strerror(-err));
}

static void file_remove(struct child *c)
{
	if (c->file_dir >= 0)
		unlinkat(c->file_dir, c->file_name, 0);
	c->file_dir = -1;
}

/* The parent may send it what this user may not. Its reason stays with it. */
static int signal_ask(struct child *c)
{
	struct message m = { .what = MESSAGE_SIGNAL };
	struct pollfd wait = { .fd = c->channel, .events = POLLIN };
	int err = message_send(c->channel, &m, -1), fd;

	if (err)
		return err;
	/* Longer than the parent waits for it to run: the file must be there when the signal comes. */
	if (poll(&wait, 1, attach_timeout_ms(c->t->deadline_ns + GRACE_NS / 2)) <= 0)
		return -ETIMEDOUT;
	return message_receive(c->channel, &m, &fd) ? -EPIPE : m.err;
}

/* 0: look again. */
static int child_wait(struct child *c)
{
	struct pollfd wait = { .fd = c->channel };

	if (!attach_timeout_ms(c->t->deadline_ns))
		return why_set(&c->why, -ETIMEDOUT, "the JVM %u did not listen in time", c->t->pid);
	if (syscall(SYS_pidfd_send_signal, c->t->dir, 0, NULL, 0) && errno == ESRCH)
		return why_set(&c->why, -ESRCH, "process %u has ended", c->t->pid);
	/* All that can happen on it is that the parent goes. */
	return poll(&wait, 1, LISTEN_PERIOD_MS) > 0 ? -EPIPE : 0;
}

/* A connected socket, as soon as there is one. */
static int connect_wait(struct child *c)
{
	int fd, err;

	for (;;) {
		fd = socket_connect(c);
		if (fd >= 0 || (fd != -ENOENT && fd != -ECONNREFUSED && fd != -EAGAIN))
			return fd;
		err = child_wait(c);
		if (err)
			return err;
	}
}

/* Tells it to listen. @name_is_there: of a socket that takes no connection. */
static int child_wake(struct child *c, bool name_is_there)
{
	int err;

	if (c->t->refusal) {
		c->why = c->t->refusal_why;
		return c->t->refusal;
	}
	err = listener_check(c, name_is_there) ?: tmp_check(c);
	if (err || c->look_only)
		return err;
	err = file_create(c);
	if (err)
		return err;
	err = signal_ask(c);
	err = err ? err : connect_wait(c);
	file_remove(c);
	return err;
}

/* A connected socket, or why not; 0 if only looked at. */
static int child_connect(struct child *c)
{
	int fd;

	if (c->look_only) {
		fd = socket_open(c);
		if (fd < 0)
			return fd == -ENOENT ? child_wake(c, /* name_is_there */ false) : fd;
		close(fd);
		return 0;
	}
	fd = socket_connect(c);
	/* Refused: left behind by one that was killed. Of a JVM that is told to listen it takes the place. */
	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return child_wake(c, /* name_is_there */ fd == -ECONNREFUSED);
	return fd == -EAGAIN ? connect_wait(c) : fd;
}

__attribute__((noreturn)) static void child_main(struct child *c)
{
	struct message end = { .what = MESSAGE_END };
	int fd = child_dirs(c);

	snprintf(c->socket_name, sizeof(c->socket_name), ".java_pid%u", c->t->status.inner_pid);
	snprintf(c->file_name, sizeof(c->file_name), ".attach_pid%u", c->t->status.inner_pid);
	fd = fd ? fd : child_user(c);
	fd = fd ? fd : child_connect(c);
	end.err = fd < 0 ? fd : 0;
	end.why = c->why;
	message_send(c->channel, &end, c->look_only ? -1 : fd);
	_exit(0);
}

/* --- parent ----------------------------------------------------------------------------------------------------- */

/* Until the channel has a message or is closed, at most until @until_ns. */
static bool channel_wait(int channel, short events, __u64 until_ns)
{
	struct pollfd wait = { .fd = channel, .events = events };
	int left_ms;

	while ((left_ms = attach_timeout_ms(until_ns)))
		if (poll(&wait, 1, left_ms) > 0)
			return true;
	return false;
}

/* Does what the child asks for, until it says how it ended. */
static int child_serve(const struct attach_target *t, int channel, int *ret_fd, struct why *why)
{
	__u64 until_ns = t->deadline_ns + GRACE_NS;
	struct message m;

	while (channel_wait(channel, POLLIN, until_ns)) {
		int err = message_receive(channel, &m, ret_fd);

		if (err == -EAGAIN)
			continue;
		if (err)
			return why_set(why, -EIO, "the process that was to ask the JVM %u ended early", t->pid);
		if (m.what == MESSAGE_END) {
			if (why && m.err && m.why.text[0])
				*why = m.why;
			return m.err;
		}
		m.err = attach_target_signal(t, why);
		message_send(channel, &m, -1);
	}
	return why_set(why, -ETIMEDOUT, "the files of the JVM %u could not be reached in time", t->pid);
}

/* A process that hangs in a file system may not even be killed. It is left, then, and holds the lock as long as it hangs. */
static void child_reap(pid_t child, int channel)
{
	if (!channel_wait(channel, 0, time_now_ns() + GRACE_NS)) {
		kill(child, SIGKILL);
		if (!channel_wait(channel, 0, time_now_ns() + GRACE_NS))
			return;
	}
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

int attach_connect(const struct attach_target *t, bool look_only, int *ret_fd, struct why *why)
{
	struct child c = { .t = t, .look_only = look_only, .tmp = -1, .cwd = -1, .tasks = -1, .file_dir = -1 };
	sigset_t all, before;
	int pair[2], fd = -1, err;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return why_set(why, -errno, "cannot make a socket: %s", strerror(errno));
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	child = fork();
	err = child < 0 ? -errno : 0;
	if (!child) {
		close(pair[0]);
		c.channel = pair[1];
		child_main(&c);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	close(pair[1]);
	if (err)
		why_set(why, err, "cannot make a process: %s", strerror(-err));
	else {
		err = child_serve(t, pair[0], &fd, why);
		child_reap(child, pair[0]);
	}
	close(pair[0]);
	if (!err && !look_only && fd < 0)
		err = why_set(why, -EIO, "no connection to the JVM %u came along", t->pid);
	if (!err && !look_only)
		*ret_fd = fd;
	else if (fd >= 0)
		close(fd);
	return err;
}
