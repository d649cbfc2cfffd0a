#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "base/why.h"
#include "model/selfstat.h"
#include "model/span.h"
#include "view/web.h"
#include "view/web_stream.h"

/* Room kept back for the lines that tell of what is missing and for the summary. */
#define RESERVE_BYTES 256

void web_stream_init(struct web_stream *stream)
{
	*stream = (struct web_stream){};
	buf_init(&stream->lines, WEB_STREAM_BYTES_MAX);
}

void web_stream_done(struct web_stream *stream)
{
	buf_done(&stream->lines);
}

int web_stream_option(struct web_stream *stream, const char *key, const char *value, struct why *why)
{
	if (strcmp(key, "count") == 0) {
		if (!value[0])
			return 0;
		if (str_to_u64(value, ~0ull, &stream->count_max) || !stream->count_max)
			return why_set(why, -EINVAL, "count is '%.40s': it must be a number of lines, 1 or more",
				       value);
		return 0;
	}
	return span_filter_set(&stream->filter, key, value, why) ? -EINVAL : 0;
}

bool web_stream_wants(const struct web_stream *stream, const struct span *span, const struct workload *who)
{
	return !stream->ended && (!stream->signal || stream->signal == span->signal) &&
	       span_filter_match(&stream->filter, span, who);
}

void web_stream_end(struct web_stream *stream)
{
	if (stream->ended)
		return;
	stream->ended = true;
	buf_printf(&stream->lines, "{\"summary\":{\"matched\":%llu,\"dropped\":%llu}}\n", stream->matched,
		   stream->dropped);
	stream->wake(stream);
}

void web_stream_add(struct web_stream *stream, const struct buf *line)
{
	stream->matched++;
	if (stream->lines.used + line->used + RESERVE_BYTES > WEB_STREAM_BYTES_MAX) {
		stream->dropped++;
		selfstat_count(SELFSTAT_export_spans_dropped, "trace", NULL, 1);
	} else {
		if (stream->dropped > stream->told) {
			buf_printf(&stream->lines, "{\"dropped\":%llu}\n", stream->dropped - stream->told);
			stream->told = stream->dropped;
		}
		buf_add(&stream->lines, line->data, line->used);
		buf_add_char(&stream->lines, '\n');
		stream->wake(stream);
	}
	if (stream->count_max && stream->matched == stream->count_max)
		web_stream_end(stream);
}

size_t web_stream_take(struct web_stream *stream, char *ret, size_t room)
{
	size_t bytes = stream->lines.used < room ? stream->lines.used : room;

	memcpy(ret, stream->lines.data, bytes);
	if (bytes == stream->lines.used)
		buf_reset(&stream->lines); /* also clears what may have stuck for want of memory */
	else
		buf_consume(&stream->lines, bytes);
	return bytes;
}
