/* Takes records from the ring, checks header and size, hands each to the decoder of its signal, counts.
 *
 * The kernel half wakes the reader only while it says that it sleeps (control.reader_sleeps), and takes that word
 * back as it does so. Once woken the reader looks again every READER_TURN_NS until a turn finds nothing: so at rest it
 * costs nothing, and under load the number of wake-ups is bounded however many records there are. One call reads at
 * most READER_BATCH records, so the loop always comes to its other work. */
#ifndef WEIR_KERNEL_READER_H
#define WEIR_KERNEL_READER_H

#include <linux/types.h>
#include <stdbool.h>

#include "event.h"

struct kernel_maps;
struct loop;
struct reader;
struct why;

#define READER_TURN_NS (5ull * 1000000ull)
#define READER_BATCH   4096

/* Record with a whole header and at least hdr->size_bytes bytes, borrowed until it returns. 0 or -EBADMSG. */
typedef int (*reader_decode)(void *arg, const struct event_hdr *hdr);

struct reader_counts {
	__u64 records[SIGNAL_MAX]; /* by signal; [SIGNAL_NONE]: life cycle of cgroups */
	__u64 bytes;
	__u64 bad_size, bad_signal, bad_record; /* not decoded, and why */
	__u64 wakeups;				/* times the ring woke us */
	__u64 turns;				/* times we looked */
};

int reader_open(struct loop *loop, const struct kernel_maps *maps, reader_decode decode, void *arg,
		struct reader **ret_reader, struct why *why);
void reader_close(struct reader *r);
/* Reads what is there now, to the end (at shutdown and before a snapshot): at most the ring's capacity, twice. */
void reader_drain(struct reader *r);
void reader_counts(const struct reader *r, struct reader_counts *ret);

#endif
