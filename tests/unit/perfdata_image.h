/* Blocks of counters made by hand, as a JVM would write them, or not. */
#ifndef WEIR_TESTS_UNIT_PERFDATA_IMAGE_H
#define WEIR_TESTS_UNIT_PERFDATA_IMAGE_H

#include <linux/types.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_BYTES 32768

struct image {
	char bytes[IMAGE_BYTES];
	size_t used;
	__s32 count;
	__s64 stamp;
};

static inline void image_put(struct image *i, size_t at, const void *value, size_t bytes)
{
	memcpy(i->bytes + at, value, bytes);
}

static inline void image_put_s32(struct image *i, size_t at, __s32 value)
{
	image_put(i, at, &value, sizeof(value));
}

/* After each change of the structure. */
static inline void image_seal(struct image *i)
{
	static const __u8 start[] = { 0xca, 0xfe, 0xc0, 0xc0, 1, 2, 0, 1 };

	image_put(i, 0, start, sizeof(start));
	image_put_s32(i, 8, (__s32)i->used);
	image_put_s32(i, 12, 0);
	i->stamp++;
	image_put(i, 16, &i->stamp, sizeof(i->stamp));
	image_put_s32(i, 24, 32);
	image_put_s32(i, 28, i->count);
}

static inline void image_init(struct image *i)
{
	memset(i, 0, sizeof(*i));
	i->used = 32;
	image_seal(i);
}

/* Returns where the entry begins. */
static inline size_t image_entry(struct image *i, const char *name, char type, const void *value, size_t bytes,
				 __s32 vector)
{
	size_t at = i->used, name_bytes = strlen(name) + 1, data = (20 + name_bytes + 7) & ~(size_t)7;
	size_t length = (data + bytes + 7) & ~(size_t)7;
	__u8 rest[] = { (__u8)type, 0, 1, 3 };

	if (at + length > IMAGE_BYTES)
		abort();
	image_put_s32(i, at, (__s32)length);
	image_put_s32(i, at + 4, 20);
	image_put_s32(i, at + 8, vector);
	image_put(i, at + 12, rest, sizeof(rest));
	image_put_s32(i, at + 16, (__s32)data);
	image_put(i, at + 20, name, name_bytes);
	image_put(i, at + data, value, bytes);
	i->used += length;
	i->count++;
	image_seal(i);
	return at;
}

static inline size_t image_number(struct image *i, const char *name, __s64 value)
{
	return image_entry(i, name, 'J', &value, sizeof(value), 0);
}

static inline size_t image_text(struct image *i, const char *name, const char *value)
{
	return image_entry(i, name, 'B', value, strlen(value) + 1, (__s32)strlen(value) + 1);
}

#endif
