#include "jvm/attach_target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"
#include "base/time.h"
#include "jvm/attach.h"
#include "jvm/figures.h"
#include "jvm/kind.h"
#include "jvm/perf_source.h"

#define STATUS_ROOM	16384 /* 2 KiB, and its groups */
#define OPTIONS_ROOM	(256u << 10)
#define STILL_PERIOD_MS 20

int attach_timeout_ms(__u64 deadline_ns)
{
	__u64 now_ns = time_now_ns();

	if (now_ns >= deadline_ns)
		return 0;
	deadline_ns = (deadline_ns - now_ns) / NS_PER_MS + 1;
	return deadline_ns < INT_MAX ? (int)deadline_ns : INT_MAX;
}

/* --- status --------------------------------------------------------------------------------------------------- */

/* The next number of a line; false at its end. */
static bool number_take(const char **at, const char *end, __u64 max, __u64 *ret)
{
	const char *from;

	while (*at < end && (**at == ' ' || **at == '\t'))
		(*at)++;
	from = *at;
	while (*at < end && **at != ' ' && **at != '\t')
		(*at)++;
	return *at > from && !mem_to_u64(from, (size_t)(*at - from), max, ret);
}

/* The second number of "Uid:" and "Gid:" is the effective one. */
static bool id_parse(const char *at, const char *end, __u32 *ret)
{
	__u64 id;

	if (!number_take(&at, end, UINT_MAX, &id) || !number_take(&at, end, UINT_MAX, &id))
		return false;
	*ret = (__u32)id;
	return true;
}

static bool inner_pid_parse(const char *at, const char *end, __u32 *ret)
{
	__u64 pid = 0;

	while (number_take(&at, end, INT_MAX, &pid))
		;
	if (!pid)
		return false;
	*ret = (__u32)pid;
	return true;
}

static bool mask_parse(const char *at, const char *end, __u64 *ret)
{
	__u64 mask = 0;

	while (at < end && *at == '\t')
		at++;
	if (end - at < 1 || end - at > 16)
		return false;
	for (; at < end; at++) {
		int digit = *at >= '0' && *at <= '9' ? *at - '0' : *at >= 'a' && *at <= 'f' ? *at - 'a' + 10 : -1;

		if (digit < 0)
			return false;
		mask = mask << 4 | (unsigned)digit;
	}
	*ret = mask;
	return true;
}

static bool groups_parse(const char *at, const char *end, struct process_status *ret)
{
	__u64 group;

	ret->group_count = 0;
	while (ret->group_count < PROCESS_GROUPS_MAX && number_take(&at, end, UINT_MAX, &group))
		ret->groups[ret->group_count++] = (gid_t)group;
	return true;
}

enum { STATE = 1, USER = 2, GROUP = 4, INNER_PID = 8, CAUGHT = 16 };

/* Which of these the line tells; 0: none. */
static unsigned status_line(const char *line, const char *end, struct process_status *ret)
{
	const char *colon = memchr(line, ':', (size_t)(end - line)), *at;
	size_t name = colon ? (size_t)(colon - line) : 0;

	if (!colon)
		return 0;
	at = colon + 1;
	if (mem_equals_str(line, name, "State") && end - at >= 2) {
		ret->state = at[1];
		return STATE;
	}
	if (mem_equals_str(line, name, "Uid"))
		return id_parse(at, end, &ret->uid) ? USER : 0;
	if (mem_equals_str(line, name, "Gid"))
		return id_parse(at, end, &ret->gid) ? GROUP : 0;
	if (mem_equals_str(line, name, "NSpid"))
		return inner_pid_parse(at, end, &ret->inner_pid) ? INNER_PID : 0;
	if (mem_equals_str(line, name, "SigCgt"))
		return mask_parse(at, end, &ret->caught) ? CAUGHT : 0;
	if (mem_equals_str(line, name, "Groups"))
		groups_parse(at, end, ret);
	return 0;
}

