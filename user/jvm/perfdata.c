#include "jvm/perfdata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/why.h"

#define NAME_BYTES_MAX 256 /* 60 is usual */

#define ORDER_BIG    0
#define ORDER_LITTLE 1
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ORDER_OURS ORDER_LITTLE
#else
#define ORDER_OURS ORDER_BIG
#endif

/* As HotSpot lays them out. */
struct prologue {
	__u8 magic[4]; /* in this order on every machine */
	__u8 byte_order;
	__u8 major, minor;
	__u8 accessible;
	__s32 used;
	__s32 overflow;
	__s64 mod_time_stamp; /* of the last addition of an entry */
	__s32 entry_offset;
	__s32 num_entries;
};

struct entry_header {
	__s32 entry_length;
	__s32 name_offset;   /* from the entry on, like data_offset */
	__s32 vector_length; /* 0: one value */
	__s8 type;	     /* as in class files: J: 64 bits, B: a byte */
	__u8 flags, units, variability;
	__s32 data_offset;
};

_Static_assert(sizeof(struct prologue) == PERFDATA_PROLOGUE_BYTES, "HotSpot's layout");
_Static_assert(sizeof(struct entry_header) == 20, "HotSpot's layout");

struct entry {
	const char *name; /* in perfdata.names */
	__u32 place;	  /* of the value in the block */
	__u32 bytes;	  /* of a text; 0: a number of 8 bytes */
};

struct perfdata {
	const char *image;
	size_t bytes; /* of it; 0: there is none */
	struct prologue prologue;
	bool complete; /* the index has all entries that the prologue speaks of */
	unsigned count, cap;
	struct entry *entries; /* sorted by name */
	char *names;
	size_t names_used, names_cap;
};

/* --- the prologue ------------------------------------------------------------------------------------------- */

static int prologue_read(const void *image, size_t bytes, struct prologue *ret, struct why *why)
{
	static const __u8 magic[] = { 0xca, 0xfe, 0xc0, 0xc0 };

	if (bytes < sizeof(*ret))
		return why_set(why, -EBADMSG, "the counters are cut to %zu bytes", bytes);
	memcpy(ret, image, sizeof(*ret));
	if (memcmp(ret->magic, magic, sizeof(magic)) != 0)
		return why_set(why, -EBADMSG, "these are no counters of HotSpot");
	if (ret->byte_order != ORDER_OURS)
		return why_set(why, -EBADMSG, "the counters are of another byte order");
	if (ret->major != 2)
		return why_set(why, -EBADMSG, "the counters are of version %u.%u, understood is 2", ret->major,
			       ret->minor);
	if (ret->accessible != 1)
		return why_set(why, -EAGAIN, "the counters are not accessible yet");
	if (ret->used < (__s32)sizeof(*ret) || (__u32)ret->used > PERFDATA_BYTES_MAX)
		return why_set(why, -EBADMSG, "the counters are said to have %d bytes", ret->used);
	return 0;
}

int perfdata_used(const void *prologue, size_t bytes, size_t *ret_bytes, struct why *why)
{
	struct prologue p;
	int err = prologue_read(prologue, bytes, &p, why);

	if (!err)
		*ret_bytes = (size_t)p.used;
	return err;
}

/* --- the index ---------------------------------------------------------------------------------------------- */

static int entry_compare(const void *a, const void *b)
{
	const struct entry *left = a, *right = b;
	int order = strcmp(left->name, right->name);

	return order ? order : (left->place > right->place) - (left->place < right->place);
}

static bool inside(__s32 offset, __u32 bytes, __u32 room)
{
	return offset >= 0 && (__u32)offset <= room && bytes <= room - (__u32)offset;
}

/* Copies the name: the process may change it in the block, but the index stays sorted. */
static const char *name_take(struct perfdata *p, const char *name, size_t bytes_max)
{
	size_t bytes = strnlen(name, bytes_max);
	char *copy = p->names + p->names_used;

	/* The names are part of the block, and the room is as large: a lying one can use the same bytes twice. */
	if (!bytes || bytes == bytes_max || bytes > NAME_BYTES_MAX || bytes >= p->names_cap - p->names_used)
		return NULL;
	memcpy(copy, name, bytes);
	copy[bytes] = 0;
	p->names_used += bytes + 1;
	return copy;
}

/* One entry at @at of a block of which @room bytes are left there. False: the walk ends here. */
static bool entry_take(struct perfdata *p, size_t at, __u32 room, __u32 *ret_length)
{
	struct entry_header header;
	struct entry entry;

	if (room < sizeof(header))
		return false;
	memcpy(&header, p->image + at, sizeof(header));
	/* 0: HotSpot has counted it, but not written it yet. */
	if (header.entry_length < (__s32)sizeof(header) || (__u32)header.entry_length > room)
		return false;
	room = (__u32)header.entry_length;
	*ret_length = room;
	if (!inside(header.name_offset, 1, room) || header.vector_length < 0)
		return false;
	entry.place = (__u32)at + (__u32)header.data_offset;
	entry.bytes = (__u32)header.vector_length;
	if (header.type == 'J' && !entry.bytes ? !inside(header.data_offset, 8, room)
					       : !inside(header.data_offset, entry.bytes, room))
		return false;
	if (header.type == 'J' ? entry.bytes : header.type != 'B' || !entry.bytes)
		return true; /* of a type that no JVM has */
	entry.name = name_take(p, p->image + at + header.name_offset, room - (__u32)header.name_offset);
	if (!entry.name)
		return false;
	p->entries[p->count++] = entry;
	return true;
}

