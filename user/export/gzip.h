/* gzip as a stream: bytes in, compressed bytes appended to a buffer. Fast rather than small: what weir writes repeats
 * itself so much that the lowest level already takes nine tenths away. Holds 256 KiB while open. */
#ifndef WEIR_EXPORT_GZIP_H
#define WEIR_EXPORT_GZIP_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct z_stream_s;

struct gzip {
	struct z_stream_s *stream; /* NULL: closed */
};

int gzip_open(struct gzip *gzip); /* 0 or -ENOMEM */
/* @last: ends the stream; nothing may be added afterwards. 0, or what sticks in @out. */
int gzip_add(struct gzip *gzip, const void *data, size_t bytes, bool last, struct buf *out);
void gzip_close(struct gzip *gzip); /* also when it was never opened or has not ended */

#endif