int process_status_parse(const char *text, size_t bytes, struct process_status *ret)
{
	const char *end = text + bytes;
	struct process_status status = { 0 };
	unsigned found = 0;

	while (text < end) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));

		line_end = line_end ? line_end : end;
		found |= status_line(text, line_end, &status);
		text = line_end + 1;
	}
	if (found != (STATE | USER | GROUP | INNER_PID | CAUGHT))
		return -EINVAL;
	*ret = status;
	return 0;
}

/* --- options -------------------------------------------------------------------------------------------------- */

static bool mem_starts(const char *mem, size_t bytes, const char *prefix)
{
	size_t length = strlen(prefix);

	return bytes >= length && !memcmp(mem, prefix, length);
}

static void option_read(const char *option, size_t bytes, struct jvm_options *ret)
{
	if (mem_equals_str(option, bytes, "-XX:+DisableAttachMechanism"))
		ret->attach_disabled = true;
	if (mem_equals_str(option, bytes, "-Xrs") || mem_equals_str(option, bytes, "-XX:+ReduceSignalUsage"))
		ret->signals_reduced = true;
	if (mem_starts(option, bytes, "@") || mem_starts(option, bytes, "-XX:Flags=") ||
	    mem_starts(option, bytes, "-XX:VMOptionsFile=") || mem_equals_str(option, bytes, "-XX:+ReadVMOptionsFile"))
		ret->more_in_file = true;
}

void jvm_options_of_cmdline(const char *text, size_t bytes, struct jvm_options *ret)
{
	const char *end = text + bytes;

	while (text < end) {
		size_t length = strnlen(text, (size_t)(end - text));

		option_read(text, length, ret);
		text += length + 1;
	}
}

/* Options in a text, between white space and quotes. */
static void options_split(const char *at, const char *end, struct jvm_options *ret)
{
	while (at < end) {
		const char *from;

		while (at < end && strchr(" \t\r\n\"'", *at))
			at++;
		from = at;
		while (at < end && !strchr(" \t\r\n\"'", *at))
			at++;
		option_read(from, (size_t)(at - from), ret);
	}
}

void jvm_options_of_environ(const char *text, size_t bytes, struct jvm_options *ret)
{
	static const char *const names[] = { "JAVA_TOOL_OPTIONS=", "JDK_JAVA_OPTIONS=", "_JAVA_OPTIONS=" };
	const char *end = text + bytes;

	while (text < end) {
		size_t length = strnlen(text, (size_t)(end - text));

		for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (mem_starts(text, length, names[i]))
				options_split(text + strlen(names[i]), text + length, ret);
		text += length + 1;
	}
}

/* --- version -------------------------------------------------------------------------------------------------- */

/* JDK-8225690: since 14, and in the updates of January 2022 at the latest. */
bool jvm_listens_anew(const char *version)
{
	unsigned major = jvm_major(version), least = major == 8 ? 322 : 14;
	const char *train = major == 8 ? "1.8.0_" : "11.0.", *at;
	__u64 update;

	if (major != 8 && major != 11)
		return major >= 14;
	if (!str_starts(version, train))
		return false;
	at = version + strlen(train);
	return !mem_to_u64(at, strspn(at, "0123456789"), UINT_MAX, &update) && update >= least;
}

/* --- reading -------------------------------------------------------------------------------------------------- */

