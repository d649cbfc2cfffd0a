/* HTTP/1.0 and 1.1 as pure functions on bytes: one direction of one connection, fed window by window.
 *
 * Compiled for the kernel half, for the fuzzers and for unit tests, so that they run the very same lines. No maps, no
 * helpers, no context. The caller owns the window: a buffer of HTTP_BUF + 32 bytes of which the first @len are data.
 *
 * A window is looked at from the start of a line. What http_feed() does not consume is the start of a line whose end is
 * not there; the caller presents it again with more bytes behind it, or, when it is too long to keep, says so with
 * http_skip_line(). Messages split at any byte therefore go the same way as whole ones. */
#ifndef WEIR_L7_HTTP_H
#define WEIR_L7_HTTP_H

#include "http.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#define HTTP_BUF	1024 /* a power of two */
#define HTTP_WINDOW	512  /* bytes taken from a packet at a time */
#define HTTP_CARRY	128  /* bytes kept of a line that goes on in the next packet: a power of two */
#define HTTP_CHUNK_LINE 64   /* window for a chunk-size line */
#define HTTP_WORDS	((HTTP_WINDOW + HTTP_CARRY) / 8)

enum http_kind { HTTP_REQUEST, HTTP_RESPONSE };

/* Where in a message a direction stands. Those from HTTP_SKIP on need no bytes, only their number. */
enum http_phase {
	HTTP_START,   /* start line of the next message */
	HTTP_HEAD,    /* header fields */
	HTTP_CHUNK,   /* chunk-size line, or the CRLF before it */
	HTTP_TRAILER, /* trailer fields */
	HTTP_SEEK,    /* lost its place: looks for a start line at the start of each segment */
	HTTP_SKIP,    /* first of those that skip */
	HTTP_BODY = HTTP_SKIP,
	HTTP_CHUNK_DATA,
	HTTP_UNTIL_CLOSE, /* response body that ends with the connection */
	HTTP_TUNNEL,	  /* after 101 or CONNECT: no HTTP any more */
};

#define HTTP_HAS_LENGTH 1
#define HTTP_HAS_CODING 2
#define HTTP_IS_CHUNKED 4
#define HTTP_IN_LINE	8  /* inside a line too long to keep: skip to its end */
#define HTTP_IS_BAD	16 /* framing cannot be trusted */

/* Parse state of one direction. */
struct http_half {
	__u64 remaining; /* bytes left to skip */
	__u64 length;	 /* Content-Length */
	__u64 body;	 /* body bytes of this message so far */
	__u16 status;
	__u8 phase; /* enum http_phase */
	__u8 flags;
	__u8 method; /* enum http_method, of a request */
	__u8 version;
	__u8 lengths; /* Content-Length lines so far */
	__u8 pad;
};

/* The last head of a direction that was short enough to keep, with what it said. One that comes again byte by byte (health
 * checks, clients that poll) need not be read again: comparing costs a fifth of that. */
#define HTTP_HEAD_KEEP	  256 /* a power of two */
#define HTTP_HEAD_BLOCK	  32
#define HTTP_HEAD_IS_KEPT 1 /* it has just been kept */
#define HTTP_HEAD_IS_SAME 2 /* it came again */
#define HTTP_HEAD_TRIES	  4 /* heads that differ, one after the other, before only every 16th is kept */

struct http_head {
	__u64 length;
	__u32 message; /* bytes of head and body together, once it has come twice and that is fixed; else 0 */
	__u16 bytes;   /* 0: none kept */
	__u16 first;
	__u16 status;
	__u8 flags;
	__u8 lengths;
	__u8 method;
	__u8 version;
	__u8 misses;
	__u8 pad;
	char data[HTTP_HEAD_KEEP + HTTP_HEAD_BLOCK]; /* a block may begin at any place */
};

/* What one call of http_feed() found; in memory that the caller owns, because 5.10's verifier would otherwise walk
 * every combination of positions. */
struct http_scan {
	__u32 line;	  /* start of the line that has no end yet */
	__u32 end;	  /* one past the empty line; 0: the head goes on */
	__u32 first;	  /* newline of the first line; HTTP_BUF: none */
	__u32 length_at;  /* line of the first Content-Length */
	__u32 length2_at; /* of the last, when there are several */
	__u32 length_count;
	__u32 coding_at;   /* of the last Transfer-Encoding */
	__u32 coding_prev; /* of the one before it */
	__u32 coding_count;
	__u32 events;
	__u32 at; /* place in a number, kept here for the same reason */
	__u32 digits;
	__u64 number;
	/* What the caller says of the window. In memory as well: the verifier then sees one unknown value instead of
	 * following every way in which the caller came to it. */
	__u32 len;  /* bytes in the window */
	__u8 kind;  /* enum http_kind */
	__u8 asked; /* method of the request that a response answers */
	__u8 phase; /* of the half, as the window found it */
	__u8 known; /* HTTP_HEAD_*: what the kept head is to this one */
};

