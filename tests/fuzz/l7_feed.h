/* One direction of a connection as the kernel half drives it, over a byte array: windows, carried lines, long lines.
 * Shared by the fuzzer and the unit test of bpf/l7_http.h. What happened is written as text, a line an event. */
#ifndef WEIR_TESTS_L7_FEED_H
#define WEIR_TESTS_L7_FEED_H

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <linux/types.h>

#include "l7_http.h"

struct feed {
	struct http_half half;
	struct http_head head;
	int forgetful; /* never meets a head again */
	enum http_kind kind;
	__u8 asked;
	char buf[HTTP_BUF + 32];
	char carried[HTTP_CARRY];
	__u32 carry;
	__u64 body; /* of the messages that ended */
	char line[HTTP_LINE_MAX + 1];
	FILE *out;
	unsigned bad;
	unsigned repeated; /* messages that went the short way */
	size_t fed;	   /* bytes of the segments before */
	size_t ends[64];   /* where messages ended in the stream */
	unsigned ends_count;
};

static inline void feed_said(struct feed *f, __u32 events, struct http_scan *scan)
{
	if (events & HTTP_EV_START && f->kind == HTTP_REQUEST) {
		http_copy_line(f->buf, f->line, 0, scan);
		assert(scan->at <= HTTP_LINE_MAX);
		f->line[scan->at] = 0;
		fprintf(f->out, "request %u %u [%s]\n", f->half.method, f->half.version, f->line);
	} else if (events & HTTP_EV_START) {
		fprintf(f->out, "response %u %u\n", f->half.status, f->half.version);
	}
	if (events & HTTP_EV_BAD) {
		fprintf(f->out, "bad\n");
		f->bad++;
	}
	if (events & HTTP_EV_INTERIM)
		fprintf(f->out, "interim\n");
	if (events & HTTP_EV_END)
		fprintf(f->out, "end %llu%s\n", (unsigned long long)f->half.body,
			events & HTTP_EV_TUNNEL ? " tunnel" : "");
}

static inline void feed_ended(struct feed *f, size_t pos)
{
	if (f->ends_count < sizeof(f->ends) / sizeof(f->ends[0]))
		f->ends[f->ends_count++] = f->fed + pos;
}

/* The short way: the segment is the message whose head was kept. What it says is what l7_repeat() does. */
static inline int feed_repeats(struct feed *f, const char *data, size_t len)
{
	if (f->carry || f->forgetful || !http_head_may_repeat(&f->head, &f->half, len, f->asked))
		return 0;
	assert(f->head.bytes <= len);
	memset(f->buf, 0xaa, sizeof(f->buf));
	memcpy(f->buf, data, f->head.bytes);
	if (!http_head_comes(&f->head, f->buf))
		return 0;
	f->repeated++;
	if (f->kind == HTTP_REQUEST)
		fprintf(f->out, "request %u %u [%s]\n", f->head.method, f->head.version, f->line);
	else
		fprintf(f->out, "response %u %u\n", f->head.status, f->head.version);
	fprintf(f->out, "end %u\n", f->head.message - f->head.bytes);
	return 1;
}

/* One segment. Stops at the first thing that cannot be followed. */
static inline void feed_segment(struct feed *f, const char *data, size_t len)
{
	size_t pos = 0;

	if (!f->bad && feed_repeats(f, data, len)) {
		f->fed += len;
		return;
	}
	while (pos < len && !f->bad) {
		struct http_scan scan;
		__u32 want, fresh, done;

		if (f->half.phase >= HTTP_SKIP) {
			int over;
			__u64 took = http_skip(&f->half, len - pos, &over);

			assert(took <= len - pos);
			pos += took;
			if (over)
				feed_said(f, HTTP_EV_END, NULL);
			if (over)
				feed_ended(f, pos);
			continue;
		}
		want = f->half.phase == HTTP_CHUNK ? HTTP_CHUNK_LINE : HTTP_WINDOW;
		fresh = len - pos < want ? len - pos : want;
		memset(f->buf, 0xaa, sizeof(f->buf)); /* what an earlier window may have left */
		memcpy(f->buf, f->carried, HTTP_CARRY);
		memcpy(f->buf + f->carry, data + pos, fresh);
		memset(f->buf + f->carry + fresh, 0, 16);
		memset(&scan, 0xaa, sizeof(scan));
		scan.len = f->carry + fresh;
		scan.kind = f->kind;
		scan.asked = f->asked;
		if (f->forgetful)
			f->head.bytes = 0;
		done = http_feed(&f->half, f->buf, &scan, &f->head);
		assert(done <= scan.len);
		if (done) {
			assert(done > f->carry || scan.events & HTTP_EV_BAD);
			pos += done - f->carry;
			f->carry = 0;
		} else if (pos + fresh < len || scan.len >= HTTP_CARRY) {
			http_long_line(&f->half, f->kind, f->buf, scan.len, &scan);
			pos += fresh;
			f->carry = 0;
		} else {
			memcpy(f->carried, f->buf, HTTP_CARRY);
			f->carry = scan.len;
			pos = len;
		}
		feed_said(f, scan.events, &scan);
		if (scan.events & HTTP_EV_END)
			feed_ended(f, pos);
	}
	f->fed += len;
}

#endif