static int index_reserve(struct perfdata *p, unsigned count)
{
	if (p->names_cap < p->bytes) {
		free(p->names);
		p->names_cap = 0;
		p->names = malloc(p->bytes);
		if (!p->names)
			return -ENOMEM;
		p->names_cap = p->bytes;
	}
	if (p->cap < count) {
		free(p->entries);
		p->cap = 0;
		p->entries = calloc(count, sizeof(*p->entries));
		if (!p->entries)
			return -ENOMEM;
		p->cap = count;
	}
	return 0;
}

static int index_make(struct perfdata *p)
{
	const struct prologue *prologue = &p->prologue;
	size_t at = (size_t)prologue->entry_offset;
	unsigned count, walked = 0;
	__u32 length;
	int err;

	p->complete = false;
	p->count = 0;
	p->names_used = 0;
	if (prologue->num_entries < 0 || prologue->entry_offset < (__s32)sizeof(*prologue))
		return 0;
	count = (unsigned)prologue->num_entries;
	if (count > PERFDATA_ENTRIES_MAX)
		count = PERFDATA_ENTRIES_MAX;
	if (count > p->bytes / sizeof(struct entry_header))
		count = (unsigned)(p->bytes / sizeof(struct entry_header));
	err = index_reserve(p, count);
	if (err)
		return err;
	while (walked < count && at < p->bytes && entry_take(p, at, (__u32)(p->bytes - at), &length)) {
		at += length;
		walked++;
	}
	p->complete = walked == (unsigned)prologue->num_entries;
	if (p->count)
		qsort(p->entries, p->count, sizeof(*p->entries), entry_compare);
	return 0;
}

/* --- values ------------------------------------------------------------------------------------------------- */

struct perfdata *perfdata_new(void)
{
	return calloc(1, sizeof(struct perfdata));
}

void perfdata_free(struct perfdata *p)
{
	if (!p)
		return;
	free(p->entries);
	free(p->names);
	free(p);
}

int perfdata_set(struct perfdata *p, const void *image, size_t bytes, struct why *why)
{
	struct prologue prologue;
	bool same;
	int err;

	p->image = image;
	p->bytes = 0;
	err = prologue_read(image, bytes, &prologue, why);
	if (err)
		return err;
	same = p->complete && prologue.mod_time_stamp == p->prologue.mod_time_stamp &&
	       prologue.num_entries == p->prologue.num_entries && prologue.used == p->prologue.used &&
	       prologue.entry_offset == p->prologue.entry_offset;
	p->prologue = prologue;
	p->bytes = bytes < (size_t)prologue.used ? bytes : (size_t)prologue.used;
	if (same)
		return 0;
	err = index_make(p);
	if (err) {
		p->bytes = 0;
		p->count = 0;
		return why_set(why, err, "no memory for the names of counters");
	}
	return 0;
}

void perfdata_clear(struct perfdata *p)
{
	p->bytes = 0;
}

static int name_compare(const void *key, const void *entry)
{
	return strcmp(key, ((const struct entry *)entry)->name);
}

/* The index may be of an earlier block, larger than this one. */
static const struct entry *entry_find(const struct perfdata *p, const char *name)
{
	const struct entry *found;

	if (!p->bytes || !p->count)
		return NULL;
	found = bsearch(name, p->entries, p->count, sizeof(*found), name_compare);
	if (!found)
		return NULL;
	while (found > p->entries && !strcmp(found[-1].name, name))
		found--;
	return found->place <= p->bytes && (found->bytes ? found->bytes : 8) <= p->bytes - found->place ? found : NULL;
}

bool perfdata_place(const struct perfdata *p, const char *name, size_t *ret_offset)
{
	const struct entry *entry = entry_find(p, name);

	if (!entry || entry->bytes)
		return false;
	*ret_offset = entry->place;
	return true;
}

bool perfdata_number(const struct perfdata *p, const char *name, __u64 *ret)
{
	size_t place;
	__s64 value;

	if (!perfdata_place(p, name, &place))
		return false;
	memcpy(&value, p->image + place, sizeof(value));
	if (value < 0)
		return false;
	*ret = (__u64)value;
	return true;
}

bool perfdata_text(const struct perfdata *p, const char *name, char *ret, size_t room)
{
	const struct entry *entry = entry_find(p, name);
	const char *text;

	if (room)
		ret[0] = 0;
	if (!entry || !entry->bytes)
		return false;
	text = p->image + entry->place;
	utf8_sanitise(text, strnlen(text, entry->bytes), ret, room);
	return true;
}

unsigned perfdata_count(const struct perfdata *p)
{
	return p->bytes ? p->count : 0;
}
