/* Payload source of layer 7: every TCP segment of every socket of the node, at the socket's own boundary.
 *
 * Hooks: cgroup_skb ingress and egress on the root of cgroup v2. They see each packet once, in the socket's own network
 * namespace, with the socket at hand, however the application reads or writes (sendfile, splice, io_uring), and load
 * where kprobes do not. The end of a connection that sends no packet comes from tp_btf/inet_sock_set_state.
 *
 * A connection's state lies in socket storage and dies with the socket. In and out halves are kept apart, because the
 * two hooks run at the same time on one socket; each half is worked on by one run at a time (busy). An exchange is pushed
 * by the half that carries requests and popped under the lock, so that end and abort cannot both report it.
 *
 * Missed: sockets older than the program whose first sight is the middle of a message (counted as unmatched when their
 * answer comes), raw sockets, anything encrypted.
 *
 * User space, before load: config, hist_threshold, the size of scratch (SLOTS times possible CPUs) and of http_table. After
 * load, before attach: an entry with the all-zero key in http_table, which counts what finds no room.
 *
 * Reading order: maps, counters, exchange (push, finish), emit, segment order, step, hooks. */
#include "lib/prelude.bpf.h"
#include "lib/clock.bpf.h"
#include "lib/emit.bpf.h"
#include "lib/sock.bpf.h"
#include "l7_http.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "recognisers compare words as little-endian machines load them");

const volatile struct http_config config = {};
const volatile __u64 hist_threshold[HIST_TABLE] = {};

__u8 l7_listing = 0; /* number of the listing of what is in flight, never 0; by user space */

enum { DIR_IN, DIR_OUT };
enum { CONN_NEW, CONN_HTTP, CONN_IGNORED };

#define QUEUE_LEN \
	64 /* requests in flight on one connection, a power of two; browsers and clients pipeline 16 at most */
#define SEGMENT_KEEP   1024 /* bytes kept of a segment out of order or parked: a power of two */
#define SEGMENTS       4
#define SOURCE_SKIPPED (SEGMENTS + 1) /* l7_half.source: segments that were not kept */
#define MISSES_NEW     4	      /* payload segments that a new connection has to begin like HTTP */
#define MISSES_OLD     64 /* the same, older than the program: segments that follow one of the other direction */
#define STEPS	       32 /* messages, chunks or windows in one program run; 32 tail calls follow */
#define SLOTS	       4 /* scratch per CPU: a task, a softirq above it, and as many again where tasks can be preempted */

#define TH_FIN	     1
#define TH_RST	     4
#define TH_ACK	     16
#define STATE_LISTEN 10
#define STATE_CLOSE  7
#define PF_KTHREAD   0x00200000

/* One request and what is known of its response. */
struct l7_exchange {
	__u64 start_ns;
	__u64 first_ns; /* first byte of the final response; 0: not yet */
	__u64 path_hash;
	__u64 request_bytes;
	__u64 response_bytes;
	__u32 index;
	__u16 status;
	__u16 line_bytes;
	__u8 method;
	__u8 version;
	__u8 flags;
	__u8 live;
	__u32 clock_pid;  /* the process whose clock was read at the start; 0: none */
	__u64 clock_ns;	  /* what it showed */
	__u64 stopped_ns; /* at the end: how long the process stood still meanwhile */
	char line[HTTP_LINE_MAX];
};

struct l7_half {
	struct http_half m;
	__u64 start_ns; /* first byte of the message in hand */
	__u64 last_ns;	/* last payload */
	__u32 next_seq;
	__u32 pos, end; /* what is still to be looked at of the segment in hand */
	__u32 current;	/* requests: index of the exchange in hand */
	__u32 far;	/* end of the farthest segment that came early and was not kept */
	__u8 busy;
	__u8 synced;
	__u8 carry;  /* bytes kept of a line that goes on */
	__u8 source; /* 0: the skb; n: kept segment n - 1 */
	__u8 fin;
	__u8 rst;
	__u8 open;    /* a message has started and not ended */
	__u8 skipped; /* far is valid */
};

/* What an exchange is told with, and the oldest one: apart from the lock, so that it can be copied. */
struct l7_known {
	__u64 cgroup_id;
	__u64 cookie;
	__u64 seed; /* makes path hashes of clients differ by server */
	__u64 label_hash;
	__u32 label;
	__u16 local_port, peer_port;
	__u8 local[16], peer[16];
	__u8 role;
	__u8 pad[3];
	__u32 pid; /* the process that sent first; 0: not known. Only asked for where there are JVMs */
	struct l7_exchange first;
};

struct l7_conn {
	struct bpf_spin_lock lock; /* head and who may finish an exchange */
	__u32 head;		   /* oldest exchange in flight */
	__u32 tail;		   /* next to be pushed; by the request half only */
	__u8 state;
	__u8 old; /* carried data before it was first seen */
	__u8 misses;
	__u8 turn;  /* direction of the last payload, while not recognised */
	__u8 kept;  /* kept segments in l7_reorders */
	__u8 abort; /* enum http_error under which what is in flight is being ended */
	__u8 inline_busy;
	__u8 parked;	/* its first segment came in on the listener and waits in l7_reorders */
	__u8 flushed;	/* what was in flight was given up: answers without a request are expected */
	__u8 line_kept; /* known.first still holds the line of the request head that is kept */
	__u8 listing;	/* that met it last, where it may meet one more than once */
	__u8 pad;
	__u64 parked_ns; /* when it did */
	struct l7_half half[2];
	struct l7_known known;
	struct http_head heads[2];
};

struct l7_queue {
	struct l7_exchange e[QUEUE_LEN];
};

/* Lines split between packets: their first bytes, by direction. */
struct l7_split {
	char carry[2][HTTP_CARRY];
};

struct l7_segment {
	__u64 time_ns;
	__u32 seq;
	__u32 len;
	__u16 kept; /* valid bytes in data */
	__u8 used;
	__u8 fin;
	__u32 pad;
	char data[SEGMENT_KEEP + HTTP_WINDOW]; /* room for a whole window from any offset */
};

struct l7_reorder {
	struct l7_segment seg[SEGMENTS];
};

struct l7_scratch {
	__u64 owner; /* 0: free; else a token of the run that has it */
	struct http_scan scan;
	__u32 fresh; /* bytes of the window that are new */
	__u32 over;  /* a message is over */
	char buf[HTTP_BUF + 32];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct l7_conn);
} l7_conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct l7_queue);
} l7_queues SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct l7_split);
} l7_splits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct l7_reorder);
} l7_reorders SEC(".maps");

struct l7_tuple {
	__u8 local[16], peer[16];
	__u16 local_port, peer_port;
};

/* First segments that came in on a listener (deferred accept, fast open), until their connection runs once. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct l7_tuple);
	__type(value, struct l7_segment);
} l7_parked SEC(".maps");

/* An empty segment: what a parked one is made from. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct l7_segment);
} l7_blank SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS); /* times CPUs, set before load */
	__type(key, __u32);
	__type(value, struct l7_scratch);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct http_key);
	__type(value, struct http_stat);
} http_table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HTTP_CELLS);
	__type(key, __u32);
	__type(value, struct http_stat);
} http_cells SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct http_label_key);
	__type(value, __u32);
} http_labels SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct http_count);
} http_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * JVM_PROCESSES_MAX);
	__type(key, struct http_stopped_key);
	__type(value, struct http_stopped);
} http_stopped SEC(".maps");

/* Trace filter: cgroups whose exchanges nobody wants (when config.cgroups). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u8);
} http_cgroups SEC(".maps");

/* Where tracing programs have no socket storage (5.10): a copy of the connection with its oldest exchange, while one is in
 * flight, by socket cookie. One entry elsewhere (config.shadow). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct l7_known);
} l7_shadows SEC(".maps");

static const char zero_stat[sizeof(struct http_stat)] = {};
static const char zero_stopped[sizeof(struct http_stopped)] = {};

#define COUNT(field)                                                                                          \
	({                                                                                                    \
		__u32 __zero = 0;                                                                             \
		struct http_count *__c = bpf_map_lookup_elem(&http_counts, &__zero);                          \
		if (__c)                                                                                      \
			__sync_fetch_and_add(&__c->field, 1); /* a softirq can come in between on this CPU */ \
	})

static __always_inline struct l7_scratch *scratch_claim(__u64 token)
{
	__u32 first = bpf_get_smp_processor_id() * SLOTS;

	for (__u32 i = 0; i < SLOTS; i++) {
		__u32 slot = first + i;
		struct l7_scratch *s = bpf_map_lookup_elem(&scratch, &slot);

		if (s && !s->owner) {
			s->owner = token;
			return s;
		}
	}
	return NULL;
}

