/* A growing buffer of bytes with a mandatory maximum. Always NUL-terminated (the terminator is not in used).
 * The first failure sticks: later additions do nothing and return it, so a writer may check once, at the end. */
#ifndef WEIR_BASE_BUF_H
#define WEIR_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *data; /* never NULL after buf_init: "" while nothing is stored */
	size_t used;
	size_t cap; /* allocated; 0: data points to a constant */
	size_t max; /* used never exceeds it */
	int err;    /* 0, -ENOBUFS (max reached), -ENOMEM; sticks until buf_reset */
};

void buf_init(struct buf *b, size_t bytes_max);
void buf_done(struct buf *b);  /* frees; @b is empty and may be used again */
void buf_reset(struct buf *b); /* empties, keeps the memory, clears err */

/* All return 0 or the negative errno that sticks; an addition that does not fit whole is not made at all. */
int buf_add(struct buf *b, const void *data, size_t bytes);
int buf_add_str(struct buf *b, const char *text);
int buf_add_char(struct buf *b, char c);
int buf_add_repeat(struct buf *b, char c, size_t count);
__attribute__((format(printf, 2, 3))) int buf_printf(struct buf *b, const char *format, ...);
__attribute__((format(printf, 2, 0))) int buf_vprintf(struct buf *b, const char *format, va_list args);
/* Room for @bytes more, to be written by the caller at b->data + b->used; then buf_commit(). */
int buf_reserve(struct buf *b, size_t bytes);
void buf_commit(struct buf *b, size_t bytes);
/* Drops the first @bytes (what a partial write has taken). */
void buf_consume(struct buf *b, size_t bytes);
/* The memory is the caller's (free()) and NUL-terminated; @b is empty. NULL: no memory, or an error had stuck. */
char *buf_take(struct buf *b);

#endif
