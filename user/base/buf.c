#include "base/buf.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_CAP_FIRST 256

/* What an empty buffer points to, so that data is always a string. Never written: cap is 0 then. */
static char buf_empty[1] = "";

void buf_init(struct buf *b, size_t bytes_max)
{
	/* No real limit comes near half the address space, and below it doubling cannot overflow. */
	*b = (struct buf){ .data = buf_empty, .max = bytes_max < SIZE_MAX / 4 ? bytes_max : SIZE_MAX / 4 };
}

void buf_done(struct buf *b)
{
	if (b->cap)
		free(b->data);
	buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
	b->used = 0;
	b->err = 0;
	if (b->cap)
		b->data[0] = '\0';
}

/* cap counts the terminator, used and max do not. */
int buf_reserve(struct buf *b, size_t bytes)
{
	size_t want, cap;
	char *data;

	if (b->err)
		return b->err;
	if (bytes > b->max - b->used) {
		b->err = -ENOBUFS;
		return b->err;
	}
	want = b->used + bytes + 1;
	if (want <= b->cap)
		return 0;
	cap = b->cap ? b->cap : BUF_CAP_FIRST;
	while (cap < want)
		cap *= 2;
	if (cap > b->max + 1)
		cap = b->max + 1;
	data = realloc(b->cap ? b->data : NULL, cap);
	if (!data) {
		b->err = -ENOMEM;
		return b->err;
	}
	if (!b->cap)
		data[0] = '\0';
	b->data = data;
	b->cap = cap;
	return 0;
}

void buf_commit(struct buf *b, size_t bytes)
{
	b->used += bytes;
	if (b->cap)
		b->data[b->used] = '\0';
}

int buf_add(struct buf *b, const void *data, size_t bytes)
{
	int err = buf_reserve(b, bytes);

	if (err || !bytes)
		return err;
	memcpy(b->data + b->used, data, bytes);
	buf_commit(b, bytes);
	return 0;
}

int buf_add_str(struct buf *b, const char *text)
{
	return buf_add(b, text, strlen(text));
}

int buf_add_char(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

int buf_add_repeat(struct buf *b, char c, size_t count)
{
	int err = buf_reserve(b, count);

	if (err || !count)
		return err;
	memset(b->data + b->used, c, count);
	buf_commit(b, count);
	return 0;
}

int buf_vprintf(struct buf *b, const char *format, va_list args)
{
	va_list again;
	size_t room;
	int bytes, err;

	if (b->err)
		return b->err;
	room = b->cap ? b->cap - b->used : 0;
	va_copy(again, args);
	bytes = vsnprintf(room ? b->data + b->used : NULL, room, format, again);
	va_end(again);
	if (bytes < 0) {
		b->err = -EINVAL;
	} else if ((size_t)bytes >= room) {
		err = buf_reserve(b, (size_t)bytes);
		if (!err)
			vsnprintf(b->data + b->used, (size_t)bytes + 1, format, args);
	}
	if (b->err) { /* the first try may have written a part */
		if (b->cap)
			b->data[b->used] = '\0';
		return b->err;
	}
	buf_commit(b, (size_t)bytes);
	return 0;
}

int buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	int err;

	va_start(args, format);
	err = buf_vprintf(b, format, args);
	va_end(args);
	return err;
}

void buf_consume(struct buf *b, size_t bytes)
{
	if (bytes > b->used)
		bytes = b->used;
	if (!bytes)
		return;
	memmove(b->data, b->data + bytes, b->used - bytes);
	b->used -= bytes;
	b->data[b->used] = '\0';
}

char *buf_take(struct buf *b)
{
	char *data;

	if (b->err)
		return NULL;
	data = b->cap ? b->data : calloc(1, 1);
	if (data)
		buf_init(b, b->max);
	return data;
}