/* Of a file of the process: bytes (fewer than @room, or it may have been cut), or a negative errno; -ESRCH: it has ended. */
static ssize_t file_read(const struct attach_target *t, const char *name, char *ret, size_t room)
{
	int fd = openat(t->dir, name, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t got = 1;

	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	while (used < room && got > 0) {
		got = read(fd, ret + used, room - used);
		if (got > 0)
			used += (size_t)got;
	}
	if (got < 0)
		got = -errno;
	close(fd);
	return got < 0 ? got : (ssize_t)used;
}

static int file_reason(const struct attach_target *t, const char *name, int err, struct why *why)
{
	if (err == -ESRCH)
		return why_set(why, err, "process %u has ended", t->pid);
	if (err == -EACCES || err == -EPERM)
		return why_set(why, err, "%s of process %u may not be read (CAP_SYS_PTRACE)", name, t->pid);
	return why_set(why, err, "cannot read %s of process %u: %s", name, t->pid, strerror(-err));
}

/* Is it the one that was meant? Of the directory that is open here that does not change any more, but it may have ended. */
static int same_process(const struct attach_target *t, struct why *why)
{
	struct process_stat stat;
	char text[2048];
	ssize_t got = file_read(t, "stat", text, sizeof(text));
	int err = got < 0 ? (int)got : process_stat_parse(text, (size_t)got, &stat);

	if (err)
		return file_reason(t, "stat", err, why);
	if (stat.start_ticks != t->start_ticks)
		return why_set(why, -ESRCH, "process %u has ended, another one has its number", t->pid);
	return 0;
}

static int status_read(const struct attach_target *t, struct process_status *ret, struct why *why)
{
	char text[STATUS_ROOM];
	ssize_t got = file_read(t, "status", text, sizeof(text));
	int err = got < 0 ? (int)got : process_status_parse(text, (size_t)got, ret);

	return err ? file_reason(t, "status", err, why) : 0;
}

/* From counters, if it keeps any: they say what the JVM has made of its options. */
static bool about_read(struct attach_target *t, const char *proc, struct jvm_options *ret)
{
	struct perf_source *source;
	struct jvm_about about;

	if (perf_source_open(proc, t->pid, t->start_ticks, &source, NULL))
		return false;
	jvm_about_read(perf_source_data(source), &about);
	perf_source_close(source);
	t->major = about.major;
	t->listens_anew = jvm_listens_anew(about.version);
	ret->attach_disabled = !about.attach_allowed;
	ret->signals_reduced = about.signals_reduced;
	return true;
}

/* From what it was started with. */
static int options_read(struct attach_target *t, struct jvm_options *ret, struct why *why)
{
	static const struct {
		const char *name;
		void (*parse)(const char *text, size_t bytes, struct jvm_options *ret);
	} files[] = { { "cmdline", jvm_options_of_cmdline }, { "environ", jvm_options_of_environ } };
	char *text = malloc(OPTIONS_ROOM);
	int err = 0;

	if (!text)
		return why_set(why, -ENOMEM, "no memory");
	for (unsigned i = 0; i < 2 && !err; i++) {
		ssize_t got = file_read(t, files[i].name, text, OPTIONS_ROOM);

		if (got < 0) {
			err = file_reason(t, files[i].name, (int)got, why);
			break;
		}
		files[i].parse(text, (size_t)got, ret);
		if (got == OPTIONS_ROOM)
			ret->more_in_file = true; /* or after what was read here: not known either */
	}
	free(text);
	return err;
}

static bool catches_quit(const struct process_status *status)
{
	return status->caught & 1ull << (SIGQUIT - 1);
}

/* What it would do with the signal. */
static void refusal_set(struct attach_target *t, const struct jvm_options *options)
{
	if (options->signals_reduced)
		t->refusal = why_set(&t->refusal_why, -ENOTSUP,
				     "the JVM %u does not listen, and -Xrs forbids to tell it to by a signal", t->pid);
	else if (!catches_quit(&t->status))
		t->refusal =
			why_set(&t->refusal_why, -ENOTSUP,
				"the JVM %u does not listen, and has no handler for SIGQUIT to be told to: it has just "
				"begun, or takes no signals",
				t->pid);
	else if (options->more_in_file)
		t->refusal = why_set(
			&t->refusal_why, -ENOTSUP,
			"the JVM %u does not listen, and whether it may be told to by a signal is not known: it has "
			"no counters and takes options from a file",
			t->pid);
}

static int target_read(struct attach_target *t, const char *proc, struct why *why)
{
	struct jvm_options options = { false };
	enum jvm_kind kind;
	int err = same_process(t, why);

	err = err ? err : status_read(t, &t->status, why);
	if (err)
		return err;
	err = jvm_kind_of(proc, t->pid, &kind);
	if (err)
		return file_reason(t, "maps", err, why);
	if (kind != JVM_KIND_HOTSPOT)
		return why_set(why, -ENOENT, "process %u cannot be asked: %s", t->pid, jvm_kind_sentence(kind));
	if (!about_read(t, proc, &options))
		err = options_read(t, &options, why);
	if (err)
		return err;
	if (options.attach_disabled)
		return why_set(why, -ENOTSUP, "the JVM %u may not be asked: -XX:+DisableAttachMechanism", t->pid);
	refusal_set(t, &options);
	/* What was read by number, not through the directory, was this process's if it is there still. */
	return same_process(t, why);
}

int attach_target_open(const struct jvm_attach_options *options, struct attach_target *ret, struct why *why)
{
	__u64 allowed_ns = options->deadline_ns ? options->deadline_ns : JVM_ATTACH_DEADLINE_NS;
	struct attach_target t = {
		.pid = options->pid,
		.start_ticks = options->start_ticks,
		.deadline_ns = time_now_ns() + allowed_ns,
	};
	char path[PATH_MAX];
	int err;

	snprintf(path, sizeof(path), "%s/%u", options->proc, options->pid);
	t.dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t.dir < 0)
		return file_reason(&t, "the directory", errno == ENOENT ? -ESRCH : -errno, why);
	err = target_read(&t, options->proc, why);
	if (err) {
		attach_target_close(&t);
		return err;
	}
	*ret = t;
	return 0;
}

