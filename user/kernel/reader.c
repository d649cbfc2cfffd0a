#include "kernel/reader.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/loop.h"
#include "base/why.h"
#include "control.h"
#include "kernel/maps.h"

/* A turn that stopped at its bound goes on at once, but through the loop. */
#define READER_AT_ONCE_NS 1000
/* Twice what the ring can hold in its smallest records. */
#define READER_DRAIN_MAX (2 * (2u << 20) / (sizeof(struct event_hdr) + 8))

enum reader_state {
	READER_ASLEEP, /* the ring wakes us */
	READER_DOZING, /* the same, and one last look is due: see reader_rest() */
	READER_AWAKE,  /* the timer makes us look; no wake-ups */
};

struct reader {
	struct loop *loop;
	struct control *control;
	struct ring_buffer *ring;
	int ring_fd;
	int timer;
	enum reader_state state;
	reader_decode decode;
	void *arg;
	unsigned left; /* of this turn's batch */
	struct reader_counts counts;
};

static int reader_record(void *arg, void *data, size_t bytes)
{
	const struct event_hdr *hdr = data;
	struct reader *r = arg;

	r->counts.bytes += bytes;
	if (bytes < sizeof(*hdr) || hdr->size_bytes < sizeof(*hdr) || hdr->size_bytes > bytes)
		r->counts.bad_size++;
	else if (hdr->signal >= SIGNAL_MAX)
		r->counts.bad_signal++;
	else if (r->decode(r->arg, hdr))
		r->counts.bad_record++;
	else
		r->counts.records[hdr->signal]++;
	/* A negative answer ends ring_buffer__consume() after this record. */
	return --r->left ? 0 : -EAGAIN;
}

/* Reads at most @max records. */
static unsigned reader_look(struct reader *r, unsigned max)
{
	r->left = max;
	r->counts.turns++;
	ring_buffer__consume(r->ring);
	return max - r->left;
}

static void reader_set_asleep(struct reader *r, bool asleep)
{
	__atomic_store_n(&r->control->reader_sleeps, asleep, __ATOMIC_SEQ_CST);
}

/* The program that wakes us takes the flag away. */
static bool reader_is_asleep(const struct reader *r)
{
	return __atomic_load_n(&r->control->reader_sleeps, __ATOMIC_SEQ_CST);
}

/* Nothing was there: asks to be woken and looks again, for what came in between. A program that read the flag just
 * before we set it and submits just after we looked wakes nobody: one last look, a turn later, finds its record. */
static void reader_rest(struct reader *r)
{
	reader_set_asleep(r, true);
	if (reader_look(r, READER_BATCH)) {
		reader_set_asleep(r, false);
		r->state = READER_AWAKE;
	} else {
		r->state = READER_DOZING;
	}
	loop_set_timer(r->loop, r->timer, READER_TURN_NS, 0);
}

/* Many records in one turn: the ring would be full before the next. */
static __u64 reader_pause_ns(unsigned count)
{
	return count == READER_BATCH	  ? READER_AT_ONCE_NS
	       : count > READER_BATCH / 8 ? READER_TURN_NS / 5
					  : READER_TURN_NS;
}

static void reader_turn(struct reader *r)
{
	unsigned count = reader_look(r, READER_BATCH);

	if (count) {
		if (r->state != READER_AWAKE)
			reader_set_asleep(r, false);
		r->state = READER_AWAKE;
		loop_set_timer(r->loop, r->timer, reader_pause_ns(count), 0);
	} else if (r->state == READER_AWAKE || !reader_is_asleep(r)) {
		reader_rest(r);
	} else {
		r->state = READER_ASLEEP;
	}
}

static void reader_timer(void *arg, __u64 late)
{
	reader_turn(arg);
}

static void reader_woken(void *arg, __u32 events)
{
	struct reader *r = arg;

	r->counts.wakeups++;
	reader_turn(r);
}

int reader_open(struct loop *loop, const struct kernel_maps *maps, reader_decode decode, void *arg,
		struct reader **ret_reader, struct why *why)
{
	struct reader *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return why_set(why, -ENOMEM, "no memory");
	r->loop = loop;
	r->control = kernel_maps_control(maps);
	r->ring_fd = kernel_maps_fd(maps, "events");
	r->decode = decode;
	r->arg = arg;
	r->timer = -1;
	r->ring = ring_buffer__new(r->ring_fd, reader_record, r, NULL);
	if (!r->ring) {
		err = why_set(why, -errno, "cannot map the ring: %s", strerror(errno));
		goto out_close;
	}
	r->timer = loop_add_timer(loop, 0, 0, reader_timer, r);
	if (r->timer < 0) {
		err = why_set(why, r->timer, "cannot make a timer: %s", strerror(-r->timer));
		goto out_close;
	}
	/* Edge-triggered: the ring stays readable all the time that the timer, not the ring, makes us look. */
	err = loop_add_fd(loop, r->ring_fd, EPOLLIN | EPOLLET, reader_woken, r);
	if (err) {
		why_set(why, err, "cannot watch the ring: %s", strerror(-err));
		goto out_close;
	}
	reader_rest(r);
	*ret_reader = r;
	return 0;

out_close:
	reader_close(r);
	return err;
}

void reader_close(struct reader *r)
{
	if (!r)
		return;
	loop_del_fd(r->loop, r->ring_fd);
	if (r->timer >= 0)
		loop_del_timer(r->loop, r->timer);
	ring_buffer__free(r->ring);
	free(r);
}

/* A wake-up may be under way for what has been read here; epoll then finds the ring empty and says nothing, and the
 * kernel half, which has spent the flag, would not wake us again: so it is set anew. */
void reader_drain(struct reader *r)
{
	reader_look(r, READER_DRAIN_MAX);
	if (r->state != READER_AWAKE && !reader_is_asleep(r))
		reader_rest(r);
}

void reader_counts(const struct reader *r, struct reader_counts *ret)
{
	*ret = r->counts;
}