/* ---- JVMs that stand still ----
 *
 * An exchange has been held up by a JVM for as long as the process behind its socket stood still meanwhile. Which process
 * that is shows when it sends. It is not guessed from the cgroup: beside the JVM there may be something else in it.
 *
 * The functions are global, so that the verifier looks at them once; they may take no pointers then, but for the context
 * (5.10). */

static __always_inline int l7_jvms(void)
{
	return control_get()->jvms;
}

/* Remembers which process sends on the socket. Softirqs send too (what waited for an acknowledgement, or for the queue
 * to drain), and the current task is a bystander then. While a task owns the socket's lock, nothing but that task sends:
 * softirqs leave their work to it. */
__noinline int l7_learn(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk, *held = sk;
	struct task_struct *task;
	struct l7_known *shadow;
	struct l7_conn *conn;
	struct sock *at;

	if (!config.tasks || !sk)
		return 0;
	conn = bpf_sk_storage_get(&l7_conns, sk, 0, 0);
	/* As a number: the verifier allows no other offsets into the socket than those of struct bpf_sock. */
	if (!conn || bpf_probe_read_kernel(&at, sizeof(at), &held) || BPF_CORE_READ(at, sk_lock.owned) != 1)
		return 0;
	task = (struct task_struct *)bpf_get_current_task();
	if (BPF_CORE_READ(task, flags) & PF_KTHREAD) /* on somebody's behalf */
		return 0;
	conn->known.pid = BPF_CORE_READ(task, tgid);
	if (!config.shadow)
		return 0;
	shadow = bpf_map_lookup_elem(&l7_shadows, &conn->known.cookie);
	if (shadow)
		shadow->pid = conn->known.pid;
	return 0;
}

__noinline __u32 l7_clock_pid(__u64 cgroup_id)
{
	return clock_pid_of(cgroup_id);
}

__noinline __u64 l7_clock_at(__u32 pid, __u64 at_ns)
{
	return clock_at_of(pid, at_ns);
}

__noinline __u64 l7_clock_stopped(__u32 pid, __u64 base_ns, __u64 start_ns, __u64 end_ns)
{
	return clock_stopped_of(pid, base_ns, start_ns, end_ns);
}

/* Counts what was not zero. */
__noinline int l7_stopped_add(__u64 cgroup_id, __u32 role, __u64 stopped_ns)
{
	struct http_stopped_key key = { .cgroup_id = cgroup_id, .role = role };
	__u32 slot = hist_slot((const __u64 *)hist_threshold, stopped_ns);
	volatile struct control *ctl = control_get();
	struct http_stopped *st;

	if (!stopped_ns)
		return 0;
	st = bpf_map_lookup_elem(&http_stopped, &key);
	if (!st) {
		bpf_map_update_elem(&http_stopped, &key, zero_stopped, BPF_NOEXIST);
		st = bpf_map_lookup_elem(&http_stopped, &key);
		if (!st)
			return 0;
	}
	__sync_fetch_and_add(&st->count, 1);
	__sync_fetch_and_add(&st->sum_ns, stopped_ns);
	/* Two ends at the same moment may keep the smaller one. */
	if (st->max_interval != ctl->interval || stopped_ns > st->max_ns) {
		st->max_interval = ctl->interval;
		st->max_ns = stopped_ns;
	}
	if (slot < HIST_SLOTS)
		__sync_fetch_and_add(&st->slots[slot], 1);
	return 0;
}

/* At the start of @ex. Before anything was sent the process may not be known: then a guess, which counts if it proves
 * right. */
static __always_inline void l7_clock_start(const struct l7_known *known, struct l7_exchange *ex)
{
	__u32 pid;

	if (!l7_jvms())
		return;
	pid = known->pid;
	if (!pid)
		pid = l7_clock_pid(known->cgroup_id);
	ex->clock_pid = pid;
	ex->clock_ns = l7_clock_at(pid, ex->start_ns);
}

/* At its end. The result is in memory: a register that is zero or not would have the verifier go twice through all that
 * follows. */
static __always_inline void l7_clock_end(const struct l7_known *known, struct l7_exchange *ex, __u64 end_ns)
{
	__u32 pid = known->pid;

	if (!pid)
		return;
	ex->stopped_ns =
		l7_clock_stopped(pid, ex->clock_pid == pid ? ex->clock_ns : CLOCK_UNKNOWN, ex->start_ns, end_ns);
	l7_stopped_add(known->cgroup_id, known->role, ex->stopped_ns);
}

/* ---- emit: an exchange that ended becomes a record or a table entry, exactly one of them ---- */

/* The cell that is kept for @key, or NULL. */
static __always_inline struct http_stat *l7_cell(const struct http_key *key)
{
	__u32 index = key->label & (HTTP_CELLS - 1);
	struct http_stat *st = bpf_map_lookup_elem(&http_cells, &index);

	const char *has = (const char *)&st->key, *want = (const char *)key;

	if (!st || http_load8(has) != http_load8(want) || http_load8(has + 8) != http_load8(want + 8) ||
	    http_load8(has + 16) != http_load8(want + 16))
		return NULL;
	return st;
}

/* @may_lock: a constant. Tracing programs have no spin locks on 5.10; there two ends at the same moment may keep the
 * smaller maximum, counts and sums are exact all the same. */
static __always_inline void l7_table_add(struct http_count *count, volatile struct control *ctl,
					 const struct http_key *key, __u64 duration_ns, __u64 request_bytes,
					 __u64 response_bytes, int may_lock)
{
	struct http_stat *st;
	__u32 slot;

	st = l7_cell(key);
	if (!st)
		st = bpf_map_lookup_elem(&http_table, key);
	if (!st) {
		bpf_map_update_elem(&http_table, key, zero_stat, BPF_NOEXIST);
		st = bpf_map_lookup_elem(&http_table, key);
	}
	if (!st) {
		struct http_key overflow = {};

		st = bpf_map_lookup_elem(&http_table, &overflow); /* made by user space before attach */
		if (!st) {
			__sync_fetch_and_add(&count->lost[LOSS_TABLE], 1);
			return;
		}
	}
	if (key->label == HTTP_LABEL_NONE)
		__sync_fetch_and_add(&count->unlabelled, 1);
	else
		__sync_fetch_and_add(&count->table, 1);
	__sync_fetch_and_add(&st->count, 1);
	__sync_fetch_and_add(&st->sum_ns, duration_ns);
	if (request_bytes)
		__sync_fetch_and_add(&st->request_bytes, request_bytes);
	if (response_bytes)
		__sync_fetch_and_add(&st->response_bytes, response_bytes);
	slot = hist_slot((const __u64 *)hist_threshold, duration_ns); /* here: 5.10 forgets its bounds on the stack */
	if (slot < HIST_SLOTS)
		__sync_fetch_and_add(&st->slots[slot], 1);
	if (ctl && (duration_ns > st->max_ns || st->max_interval != ctl->interval)) {
		__u64 interval = ctl->interval;

		if (may_lock)
			bpf_spin_lock(&st->lock);
		if (st->max_interval != interval) {
			st->max_interval = interval;
			st->max_ns = duration_ns;
		} else if (duration_ns > st->max_ns) {
			st->max_ns = duration_ns;
		}
		if (may_lock)
			bpf_spin_unlock(&st->lock);
	}
}

/* Fills and submits a record. False: the ring is full. */
static __always_inline int l7_record(struct bpf_sock *sk, struct l7_known *known, struct l7_exchange *ex, __u64 end_ns,
				     __u8 error)
{
	struct http_event *ev = emit_begin(SIGNAL_http, sizeof(*ev), end_ns, known->cgroup_id);
	struct bpf_tcp_sock *tp = sk ? bpf_tcp_sock(sk) : NULL;

	if (!ev)
		return 0;
	ev->rtt_us = tp ? tp->srtt_us >> 3 : 0;
	ev->start_ns = ex->start_ns;
	ev->ttfb_ns = ex->first_ns ? ex->first_ns - ex->start_ns : 0;
	ev->duration_ns = end_ns - ex->start_ns;
	ev->stopped_ns = ex->stopped_ns;
	ev->request_bytes = ex->request_bytes;
	ev->response_bytes = ex->response_bytes;
	ev->socket_cookie = known->cookie;
	ev->path_hash = ex->path_hash;
	ev->status = ex->status;
	ev->line_bytes = ex->line_bytes;
	ev->method = ex->method;
	ev->role = known->role;
	ev->version = ex->version;
	ev->error = error;
	ev->flags = ex->flags;
	__builtin_memset(ev->pad, 0, sizeof(ev->pad));
	ev->local_port = known->local_port;
	ev->peer_port = known->peer_port;
	ev->pad2 = 0;
	__builtin_memcpy(ev->local, known->local, 16);
	__builtin_memcpy(ev->peer, known->peer, 16);
	__builtin_memcpy(ev->line, ex->line, sizeof(ev->line));
	emit_end(ev);
	return 1;
}