void attach_target_close(struct attach_target *t)
{
	close(t->dir);
}

/* A lock on the process itself: it needs no name that others could take, and ends with whoever holds it. */
int attach_target_lock(struct attach_target *t, struct why *why)
{
	if (!flock(t->dir, LOCK_EX | LOCK_NB))
		return 0;
	if (errno == EWOULDBLOCK)
		return why_set(why, -EBUSY, "the JVM %u is being asked by somebody else just now", t->pid);
	return why_set(why, -errno, "cannot lock process %u: %s", t->pid, strerror(errno));
}

/* --- signal --------------------------------------------------------------------------------------------------- */

/* NULL: it runs. Its first thread stands for all: what stops or freezes one of them does so to all, and a thread that waits
 * for a disk does not do so for long. A frozen cgroup (docker pause) of version 1 shows as 'D'; one of version 2 only by
 * where in the kernel they wait: get_signal(), of which some compilers make one function with do_freezer_trap(). */
static const char *still_why(const struct attach_target *t, const struct process_status *status)
{
	static const char *const places[] = { "do_freezer_trap", "get_signal" };
	char place[64];
	ssize_t got;

	if (status->state == 'T' || status->state == 't')
		return "it is stopped";
	if (status->state == 'D')
		return "its cgroup is frozen, or it waits for a device";
	got = file_read(t, "wchan", place, sizeof(place));
	for (unsigned i = 0; got > 0 && i < sizeof(places) / sizeof(places[0]); i++)
		if (mem_equals_str(place, (size_t)got, places[i]))
			return "its cgroup is frozen";
	return NULL;
}

int attach_target_wait_running(const struct attach_target *t, struct why *why)
{
	for (;;) {
		struct process_status status;
		int err = status_read(t, &status, why);
		const char *still = err ? NULL : still_why(t, &status);
		int left_ms = attach_timeout_ms(t->deadline_ns);

		if (err || !still)
			return err;
		if (!left_ms)
			return why_set(why, -ETIMEDOUT, "the JVM %u cannot answer: %s", t->pid, still);
		poll(NULL, 0, left_ms < STILL_PERIOD_MS ? left_ms : STILL_PERIOD_MS);
	}
}

int attach_target_signal(const struct attach_target *t, struct why *why)
{
	struct process_status status;
	int err = attach_target_wait_running(t, why);

	err = err ? err : same_process(t, why);
	err = err ? err : status_read(t, &status, why);
	if (err)
		return err;
	if (!catches_quit(&status) || status.uid != t->status.uid)
		return why_set(why, -ENOTSUP, "the JVM %u does not take signals any more", t->pid);
	/* A directory of /proc is as good as a pidfd here, and is the very one that all of this was read from. */
	if (!syscall(SYS_pidfd_send_signal, t->dir, SIGQUIT, NULL, 0))
		return 0;
	if (errno == EPERM)
		return why_set(why, -EPERM, "no signal may be sent to the JVM %u (CAP_KILL)", t->pid);
	return why_set(why, -errno, "cannot send a signal to the JVM %u: %s", t->pid, strerror(errno));
}
