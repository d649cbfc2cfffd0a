/* Any bytes as a request line: what is found lies inside them, and the parts fit together. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/request_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const uint8_t *whole;
static size_t whole_bytes;

/* Inside the input, or one of the constants ("" and "/"). */
static void slice_check(struct slice s)
{
	const uint8_t *at = (const uint8_t *)s.data;

	if (!s.data)
		abort();
	if (at >= whole && at <= whole + whole_bytes) {
		if (s.bytes > (size_t)(whole + whole_bytes - at))
			abort();
	} else if (s.bytes > 1 || (s.bytes && *s.data != '/')) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct request_line line, again;

	whole = data;
	whole_bytes = bytes;
	if (request_line_parse((const char *)data, bytes, &line))
		return 0;
	slice_check(line.method);
	slice_check(line.target);
	slice_check(line.authority);
	slice_check(line.path);
	slice_check(line.query);
	if (!line.method.bytes || memchr(line.method.data, ' ', line.method.bytes))
		abort();
	if (line.target.bytes && memchr(line.target.data, ' ', line.target.bytes))
		abort();
	if (memchr(line.path.data, '?', line.path.bytes) || memchr(line.path.data, '#', line.path.bytes))
		abort();
	if ((line.form == TARGET_ORIGIN || line.form == TARGET_ABSOLUTE) != (line.path.bytes > 0))
		abort();
	if ((line.form == TARGET_NONE) != !line.target.bytes || (line.path_cut && !line.target_cut))
		abort();
	/* The line's end ends it: what follows a newline changes nothing. */
	if (!line.target_cut) {
		size_t used = (size_t)((const uint8_t *)line.target.data + line.target.bytes - data) + 1;

		if (line.target.bytes && (request_line_parse((const char *)data, used, &again) ||
					  again.target.bytes != line.target.bytes || again.target_cut))
			abort();
	}
	return 0;
}