#define HTTP_EV_START	1  /* a start line was recognised: it begins at offset 0 (see http_scan.first) */
#define HTTP_EV_END	2  /* the message is over */
#define HTTP_EV_BAD	4  /* this is not HTTP/1, or framing that cannot be followed */
#define HTTP_EV_INTERIM 8  /* a 1xx response is over */
#define HTTP_EV_TUNNEL	16 /* the connection leaves HTTP with this message */

#ifdef __bpf__
#define HTTP_LOOP _Pragma("clang loop unroll(disable)")
#else
#define HTTP_LOOP
#endif

#ifdef __bpf__
/* The kernel allows unaligned loads from map values where the machine does. Volatile: or clang splits them in bytes. */
#define http_load8(p)	  (*(const volatile __u64 *)(p))
#define http_load4(p)	  (*(const volatile __u32 *)(p))
#define http_store8(p, v) (*(volatile __u64 *)(p) = (v))
/* The bound is set where it is used: 5.10's verifier forgets it when the value is spilled. */
#define http_forget() asm volatile("" ::: "memory")
#define http_mask(x, m)                                        \
	({                                                     \
		__u64 __x = (x);                               \
		asm volatile("%0 &= %1" : "+r"(__x) : "i"(m)); \
		__x;                                           \
	})
