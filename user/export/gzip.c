#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/buf.h"
#include "export/gzip.h"

#define WINDOW_BITS  (15 + 16) /* 16: gzip's header and trailer, not zlib's */
#define MEMORY_LEVEL 8	       /* zlib's default */
#define STEP_BYTES   (16u << 10)

int gzip_open(struct gzip *gzip)
{
	z_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return -ENOMEM;
	if (deflateInit2(stream, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(stream);
		return -ENOMEM;
	}
	gzip->stream = stream;
	return 0;
}

int gzip_add(struct gzip *gzip, const void *data, size_t bytes, bool last, struct buf *out)
{
	z_stream *stream = gzip->stream;

	stream->next_in = (Bytef *)data;
	stream->avail_in = (uInt)bytes;
	do {
		int err = buf_reserve(out, STEP_BYTES);

		if (err)
			return err;
		stream->next_out = (Bytef *)out->data + out->used;
		stream->avail_out = STEP_BYTES;
		deflate(stream, last ? Z_FINISH : Z_NO_FLUSH);
		buf_commit(out, STEP_BYTES - stream->avail_out);
	} while (stream->avail_out == 0);
	return 0;
}

void gzip_close(struct gzip *gzip)
{
	if (!gzip->stream)
		return;
	deflateEnd(gzip->stream);
	free(gzip->stream);
	gzip->stream = NULL;
}
