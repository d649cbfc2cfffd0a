/* JDK 24 writes an answer while it makes it, and that can be in a safepoint: whoever reads slowly stops the program (1 s of not
 * reading made a pause of 1.07 s). "streaming=0" makes it collect the answer first, as older ones do anyway. */
#include "jvm/attach.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/why.h"
#include "jvm/attach_connect.h"
#include "jvm/attach_protocol.h"
#include "jvm/attach_target.h"

#define STREAMING_SINCE	  24 /* JDK */
#define READ_BYTES	  (256u << 10)
#define REFUSAL_ROOM	  1024 /* of what it says when it fails */
#define VERSION_ROOM	  4096
#define REQUEST_BYTES_MAX 4096

/* --- one exchange ----------------------------------------------------------------------------------------------- */

static int socket_wait(const struct attach_target *t, int fd, short events, struct why *why)
{
	struct pollfd wait = { .fd = fd, .events = events };
	int left_ms;

	while ((left_ms = attach_timeout_ms(t->deadline_ns)))
		if (poll(&wait, 1, left_ms) > 0)
			return 0;
	return why_set(why, -ETIMEDOUT, "the JVM %u did not answer in time", t->pid);
}

static int request_send(const struct attach_target *t, int fd, struct buf *request, struct why *why)
{
	while (request->used) {
		int err = socket_wait(t, fd, POLLOUT, why);
		ssize_t sent = err ? 0 : send(fd, request->data, request->used, MSG_NOSIGNAL);

		if (err)
			return err;
		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return why_set(why, -EPROTO, "the JVM %u took no request: %s", t->pid, strerror(errno));
		if (sent > 0)
			buf_consume(request, (size_t)sent);
	}
	return 0;
}

/* As much as there is, at most @bytes; 0: the end. */
static ssize_t answer_part(const struct attach_target *t, int fd, char *ret, size_t bytes, struct why *why)
{
	for (;;) {
		int err = socket_wait(t, fd, POLLIN, why);
		ssize_t got = err ? err : recv(fd, ret, bytes, 0);

		if (err || got >= 0)
			return got;
		if (errno != EAGAIN && errno != EINTR)
			return why_set(why, -EPROTO, "the JVM %u broke off: %s", t->pid, strerror(errno));
	}
}

/* The first line, and no byte more. */
static int answer_code(const struct attach_target *t, int fd, int *ret_code, struct why *why)
{
	char text[ATTACH_CODE_BYTES_MAX];
	size_t used = 0;
	int line = 0;

	while (!line) {
		ssize_t got = answer_part(t, fd, text + used, 1, why);

		if (got < 0)
			return (int)got;
		used += (size_t)got;
		line = got ? attach_code_parse(text, used, ret_code) : -EPROTO;
	}
	if (line < 0)
		return why_set(why, -EPROTO, "what listens for the JVM %u did not answer as a JVM does", t->pid);
	return 0;
}

/* The rest, until the end or until @room bytes are there. */
static int answer_text(const struct attach_target *t, int fd, struct buf *ret, size_t room, struct why *why)
{
	ssize_t more;
	char one;

	while (room) {
		size_t bytes = room < READ_BYTES ? room : READ_BYTES;
		int err = buf_reserve(ret, bytes);
		ssize_t got = err ? err : answer_part(t, fd, ret->data + ret->used, bytes, why);

		if (err)
			return why_set(why, err, "no memory for the answer of the JVM %u", t->pid);
		if (got <= 0)
			return (int)got;
		buf_commit(ret, (size_t)got);
		room -= (size_t)got;
	}
	/* Is there more? */
	more = answer_part(t, fd, &one, 1, why);
	return more > 0 ? -EFBIG : (int)more;
}

static int answer_refusal(const struct attach_target *t, int fd, int code, struct why *why)
{
	char text[REFUSAL_ROOM];
	struct buf words;

	buf_init(&words, REFUSAL_ROOM);
	answer_text(t, fd, &words, REFUSAL_ROOM / 4, NULL);
	while (words.used && strchr(" \r\n", words.data[words.used - 1]))
		words.used--;
	utf8_sanitise(words.data, words.used, text, sizeof(text));
	buf_done(&words);
	return why_set(why, -EIO, "the JVM %u answered with error %d: %s", t->pid, code, text);
}

/* Sends @request, and adds at most @room bytes of the answer to @ret. */
static int exchange(const struct attach_target *t, struct buf *request, struct buf *ret, size_t room, struct why *why)
{
	int fd, code, err = attach_connect(t, /* look_only */ false, &fd, why);

	if (err)
		return err;
	err = request_send(t, fd, request, why);
	err = err ? err : answer_code(t, fd, &code, why);
	if (!err && code)
		err = answer_refusal(t, fd, code, why);
	else if (!err)
		err = answer_text(t, fd, ret, room, why);
	close(fd);
	return err;
}

/* --- the request -------------------------------------------------------------------------------------------------- */

/* Does it stream, and can be told not to? What does not understand the question does not. */
static int streaming_ask(const struct attach_target *t, bool *ret, struct why *why)
{
	struct buf request, answer;
	int err;

	*ret = false;
	if (t->major && t->major < STREAMING_SINCE)
		return 0;
	buf_init(&request, REQUEST_BYTES_MAX);
	buf_init(&answer, VERSION_ROOM);
	attach_request_v1(&request, "getversion", "options");
	err = request.err ? request.err : exchange(t, &request, &answer, VERSION_ROOM, why);
	if (!err)
		*ret = attach_version_has(answer.data, answer.used, "streaming");
	buf_done(&request);
	buf_done(&answer);
	return err == -EIO || err == -EFBIG ? 0 : err;
}

static int command_send(const struct attach_target *t, const char *command, struct buf *answer, struct why *why)
{
	size_t left = answer->max - answer->used;
	struct buf request;
	bool streaming;
	int err;

	err = streaming_ask(t, &streaming, why);
	if (err)
		return err;
	buf_init(&request, REQUEST_BYTES_MAX);
	if (streaming)
		attach_request_v2(&request, "jcmd streaming=0", command);
	else
		attach_request_v1(&request, "jcmd", command);
	left = left < JVM_ATTACH_BYTES_MAX ? left : JVM_ATTACH_BYTES_MAX;
	err = request.err ? request.err : exchange(t, &request, answer, left, why);
	buf_done(&request);
	if (err == -EFBIG)
		why_set(why, err, "the answer of the JVM %u was cut after %zu bytes", t->pid, left);
	return err;
}

int jvm_attach_check(const struct jvm_attach_options *options, struct why *why)
{
	struct attach_target target;
	int fd, err = attach_target_open(options, &target, why);

	if (err)
		return err;
	err = attach_connect(&target, /* look_only */ true, &fd, why);
	attach_target_close(&target);
	return err;
}

int jvm_attach(const struct jvm_attach_options *options, const char *command, struct buf *answer, struct why *why)
{
	struct attach_target target;
	int err;

	if (!command[0] || strlen(command) > ATTACH_ARGUMENT_MAX)
		return why_set(why, -EINVAL, "a command for a JVM has 1 to %d bytes", ATTACH_ARGUMENT_MAX);
	err = attach_target_open(options, &target, why);
	if (err)
		return err;
	err = attach_target_lock(&target, why);
	err = err ? err : attach_target_wait_running(&target, why);
	err = err ? err : command_send(&target, command, answer, why);
	attach_target_close(&target);
	return err;
}