#else
static inline __u64 http_load8(const char *p)
{
	__u64 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

static inline __u32 http_load4(const char *p)
{
	__u32 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}
static inline void http_store8(char *p, __u64 v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}
#define http_mask(x, m) ((__u64)(x) & (m))
#define http_forget()
#endif

#define HTTP_AT(buf, i) ((buf) + http_mask(i, HTTP_BUF - 1))

/* Bytes as they lie in memory; the hook runs on little-endian machines only (checked where it is compiled). */
#define HTTP_C4(a, b, c, d)		((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)
#define HTTP_C8(a, b, c, d, e, f, g, h) ((__u64)HTTP_C4(a, b, c, d) | (__u64)HTTP_C4(e, f, g, h) << 32)

#define HTTP_1_0 HTTP_C8('H', 'T', 'T', 'P', '/', '1', '.', '0')
#define HTTP_1_1 HTTP_C8('H', 'T', 'T', 'P', '/', '1', '.', '1')

#define HTTP_ONES  0x0101010101010101ull
#define HTTP_HIGHS 0x8080808080808080ull

/* High bit set in each byte of @word that equals @byte; bytes above the first hit may be wrong. */
static __always_inline __u64 http_find(__u64 word, __u8 byte)
{
	__u64 x = word ^ (HTTP_ONES * byte);

	return (x - HTTP_ONES) & ~x & HTTP_HIGHS;
}

/* High bit set in exactly those bytes of @word that equal @byte. */
static __always_inline __u64 http_find_exact(__u64 word, __u8 byte)
{
	__u64 x = word ^ (HTTP_ONES * byte);

	return ~((x & ~HTTP_HIGHS) + ~HTTP_HIGHS | x) & HTTP_HIGHS;
}

/* Index of the lowest byte whose high bit is set in @hits (not 0). */
static __always_inline __u32 http_first(__u64 hits)
{
	return (((hits & -hits) >> 7) - 1 & HTTP_ONES) * HTTP_ONES >> 56;
}

/* The method that the line beginning with @word names, and in *ret_len its length; length 0: none of the known. */
static __always_inline __u8 http_method(__u64 word, __u32 *ret_len)
{
	__u32 four = (__u32)word;

	if (four == HTTP_C4('G', 'E', 'T', ' '))
		return *ret_len = 3, HTTP_METHOD_GET;
	if (four == HTTP_C4('P', 'O', 'S', 'T') && (word >> 32 & 0xff) == ' ')
		return *ret_len = 4, HTTP_METHOD_POST;
	if (four == HTTP_C4('H', 'E', 'A', 'D') && (word >> 32 & 0xff) == ' ')
		return *ret_len = 4, HTTP_METHOD_HEAD;
	if (four == HTTP_C4('P', 'U', 'T', ' '))
		return *ret_len = 3, HTTP_METHOD_PUT;
	if (word << 8 == HTTP_C8(0, 'D', 'E', 'L', 'E', 'T', 'E', ' '))
		return *ret_len = 6, HTTP_METHOD_DELETE;
	if (word == HTTP_C8('O', 'P', 'T', 'I', 'O', 'N', 'S', ' '))
		return *ret_len = 7, HTTP_METHOD_OPTIONS;
	if (word << 16 == HTTP_C8(0, 0, 'P', 'A', 'T', 'C', 'H', ' '))
		return *ret_len = 5, HTTP_METHOD_PATCH;
	if (word << 16 == HTTP_C8(0, 0, 'T', 'R', 'A', 'C', 'E', ' '))
		return *ret_len = 5, HTTP_METHOD_TRACE;
	if (word == HTTP_C8('C', 'O', 'N', 'N', 'E', 'C', 'T', ' '))
		return *ret_len = 7, HTTP_METHOD_CONNECT;
	if (word << 16 == HTTP_C8(0, 0, 'Q', 'U', 'E', 'R', 'Y', ' '))
		return *ret_len = 5, HTTP_METHOD_QUERY;
	*ret_len = 0;
	return HTTP_METHOD_OTHER;
}

/* Can @len bytes, too few to tell, be the start of a start line? */
static __always_inline int http_maybe(const char *buf, __u32 len)
{
	__u8 c = (__u8)buf[0];

	return !len || (c >= 'A' && c <= 'Z') || c == '\r' || c == '\n';
}

/* Length of an unknown method at the start of @buf (capital letters, '-' or '_', then a space); 0: none. */
static __always_inline __u32 http_other_method(const char *buf)
{
	if (!http_maybe(buf, 1))
		return 0;
	for (__u32 i = 0; i < 24; i++) { /* the longest registered one has 17 */
		__u8 c = (__u8)buf[i];

		if (c == ' ')
			return i;
		if ((c < 'A' || c > 'Z') && c != '-' && c != '_')
			return 0;
	}
	return 0;
}

/* Eight bytes with the case bit set: letters become small, '-' stays. */
static __always_inline __u64 http_lower8(const char *p)
{
	return http_load8(p) | 0x2020202020202020ull;
}

/* One header line at @at. True: it is the empty line that ends the head. */
static __always_inline int http_line(const char *buf, __u32 at, struct http_scan *s)
{
	const char *p = HTTP_AT(buf, at);
	__u32 w = http_load4(p);

	if ((w & 0xff) <= '\r') {
		if ((w & 0xffff) == ('\r' | '\n' << 8))
			s->end = at + 2;
		else if ((w & 0xff) == '\n')
			s->end = at + 1;
		else
			return 0;
		return 1;
	}
	w |= 0x20202020;
	if (w == HTTP_C4('c', 'o', 'n', 't')) {
		if (http_lower8(p + 4) != HTTP_C8('e', 'n', 't', '-', 'l', 'e', 'n', 'g') ||
		    (http_load4(p + 12) | 0x2020) << 8 != HTTP_C4(0, 't', 'h', ':'))
			return 0;
		if (!s->length_count)
			s->length_at = at;
		s->length2_at = at;
		s->length_count++;
	} else if (w == HTTP_C4('t', 'r', 'a', 'n')) {
		if (http_lower8(p + 4) != HTTP_C8('s', 'f', 'e', 'r', '-', 'e', 'n', 'c') ||
		    (http_load4(p + 12) | 0x20202020) != HTTP_C4('o', 'd', 'i', 'n') || (p[16] | 0x20) != 'g' ||
		    p[17] != ':')
			return 0;
		s->coding_prev = s->coding_at;
		s->coding_at = at;
		s->coding_count++;
	}
	return 0;
}

/* The newlines of one word of the window, which begins at @base. True: the head is over. */
static __always_inline int http_word(const char *buf, __u32 base, __u64 word, struct http_scan *s)
{
	__u64 hits = http_find_exact(word, '\n');

	/* Lines of less than three bytes do not come twice without ending the head: at most four here. */
	HTTP_LOOP
	for (int k = 0; k < 4 && hits; k++) {
		__u32 next = base + http_first(hits) + 1;

		if (!s->line)
			s->first = next - 1;
		s->line = next;
		if (http_line(buf, next, s))
			return 1;
		hits &= hits - 1;
	}
	return 0;
}

#define HTTP_BIT_6 0x4040404040404040ull

/* Walks the lines of the window. On return @s says where the head ends or which line has no end yet. The caller has put
 * sixteen zero bytes behind the data: no line can seem to end there. */
static __always_inline void http_lines(const char *buf, __u32 len, int in_head, struct http_scan *s)
{
	s->line = 0;
	s->end = 0;
	s->first = HTTP_BUF;
	s->length_count = 0;
	s->coding_count = 0;
	if (in_head && http_line(buf, 0, s))
		return;
	HTTP_LOOP
	for (__u32 i = 0; i < HTTP_WORDS / 2; i++) {
		__u64 low, high;

		if (i * 16 >= len)
			break;
		low = http_load8(buf + i * 16);
		high = http_load8(buf + i * 16 + 8);
		/* Text has bit 5 or 6 in each byte; a newline has neither. */
		if (((low | low << 1) & (high | high << 1) & HTTP_BIT_6) == HTTP_BIT_6)
			continue;
		if (http_word(buf, i * 16, low, s) || http_word(buf, i * 16 + 8, high, s))
			return;
	}
}

#define HTTP_BAD_NUMBER (~0ull)

/* Skips blanks from s->at on. */
static __always_inline void http_blanks(const char *buf, struct http_scan *s)
{
	__u32 at = s->at, i;

	HTTP_LOOP
	for (i = 0; i < 16; i++) {
		__u8 c = (__u8)*HTTP_AT(buf, at + i);

		if (c != ' ' && c != '\t')
			break;
	}
	s->at = at + i;
}

/* The number of a Content-Length line at @at, into s->number. Digits only, at most 18 of them; a list "5, 5" is
 * refused. */
static __always_inline void http_number(const char *buf, __u32 at, struct http_scan *s)
{
	__u64 value = 0;
	__u32 i;
	__u8 c;

	s->at = at + 15; /* behind "content-length:" */
	http_blanks(buf, s);
	http_forget();
	at = s->at;
	HTTP_LOOP
	for (i = 0; i < 18; i++) {
		c = (__u8)*HTTP_AT(buf, at + i) - '0';
		if (c > 9)
			break;
		value = value * 10 + c;
	}
	s->number = i ? value : HTTP_BAD_NUMBER;
	s->at = at + i;
	http_forget();
	c = (__u8)*HTTP_AT(buf, s->at);
	if (c == '\r' || c == '\n')
		return;
	http_blanks(buf, s);
	http_forget();
	c = (__u8)*HTTP_AT(buf, s->at);
	if (c != '\r' && c != '\n')
		s->number = HTTP_BAD_NUMBER;
}

/* Is "chunked" the last coding of the Transfer-Encoding line at @at? Answer in s->digits. */
static __always_inline void http_chunked(const char *buf, __u32 at, struct http_scan *s)
{
	__u64 want = HTTP_C8('c', 'h', 'u', 'n', 'k', 'e', 'd', 0);

	s->at = at + 18; /* behind "transfer-encoding:" */
	s->digits = 0;
	s->number = 0; /* the last seven bytes that are not blank */
	http_blanks(buf, s);
	at = s->at;
	HTTP_LOOP
	for (__u32 i = 0; i < 96; i++) {
		__u8 c = (__u8)*HTTP_AT(buf, at + i);

		if (c == '\n') {
			s->digits = s->number == want;
			break;
		}
		if (c != ' ' && c != '\t' && c != '\r')
			s->number = s->number >> 8 | (__u64)(c | 0x20) << 48;
	}
}

/* The head is over: how does the body end? @asked: method of the request that a response answers. */
static __always_inline void http_head_over(struct http_half *h, enum http_kind kind, __u8 asked, struct http_scan *s)
{
	h->remaining = 0;
	if (h->flags & HTTP_IS_BAD) {
		s->events |= HTTP_EV_BAD;
		return;
	}
	if (kind == HTTP_RESPONSE) {
		if (h->status < 200 && h->status != 101) {
			h->phase = HTTP_START;
			s->events |= HTTP_EV_INTERIM;
			return;
		}
		if (h->status == 101 || (asked == HTTP_METHOD_CONNECT && h->status < 300)) {
			h->phase = HTTP_TUNNEL;
			s->events |= HTTP_EV_END | HTTP_EV_TUNNEL;
			return;
		}
		if (h->status == 204 || h->status == 304 || asked == HTTP_METHOD_HEAD) {
			h->phase = HTTP_START;
			s->events |= HTTP_EV_END;
			return;
		}
	}
	if (h->flags & HTTP_IS_CHUNKED) { /* wins over Content-Length (RFC 9112, 6.3) */
		h->phase = HTTP_CHUNK;
	} else if (kind == HTTP_RESPONSE && (h->flags & HTTP_HAS_CODING || !(h->flags & HTTP_HAS_LENGTH))) {
		h->phase = HTTP_UNTIL_CLOSE;
		h->remaining = ~0ull;
	} else if (h->flags & HTTP_HAS_CODING) {
		s->events |= HTTP_EV_BAD; /* a request whose length cannot be known */
	} else if (h->flags & HTTP_HAS_LENGTH && h->length) {
		h->phase = HTTP_BODY;
		h->remaining = h->length;
	} else {
		h->phase = HTTP_START;
		s->events |= HTTP_EV_END;
	}
}

/* Takes what the complete lines of the window say into @h. @upto: lines from there on have no end yet. */
static __always_inline void http_fields(struct http_half *h, const char *buf, __u32 upto, struct http_scan *s)
{
	if (s->length_count && s->length2_at >= upto) {
		s->length_count--;
		if (s->length_count == 1)
			s->length2_at = s->length_at;
	}
	if (s->length_count) {
		h->lengths += s->length_count; /* more than two are refused, equal or not */
		http_number(buf, s->length_at, s);
		if (s->number == HTTP_BAD_NUMBER || h->lengths > 2 ||
		    (h->flags & HTTP_HAS_LENGTH && s->number != h->length))
			h->flags |= HTTP_IS_BAD;
		h->flags |= HTTP_HAS_LENGTH;
		h->length = s->number;
		if (s->length_count == 2) {
			http_number(buf, s->length2_at, s);
			if (s->number != h->length)
				h->flags |= HTTP_IS_BAD;
		}
	}
	if (s->coding_count && s->coding_at >= upto) {
		s->coding_count--;
		s->coding_at = s->coding_prev;
	}
	if (s->coding_count) {
		h->flags |= HTTP_HAS_CODING;
		h->flags &= ~HTTP_IS_CHUNKED; /* of several lines the last one tells */
		http_chunked(buf, s->coding_at, s);
		if (s->digits)
			h->flags |= HTTP_IS_CHUNKED;
	}
}

/* Chunk-size line: [CRLF] hex [;extension] CRLF. Returns the bytes consumed, 0: needs more. */
static __always_inline __u32 http_chunk(struct http_half *h, const char *buf, __u32 len, struct http_scan *s)
{
	__u64 size = 0;
	__u32 at;
	__u8 c;

	s->at = 0;
	s->digits = 0;
	s->number = 0;
	s->line = 0;
	if (buf[0] == '\r' && buf[1] == '\n')
		s->at = 2;
	else if (buf[0] == '\n')
		s->at = 1;
	at = s->at;
	HTTP_LOOP
	for (__u32 i = 0; i < 15; i++) {
		__u8 low;

		c = (__u8)*HTTP_AT(buf, at + i);
		low = c | 0x20;
		if (c >= '0' && c <= '9')
			size = size << 4 | (c - '0');
		else if (low >= 'a' && low <= 'f')
			size = size << 4 | (low - 'a' + 10);
		else
			break;
		s->number = size;
		s->at = at + i + 1;
		s->digits = 1;
	}
	at = s->at;
	if (at >= len)
		return 0;
	c = (__u8)*HTTP_AT(buf, at);
	if (c == '\r' && at + 1 == len && at <= 1) /* only the CR of the CRLF before the size is here */
		return 0;
	if (!s->digits || (c != '\r' && c != '\n' && c != ';' && c != ' ' && c != '\t')) {
		s->events |= HTTP_EV_BAD;
		return len;
	}
	HTTP_LOOP
	for (__u32 i = 0; i < HTTP_CHUNK_LINE + HTTP_CARRY; i++) {
		if (at + i >= len)
			break;
		if (*HTTP_AT(buf, at + i) == '\n') {
			s->line = at + i + 1;
			break;
		}
	}
	if (!s->line)
		return 0;
	h->phase = s->number ? HTTP_CHUNK_DATA : HTTP_TRAILER;
	h->remaining = s->number;
	return s->line;
}

/* A line too long to keep ends at the first newline of the window. Returns the bytes consumed. */
static __always_inline __u32 http_skip_line(struct http_half *h, const char *buf, __u32 len)
{
	HTTP_LOOP
	for (__u32 i = 0; i < HTTP_WORDS; i++) {
		__u64 hits;

		if (i * 8 >= len)
			break;
		hits = http_find(http_load8(buf + i * 8), '\n');
		if (hits) {
			h->flags &= ~HTTP_IN_LINE;
			return i * 8 + http_first(hits) + 1;
		}
	}
	return len;
}

/* What the first line of a window is. Sets method, version and status in @h. Returns 0: not a start line,
 * 1: a start line, 2: it may become one with more bytes. @line_len: up to and without its newline, or of what there is;
 * @whole: its newline is there. */
static __always_inline int http_start(struct http_half *h, const char *buf, enum http_kind kind, __u32 line_len,
				      int whole)
{
	__u64 word = http_load8(buf);

	if (kind == HTTP_RESPONSE) {
		__u32 code;

		if (line_len < 12)
			return whole ? 0 : http_maybe(buf, line_len) * 2;
		if (word != HTTP_1_1 && word != HTTP_1_0)
			return 0;
		code = http_load4(buf + 8); /* space and three digits */
		if ((code & 0xff) != ' ' || (code >> 8 & 0xff) < '1' || (code >> 8 & 0xff) > '9' ||
		    (code >> 16 & 0xf0) != '0' || (code >> 16 & 0xf) > 9 || (code >> 24 & 0xf0) != '0' ||
		    (code >> 24 & 0xf) > 9)
			return 0;
		h->status = (code >> 8 & 0xf) * 100 + (code >> 16 & 0xf) * 10 + (code >> 24 & 0xf);
		h->version = word == HTTP_1_1 ? HTTP_VERSION_1_1 : HTTP_VERSION_1_0;
		if (!whole)
			return 2;
	} else {
		__u32 method_len;
		__u64 tail;

		h->method = http_method(word, &method_len);
		if (!method_len)
			method_len = http_other_method(buf);
		if (!method_len)
			return !whole && line_len < 24 ? http_maybe(buf, line_len) * 2 : 0;
		h->version = HTTP_VERSION_1_1; /* until its end is seen */
		if (!whole)
			return 2;
		if (line_len < 11)
			return 0;
		line_len -= *HTTP_AT(buf, line_len - 1) == '\r';
		tail = http_load8(HTTP_AT(buf, line_len - 8));
		if (tail != HTTP_1_1 && tail != HTTP_1_0)
			return 0;
		h->version = tail == HTTP_1_1 ? HTTP_VERSION_1_1 : HTTP_VERSION_1_0;
	}
	h->flags = 0;
	h->lengths = 0;
	h->length = 0;
	h->body = 0;
	return 1;
}

static __always_inline int http_block_differs(const char *a, const char *b)
{
	return http_load8(a) != http_load8(b) || http_load8(a + 8) != http_load8(b + 8) ||
	       http_load8(a + 16) != http_load8(b + 16) || http_load8(a + 24) != http_load8(b + 24);
}

#define HTTP_BLOCK_COMES(i)                                                                  \
	if ((i)*HTTP_HEAD_BLOCK >= last)                                                     \
		return 1;                                                                    \
	if (http_block_differs(buf + (i)*HTTP_HEAD_BLOCK, head->data + (i)*HTTP_HEAD_BLOCK)) \
		return 0;
_Static_assert(HTTP_HEAD_KEEP == 8 * HTTP_HEAD_BLOCK, "the last block and seven before it");

/* Does @buf begin with the head that was kept (there is one)? */
static __always_inline int http_head_comes(const struct http_head *head, const char *buf)
{
	__u32 last = head->bytes - HTTP_HEAD_BLOCK;

	/* The end first, because it tells heads of other lengths; it overlaps the last whole block. */
	if (http_block_differs(HTTP_AT(buf, last), head->data + http_mask(last, HTTP_HEAD_KEEP - 1)))
		return 0;
	/* Written out: with constant places a block costs a third less. */
	HTTP_BLOCK_COMES(0)
	HTTP_BLOCK_COMES(1)
	HTTP_BLOCK_COMES(2)
	HTTP_BLOCK_COMES(3)
	HTTP_BLOCK_COMES(4)
	HTTP_BLOCK_COMES(5)
	HTTP_BLOCK_COMES(6)
	return 1;
}

/* Can a segment of @len bytes that finds @h so be the message whose head was kept, whole? Then http_head_comes() is all
 * that is left to ask. @asked: as in http_scan. */
static __always_inline int http_head_may_repeat(const struct http_head *head, const struct http_half *h, __u32 len,
						__u8 asked)
{
	return head->message == len && h->phase == HTTP_START && !(h->flags & HTTP_IN_LINE) &&
	       asked != HTTP_METHOD_HEAD && asked != HTTP_METHOD_CONNECT;
}

/* Is the head at the start of the window the one that was kept? Then @h and @s are as if it had been read. */
static __always_inline int http_head_same(const struct http_head *head, struct http_half *h, const char *buf,
					  struct http_scan *s)
{
	__u32 bytes = head->bytes;

	if (!bytes || bytes > s->len || !http_head_comes(head, buf))
		return 0;
	h->status = head->status;
	h->flags = head->flags;
	h->lengths = head->lengths;
	h->length = head->length;
	h->method = head->method;
	h->version = head->version;
	h->body = 0;
	s->first = head->first;
	s->end = bytes;
	s->known = HTTP_HEAD_IS_SAME;
	return 1;
}

/* Keeps the head that has just been read whole from the start of the window. */
static __always_inline void http_head_keep(struct http_head *head, const struct http_half *h, const char *buf,
					   struct http_scan *s)
{
	head->message = 0;
	if (s->end < HTTP_HEAD_BLOCK || s->end > HTTP_HEAD_KEEP)
		return;
	if (head->misses < HTTP_HEAD_TRIES + 15)
		head->misses++;
	else
		head->misses = HTTP_HEAD_TRIES;
	if (head->misses > HTTP_HEAD_TRIES)
		return;
	s->known = HTTP_HEAD_IS_KEPT;
	head->bytes = s->end;
	head->first = s->first;
	head->status = h->status;
	head->flags = h->flags;
	head->lengths = h->lengths;
	head->length = h->length;
	head->method = h->method;
	head->version = h->version;
	HTTP_LOOP
	for (__u32 i = 0; i < HTTP_HEAD_KEEP; i += 8)
		http_store8(head->data + i, http_load8(buf + i));
}

/* The head has come again: how long is the message that it begins? Answers to HEAD and CONNECT tell nothing of others. */
static __always_inline void http_head_measure(struct http_head *head, const struct http_half *h,
					      const struct http_scan *s)
{
	__u32 body = h->remaining;

	head->message = 0;
	if (s->asked == HTTP_METHOD_HEAD || s->asked == HTTP_METHOD_CONNECT)
		return;
	if (s->events == (HTTP_EV_START | HTTP_EV_END))
		head->message = head->bytes;
	else if (h->phase == HTTP_BODY && h->remaining == body && body < 1u << 30)
		head->message = head->bytes + body;
}

/* Looks at the s->len bytes of @buf (sixteen zero bytes follow them) in a phase below HTTP_SKIP; the caller has filled in
 * len, kind and asked. Returns how many bytes are done with; s->events says what happened. Nothing done and no event: the
 * line needs more bytes. At most one message starts and at most one ends in a call. @head: of this direction. */
static __always_inline __u32 http_feed(struct http_half *h, const char *buf, struct http_scan *s,
				       struct http_head *head)
{
	int start;

	s->events = 0;
	s->known = 0;
	s->phase = h->phase;
	http_forget();
	if (h->flags & HTTP_IN_LINE)
		return http_skip_line(h, buf, s->len);
	if (s->phase == HTTP_CHUNK)
		return http_chunk(h, buf, s->len, s);

	if (s->phase == HTTP_START && http_head_same(head, h, buf, s)) {
		head->misses = 0;
		h->phase = HTTP_HEAD;
		s->events = HTTP_EV_START;
		http_head_over(h, s->kind, s->asked, s);
		http_head_measure(head, h, s);
		return s->end;
	}
	start = s->phase == HTTP_START || s->phase == HTTP_SEEK;
	/* Empty lines before a message are allowed (RFC 9112, 2.2). */
	if (s->phase == HTTP_START && buf[0] == '\n')
		return 1;
	if (s->phase == HTTP_START && buf[0] == '\r' && buf[1] == '\n')
		return 2;
	http_lines(buf, s->len, !start, s);
	http_forget();
	if (s->phase == HTTP_START || s->phase == HTTP_SEEK) {
		int whole = s->first < HTTP_BUF, is;

		is = http_start(h, buf, s->kind, whole ? s->first : s->len, whole);
		if (!is) {
			s->events = HTTP_EV_BAD;
			return s->len;
		}
		if (is == 2)
			return 0;
		h->phase = HTTP_HEAD;
		s->events = HTTP_EV_START;
	}
	if (s->phase == HTTP_TRAILER) {
		if (!s->end)
			return s->line;
		h->phase = HTTP_START;
		s->events |= HTTP_EV_END;
		return s->end;
	}
	http_forget();
	http_fields(h, buf, s->end ? s->end : s->line, s);
	if (!s->end)
		return s->line;
	if (s->phase == HTTP_START)
		http_head_keep(head, h, buf, s);
	http_forget();
	http_head_over(h, s->kind, s->asked, s);
	return s->end;
}

/* The first line is longer than can be kept: @len bytes of it are in @buf. True: it is taken as a start line whose end
 * will never be looked at. Lines of the head that are too long are skipped; one that says how the body ends is bad. */
static __always_inline int http_long_line(struct http_half *h, enum http_kind kind, const char *buf, __u32 len,
					  struct http_scan *s)
{
	__u32 four = http_load4(buf) | 0x20202020, eight = http_load4(buf + 8) | 0x20202020;

	s->events = 0;
	if (h->phase == HTTP_CHUNK) { /* an endless chunk extension */
		s->events = HTTP_EV_BAD;
		return 0;
	}
	h->flags |= HTTP_IN_LINE;
	if (h->phase != HTTP_START && h->phase != HTTP_SEEK) {
		if ((four == HTTP_C4('c', 'o', 'n', 't') && eight == HTTP_C4('l', 'e', 'n', 'g')) ||
		    (four == HTTP_C4('t', 'r', 'a', 'n') && eight == HTTP_C4('-', 'e', 'n', 'c')))
			h->flags |= HTTP_IS_BAD;
		return 0;
	}
	if (http_start(h, buf, kind, len, 0) != 2 || (kind == HTTP_REQUEST && h->method == HTTP_METHOD_OTHER)) {
		s->events = HTTP_EV_BAD;
		return 0;
	}
	h->flags = HTTP_IN_LINE;
	h->lengths = 0;
	h->length = 0;
	h->body = 0;
	h->phase = HTTP_HEAD;
	s->first = HTTP_BUF;
	s->events = HTTP_EV_START;
	return 1;
}

/* Skips up to @len bytes in a phase from HTTP_SKIP on; returns how many. *ret_end: the message is over with them. */
static __always_inline __u64 http_skip(struct http_half *h, __u64 len, int *ret_end)
{
	__u64 take = h->remaining < len ? h->remaining : len;

	*ret_end = 0;
	if (h->phase == HTTP_TUNNEL)
		return len;
	h->body += take;
	if (h->phase == HTTP_UNTIL_CLOSE)
		return len;
	h->remaining -= take;
	if (!h->remaining) {
		*ret_end = h->phase == HTTP_BODY;
		h->phase = h->phase == HTTP_BODY ? HTTP_START : HTTP_CHUNK;
	}
	return take;
}

/* Copies the request line at the start of @buf up to the end of the path into @line, at most HTTP_LINE_MAX bytes, and
 * hashes it on top of @seed. The path ends at '?', else before the version: s->first is the offset of the line's newline
 * (HTTP_BUF: it has none here). s->at: the bytes copied; HTTP_LINE_MAX: it was cut. Bytes of @line behind them mean
 * nothing. Returns the hash. */
static __always_inline __u64 http_copy_line(const char *buf, char *line, __u64 seed, struct http_scan *s)
{
	__u32 end = HTTP_LINE_MAX;

	if (s->first < HTTP_LINE_MAX + 10) /* " HTTP/1.1", perhaps a CR */
		end = s->first - 9 - (*HTTP_AT(buf, s->first - 1) == '\r');
	s->at = end;
	http_forget();
	end = s->at;
	HTTP_LOOP
	for (__u32 i = 0; i < HTTP_LINE_MAX / 8; i++) {
		__u64 word = http_load8(buf + i * 8), hits = http_find(word, '?');
		__u32 have = end - i * 8;

		if (hits && http_first(hits) < have) {
			have = http_first(hits);
			s->at = i * 8 + have;
		}
		if (have < 8)
			word &= (1ull << (have & 7) * 8) - 1;
		http_store8(line + i * 8, word);
		seed = (seed ^ word) * 0x9e3779b97f4a7c15ull;
		seed ^= seed >> 32;
		if (have <= 8)
			break;
	}
	http_forget();
	return seed;
}

#endif