static __always_inline int l7_filtered(struct l7_known *known, struct l7_exchange *ex, __u64 duration_ns)
{
	if (duration_ns < config.min_ns)
		return 1;
	if (config.status_max && (ex->status < config.status_min || ex->status > config.status_max))
		return 1;
	return config.cgroups && bpf_map_lookup_elem(&http_cgroups, &known->cgroup_id);
}

/* Label of the exchange, when user space has told one. The last one found is kept with the connection: the next
 * request usually asks for the same path. */
static __always_inline __u32 l7_label(struct l7_known *known, struct l7_exchange *ex)
{
	struct http_label_key key;
	__u32 *label;

	if (known->label && known->label_hash == ex->path_hash)
		return known->label;
	key.cgroup_id = known->cgroup_id;
	key.path_hash = ex->path_hash;
	label = bpf_map_lookup_elem(&http_labels, &key);
	if (!label)
		return HTTP_LABEL_NONE;
	known->label = 0;
	known->label_hash = ex->path_hash;
	known->label = *label;
	return *label;
}

static __always_inline void l7_emit(struct bpf_sock *sk, struct l7_known *known, struct l7_exchange *ex, __u64 end_ns,
				    __u8 error)
{
	volatile struct control *ctl = control_get();
	__u64 duration_ns = end_ns - ex->start_ns;
	struct http_key key = {};
	__u32 zero = 0;
	struct http_count *count = bpf_map_lookup_elem(&http_counts, &zero);

	if (!count)
		return; /* there is always one */
	__sync_fetch_and_add(&count->seen, 1);
	if (l7_filtered(known, ex, duration_ns)) {
		__sync_fetch_and_add(&count->filtered, 1);
		return;
	}
	if (l7_jvms())
		l7_clock_end(known, ex, end_ns);
	if (config.labels && ctl && !(ctl->records & 1u << SIGNAL_http))
		key.label = l7_label(known, ex);
	if (key.label == HTTP_LABEL_NONE && l7_record(sk, known, ex, end_ns, error)) {
		__sync_fetch_and_add(&count->ring, 1);
		return;
	}
	if (config.labels &&
	    key.label == HTTP_LABEL_NONE) /* the ring is full: perhaps the route is known all the same */
		key.label = l7_label(known, ex);
	key.cgroup_id = known->cgroup_id;
	key.status = ex->status;
	key.method = ex->method;
	key.role = known->role;
	key.version = ex->version;
	key.error = error;
	http_forget(); /* it is compared by the word */
	l7_table_add(count, ctl, &key, duration_ns, ex->request_bytes, ex->response_bytes, sk != NULL);
}

/* ---- exchanges in flight ---- */

/* The exchange numbered @index, wherever it is kept; NULL: it was not (too many in flight, no memory). */
static __always_inline struct l7_exchange *l7_find(void *sk, struct l7_conn *conn, __u32 index)
{
	struct l7_exchange *ex = &conn->known.first;
	struct l7_queue *q;

	if (conn->inline_busy && ex->index == index)
		return ex;
	q = bpf_sk_storage_get(&l7_queues, sk, 0, 0);
	if (!q)
		return NULL;
	ex = &q->e[index & (QUEUE_LEN - 1)];
	return ex->live && ex->index == index ? ex : NULL;
}

static __always_inline void l7_exchange_new(struct l7_exchange *ex, __u32 index)
{
	ex->index = index;
	ex->first_ns = 0;
	ex->request_bytes = 0;
	ex->response_bytes = 0;
	ex->status = 0;
	ex->flags = 0;
	ex->clock_pid = 0;
	ex->stopped_ns = 0;
}

