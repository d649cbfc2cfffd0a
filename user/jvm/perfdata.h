/* The counters that a HotSpot JVM keeps for tools, "hsperfdata": a block of memory with a prologue and entries, each
 * with a name, a type and a value. The JVM writes the values in place, whenever they change, without a lock: a copy of
 * the block is current, and each 8-byte value in it is whole.
 *
 * The block is hostile: it belongs to a watched process, which can write what it likes. Every length and offset is
 * checked against the block, the walk over the entries goes only forward, their number has a maximum.
 *
 * Entries never move and are never taken away. So the names are indexed once, and again when the JVM says that it
 * has added some; a value is read by name from the newest copy. */
#ifndef WEIR_JVM_PERFDATA_H
#define WEIR_JVM_PERFDATA_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct perfdata;
struct why;

#define PERFDATA_PROLOGUE_BYTES 32
#define PERFDATA_BYTES_MAX	(2u << 20) /* of which 9 to 14 KB are in use, in JDK 8 to 25 */
#define PERFDATA_ENTRIES_MAX	4096	   /* 130 to 240 in these */

/* Which part of the block is in use, by the first PERFDATA_PROLOGUE_BYTES of it: at most PERFDATA_BYTES_MAX. 0; -EBADMSG:
 * this is no such block, or of another byte order or version; -EAGAIN: the JVM has not made it accessible (yet). */
int perfdata_used(const void *prologue, size_t bytes, size_t *ret_bytes, struct why *why);

struct perfdata *perfdata_new(void);	/* NULL: no memory */
void perfdata_free(struct perfdata *p); /* NULL is fine */

/* From now on values are those of @image (borrowed until the next call; 8-byte aligned is not needed). Indexes the
 * names if it has to. 0 or as perfdata_used(), or -ENOMEM; on failure there is no value of any name. An entry that
 * contradicts itself ends the walk: what comes before it is there. */
int perfdata_set(struct perfdata *p, const void *image, size_t bytes, struct why *why);
void perfdata_clear(struct perfdata *p); /* no values until the next perfdata_set() */

/* A number. False: no entry of that name, not a number, or negative (which HotSpot says for "undefined"). */
bool perfdata_number(const struct perfdata *p, const char *name, __u64 *ret);
/* A text, as valid and printable UTF-8 cut to @room; "" and false: there is none of that name. */
bool perfdata_text(const struct perfdata *p, const char *name, char *ret, size_t room);
/* Where in the block the 8 bytes of a number are. */
bool perfdata_place(const struct perfdata *p, const char *name, size_t *ret_offset);
unsigned perfdata_count(const struct perfdata *p); /* of entries that were understood */

#endif
