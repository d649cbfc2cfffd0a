#include "jvm/attach_protocol.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"

static void text_add(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text) + 1);
}

void attach_request_v1(struct buf *b, const char *name, const char *argument)
{
	text_add(b, "1");
	text_add(b, name);
	text_add(b, argument);
	text_add(b, "");
	text_add(b, "");
}

void attach_request_v2(struct buf *b, const char *name, const char *argument)
{
	text_add(b, "2");
	buf_printf(b, "%zu", strlen(name) + 1 + strlen(argument) + 1);
	buf_add_char(b, 0);
	text_add(b, name);
	text_add(b, argument);
}

int attach_code_parse(const char *text, size_t bytes, int *ret_code)
{
	const char *end = memchr(text, '\n', bytes < ATTACH_CODE_BYTES_MAX ? bytes : ATTACH_CODE_BYTES_MAX);
	bool minus = bytes && text[0] == '-';
	__u64 number;

	if (!end)
		return bytes < ATTACH_CODE_BYTES_MAX ? 0 : -EPROTO;
	if (mem_to_u64(text + minus, (size_t)(end - text) - minus, INT_MAX, &number))
		return -EPROTO;
	*ret_code = minus ? -(int)number : (int)number;
	return (int)(end - text) + 1;
}

bool attach_version_has(const char *text, size_t bytes, const char *option)
{
	const char *end = text + bytes;
	bool first = true;

	while (text < end) {
		const char *from;
		__u64 version;

		while (text < end && strchr(" ,\t\r\n", *text))
			text++;
		from = text;
		while (text < end && !strchr(" ,\t\r\n", *text))
			text++;
		if (first && (mem_to_u64(from, (size_t)(text - from), INT_MAX, &version) || version < 2))
			return false;
		if (!first && mem_equals_str(from, (size_t)(text - from), option))
			return true;
		first = false;
	}
	return false;
}
