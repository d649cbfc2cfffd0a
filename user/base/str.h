/* Text: numbers with units both ways, hostile bytes into printable UTF-8, patterns. Nothing here allocates. */
#ifndef WEIR_BASE_STR_H
#define WEIR_BASE_STR_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

/* Decimal digits only, the whole text, at most @max. 0, -EINVAL (not a number) or -ERANGE. */
int str_to_u64(const char *text, __u64 max, __u64 *ret);
/* The same for @bytes bytes without terminator. */
int mem_to_u64(const char *text, size_t bytes, __u64 max, __u64 *ret);
/* "250us", "10ms", "1.5s", "2m", "1h", "1m30s", "0"; a unit is required except for 0. 0, -EINVAL or -ERANGE. */
int str_to_duration_ns(const char *text, __u64 *ret_ns);
/* "512", "64K", "64KiB", "4MiB", "1G": powers of 1024. 0, -EINVAL or -ERANGE. */
int str_to_bytes(const char *text, __u64 max, __u64 *ret_bytes);
/* "true|yes|on|1", "false|no|off|0". 0 or -EINVAL. */
int str_to_bool(const char *text, bool *ret);

/* Three significant digits; all return @ret, so they can stand in an argument list. */
#define STR_NUMBER_ROOM 16
/* 0, 831ns, 12.3us, 1.23ms, 45.6s, 2m05s, 3h07m, 4d02h */
const char *str_format_duration(__u64 ns, char ret[STR_NUMBER_ROOM]);
/* 0, 512, 1.50K, 12.3M, 1.20G: powers of 1024 */
const char *str_format_bytes(__u64 bytes, char ret[STR_NUMBER_ROOM]);
/* 0, 999, 1.50k, 12.3M, 1.20G: powers of 1000 */
const char *str_format_count(__u64 count, char ret[STR_NUMBER_ROOM]);

bool str_starts(const char *text, const char *prefix);
bool str_ends(const char *text, const char *suffix);
bool mem_equals_str(const void *mem, size_t bytes, const char *text);
/* Copies as much as fits, always terminated (unless room is 0), never in the middle of a UTF-8 sequence.
 * Returns the bytes copied. */
size_t str_copy(char *ret, size_t room, const char *text);

/* Hostile bytes into text that is safe to print and to export: valid UTF-8, NUL-terminated. What is not UTF-8 becomes
 * U+FFFD; control characters (C0 with NUL, DEL, C1) become \xNN and characters that turn the direction of text \uNNNN.
 * Cut to @room at a character border. Returns the bytes written without the terminator. @ret may not overlap @in.
 * 4 * @bytes + 1 is always room enough. */
size_t utf8_sanitise(const void *in, size_t bytes, char *ret, size_t room);
bool utf8_valid(const void *in, size_t bytes);
/* Takes one character: bytes used (1..4) and *ret_point, or 0 when the bytes are no UTF-8 (then skip one). */
unsigned utf8_decode(const void *in, size_t bytes, __u32 *ret_point);
/* Columns on a terminal; @text valid UTF-8. */
size_t utf8_width(const char *text);
/* Greatest prefix of @text (in bytes) that is at most @width columns wide. */
size_t utf8_prefix(const char *text, size_t width);

/* Shell pattern over the whole text: * (any, also '/'), ? (one character), \ quotes. Time is O(pattern * text). */
bool glob_match(const char *pattern, const char *text);

/* Keyed hash, for tables filled with foreign bytes: fast, different in every process. */
__u64 hash_bytes(const void *data, size_t bytes);
__u64 hash_mix(__u64 a, __u64 b);

#endif
