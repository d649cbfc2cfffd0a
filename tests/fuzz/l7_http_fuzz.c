/* The recogniser that runs in the kernel, on hostile bytes. Property: how a stream is cut into segments does not change
 * what is seen in it, as long as no line is too long to be carried over.
 * And a head that is known from before says the same as one that is read: the whole stream is fed without that memory.
 * And a message that is known whole says the same: the stream is fed once more, cut where messages ended.
 * Input: byte 0: bit 0 kind, bit 1 answers a HEAD; byte 1: a seed for the cuts; the rest is the stream. */
#include <stdlib.h>

#include "../fuzz/l7_feed.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* @cut: seed of random cuts, 0 for none. @ends: of a run before, where to cut instead, or NULL. */
static char *run(const char *data, size_t len, enum http_kind kind, __u8 asked, unsigned cut, const struct feed *ends,
		 struct feed *ret)
{
	struct feed f = { .kind = kind, .asked = asked, .forgetful = !cut && !ends };
	char *text = NULL;
	size_t text_len;
	unsigned next = 0;

	f.out = open_memstream(&text, &text_len);
	assert(f.out);
	for (size_t at = 0; at < len;) {
		size_t n = len - at;

		if (cut) {
			cut = cut * 1103515245 + 12345;
			n = 1 + (cut >> 16) % 40;
			if (n > len - at)
				n = len - at;
		}
		if (ends && next < ends->ends_count)
			n = ends->ends[next++] - at;
		feed_segment(&f, data + at, n);
		at += n;
	}
	fclose(f.out);
	*ret = f;
	return text;
}

static int lines_are_short(const char *data, size_t len)
{
	size_t run = 0;

	for (size_t i = 0; i < len; i++) {
		run = data[i] == '\n' ? 0 : run + 1;
		if (run >= 60) /* a chunk line has a window of 64 */
			return 0;
	}
	return 1;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	enum http_kind kind;
	__u8 asked;
	char *whole, *split, *messages;
	struct feed seen, ignored;
	const char *stream = (const char *)data + 2;

	if (size < 3)
		return 0;
	kind = data[0] & 1 ? HTTP_RESPONSE : HTTP_REQUEST;
	asked = data[0] & 2 ? HTTP_METHOD_HEAD : HTTP_METHOD_GET;
	size -= 2;
	whole = run(stream, size, kind, asked, 0, NULL, &seen);
	split = run(stream, size, kind, asked, data[1] + 1u, NULL, &ignored);
	messages = run(stream, size, kind, asked, 0, &seen, &ignored);
	if (lines_are_short(stream, size) && strcmp(whole, split)) {
		fprintf(stderr, "whole:\n%ssplit:\n%s", whole, split);
		abort();
	}
	if (strcmp(whole, messages)) {
		fprintf(stderr, "whole:\n%sby message:\n%s", whole, messages);
		abort();
	}
	free(messages);
	free(whole);
	free(split);
	return 0;
}
