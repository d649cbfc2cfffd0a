/* The only caller of ring-buffer helpers. A failed emit_begin() is the caller's to count: it knows what was lost. */
#ifndef WEIR_EMIT_BPF_H
#define WEIR_EMIT_BPF_H

#include "lib/maps.bpf.h"

/* Room for a record of constant @size, its header filled in; NULL: the ring is full. */
#define emit_begin(id, size, when_ns, cgroup)                                    \
	({                                                                       \
		struct event_hdr *__hdr = bpf_ringbuf_reserve(&events, size, 0); \
		if (__hdr) {                                                     \
			__hdr->signal = (id);                                    \
			__hdr->size_bytes = (size);                              \
			__hdr->pid = 0;                                          \
			__hdr->time_ns = (when_ns);                              \
			__hdr->cgroup_id = (cgroup);                             \
		}                                                                \
		(void *)__hdr;                                                   \
	})

/* Does somebody want every record of that signal? */
static __always_inline int records_wanted(enum signal_id id)
{
	volatile struct control *ctl = control_get();

	return ctl && ctl->records & 1u << id;
}

/* Hands the record over. The reader is woken only when it has said that it sleeps, and once: a wake-up for each record
 * would cost more than the record. */
static __always_inline void emit_end(void *record)
{
	volatile struct control *ctl = control_get();
	__u64 flags = BPF_RB_NO_WAKEUP;

	if (ctl && ctl->reader_sleeps) {
		ctl->reader_sleeps = 0;
		flags = BPF_RB_FORCE_WAKEUP;
	}
	bpf_ringbuf_submit(record, flags);
}

#endif