/* A place for the next request. NULL: there is none, and the exchange will be counted as lost when it ends. */
static __always_inline struct l7_exchange *l7_push(void *sk, struct l7_conn *conn)
{
	__u32 index = conn->tail;
	struct l7_exchange *ex = NULL;
	struct l7_queue *q;

	if (!conn->inline_busy) {
		ex = &conn->known.first;
		conn->inline_busy = 1;
	} else {
		q = bpf_sk_storage_get(&l7_queues, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (q) {
			ex = &q->e[index & (QUEUE_LEN - 1)];
			if (ex->live && (__s32)(ex->index - conn->head) >= 0)
				ex = NULL;
			else
				ex->live = 1;
		}
	}
	if (ex)
		l7_exchange_new(ex, index);
	conn->tail = index + 1;
	return ex;
}

/* Ends the oldest exchange in flight, if there is one and nobody else does it now. @owner: the socket, of whichever
 * type the program has; @sk: the same in cgroup_skb, NULL elsewhere. */
static __always_inline void l7_finish(void *owner, struct bpf_sock *sk, struct l7_conn *conn, struct l7_half *requests,
				      struct l7_half *responses, __u64 end_ns, __u8 error)
{
	struct l7_exchange *ex;
	__u32 index = conn->head;
	int mine = 0;

	if (index == conn->tail)
		return;
	ex = l7_find(owner, conn, index);
	bpf_spin_lock(&conn->lock);
	if (conn->head == index) {
		conn->head = index + 1;
		mine = 1;
	}
	bpf_spin_unlock(&conn->lock);
	if (!mine)
		return;
	if (config.shadow && index + 1 == conn->tail)
		bpf_map_delete_elem(&l7_shadows, &conn->known.cookie);
	if (!ex) {
		COUNT(seen);
		COUNT(lost[LOSS_DEPTH]);
		return;
	}
	if (requests->open && requests->current == index) /* the answer came before the request was over */
		ex->request_bytes = requests->m.body;
	ex->response_bytes = responses->open ? responses->m.body : 0;
	responses->open = 0;
	if (end_ns < ex->start_ns)
		end_ns = ex->start_ns;
	l7_emit(sk, &conn->known, ex, end_ns, error);
	if (ex == &conn->known.first)
		conn->inline_busy = 0;
	else
		ex->live = 0;
}

/* ---- one step: a window, a chunk or a stretch of body of the segment in hand ---- */

static __always_inline int l7_is_request(struct l7_conn *conn, int dir)
{
	return (conn->known.role == HTTP_ROLE_SERVER) == (dir == DIR_IN);
}

/* Ends all that is in flight, but for the newest @keep, as lost. The answers may still come: they are nobody's then, and not counted again. */
static __always_inline void l7_flush(struct l7_conn *conn, __u32 keep, enum loss_reason reason)
{
	__u32 left, zero = 0;
	struct http_count *count;

	bpf_spin_lock(&conn->lock);
	left = conn->tail - keep - conn->head;
	conn->head = conn->tail - keep;
	bpf_spin_unlock(&conn->lock);
	if (conn->known.first.index != conn->tail - 1 || !keep)
		conn->inline_busy = 0;
	conn->flushed = 1;
	count = bpf_map_lookup_elem(&http_counts, &zero);
	if (!left || !count)
		return;
	__sync_fetch_and_add(&count->seen, left);
	__sync_fetch_and_add(&count->lost[reason], left);
}

/* The direction has lost its place: it looks for a start line at the start of each segment from now on. When responses
 * passed unseen and several requests wait, nobody can say any more which answer is whose. */
static __always_inline void l7_lose_place(struct l7_conn *conn, int dir, enum loss_reason reason)
{
	struct l7_half *h = &conn->half[dir];
	__u32 zero = 0;
	struct http_count *count = bpf_map_lookup_elem(&http_counts, &zero);

	if (count)
		__sync_fetch_and_add(&count->gaps[reason], 1);
	h->m.phase = HTTP_SEEK;
	h->m.flags = 0;
	h->carry = 0;
	h->pos = h->end;
	if (conn->state == CONN_HTTP && !l7_is_request(conn, dir) && conn->tail - conn->head > 1)
		l7_flush(conn, 0, reason);
}

/* The request's line is in @ex, and what l7_exchange_new() did. */
static __always_inline void l7_exchange_started(struct l7_conn *conn, struct l7_exchange *ex, __u8 version,
						__u64 start_ns)
{
	ex->start_ns = start_ns;
	ex->version = version;
	if (ex->line_bytes >= HTTP_LINE_MAX)
		ex->flags = HTTP_FLAG_LINE_CUT;
	l7_clock_start(&conn->known, ex);
	if (config.shadow && ex == &conn->known.first &&
	    bpf_map_update_elem(&l7_shadows, &conn->known.cookie, &conn->known, BPF_ANY))
		COUNT(gaps[LOSS_MEMORY]);
}

/* A request line was recognised at the start of the scratch buffer. */
static __always_inline void l7_request_started(struct bpf_sock *sk, struct l7_conn *conn, struct l7_half *h,
					       struct l7_scratch *s)
{
	struct l7_exchange *ex;

	h->open = 1;
	h->current = conn->tail;
	conn->flushed = 0;
	ex = l7_push(sk, conn);
	if (!ex)
		return;
	if (ex != &conn->known.first || s->scan.known != HTTP_HEAD_IS_SAME || !conn->line_kept) {
		ex->method = h->m.method;
		ex->path_hash = http_copy_line(s->buf, ex->line, conn->known.seed, &s->scan);
		ex->line_bytes = s->scan.at < HTTP_LINE_MAX ? s->scan.at : HTTP_LINE_MAX;
		if (ex == &conn->known.first)
			conn->line_kept = s->scan.known == HTTP_HEAD_IS_KEPT;
	}
	l7_exchange_started(conn, ex, h->m.version, h->start_ns);
}

/* A status line was recognised: the oldest exchange in flight gets its answer. */
static __always_inline void l7_response_started(struct bpf_sock *sk, struct l7_conn *conn, struct l7_half *h)
{
	struct l7_exchange *ex;

	h->open = conn->head != conn->tail; /* what answers nothing must not end the next exchange */
	if (!h->open) {
		if (h->m.status < 200 && h->m.status != 101)
			return;
		if (conn->flushed)
			return;
		COUNT(seen);
		COUNT(lost[LOSS_UNMATCHED]);
		return;
	}
	ex = l7_find(sk, conn, conn->head);
	if (!ex || (h->m.status < 200 && h->m.status != 101))
		return;
	ex->status = h->m.status;
	ex->version = h->m.version;
	ex->first_ns = h->start_ns;
}

static __always_inline void l7_message_over(struct bpf_sock *sk, struct l7_conn *conn, int dir, int request,
					    __u64 now_ns)
{
	struct l7_half *h = &conn->half[dir];

	if (!request) {
		l7_finish(sk, sk, conn, &conn->half[!dir], h, now_ns, HTTP_ERROR_NONE);
		h->open = 0;
		return;
	}
	h->open = 0;
	if (h->m.body) {
		struct l7_exchange *ex = l7_find(sk, conn, h->current);

		if (ex)
			ex->request_bytes = h->m.body;
	}
}

/* Brings the next bytes of the segment in hand into the scratch buffer, behind those carried over. Returns how many
 * bytes are there, 0 on failure; *ret_fresh: how many of them are new. */
static __always_inline __u32 l7_window(struct __sk_buff *skb, struct bpf_sock *sk, struct l7_half *h,
				       struct l7_scratch *s, int dir, __u32 *ret_fresh)
{
	__u64 carry = h->carry, take = h->end - h->pos, want;
	char *behind;

	want = h->m.phase == HTTP_CHUNK ? HTTP_CHUNK_LINE : HTTP_WINDOW;
	if (take > want)
		take = want;
	if (!take)
		return 0;
	*ret_fresh = take;
	if (carry) {
		struct l7_split *split = bpf_sk_storage_get(&l7_splits, sk, 0, 0);

		if (!split)
			return 0;
		for (int i = 0; i < HTTP_CARRY / 8; i++)
			*(__u64 *)(s->buf + i * 8) = *(__u64 *)(split->carry[dir] + i * 8);
	}
	carry = http_mask(carry, HTTP_CARRY - 1);
	if (!h->source) {
		take = http_mask(take - 1, HTTP_WINDOW - 1) + 1;
		if (bpf_skb_load_bytes(skb, h->pos, s->buf + carry, take))
			return 0;
	} else {
		struct l7_reorder *r = bpf_sk_storage_get(&l7_reorders, sk, 0, 0);
		struct l7_segment *seg;

		if (!r || h->source == SOURCE_SKIPPED)
			return 0;
		seg = &r->seg[(h->source - 1) & (SEGMENTS - 1)];
		if (h->pos + take > seg->kept) /* beyond what was kept of it */
			return 0;
		for (int i = 0; i < HTTP_WINDOW / 8; i++)
			*(__u64 *)(s->buf + carry + i * 8) =
				*(__u64 *)(seg->data + http_mask(h->pos, SEGMENT_KEEP - 1) + i * 8);
	}
	carry = http_mask(h->carry, HTTP_CARRY - 1);
	take = http_mask(*ret_fresh, HTTP_BUF - 1);
	behind = s->buf + http_mask(carry + take, HTTP_BUF - 1);
	*(__u64 *)behind = 0;
	*(__u64 *)(behind + 8) = 0;
	return carry + take;
}

/* Neither direction of the connection has begun like HTTP: is this segment worth a look? */
static __always_inline int l7_worth_a_look(struct l7_conn *conn, int dir)
{
	int turned = conn->turn != dir + 1;

	conn->turn = dir + 1;
	return !conn->old || turned;
}

static __always_inline void l7_miss(struct l7_conn *conn, struct l7_half *h)
{
	h->pos = h->end;
	h->carry = 0;
	if (++conn->misses < (conn->old ? MISSES_OLD : MISSES_NEW))
		return;
	conn->state = CONN_IGNORED;
	COUNT(ignored);
}

/* The line at the start of the window has no end in it. Keeps its first bytes for the next packet, or decides that it
 * is too long for that. */
static __always_inline void l7_no_end(struct bpf_sock *sk, struct l7_conn *conn, struct l7_scratch *s, int dir)
{
	struct l7_half *h = &conn->half[dir];
	__u32 len = s->scan.len, fresh = s->fresh;

	s->scan.events = 0;
	if (h->pos + fresh < h->end || len >= HTTP_CARRY) {
		http_long_line(&h->m, s->scan.kind, s->buf, len, &s->scan);
		h->pos += fresh;
		h->carry = 0;
	} else {
		struct l7_split *split = bpf_sk_storage_get(&l7_splits, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

		h->pos = h->end;
		h->carry = 0;
		if (!split) {
			l7_lose_place(conn, dir, LOSS_MEMORY);
			return;
		}
		for (int i = 0; i < HTTP_CARRY / 8; i++)
			*(__u64 *)(split->carry[dir] + i * 8) = *(__u64 *)(s->buf + i * 8);
		h->carry = len;
	}
}

/* The window begins like a message of the other kind: the direction was taken for the wrong one (a connection first seen
 * inside a body that looked like HTTP). */
static __always_inline int l7_contradicts(struct l7_scratch *s)
{
	__u64 word = http_load8(s->buf);
	__u32 method_len;

	if (s->scan.kind == HTTP_REQUEST)
		return (word == HTTP_1_1 || word == HTTP_1_0) && s->buf[8] == ' '; /* else the tail of a request line */
	http_method(word, &method_len);
	return method_len;
}

/* Forgets what was taken for a role, and for exchanges; what is in hand will be looked at again. */
static __always_inline void l7_start_over(struct l7_conn *conn, int dir)
{
	struct l7_half *other = &conn->half[!dir];

	l7_flush(conn, 0, LOSS_UNMATCHED);
	conn->state = CONN_NEW;
	conn->half[dir].m.phase = HTTP_START;
	conn->half[dir].m.flags = 0;
	conn->half[dir].open = 0;
	other->m.phase = HTTP_SEEK;
	other->m.flags = 0;
	other->open = 0;
	conn->heads[0].bytes = conn->heads[1].bytes = 0; /* they are of the other kind */
	conn->heads[0].message = conn->heads[1].message = 0;
	conn->line_kept = 0;
}

/* What the recogniser said of the window. */
static __always_inline void l7_events(struct bpf_sock *sk, struct l7_conn *conn, int dir, struct l7_scratch *s,
				      __u64 now_ns)
{
	struct l7_half *h = &conn->half[dir];
	__u32 events = s->scan.events;
	__u8 kind = s->scan.kind, phase = s->scan.phase;

	if (events & HTTP_EV_START) {
		if (conn->state != CONN_HTTP) {
			conn->known.role = (kind == HTTP_REQUEST) == (dir == DIR_IN) ? HTTP_ROLE_SERVER
										     : HTTP_ROLE_CLIENT;
			conn->state = CONN_HTTP;
			if (!(config.roles & 1 << (conn->known.role & 3))) {
				conn->state = CONN_IGNORED;
				return;
			}
			COUNT(connections);
		}
		if (phase == HTTP_SEEK) {
			COUNT(resyncs);
			/* A response was cut off by the gap: its end passed unseen, at the latest with the last bytes. */
			if (kind == HTTP_RESPONSE && h->open)
				l7_finish(sk, sk, conn, &conn->half[!dir], h, h->last_ns, HTTP_ERROR_NONE);
			/* Others than the newest were answered in it, unless the client pipelines. */
			if (kind == HTTP_RESPONSE && conn->tail - conn->head > 1)
				l7_flush(conn, 1, LOSS_UNMATCHED);
		}
		if (kind == HTTP_REQUEST)
			l7_request_started(sk, conn, h, s);
		else
			l7_response_started(sk, conn, h);
	}
	if (events & HTTP_EV_BAD) {
		if (conn->state != CONN_HTTP) {
			l7_miss(conn, h);
			return;
		}
		if ((phase == HTTP_SEEK || phase == HTTP_START) && l7_contradicts(s)) {
			l7_start_over(conn, dir);
			h->pos -= s->fresh;
			return;
		}
		h->pos = h->end;
		h->carry = 0;
		if (phase == HTTP_SEEK)
			return;
		if (kind == HTTP_RESPONSE)
			l7_finish(sk, sk, conn, &conn->half[!dir], h, now_ns, HTTP_ERROR_MALFORMED);
		h->open = 0;
		l7_lose_place(conn, dir, LOSS_PARSE);
		return;
	}
	if (events & HTTP_EV_END)
		s->over = 1;
	if (events & HTTP_EV_TUNNEL)
		conn->state = CONN_IGNORED;
}

/* Reads the next window of the segment in hand. */
static __always_inline void l7_read(struct __sk_buff *skb, struct bpf_sock *sk, struct l7_conn *conn, int dir,
				    struct l7_scratch *s, __u64 now_ns)
{
	struct l7_half *h = &conn->half[dir];
	__u32 fresh, done;

	if (conn->state == CONN_NEW && !h->carry && !l7_worth_a_look(conn, dir)) {
		h->pos = h->end;
		return;
	}
	s->scan.len = l7_window(skb, sk, h, s, dir, &fresh);
	if (!s->scan.len) {
		l7_lose_place(conn, dir, LOSS_REORDER);
		return;
	}
	s->fresh = fresh;
	http_forget();
	if ((h->m.phase == HTTP_START && !h->carry) || h->m.phase == HTTP_SEEK)
		h->start_ns = now_ns;
	s->scan.asked = HTTP_METHOD_OTHER;
	if (conn->state == CONN_NEW)
		s->scan.kind = (__u32)http_load8(s->buf) == HTTP_C4('H', 'T', 'T', 'P') ? HTTP_RESPONSE : HTTP_REQUEST;
	else
		s->scan.kind = l7_is_request(conn, dir) ? HTTP_REQUEST : HTTP_RESPONSE;
	if (s->scan.kind == HTTP_RESPONSE && conn->head != conn->tail) {
		struct l7_exchange *ex = l7_find(sk, conn, conn->head);

		if (ex)
			s->scan.asked = ex->method;
	}
	http_forget();
	done = http_feed(&h->m, s->buf, &s->scan, &conn->heads[dir]);
	if (!done) {
		l7_no_end(sk, conn, s, dir);
	} else {
		h->pos += done - h->carry;
		h->carry = 0;
	}
	http_forget();
	l7_events(sk, conn, dir, s, now_ns);
}

/* The short way of most segments on a connection that is kept open: one that is whole the message whose head was kept
 * comes to the same as l7_read(), http_skip() and, for a request, l7_message_over(). False: it is something else, and
 * nothing has been done. */
static __always_inline int l7_repeat(struct __sk_buff *skb, struct l7_conn *conn, int dir, struct l7_scratch *s,
				     __u64 now_ns)
{
	struct l7_exchange *ex = &conn->known.first;
	struct http_head *head = &conn->heads[dir];
	struct l7_half *h = &conn->half[dir];
	int request = l7_is_request(conn, dir);
	__u64 body;

	if (!http_head_may_repeat(head, &h->m, h->end - h->pos, request ? HTTP_METHOD_OTHER : ex->method) || h->carry ||
	    conn->state != CONN_HTTP)
		return 0;
	if (request ? conn->inline_busy || !conn->line_kept
		    : !conn->inline_busy || ex->index != conn->head || conn->head == conn->tail)
		return 0;
	if (bpf_skb_load_bytes(skb, h->pos, s->buf, http_mask(head->bytes - 1, HTTP_HEAD_KEEP - 1) + 1) ||
	    !http_head_comes(head, s->buf))
		return 0;
	body = head->message - head->bytes;
	h->pos = h->end;
	h->start_ns = now_ns;
	if (request) {
		__u32 index = conn->tail;

		h->current = index;
		conn->flushed = 0;
		conn->inline_busy = 1;
		l7_exchange_new(ex, index);
		conn->tail = index + 1;
		ex->request_bytes = body;
		l7_exchange_started(conn, ex, head->version, now_ns);
	} else {
		h->open = 1;
		h->m.body = body;
		ex->status = head->status;
		ex->version = head->version;
		ex->first_ns = now_ns;
		s->over = 1;
	}
	return 1;
}

/* Works on the segment in hand from h->pos: reads a window, then skips what need not be read. At most one message starts
 * and one ends. @whole: a constant, the segment is the skb's and nothing has been done of it. */
static __always_inline void l7_step(struct __sk_buff *skb, struct bpf_sock *sk, struct l7_conn *conn, int dir,
				    struct l7_scratch *s, __u64 now_ns, int whole)
{
	struct l7_half *h = &conn->half[dir];

	s->over = 0;
	if (!whole || !l7_repeat(skb, conn, dir, s, now_ns)) {
		if (h->m.phase < HTTP_SKIP)
			l7_read(skb, sk, conn, dir, s, now_ns);
		http_forget();
		if (h->m.phase >= HTTP_SKIP && h->pos < h->end) {
			int over;

			h->pos += http_skip(&h->m, h->end - h->pos, &over);
			s->over |= over;
		}
	}
	http_forget();
	if (s->over)
		l7_message_over(sk, conn, dir, l7_is_request(conn, dir), now_ns);
}

/* ---- order of segments ---- */

struct l7_packet {
	__u32 seq;
	__u32 ack;
	__u32 pos; /* payload, offset in the skb */
	__u32 end;
	__u8 flags; /* TH_* */
	__u8 version;
};

/* Keeps an in-flight segment that came before its turn. */
static __noinline int l7_keep(struct __sk_buff *skb, struct l7_conn *conn, struct l7_packet *p)
{
	struct bpf_sock *sk = skb->sk;
	struct l7_half *in = &conn->half[DIR_IN];
	struct l7_reorder *r;
	__u64 len = p->end - p->pos;

	if (!sk)
		return 0;
	r = bpf_sk_storage_get(&l7_reorders, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!r)
		return 0;
	for (__u32 i = 0; i < SEGMENTS; i++) {
		struct l7_segment *seg = &r->seg[i];

		if (seg->used && seg->seq == p->seq)
			return 1; /* a duplicate */
	}
	for (__u32 i = 0; i < SEGMENTS; i++) {
		struct l7_segment *seg = &r->seg[i];

		if (seg->used)
			continue;
		seg->seq = p->seq;
		seg->len = len;
		seg->fin = p->flags & TH_FIN;
		seg->kept = 0;
		if (len > SEGMENT_KEEP)
			len = SEGMENT_KEEP;
		if (len) {
			__u64 take = http_mask(len - 1, SEGMENT_KEEP - 1) + 1;

			if (bpf_skb_load_bytes(skb, p->pos, seg->data, take))
				return 0;
			seg->kept = take;
		}
		seg->used = 1;
		conn->kept++;
		return 1;
	}
	/* No room: its length will do if it turns out to be a piece of a body. */
	if (!in->skipped || (__s32)(p->seq + (__u32)len - in->far) > 0)
		in->far = p->seq + (__u32)len;
	in->skipped = 1;
	return 1;
}

/* The kernel has already taken what this half still waits for: it passed unseen. */
static __always_inline int l7_passed_unseen(struct bpf_sock *sk, __u32 next_seq)
{
	struct bpf_tcp_sock *tp = bpf_tcp_sock(sk);

	return tp && (__s32)(tp->rcv_nxt - next_seq) > 0;
}

/* A segment that does not begin where the half stands. True: go on with what is left of it. */
static __noinline int l7_out_of_order(struct __sk_buff *skb, struct l7_conn *conn, struct l7_packet *p, int dir)
{
	struct l7_half *h = &conn->half[dir & 1];
	struct bpf_sock *sk = skb->sk;
	__s32 delta = p->seq - h->next_seq;
	__u32 len = p->end - p->pos, gap = delta;

	if (!sk)
		return 0;
	if (delta < 0) { /* seen before, in whole or in part */
		if (delta + (__s32)len <= 0)
			return 0;
		p->pos -= delta;
		p->seq = h->next_seq;
		return 1;
	}
	if (dir == DIR_IN && !l7_passed_unseen(sk, h->next_seq) && l7_keep(skb, conn, p))
		return 0;
	/* A hole that will not be filled. Inside a body it is only a number of bytes. */
	if (h->m.phase >= HTTP_SKIP && h->m.remaining > gap) {
		int over;

		COUNT(gaps[LOSS_REORDER]);
		http_skip(&h->m, gap, &over);
		return 1;
	}
	l7_lose_place(conn, dir & 1, LOSS_REORDER);
	return 1;
}

/* After the kept segments: those for which there was no room, when they are a piece of a body. */
static __always_inline int l7_next_skipped(struct l7_half *h)
{
	__s32 gap = h->far - h->next_seq;

	if (!h->skipped)
		return 0;
	h->skipped = 0;
	if (gap <= 0 || h->m.phase < HTTP_SKIP)
		return 0;
	h->source = SOURCE_SKIPPED;
	h->pos = 0;
	h->end = gap;
	h->next_seq = h->far;
	return 1;
}

/* Is there a kept segment whose turn has come? Makes it the one in hand. */
static __always_inline int l7_next_kept(struct bpf_sock *sk, struct l7_conn *conn, struct l7_half *h)
{
	struct l7_reorder *r;
	int found = 0;

	if (h->source) {
		h->source = 0;
		h->pos = h->end = 0;
	}
	if (!conn->kept)
		return l7_next_skipped(h);
	r = bpf_sk_storage_get(&l7_reorders, sk, 0, 0);
	if (!r)
		return 0;
	for (__u32 i = 0; i < SEGMENTS; i++) {
		struct l7_segment *seg = &r->seg[i];
		__s32 delta = h->next_seq - seg->seq;

		if (!seg->used || delta < 0 || found)
			continue;
		seg->used = 0;
		conn->kept--;
		if (seg->fin)
			h->fin = 1;
		if (delta >= (__s32)seg->len)
			continue; /* all of it was sent again meanwhile */
		h->source = i + 1;
		h->pos = delta;
		h->end = seg->len;
		h->next_seq = seg->seq + seg->len + seg->fin;
		found = 1;
	}
	return found || l7_next_skipped(h);
}

/* ---- connections ---- */

static __always_inline void l7_addresses(struct bpf_sock *sk, __u8 *local, __u8 *peer, __u16 *local_port,
					 __u16 *peer_port)
{
	*local_port = sk->src_port;
	*peer_port = bpf_ntohs((__u16)sk->dst_port);
	if (sk->family == 2) {
		*(__u64 *)local = *(__u64 *)peer = 0;
		*(__u32 *)(local + 8) = *(__u32 *)(peer + 8) = bpf_htonl(0xffff);
		*(__u32 *)(local + 12) = sk->src_ip4;
		*(__u32 *)(peer + 12) = sk->dst_ip4;
		http_forget(); /* or clang makes one load of this and the last below, through a computed pointer */
	} else {
		*(__u32 *)local = sk->src_ip6[0];
		*(__u32 *)(local + 4) = sk->src_ip6[1];
		*(__u32 *)(local + 8) = sk->src_ip6[2];
		*(__u32 *)(local + 12) = sk->src_ip6[3];
		*(__u32 *)peer = sk->dst_ip6[0];
		*(__u32 *)(peer + 4) = sk->dst_ip6[1];
		*(__u32 *)(peer + 8) = sk->dst_ip6[2];
		*(__u32 *)(peer + 12) = sk->dst_ip6[3];
	}
}

/* The packet's own idea of the connection, for segments that come in on a listener. */
static __always_inline void l7_tuple_of_packet(struct __sk_buff *skb, struct l7_packet *p, struct l7_tuple *t)
{
	__u32 tcp = 40;

	if (p->version == 4) {
		__u8 first = 0;

		t->local[10] = t->local[11] = t->peer[10] = t->peer[11] = 0xff;
		bpf_skb_load_bytes(skb, 12, t->peer + 12, 4);
		bpf_skb_load_bytes(skb, 16, t->local + 12, 4);
		bpf_skb_load_bytes(skb, 0, &first, 1);
		tcp = (first & 15) * 4;
	} else {
		bpf_skb_load_bytes(skb, 8, t->peer, 16);
		bpf_skb_load_bytes(skb, 24, t->local, 16);
	}
	bpf_skb_load_bytes(skb, tcp, &t->peer_port, 2);
	bpf_skb_load_bytes(skb, tcp + 2, &t->local_port, 2);
	t->peer_port = bpf_ntohs(t->peer_port);
	t->local_port = bpf_ntohs(t->local_port);
}

/* Payload that arrived on a listener: its connection will never be shown these bytes. */
static __noinline int l7_park(struct __sk_buff *skb, struct l7_packet *p)
{
	struct l7_tuple tuple = {};
	__u64 len = p->end - p->pos;
	struct l7_segment *seg;

	l7_tuple_of_packet(skb, p, &tuple);
	seg = bpf_map_lookup_elem(&l7_parked, &tuple);
	if (seg && seg->seq == p->seq)
		return 0; /* sent again */
	if (!seg) {
		/* The value is filled in place: nobody looks for it before its connection exists. */
		__u32 zero = 0;
		void *blank = bpf_map_lookup_elem(&l7_blank, &zero);

		if (!blank)
			return 0;
		bpf_map_update_elem(&l7_parked, &tuple, blank, BPF_ANY);
		seg = bpf_map_lookup_elem(&l7_parked, &tuple);
		if (!seg) {
			COUNT(gaps[LOSS_MEMORY]);
			return 0;
		}
	}
	seg->time_ns = bpf_ktime_get_ns();
	seg->seq = p->seq;
	seg->len = len;
	seg->fin = p->flags & TH_FIN;
	if (len > SEGMENT_KEEP)
		len = SEGMENT_KEEP;
	len = http_mask(len - 1, SEGMENT_KEEP - 1) + 1;
	if (bpf_skb_load_bytes(skb, p->pos, seg->data, len))
		return 0;
	seg->kept = len;
	COUNT(parked);
	return 0;
}

/* A connection's first run: is its first segment parked? Makes it the kept one that is next in turn. */
static __always_inline void l7_adopt(struct bpf_sock *sk, struct l7_conn *conn)
{
	struct l7_half *in = &conn->half[DIR_IN];
	struct l7_tuple tuple = {};
	struct l7_segment *parked, *seg;
	struct l7_reorder *r;

	__builtin_memcpy(tuple.local, conn->known.local, 16);
	__builtin_memcpy(tuple.peer, conn->known.peer, 16);
	tuple.local_port = conn->known.local_port;
	tuple.peer_port = conn->known.peer_port;
	parked = bpf_map_lookup_elem(&l7_parked, &tuple);
	if (!parked)
		return;
	r = bpf_sk_storage_get(&l7_reorders, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!r)
		return;
	seg = &r->seg[0];
	__builtin_memcpy(seg, parked, offsetof(struct l7_segment, data));
	for (int i = 0; i < SEGMENT_KEEP / 8; i++)
		*(__u64 *)(seg->data + i * 8) = *(__u64 *)(parked->data + i * 8);
	seg->used = 1;
	conn->kept = 1;
	in->synced = 1;
	in->next_seq = seg->seq;
	conn->parked = 1;
	conn->parked_ns = seg->time_ns;
	conn->old = 0;
	bpf_map_delete_elem(&l7_parked, &tuple);
	COUNT(adopted);
}

/* First payload of a socket: makes its state. NULL: a listener, or no memory. */
static __noinline struct l7_conn *l7_open(struct __sk_buff *skb, struct l7_packet *p, int dir)
{
	struct bpf_sock *sk = skb->sk;
	struct bpf_tcp_sock *tp;
	__u32 rcv_nxt;
	struct l7_conn *conn;

	if (!sk)
		return NULL;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return NULL;
	if (sk->state == STATE_LISTEN) {
		if (dir == DIR_IN)
			l7_park(skb, p);
		return NULL;
	}
	tp = bpf_tcp_sock(sk);
	if (!tp)
		return NULL;
	rcv_nxt = tp->rcv_nxt;
	conn = bpf_sk_storage_get(&l7_conns, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!conn) {
		COUNT(gaps[LOSS_MEMORY]);
		return NULL;
	}
	conn->known.cgroup_id = bpf_skb_cgroup_id(skb);
	conn->known.cookie = bpf_get_socket_cookie(skb);
	conn->old = tp->bytes_received || tp->bytes_acked > 1; /* the SYN may count as one */
	l7_addresses(sk, conn->known.local, conn->known.peer, &conn->known.local_port, &conn->known.peer_port);
	conn->known.seed = *(__u64 *)conn->known.peer ^ *(__u64 *)(conn->known.peer + 8) * 31 ^
			   (__u64)conn->known.peer_port << 48;
	if (dir == DIR_OUT ? p->flags & TH_ACK
			   : !conn->old) { /* what comes next is known, however early later segments may come */
		conn->half[DIR_IN].synced = 1;
		conn->half[DIR_IN].next_seq = rcv_nxt;
		if (dir == DIR_OUT)
			conn->half[DIR_IN].next_seq = p->ack;
	}
	l7_adopt(sk, conn);
	return conn;
}

/* ---- programs ---- */

static __always_inline int l7_parse(struct __sk_buff *skb, struct l7_packet *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 offset;
	__u8 *tcp;

	if (skb->protocol == bpf_htons(0x0800)) {
		__u8 *ip = data;

		if (data + 20 > end || ip[9] != 6)
			return 0;
		offset = (ip[0] & 15) * 4;
		p->version = 4;
	} else if (skb->protocol == bpf_htons(0x86dd)) {
		__u8 *ip = data;

		if (data + 40 > end || ip[6] != 6)
			return 0;
		offset = 40;
		p->version = 6;
	} else {
		return 0;
	}
	tcp = data + offset;
	if ((void *)(tcp + 20) > end)
		return 0;
	p->flags = tcp[13];
	p->pos = offset + (tcp[12] >> 4) * 4;
	p->end = skb->len;
	p->ack = bpf_ntohl(*(__u32 *)(tcp + 8));
	p->seq = bpf_ntohl(*(__u32 *)(tcp + 4)) + (p->flags >> 1 & 1); /* a SYN counts one */
	return p->pos <= p->end;
}

/* What follows when all of the segment has been worked on: a response that ends with the connection, and exchanges that
 * nobody will answer any more. True: something in flight has to be ended. */
static __always_inline int l7_ends(struct bpf_sock *sk, struct l7_conn *conn, int dir)
{
	struct l7_half *h = &conn->half[dir];

	if (conn->state != CONN_HTTP || !(h->rst | h->fin))
		return 0;
	if (h->rst) {
		conn->abort = HTTP_ERROR_RESET;
		return conn->head != conn->tail;
	}
	if (l7_is_request(conn, dir)) /* a client's half-close is no abort */
		return 0;
	if (h->m.phase == HTTP_UNTIL_CLOSE) {
		h->m.phase = HTTP_TUNNEL;
		l7_finish(sk, sk, conn, &conn->half[!dir], h, h->last_ns, HTTP_ERROR_NONE);
	}
	conn->abort = HTTP_ERROR_CLOSED;
	return conn->head != conn->tail;
}

/* Tail calls: what a run does not finish at once. */
enum { TAIL_MORE, TAIL_END, TAIL_ADOPT, TAIL_AGAIN, TAIL_MAX };

int l7_ingress(struct __sk_buff *skb);
int l7_ingress_more(struct __sk_buff *skb);
int l7_ingress_end(struct __sk_buff *skb);
int l7_egress(struct __sk_buff *skb);
int l7_egress_more(struct __sk_buff *skb);
int l7_egress_end(struct __sk_buff *skb);
int l7_egress_adopt(struct __sk_buff *skb);

/* One array a direction: newer kernels want programs of one attach type in it. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, TAIL_MAX);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} l7_in SEC(".maps") = {
	.values = {
		[TAIL_MORE] = (void *)&l7_ingress_more,
		[TAIL_END] = (void *)&l7_ingress_end,
		[TAIL_ADOPT] = (void *)&l7_ingress_more,
		[TAIL_AGAIN] = (void *)&l7_ingress,
	},
};

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, TAIL_MAX);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} l7_out SEC(".maps") = {
	.values = {
		[TAIL_MORE] = (void *)&l7_egress_more,
		[TAIL_END] = (void *)&l7_egress_end,
		[TAIL_ADOPT] = (void *)&l7_egress_adopt,
		[TAIL_AGAIN] = (void *)&l7_egress,
	},
};

static __always_inline void l7_tail(struct __sk_buff *skb, int dir, int which)
{
	if (dir == DIR_IN)
		bpf_tail_call(skb, &l7_in, which);
	else
		bpf_tail_call(skb, &l7_out, which);
}

/* One more step of a direction. 0: there is nothing left to do. Global, so that the verifier looks at it once and not at
 * every turn of the loops that call it; it may take no pointers then (5.10). */
static __always_inline int l7_one_more(struct __sk_buff *skb, int dir)
{
	struct bpf_sock *sk = skb->sk;
	struct l7_scratch *s;
	struct l7_conn *conn;
	struct l7_half *h;
	__u64 now_ns;

	if (!sk)
		return 0;
	conn = bpf_sk_storage_get(&l7_conns, sk, 0, 0);
	if (!conn)
		return 0;
	h = &conn->half[dir];
	if (conn->state == CONN_IGNORED)
		return 0;
	if (h->pos >= h->end && !(dir == DIR_IN && l7_next_kept(sk, conn, h)))
		return 0;
	now_ns = bpf_ktime_get_ns();
	s = scratch_claim(now_ns);
	if (!s) {
		l7_lose_place(conn, dir, LOSS_BUSY);
		return 1;
	}
	l7_step(skb, sk, conn, dir, s, conn->parked ? conn->parked_ns : now_ns, 0);
	h->last_ns = now_ns;
	s->owner = 0;
	return 1;
}

int l7_more_in(struct __sk_buff *skb)
{
	return l7_one_more(skb, DIR_IN);
}

int l7_more_out(struct __sk_buff *skb)
{
	return l7_one_more(skb, DIR_OUT);
}

/* Ends one exchange in flight under conn->abort. 0: there is none left. */
int l7_end_one(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct l7_conn *conn;
	int requests;

	if (!sk)
		return 0;
	conn = bpf_sk_storage_get(&l7_conns, sk, 0, 0);
	if (!conn || conn->head == conn->tail)
		return 0;
	requests = conn->known.role == HTTP_ROLE_SERVER ? DIR_IN : DIR_OUT;
	l7_finish(sk, sk, conn, &conn->half[requests], &conn->half[!requests], bpf_ktime_get_ns(), conn->abort);
	return 1;
}

static __always_inline int l7_more(struct __sk_buff *skb, int dir)
{
	struct bpf_sock *sk = skb->sk;
	struct l7_conn *conn;
	struct l7_half *h;
	int going = 1;

	for (int i = 0; i < STEPS && going; i++)
		going = dir == DIR_IN ? l7_more_in(skb) : l7_more_out(skb);
	if (going)
		l7_tail(skb, dir, TAIL_MORE);
	if (!sk)
		return 1;
	conn = bpf_sk_storage_get(&l7_conns, sk, 0, 0);
	if (!conn)
		return 1;
	h = &conn->half[dir];
	if (going) { /* the kernel allows no further tail call */
		l7_lose_place(conn, dir, LOSS_STEPS);
	}
	if (dir == DIR_IN && conn->parked) { /* that was the parked segment: now the one that has come */
		conn->parked = 0;
		h->busy = 0;
		l7_tail(skb, dir, TAIL_AGAIN);
		return 1;
	}
	if (l7_ends(sk, conn, dir))
		l7_tail(skb, dir, TAIL_END);
	h->busy = 0;
	return 1;
}

static __always_inline int l7_end(struct __sk_buff *skb, int dir)
{
	struct bpf_sock *sk = skb->sk;
	struct l7_conn *conn;

	for (int i = 0; i < 4 * QUEUE_LEN && l7_end_one(skb); i++)
		;
	if (!sk)
		return 1;
	conn = bpf_sk_storage_get(&l7_conns, sk, 0, 0);
	if (conn)
		conn->half[dir].busy = 0;
	return 1;
}

/* The parked first segment of a connection that runs for the first time on egress; then that run again. */
static __always_inline int l7_adopted(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct l7_conn *conn;
	int going = 1;

	for (int i = 0; i < STEPS && going; i++)
		going = l7_more_in(skb);
	if (!sk)
		return 1;
	conn = bpf_sk_storage_get(&l7_conns, sk, 0, 0);
	if (!conn)
		return 1;
	if (going) {
		l7_lose_place(conn, DIR_IN, LOSS_STEPS);
	}
	conn->parked = 0;
	conn->half[DIR_IN].busy = 0;
	l7_tail(skb, DIR_OUT, TAIL_AGAIN);
	return 1;
}

#define CLAIM_TRIES 512 /* about ten times as long as a run takes */

/* Two CPUs can have segments of one direction at the same moment (the sender moved to another one while a softirq was
 * late, or a retransmission timer ran). The other run is in a softirq, which nothing delays: worth waiting for. */
static __always_inline int l7_claim(struct l7_conn *conn, struct l7_half *h)
{
	int busy = 1;

	for (int i = 0; i < CLAIM_TRIES && busy; i++) {
		bpf_spin_lock(&conn->lock);
		busy = h->busy;
		if (!busy) /* the owner lets go without the lock: what it wrote must not be undone */
			h->busy = 1;
		bpf_spin_unlock(&conn->lock);
	}
	return !busy;
}

static __always_inline int l7_hook(struct __sk_buff *skb, int dir)
{
	struct bpf_sock *sk = skb->sk;
	struct l7_packet p;
	struct l7_conn *conn;
	struct l7_half *h;
	__u64 now_ns;
	__u32 len;

	if (!sk || !l7_parse(skb, &p))
		return 1;
	len = p.end - p.pos;
	if (!len && !(p.flags & (TH_FIN | TH_RST)))
		return 1;
	conn = bpf_sk_storage_get(&l7_conns, sk, 0, 0);
	if (!conn) {
		if (!len)
			return 1;
		conn = l7_open(skb, &p, dir);
		if (!conn)
			return 1;
		if (conn->parked && l7_claim(conn, &conn->half[DIR_IN])) {
			l7_tail(skb, dir, TAIL_ADOPT);
		}
	}
	if (conn->state == CONN_IGNORED)
		return 1;
	h = &conn->half[dir];
	if (!l7_claim(conn, h)) {
		COUNT(gaps[LOSS_BUSY]);
		return 1;
	}
	if (!h->synced) {
		h->synced = 1;
		h->next_seq = p.seq;
	}
	if (p.flags & TH_RST) {
		/* The kernel believes only one that is next in sequence; for others the end of the socket decides. */
		h->rst = p.seq == h->next_seq;
		goto out;
	}
	if (p.seq != h->next_seq && !l7_out_of_order(skb, conn, &p, dir)) {
		h->busy = 0;
		return 1;
	}
	h->pos = p.pos;
	h->end = p.end;
	h->source = 0;
	if (p.flags & TH_FIN)
		h->fin = 1;
	h->next_seq = p.seq + (p.end - p.pos) + (p.flags & TH_FIN);
	if (!len)
		goto out;
	if (dir == DIR_OUT && !conn->known.pid && l7_jvms())
		l7_learn(skb);
	now_ns = bpf_ktime_get_ns();
	if (h->m.phase >= HTTP_SKIP && h->m.remaining > len) {
		int over;

		h->pos += http_skip(&h->m, h->end - h->pos, &over);
	} else {
		struct l7_scratch *s = scratch_claim(now_ns);

		if (!s) {
			l7_lose_place(conn, dir, LOSS_BUSY);
		} else {
			l7_step(skb, sk, conn, dir, s, now_ns, 1);
			s->owner = 0;
		}
	}
	h->last_ns = now_ns;
	if (h->pos < h->end || conn->kept)
		l7_tail(skb, dir, TAIL_MORE);
out:
	if (l7_ends(sk, conn, dir))
		l7_tail(skb, dir, TAIL_END);
	h->busy = 0;
	return 1;
}

SEC("cgroup_skb/ingress")
int l7_ingress(struct __sk_buff *skb)
{
	return l7_hook(skb, DIR_IN);
}

SEC("cgroup_skb/egress")
int l7_egress(struct __sk_buff *skb)
{
	return l7_hook(skb, DIR_OUT);
}

SEC("cgroup_skb/ingress")
int l7_ingress_more(struct __sk_buff *skb)
{
	return l7_more(skb, DIR_IN);
}

SEC("cgroup_skb/egress")
int l7_egress_more(struct __sk_buff *skb)
{
	return l7_more(skb, DIR_OUT);
}

SEC("cgroup_skb/ingress")
int l7_ingress_end(struct __sk_buff *skb)
{
	return l7_end(skb, DIR_IN);
}

SEC("cgroup_skb/egress")
int l7_egress_end(struct __sk_buff *skb)
{
	return l7_end(skb, DIR_OUT);
}

SEC("cgroup_skb/egress")
int l7_egress_adopt(struct __sk_buff *skb)
{
	return l7_adopted(skb);
}

/* ---- sockets that go away without a packet ---- */

/* Error under which a socket went away. A local reset (linger 0, unread data) sets no error and is sent after this. */
static __always_inline __u8 l7_why_closed(int sk_err, int fin)
{
	if (sk_err == 110 || sk_err == 113 || sk_err == 101) /* ETIMEDOUT, EHOSTUNREACH, ENETUNREACH */
		return HTTP_ERROR_TIMEOUT;
	return fin && !sk_err ? HTTP_ERROR_CLOSED : HTTP_ERROR_RESET;
}

#define CLOSED_MAX 4 /* exchanges told one by one; more in flight on a socket that vanishes are only counted */

static __always_inline void l7_closed(struct sock *sk)
{
	struct l7_conn *conn = bpf_sk_storage_get(&l7_conns, sk, 0, 0);
	__u32 requests;

	if (!conn || conn->state != CONN_HTTP || conn->head == conn->tail)
		return;
	requests = conn->known.role == HTTP_ROLE_SERVER ? DIR_IN : DIR_OUT;
	conn->abort = l7_why_closed(sk->sk_err, conn->half[0].fin | conn->half[1].fin);
	http_forget();
#pragma clang loop unroll(full) /* a counter that is spilled to the stack is none for the verifier: "infinite loop" */
	for (int i = 0; i < CLOSED_MAX; i++)
		l7_finish(sk, NULL, conn, &conn->half[requests & 1], &conn->half[!requests], bpf_ktime_get_ns(),
			  conn->abort);
	l7_flush(conn, 0, LOSS_DEPTH);
}

SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(l7_state, struct sock *sk, int oldstate, int newstate)
{
	if (newstate == STATE_CLOSE)
		l7_closed(sk);
	return 0;
}

/* The same for kernels without socket storage in tracing programs. What else was in flight than the oldest exchange is
 * counted as lost. */
SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(l7_state_cookie, struct sock *sk, int oldstate, int newstate)
{
	struct l7_known *known;
	__u64 cookie;

	if (newstate != STATE_CLOSE)
		return 0;
	cookie = sk->__sk_common.skc_cookie.counter; /* given when the connection was first seen */
	known = bpf_map_lookup_elem(&l7_shadows, &cookie);
	if (!known)
		return 0;
	l7_emit(NULL, known, &known->first, bpf_ktime_get_ns(), l7_why_closed(sk->sk_err, 0));
	bpf_map_delete_elem(&l7_shadows, &cookie);
	return 0;
}

/* ---- on demand: connections with requests in flight ---- */

static __always_inline void inflight_tell(const struct l7_conn *conn, struct seq_file *seq)
{
	struct http_inflight row = {};

	if (conn->state != CONN_HTTP || conn->head == conn->tail)
		return;
	row.cgroup_id = conn->known.cgroup_id;
	row.role = conn->known.role;
	row.count = conn->tail - conn->head;
	bpf_seq_write(seq, &row, sizeof(row));
}

SEC("?iter/bpf_sk_storage_map")
int l7_inflight(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct l7_conn *conn = ctx->value;

	if (conn)
		inflight_tell(conn, seq);
	return 0;
}

/* Where the kernel lets nobody go over socket storage: by the open files of all processes. */
SEC("?iter/task_file")
int l7_inflight_files(struct bpf_iter__task_file *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct file *file = ctx->file; /* read once: what is checked must be what is passed */
	struct sock *sk = file_sock(file);
	struct l7_conn *conn = sk ? bpf_sk_storage_get(&l7_conns, sk, 0, 0) : NULL;

	if (!conn || conn->listing == l7_listing)
		return 0;
	conn->listing = l7_listing;
	inflight_tell(conn, seq);
	return 0;
}
