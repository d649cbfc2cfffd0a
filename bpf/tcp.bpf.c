/* TCP connections: retransmissions, round-trip times, connects that succeed and fail, resets, listen queues.
 *
 * Hooks, none of which runs for each packet: tp_btf/inet_sock_set_state (a connection begins, is established, ends),
 * tcp_retransmit_skb, tcp_retransmit_synack, tcp_send_reset, tcp_receive_reset and, for the end of a recovery,
 * tcp_cong_state_set (since 15fcdf6ae116, 5.16; before, tcp_probe, which returns at once while nothing is being
 * recovered). What changes all the time (round-trip time, bytes, depth of the accept queue) is read by a walk over the
 * sockets that user space asks for, and once more when a connection ends.
 *
 * State of a connection and of a listener lies in socket storage and dies with the socket. Where tracing programs have
 * none (5.10) it lies in a hash by the socket's address, from which the end of the connection takes it.
 *
 * Who writes what: a connection's events run under the socket's lock, so only they touch the fields they take differences
 * of; the walk runs beside them and writes only fields and tables of its own. Sums over living connections are made anew
 * by each walk (struct tcp_live), those of ended ones are monotone (tcp_stat.closed): nothing is ever counted by both.
 *
 * The walk goes over socket storage. Some kernels let nobody do that (a hardened 6.18 refuses both programs that walk a map
 * with EPERM): there it goes over the open files of all processes, and meets no connection that waits to be accepted, that
 * was closed and still sends, or that is on its way from one process to another. These are counted when they end.
 *
 * The time that a connection lost to retransmission goes from the first transmission of the segment to the acknowledgement
 * that ends the recovery. The kernel overwrites the time of the first transmission before the tracepoint, so it is
 * reckoned back: by the retransmission time-out, by one smoothed round-trip time (fast), by two (tail loss probe).
 *
 * Missed: connections older than the program that no process holds; a connect(2) that fails before the first SYN. Under
 * receive packet steering 1 to 3 of 1000 short connections, measured on 6.18: no program of ours is run for them at all,
 * although the tracepoint is passed (ftrace counts it), and the kernel does not tell.
 *
 * Reading order: maps, sockets, peers, tables, records, events, walks, start. */
#include "lib/prelude.bpf.h"
#include "lib/emit.bpf.h"
#include "lib/sock.bpf.h"
#include "tcp.h"

const volatile struct tcp_config config = {};
const volatile __u64 hist_threshold[HIST_TABLE] = {};

struct tcp_count tcp_count = {};
__u32 tcp_found = 0;	   /* user space has looked for older sockets: one that is not known now has been missed */
__u64 tcp_walk_number = 0; /* of the coming walk; user space advances it when it has read what that one found */

enum {
	STATE_ESTABLISHED = 1,
	STATE_SYN_SENT = 2,
	STATE_SYN_RECV = 3,
	STATE_FIN_WAIT1 = 4,
	STATE_FIN_WAIT2 = 5,
	STATE_TIME_WAIT = 6,
	STATE_CLOSE = 7,
	STATE_CLOSE_WAIT = 8,
	STATE_LAST_ACK = 9,
	STATE_LISTEN = 10,
	STATE_CLOSING = 11,
	STATE_NEW_SYN_RECV = 12,
};

#define AF_INET	       2
#define S_IFMT	       0170000
#define S_IFSOCK       0140000
#define AF_INET6       10
#define SOCK_STREAM    1
#define IPPROTO_TCP    6
#define SHUTDOWN_MASK  3
#define SEND_SHUTDOWN  2
#define SOCK_DONE      (1ul << 1) /* a FIN has come; the kernel counts it as a byte received */
#define TCPHDR_SYN     2
#define ICSK_PROBE     5 /* icsk_pending: a tail loss probe is due */
#define CA_OPEN	       0
#define CA_CWR	       2
#define CA_RECOVERY    3
#define CA_LOSS	       4
#define ROOT_CGROUP    1
#define RTT_MIN_NONE   (~0u)
#define PEER_WAIT_NS   1000000000ull /* an other end on this machine that was only slow is established by then */
#define CHRONO_LIMITED 1 /* place in chrono_stat of the time limited by the receiver's window; less one than the type */

struct tcp_conn {
	__u64 cgroup_id;
	__u64 peer_cgroup;
	__u64 start_ns;	      /* first SYN; 0: not known */
	__u64 established_ns; /* 0: not, or not under our eyes */
	/* Recovery in hand: reckoned first transmission, 0: none; and what the connection has lost in all so far. */
	__u64 lost_since_ns;
	__u64 lost_ns;
	/* Counts of the socket from which on we count. Written by events alone. */
	__u64 bytes_retrans;
	__u64 seed_sent, seed_received; /* bytes */
	__u32 total_retrans;
	__u32 seed_segments, seed_dsack, seed_reordered, seed_limited;
	__u32 lost_end;	 /* end of what was sent again */
	__u32 delivered; /* at the last sample of the round-trip time; the walk's and, at the end, the close's */
	__u32 pid;	 /* of who connected; 0: not known */
	__u32 walk;	 /* that met it last, where it may meet one more than once */
	__u8 role;
	__u8 class;
	__u8 old;     /* it was there before us */
	__u8 closed;  /* it has been told */
	__u8 probed;  /* the recovery began with a tail loss probe and may be none */
	__u8 placed;  /* class and peer_cgroup are final */
	__u8 crowded; /* there was no room for its key, and its sums are among those of all such */
	__u8 pad;
};

struct tcp_listening {
	__u64 cgroup_id;
	__u32 seed_drops;
	__u32 closed;
	__u32 walk;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct tcp_conn);
} tcp_conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct tcp_listening);
} tcp_listenings SEC(".maps");

/* The same by address of the socket; one entry where socket storage serves. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct tcp_conn);
} tcp_conns_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct tcp_listening);
} tcp_listenings_hash SEC(".maps");

struct tcp_end {
	__u8 local[16], peer[16];
	__u16 local_port, peer_port;
	__u32 netns; /* of loopback addresses, which every network namespace has */
};

/* Whose the end of a connection is: how the two ends find each other when both are on this machine. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct tcp_end);
	__type(value, __u64);
} tcp_ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 10000);
	__type(key, struct tcp_key);
	__type(value, struct tcp_stat);
} tcp_table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 10000);
	__type(key, struct tcp_key);
	__type(value, struct tcp_live);
} tcp_lives SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 10000);
	__type(key, struct tcp_key);
	__type(value, struct tcp_rtt);
} tcp_rtts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 10000);
	__type(key, struct tcp_hist_key);
	__type(value, struct tcp_hist);
} tcp_hists SEC(".maps");

/* Addresses to which most had to be sent again; the rest of a container is its total less these. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct tcp_peer_key);
	__type(value, struct tcp_peer);
} tcp_peers SEC(".maps");

/* Drops of listeners that have closed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct tcp_listener_key);
	__type(value, __u64);
} tcp_listeners_closed SEC(".maps");

static const char zero_stat[sizeof(struct tcp_stat)] = {};
static const char zero_rtt[sizeof(struct tcp_rtt)] = {};
static const char zero_live[sizeof(struct tcp_live)] = {};
static const char zero_hist[sizeof(struct tcp_hist)] = {};
static const char zero_conn[sizeof(struct tcp_conn)] = {};

/* ---- sockets ---- */

static __always_inline struct tcp_conn *conn_get(struct sock *sk, bool make)
{
	struct tcp_conn *conn;
	__u64 at = (__u64)sk;

	if (config.storage) {
		conn = bpf_sk_storage_get(&tcp_conns, sk, 0, make ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	} else {
		conn = bpf_map_lookup_elem(&tcp_conns_hash, &at);
		if (!conn && make) {
			bpf_map_update_elem(&tcp_conns_hash, &at, zero_conn, BPF_NOEXIST);
			conn = bpf_map_lookup_elem(&tcp_conns_hash, &at);
		}
	}
	if (!conn && make)
		__sync_fetch_and_add(&tcp_count.stateless, 1);
	return conn;
}

static __always_inline void conn_drop(struct sock *sk)
{
	__u64 at = (__u64)sk;

	if (!config.storage)
		bpf_map_delete_elem(&tcp_conns_hash, &at);
}

static __always_inline struct tcp_listening *listening_get(struct sock *sk, bool make)
{
	struct tcp_listening *l, fresh = {};
	__u64 at = (__u64)sk;

	if (config.storage)
		return bpf_sk_storage_get(&tcp_listenings, sk, 0, make ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	l = bpf_map_lookup_elem(&tcp_listenings_hash, &at);
	if (!l && make) {
		bpf_map_update_elem(&tcp_listenings_hash, &at, &fresh, BPF_NOEXIST);
		l = bpf_map_lookup_elem(&tcp_listenings_hash, &at);
	}
	return l;
}

/* The number is that of other protocols in other families (NETLINK_XFRM), and of raw sockets. */
static __always_inline bool sock_is_tcp(struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP && BPF_CORE_READ(sk, sk_type) == SOCK_STREAM &&
	       (family == AF_INET || family == AF_INET6);
}

static __always_inline __u8 sock_state(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_state);
}

/* The cgroup in which the socket was made. */
static __always_inline __u64 sock_cgroup(struct sock *sk)
{
	struct cgroup *cgrp;

	if (bpf_core_field_exists(sk->sk_cgrp_data.cgroup)) {
		cgrp = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	} else {
		__u64 val = BPF_CORE_READ(sk, sk_cgrp_data.val);

		cgrp = val & 3 ? NULL : (struct cgroup *)val; /* with a low bit set it is a class of net_cls */
	}
	return cgrp ? BPF_CORE_READ(cgrp, kn, id) : ROOT_CGROUP;
}

static __always_inline void address_of_v4(__u8 *to, __be32 address)
{
	__u32 *words = (__u32 *)to;

	words[0] = words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = address;
}

static __always_inline void end_of_common(struct sock_common *common, struct tcp_end *to)
{
	if (BPF_CORE_READ(common, skc_family) == AF_INET6) {
		BPF_CORE_READ_INTO(&to->local, common, skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&to->peer, common, skc_v6_daddr.in6_u.u6_addr8);
	} else {
		address_of_v4(to->local, BPF_CORE_READ(common, skc_rcv_saddr));
		address_of_v4(to->peer, BPF_CORE_READ(common, skc_daddr));
	}
	to->local_port = BPF_CORE_READ(common, skc_num);
	to->peer_port = bpf_ntohs(BPF_CORE_READ(common, skc_dport));
	to->netns = 0;
}

/* skc_num is zero before a connection has a port and after it has given it back; inet_sport is not. */
static __always_inline void end_of(struct sock *sk, struct tcp_end *to)
{
	end_of_common(&sk->__sk_common, to);
	to->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

static __always_inline __u8 class_of_v4(__u32 a)
{
	if (a >> 24 == 127)
		return TCP_CLASS_LOOPBACK;
	if (a >> 16 == 0xa9fe)
		return TCP_CLASS_LINK_LOCAL;
	if (a >> 24 == 10 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8 || a >> 22 == 0x191)
		return TCP_CLASS_PRIVATE;
	return a ? TCP_CLASS_PUBLIC : TCP_CLASS_NONE;
}

static __always_inline __u8 class_of(const __u8 *address)
{
	const __u32 *words = (const __u32 *)address;
	__u32 first = bpf_ntohl(words[0]), last = bpf_ntohl(words[3]);

	if (!words[0] && !words[1]) {
		if (words[2] == bpf_htonl(0xffff))
			return class_of_v4(last);
		if (!words[2] && last <= 1)
			return last ? TCP_CLASS_LOOPBACK : TCP_CLASS_NONE;
	}
	if (first >> 22 == 0xfe80 >> 6)
		return TCP_CLASS_LINK_LOCAL;
	return first >> 25 == 0xfc >> 1 ? TCP_CLASS_PRIVATE : TCP_CLASS_PUBLIC;
}

/* ---- peers: the two ends of a connection inside of this machine ---- */

static __always_inline void end_in_namespace(struct sock *sk, struct tcp_end *end, __u8 class)
{
	if (class == TCP_CLASS_LOOPBACK)
		end->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

static __always_inline bool end_may_be_here(__u8 class)
{
	return class == TCP_CLASS_LOOPBACK || class == TCP_CLASS_PRIVATE || class == TCP_CLASS_LINK_LOCAL ||
	       class == TCP_CLASS_PUBLIC;
}

/* Tells the other end, if it asks, whose this one is. */
static __always_inline void conn_announce(struct sock *sk, struct tcp_conn *conn)
{
	struct tcp_end end;

	end_of(sk, &end);
	conn->class = class_of(end.peer);
	end_in_namespace(sk, &end, conn->class);
	bpf_map_update_elem(&tcp_ends, &end, &conn->cgroup_id, BPF_ANY);
}

/* Is the other end established as well, wherever it is? The end that is called is, since its last ACK came; the end that
 * calls may have lost that ACK, or the other waits for data (TCP_DEFER_ACCEPT). What it sends or acknowledges tells. */
static __always_inline bool conn_settled(struct sock *sk, const struct tcp_conn *conn)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	return conn->role == TCP_ROLE_SERVER || conn->old || BPF_CORE_READ(tp, bytes_acked) > 1 || /* the SYN is one */
	       BPF_CORE_READ(tp, bytes_received) || bpf_ktime_get_ns() - conn->established_ns > PEER_WAIT_NS;
}

/* Finds the other end. What is found is final, and so is that there is none here once @last or it would be known by now:
 * the sums over a connection must not move from one key to another. */
static __always_inline void conn_place(struct sock *sk, struct tcp_conn *conn, bool last)
{
	struct tcp_end own, other;
	__u64 *cgroup_id;

	if (conn->placed || (!conn->established_ns && !conn->old) || !end_may_be_here(conn->class))
		return;
	end_of(sk, &own);
	end_in_namespace(sk, &own, conn->class);
	__builtin_memcpy(other.local, own.peer, 16);
	__builtin_memcpy(other.peer, own.local, 16);
	other.local_port = own.peer_port;
	other.peer_port = own.local_port;
	other.netns = own.netns;
	if (!last)
		last = conn_settled(sk, conn); /* before the look, so that one that comes in between is not missed */
	cgroup_id = bpf_map_lookup_elem(&tcp_ends, &other);
	if (cgroup_id) {
		conn->peer_cgroup = *cgroup_id;
		conn->class = TCP_CLASS_CONTAINER;
		last = true;
	}
	conn->placed = last;
}

/* ---- tables ---- */

/* NULL: the table is full. */
static __always_inline struct tcp_stat *stat_own(const struct tcp_key *key)
{
	struct tcp_stat *st = bpf_map_lookup_elem(&tcp_table, key);

	if (st)
		return st;
	bpf_map_update_elem(&tcp_table, key, zero_stat, BPF_NOEXIST);
	return bpf_map_lookup_elem(&tcp_table, key);
}

static __always_inline struct tcp_stat *stat_get(const struct tcp_key *key)
{
	struct tcp_key overflow = { .class = TCP_CLASS_OVERFLOW };
	struct tcp_stat *st = stat_own(key);

	return st ? st : bpf_map_lookup_elem(&tcp_table, &overflow); /* made by user space before attach */
}

/* An event has come: where it is counted. NULL: nowhere, and it is lost. */
static __always_inline struct tcp_stat *event_count(const struct tcp_key *key)
{
	struct tcp_stat *st = stat_get(key);

	__sync_fetch_and_add(&tcp_count.seen, 1);
	if (st)
		__sync_fetch_and_add(&st->events, 1);
	else
		__sync_fetch_and_add(&tcp_count.lost_table, 1);
	return st;
}

static __always_inline void key_of(const struct tcp_conn *conn, struct tcp_key *to)
{
	to->cgroup_id = conn->cgroup_id;
	to->peer_cgroup = conn->class == TCP_CLASS_CONTAINER ? conn->peer_cgroup : 0;
	to->class = conn->class;
}

/* Where what the connection has carried is summed: while it lives and when it has ended under the same key, or both would
 * count it. A key that the other tables have is in this one first, so they have room for it. */
static __always_inline void sums_key_of(struct tcp_conn *conn, struct tcp_key *to)
{
	key_of(conn, to);
	if (!conn->crowded && !stat_own(to))
		conn->crowded = 1;
	if (conn->crowded)
		*to = (struct tcp_key){ .class = TCP_CLASS_OVERFLOW };
}

static __always_inline void hist_count(__u64 cgroup_id, __u32 kind, __u32 role, __u64 value_ns)
{
	struct tcp_hist_key key = { .cgroup_id = cgroup_id, .kind = kind, .role = role };
	__u32 slot = hist_slot((const __u64 *)hist_threshold, value_ns);
	struct tcp_hist *h = bpf_map_lookup_elem(&tcp_hists, &key);

	if (!h) {
		bpf_map_update_elem(&tcp_hists, &key, zero_hist, BPF_NOEXIST);
		h = bpf_map_lookup_elem(&tcp_hists, &key);
		if (!h)
			return;
	}
	__sync_fetch_and_add(&h->sum_ns, value_ns);
	__sync_fetch_and_add(&h->count, 1);
	if (slot < HIST_SLOTS)
		__sync_fetch_and_add(&h->slots[slot], 1);
}

/* The smoothed and the least round-trip time, if something was acknowledged since the last sample. */
static __always_inline void rtt_sample(struct sock *sk, struct tcp_conn *conn, const struct tcp_key *key)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 delivered = BPF_CORE_READ(tp, delivered), srtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
	__u32 min_us = BPF_CORE_READ(tp, rtt_min.s[0].v);
	__u64 rtt_ns = srtt_us * 1000ull;
	struct tcp_rtt *rtt;
	__u32 slot;

	if (delivered == conn->delivered || !srtt_us)
		return;
	conn->delivered = delivered;
	rtt = bpf_map_lookup_elem(&tcp_rtts, key);
	if (!rtt) {
		bpf_map_update_elem(&tcp_rtts, key, zero_rtt, BPF_NOEXIST);
		rtt = bpf_map_lookup_elem(&tcp_rtts, key);
		if (!rtt)
			return;
	}
	slot = hist_slot((const __u64 *)hist_threshold, rtt_ns);
	__sync_fetch_and_add(&rtt->sum_ns, rtt_ns);
	__sync_fetch_and_add(&rtt->count, 1);
	if (slot < HIST_SLOTS)
		__sync_fetch_and_add(&rtt->slots[slot], 1);
	if (min_us == RTT_MIN_NONE)
		return;
	/* Two at the same moment may keep the greater one: it is a least value among samples, not a count. */
	if (rtt->min_walk != tcp_walk_number || min_us * 1000ull < rtt->min_ns) {
		rtt->min_ns = min_us * 1000ull;
		rtt->min_walk = tcp_walk_number;
	}
}

static __always_inline bool state_has_fin(__u8 state)
{
	return state == STATE_FIN_WAIT1 || state == STATE_FIN_WAIT2 || state == STATE_CLOSING ||
	       state == STATE_LAST_ACK || state == STATE_TIME_WAIT;
}

/* Sequence numbers used, less that of a FIN. The kernel's count of bytes sent has those twice that a packet filter or a
 * full queue on the way out dropped, which were sent again without being retransmissions. */
static __always_inline __u64 sent_bytes(struct sock *sk, __u8 state)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u64 acked = BPF_CORE_READ(tp, bytes_acked); /* first: the kernel writes it just before snd_una */
	__u32 first = BPF_CORE_READ(tp, snd_una), next = BPF_CORE_READ(tp, snd_nxt);
	bool fin = state_has_fin(state) && next == BPF_CORE_READ(tp, write_seq);

	return acked + (next - first) - fin;
}

/* Jiffies in which the receiver's window kept it from sending. The kernel adds a time when it is over, which that of a
 * connection that is reset never is. What it adds is read first: one that ends now is seen later and not twice. */
static __always_inline __u32 limited_jiffies(struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 over = BPF_CORE_READ(tp, chrono_stat[CHRONO_LIMITED]), start = BPF_CORE_READ(tp, chrono_start);

	if (BPF_CORE_READ_BITFIELD_PROBED(tp, chrono_type) != CHRONO_LIMITED + 1)
		return over;
	return over + ((__u32)bpf_jiffies64() - start);
}

/* What the connection has carried since we count, all but .opened. @state: that it is in, or was in until it ended. */
static __always_inline void sums_read(struct sock *sk, const struct tcp_conn *conn, __u8 state, struct tcp_sums *ret)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u64 sent = sent_bytes(sk, state);
	__u64 received = BPF_CORE_READ(tp, bytes_received);

	if (received && BPF_CORE_READ(sk, __sk_common.skc_flags) & SOCK_DONE)
		received--;
	ret->bytes_sent = sent > conn->seed_sent ? sent - conn->seed_sent : 0;
	ret->bytes_received = received > conn->seed_received ? received - conn->seed_received : 0;
	ret->spurious = BPF_CORE_READ(tp, dsack_dups) - conn->seed_dsack;
	ret->out_of_order = BPF_CORE_READ(tp, rcv_ooopack) - conn->seed_reordered;
	ret->window_limited = limited_jiffies(sk) - conn->seed_limited;
}

static __always_inline void sums_add(const struct tcp_conn *conn, const struct tcp_sums *sums, struct tcp_sums *to)
{
	if (conn->established_ns)
		__sync_fetch_and_add(&to->opened[conn->role & 1], 1);
	__sync_fetch_and_add(&to->bytes_sent, sums->bytes_sent);
	__sync_fetch_and_add(&to->bytes_received, sums->bytes_received);
	__sync_fetch_and_add(&to->spurious, sums->spurious);
	__sync_fetch_and_add(&to->out_of_order, sums->out_of_order);
	__sync_fetch_and_add(&to->window_limited, sums->window_limited);
}

/* From here on the connection's counts are ours. */
static __always_inline void conn_seed(struct sock *sk, struct tcp_conn *conn)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	conn->cgroup_id = sock_cgroup(sk);
	conn->seed_sent = sent_bytes(sk, sock_state(sk));
	conn->seed_received = BPF_CORE_READ(tp, bytes_received);
	conn->bytes_retrans = BPF_CORE_READ(tp, bytes_retrans);
	conn->total_retrans = conn->seed_segments = BPF_CORE_READ(tp, total_retrans);
	conn->seed_dsack = BPF_CORE_READ(tp, dsack_dups);
	conn->seed_reordered = BPF_CORE_READ(tp, rcv_ooopack);
	conn->seed_limited = limited_jiffies(sk);
	conn->delivered = BPF_CORE_READ(tp, delivered);
}

/* It was there before us: which end made it is not told any more, and is guessed from the ports. */
static __always_inline void conn_seed_old(struct sock *sk, struct tcp_conn *conn)
{
	struct tcp_end end;

	end_of(sk, &end);
	conn_seed(sk, conn);
	conn->old = 1;
	conn->role = end.local_port > end.peer_port ? TCP_ROLE_CLIENT : TCP_ROLE_SERVER;
	conn_announce(sk, conn);
}

/* ---- records ---- */

/* NULL: nobody wants one, or the ring is full, which is counted. */
static __always_inline struct tcp_event *record_begin(struct sock *sk, const struct tcp_key *key, __u8 kind,
						      __u64 now_ns)
{
	struct tcp_event *e;
	struct tcp_end end;

	if (!records_wanted(SIGNAL_tcp))
		return NULL;
	e = emit_begin(SIGNAL_tcp, sizeof(*e), now_ns, key->cgroup_id);
	if (!e) {
		__sync_fetch_and_add(&tcp_count.untold, 1);
		return NULL;
	}
	__builtin_memset((char *)e + sizeof(e->hdr), 0, sizeof(*e) - sizeof(e->hdr));
	e->kind = kind;
	e->class = key->class;
	e->peer_cgroup = key->peer_cgroup;
	if (!sk)
		return e;
	end_of(sk, &end);
	__builtin_memcpy(e->local, end.local, 16);
	__builtin_memcpy(e->peer, end.peer, 16);
	e->local_port = end.local_port;
	e->peer_port = end.peer_port;
	e->state = sock_state(sk);
	e->socket_cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	return e;
}

static __always_inline void record_rtt(struct sock *sk, struct tcp_event *e)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 min_us = BPF_CORE_READ(tp, rtt_min.s[0].v);

	e->rtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
	e->rtt_min_us = min_us == RTT_MIN_NONE ? 0 : min_us;
}

/* ---- retransmissions ---- */

static __always_inline void recovery_begin(struct sock *sk, struct tcp_conn *conn, __u32 type, __u64 now_ns)
{
	__u64 rtt_ns = (BPF_CORE_READ((struct tcp_sock *)sk, srtt_us) >> 3) * 1000ull;
	__u64 back_ns = rtt_ns;

	if (conn->lost_since_ns && !conn->probed)
		return;
	if (!conn->lost_since_ns)
		__sync_fetch_and_add(&tcp_count.recovering, 1);
	/* That nothing was lost is told by no congestion state: the probe may be long over. */
	else if ((__s32)(BPF_CORE_READ((struct tcp_sock *)sk, snd_una) - conn->lost_end) >= 0)
		conn->lost_since_ns = 0;
	if (type == TCP_RETRANSMIT_PROBE)
		back_ns = 2 * rtt_ns;
	else if (type != TCP_RETRANSMIT_FAST)
		back_ns = (__u64)BPF_CORE_READ((struct inet_connection_sock *)sk, icsk_rto) * config.jiffy_ns;
	if (type == TCP_RETRANSMIT_SYN && conn->start_ns)
		conn->lost_since_ns = conn->start_ns;
	/* A probe that was followed by a time-out was the beginning of it. */
	else if (!conn->lost_since_ns || type == TCP_RETRANSMIT_PROBE || type == TCP_RETRANSMIT_FAST)
		conn->lost_since_ns = now_ns - back_ns;
	conn->probed = type == TCP_RETRANSMIT_PROBE;
}

static __always_inline void recovery_end(struct tcp_conn *conn, bool real, __u64 now_ns)
{
	__u64 lost_ns = now_ns - conn->lost_since_ns;

	if (!conn->lost_since_ns)
		return;
	__sync_fetch_and_add(&tcp_count.recovering, -1ull);
	conn->lost_since_ns = 0;
	conn->probed = 0;
	if (!real)
		return;
	conn->lost_ns += lost_ns;
	hist_count(conn->cgroup_id, TCP_HIST_RECOVERY, conn->role, lost_ns);
}

static __always_inline __u32 retransmit_type(struct sock *sk, __u8 tcp_flags)
{
	struct inet_connection_sock *icsk = (struct inet_connection_sock *)sk;
	__u8 ca_state = BPF_CORE_READ_BITFIELD_PROBED(icsk, icsk_ca_state);

	if (tcp_flags & TCPHDR_SYN)
		return TCP_RETRANSMIT_SYN;
	/* A probe that is due goes on being due while the retransmission time-out runs: the state tells. */
	if (BPF_CORE_READ(icsk, icsk_pending) == ICSK_PROBE && ca_state < CA_RECOVERY)
		return TCP_RETRANSMIT_PROBE;
	return ca_state == CA_LOSS ? TCP_RETRANSMIT_TIMEOUT : TCP_RETRANSMIT_FAST;
}

static __always_inline void peer_count(__u64 cgroup_id, const __u8 *address, __u64 segments, __u64 bytes)
{
	struct tcp_peer_key key = { .cgroup_id = cgroup_id };
	struct tcp_peer *p, fresh = {};

	__builtin_memcpy(key.address, address, 16);
	p = bpf_map_lookup_elem(&tcp_peers, &key);
	if (!p) {
		bpf_map_update_elem(&tcp_peers, &key, &fresh, BPF_NOEXIST);
		p = bpf_map_lookup_elem(&tcp_peers, &key);
		if (!p)
			return;
	}
	__sync_fetch_and_add(&p->segments, segments);
	if (bytes) /* adding a constant zero would become another atomic operation, which 5.10 lacks */
		__sync_fetch_and_add(&p->bytes, bytes);
}

/* The differences of the socket's own counts are exact where the tracepoint is not: it fires once for a whole train of
 * segments, since 6.18 also when sending failed, and before that not when it failed. */
static __always_inline void conn_retransmitted(struct sock *sk, struct tcp_conn *conn, __u32 type, __u64 now_ns)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 total = BPF_CORE_READ(tp, total_retrans);
	__u64 total_bytes = BPF_CORE_READ(tp, bytes_retrans);
	__u32 segments = total - conn->total_retrans;
	__u64 bytes = total_bytes - conn->bytes_retrans;
	struct tcp_key key;
	struct tcp_stat *st;
	struct tcp_event *e;

	if (!segments)
		return;
	conn->total_retrans = total;
	conn->bytes_retrans = total_bytes;
	conn_place(sk, conn, false);
	key_of(conn, &key);
	st = event_count(&key);
	if (st && type < TCP_RETRANSMIT_MAX) {
		__sync_fetch_and_add(&st->segments[type], segments);
		__sync_fetch_and_add(&st->bytes[type], bytes);
	}
	e = record_begin(sk, &key, TCP_EVENT_RETRANSMIT, now_ns);
	if (!e)
		return;
	e->hdr.pid = conn->pid;
	e->role = conn->role;
	e->type = type;
	e->segments = segments;
	e->bytes_sent = bytes;
	record_rtt(sk, e);
	emit_end(e);
}

static __always_inline void sock_retransmitted(struct sock *sk, struct sk_buff *skb)
{
	struct tcp_skb_cb *cb = (struct tcp_skb_cb *)&skb->cb[0];
	struct tcp_conn *conn = conn_get(sk, false);
	__u64 now_ns = bpf_ktime_get_ns();
	__u32 type = retransmit_type(sk, BPF_CORE_READ(cb, tcp_flags));
	struct tcp_end end;
	__u64 bytes;
	__u32 segments;

	if (!conn || !conn->cgroup_id) { /* older than we are; tcp_find may be about to fill it in */
		conn = conn_get(sk, true);
		if (!conn)
			return;
		conn_seed_old(sk, conn);
		conn->total_retrans -= BPF_CORE_READ(cb, tcp_gso_segs);
	}
	segments = BPF_CORE_READ((struct tcp_sock *)sk, total_retrans) - conn->total_retrans;
	bytes = BPF_CORE_READ((struct tcp_sock *)sk, bytes_retrans) - conn->bytes_retrans;
	if (!segments)
		return; /* sending failed before it began, which is told since 6.18 */
	end_of(sk, &end);
	peer_count(conn->cgroup_id, end.peer, segments, bytes);
	recovery_begin(sk, conn, type, now_ns);
	conn->lost_end = BPF_CORE_READ(cb, end_seq);
	conn_retransmitted(sk, conn, type, now_ns);
}

SEC("?tp_btf/tcp_retransmit_skb")
int BPF_PROG(tcp_retransmit, struct sock *sk, struct sk_buff *skb)
{
	if (sk && skb)
		sock_retransmitted(sk, skb);
	return 0;
}

/* A SYN-ACK belongs to a request, which is no socket yet: it is the listener's. */
SEC("?tp_btf/tcp_retransmit_synack")
int BPF_PROG(tcp_retransmit_syn_ack, struct sock *sk, struct request_sock *req)
{
	struct tcp_key key = { .cgroup_id = sock_cgroup(sk) };
	struct tcp_event *e;
	struct tcp_stat *st;
	struct tcp_end end;

	end_of_common(&req->__req_common, &end);
	key.class = class_of(end.peer);
	st = event_count(&key);
	if (st)
		__sync_fetch_and_add(&st->segments[TCP_RETRANSMIT_SYN_ACK], 1);
	peer_count(key.cgroup_id, end.peer, 1, 0);
	e = record_begin(NULL, &key, TCP_EVENT_RETRANSMIT, bpf_ktime_get_ns());
	if (!e)
		return 0;
	__builtin_memcpy(e->local, end.local, 16);
	__builtin_memcpy(e->peer, end.peer, 16);
	e->local_port = end.local_port;
	e->peer_port = end.peer_port;
	e->role = TCP_ROLE_SERVER;
	e->type = TCP_RETRANSMIT_SYN_ACK;
	e->state = STATE_NEW_SYN_RECV;
	e->segments = 1;
	emit_end(e);
	return 0;
}

/* ---- the end of a recovery ---- */

SEC("?tp_btf/tcp_cong_state_set")
int BPF_PROG(tcp_congestion, struct sock *sk, __u8 ca_state)
{
	struct tcp_conn *conn;

	if (ca_state >= CA_RECOVERY || !tcp_count.recovering)
		return 0;
	conn = conn_get(sk, false);
	/* An acknowledged probe is told by a reduced window (CWR); anything else says that nothing was lost. */
	if (conn)
		recovery_end(conn, !conn->probed || ca_state == CA_CWR, bpf_ktime_get_ns());
	return 0;
}

SEC("?tp_btf/tcp_probe")
int BPF_PROG(tcp_acknowledged, struct sock *sk, struct sk_buff *skb)
{
	struct tcp_conn *conn;
	__u32 ack;

	if (!tcp_count.recovering)
		return 0;
	conn = conn_get(sk, false);
	if (!conn || !conn->lost_since_ns)
		return 0;
	if (bpf_probe_read_kernel(&ack, sizeof(ack), BPF_CORE_READ(skb, data) + 8))
		return 0;
	if ((__s32)(bpf_ntohl(ack) - conn->lost_end) >= 0)
		recovery_end(conn, true, bpf_ktime_get_ns());
	return 0;
}

/* ---- resets ---- */

static __always_inline void reset_count(struct sock *sk, __u32 sent)
{
	__u8 state = sk ? sock_state(sk) : STATE_TIME_WAIT;
	struct tcp_conn *conn = NULL;
	struct tcp_key key = {};
	struct tcp_event *e;
	struct tcp_stat *st;

	/* What is no whole socket (none at all, TIME_WAIT, a request) has no cgroup. */
	if (state == STATE_TIME_WAIT || state == STATE_NEW_SYN_RECV) {
		sk = NULL;
	} else {
		conn = conn_get(sk, false);
		if (conn) {
			conn_place(sk, conn, false);
			key_of(conn, &key);
		} else {
			key.cgroup_id = sock_cgroup(sk);
		}
	}
	st = event_count(&key);
	if (st)
		__sync_fetch_and_add(&st->resets[sent & 1], 1);
	e = record_begin(sk, &key, TCP_EVENT_RESET, bpf_ktime_get_ns());
	if (!e)
		return;
	e->type = sent;
	if (conn) {
		e->hdr.pid = conn->pid;
		e->role = conn->role;
	}
	emit_end(e);
}

SEC("?tp_btf/tcp_send_reset")
int BPF_PROG(tcp_reset_sent, struct sock *sk)
{
	reset_count(sk, 1);
	return 0;
}

/* The reset that refuses a connect is told as that. */
SEC("?tp_btf/tcp_receive_reset")
int BPF_PROG(tcp_reset_received, struct sock *sk)
{
	if (sock_state(sk) != STATE_SYN_SENT)
		reset_count(sk, 0);
	return 0;
}

/* ---- connections ---- */

static __always_inline __u8 failure_of(struct sock *sk)
{
	switch (BPF_CORE_READ(sk, sk_err)) {
	case 111: /* ECONNREFUSED */
		return TCP_FAILURE_REFUSED;
	case 110: /* ETIMEDOUT */
		return TCP_FAILURE_TIMED_OUT;
	case 113: /* EHOSTUNREACH */
		return TCP_FAILURE_HOST_UNREACHABLE;
	case 101: /* ENETUNREACH */
		return TCP_FAILURE_NET_UNREACHABLE;
	case 104: /* ECONNRESET */
		return TCP_FAILURE_RESET;
	case 0:
		/* By close(2); by shutdown(2), or by connect(2) to no address, after which the SYN is still queued. */
		if ((BPF_CORE_READ(sk, sk_shutdown) & SHUTDOWN_MASK) == SHUTDOWN_MASK ||
		    BPF_CORE_READ((struct tcp_sock *)sk, packets_out))
			return TCP_FAILURE_ABORTED;
		return BPF_CORE_READ((struct inet_sock *)sk, inet_sport) ? TCP_FAILURE_OTHER : TCP_FAILURE_NO_ADDRESS;
	}
	return TCP_FAILURE_OTHER;
}

static __always_inline void conn_begin(struct sock *sk)
{
	struct tcp_conn *conn = conn_get(sk, true);
	struct tcp_end end;

	if (!conn)
		return;
	__builtin_memset(conn, 0, sizeof(*conn)); /* the socket may have had another connection before */
	conn_seed(sk, conn);
	conn->seed_sent = 1; /* the SYN */
	conn->start_ns = bpf_ktime_get_ns();
	conn->role = TCP_ROLE_CLIENT;
	end_of(sk, &end);
	conn->class = class_of(end.peer); /* until it answers and can be found */
	conn->pid = bpf_get_current_pid_tgid() >> 32;
}

static __always_inline void conn_established(struct sock *sk, int before)
{
	__u64 now_ns = bpf_ktime_get_ns();
	struct tcp_conn *conn = conn_get(sk, before == STATE_SYN_RECV);
	__u64 handshake_ns;

	if (!conn)
		return;
	if (!conn->start_ns) { /* passive: the child begins here */
		__u32 srtt_us = BPF_CORE_READ((struct tcp_sock *)sk, srtt_us) >> 3;

		__builtin_memset(conn, 0, sizeof(*conn));
		conn_seed(sk, conn);
		/* With fast open it has carried data by now; SYN-ACKs sent again have been told of. */
		conn->seed_sent = conn->seed_received = 0;
		conn->role = TCP_ROLE_SERVER;
		handshake_ns = srtt_us * 1000ull;
	} else {
		handshake_ns = now_ns - conn->start_ns;
	}
	conn->established_ns = now_ns;
	/* One of our own data may have been lost in the same moment only with fast open; else it was the SYN. */
	recovery_end(conn, true, now_ns);
	if (handshake_ns)
		hist_count(conn->cgroup_id, TCP_HIST_HANDSHAKE, conn->role, handshake_ns);
	conn_announce(sk, conn);
}

/* It has been established, and that was missed. */
static __always_inline void conn_make_up(struct sock *sk)
{
	struct tcp_conn *conn = conn_get(sk, tcp_found);

	if (!conn || conn->established_ns || conn->old)
		return;
	if (!conn->start_ns) {
		__builtin_memset(conn, 0, sizeof(*conn));
		conn_seed(sk, conn);
		conn->seed_sent = conn->seed_received = 0;
		conn->role = TCP_ROLE_SERVER;
	}
	conn->established_ns = bpf_ktime_get_ns();
	conn_announce(sk, conn);
}

static __always_inline void conn_failed(struct sock *sk, struct tcp_conn *conn, __u64 now_ns)
{
	__u8 why = failure_of(sk);
	struct tcp_key key;
	struct tcp_stat *st;
	struct tcp_event *e;
	struct tcp_end end;

	end_of(sk, &end);
	conn->class = class_of(end.peer);
	key_of(conn, &key);
	st = event_count(&key);
	if (st && why < TCP_FAILURE_MAX)
		__sync_fetch_and_add(&st->failed[conn->role & 1][why], 1);
	e = record_begin(sk, &key, TCP_EVENT_CONNECT_FAILED, now_ns);
	if (!e)
		return;
	e->hdr.pid = conn->pid;
	e->role = conn->role;
	e->type = why;
	e->state = STATE_SYN_SENT;
	e->segments = conn->total_retrans - conn->seed_segments;
	e->duration_ns = conn->start_ns ? now_ns - conn->start_ns : 0;
	emit_end(e);
}

static __always_inline void conn_closed(struct sock *sk, struct tcp_conn *conn, int before, __u64 now_ns)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	struct tcp_sums sums = {};
	struct tcp_key key;
	struct tcp_stat *st;
	struct tcp_event *e;

	conn_place(sk, conn, true);
	sums_key_of(conn, &key);
	sums_read(sk, conn, before, &sums);
	st = event_count(&key);
	if (st)
		sums_add(conn, &sums, &st->closed);
	rtt_sample(sk, conn, &key);
	key_of(conn, &key); /* a line of trace has room for it */
	if (conn->established_ns)
		hist_count(conn->cgroup_id, TCP_HIST_DURATION, conn->role, now_ns - conn->established_ns);
	e = record_begin(sk, &key, TCP_EVENT_CLOSE, now_ns);
	if (!e)
		return;
	e->hdr.pid = conn->pid;
	e->role = conn->role;
	e->state = before;
	e->duration_ns = conn->established_ns ? now_ns - conn->established_ns : 0;
	e->bytes_sent = sums.bytes_sent;
	e->bytes_received = sums.bytes_received;
	e->segments = BPF_CORE_READ(tp, total_retrans) - conn->seed_segments;
	e->lost_ns = conn->lost_ns;
	record_rtt(sk, e);
	emit_end(e);
}

/* Of two segments that end a handshake at the same moment on two CPUs each makes a socket; that of the second is dropped
 * before anybody saw it. It still has the port, which a connection that fails has given back by now. */
static __always_inline bool sock_is_twin(struct sock *sk, int before)
{
	return before == STATE_SYN_RECV && !conn_get(sk, false) && BPF_CORE_READ(sk, __sk_common.skc_num);
}

static __always_inline void conn_end(struct sock *sk, int before)
{
	bool connecting = before == STATE_SYN_SENT || before == STATE_SYN_RECV;
	struct tcp_conn *conn;
	__u64 now_ns;
	__u32 type;

	if (sock_is_twin(sk, before))
		return;
	if (!connecting)
		conn_make_up(sk);
	conn = conn_get(sk, connecting);
	now_ns = bpf_ktime_get_ns();
	if (!conn || conn->closed)
		return;
	if (!conn->cgroup_id) { /* its SYN was sent before we came */
		conn_seed(sk, conn);
		conn->role = before == STATE_SYN_SENT ? TCP_ROLE_CLIENT : TCP_ROLE_SERVER;
	}
	conn->closed = 1;
	/* What was sent again, or tried to be, and no tracepoint told of. */
	type = connecting ? TCP_RETRANSMIT_SYN : retransmit_type(sk, 0);
	conn_retransmitted(sk, conn, type, now_ns);
	recovery_end(conn, !conn->probed, now_ns);
	if (conn->established_ns || conn->old)
		conn_closed(sk, conn, before, now_ns);
	else
		conn_failed(sk, conn, now_ns);
	conn_drop(sk);
}

/* ---- listeners ---- */

static __always_inline void listener_begin(struct sock *sk)
{
	struct tcp_listening *l = listening_get(sk, true);

	if (!l)
		return;
	l->cgroup_id = sock_cgroup(sk);
	l->seed_drops = BPF_CORE_READ(sk, sk_drops.counter);
	l->closed = 0;
}

static __always_inline void listener_end(struct sock *sk)
{
	struct tcp_listening *l = listening_get(sk, false);
	struct tcp_listener_key key = {};
	__u64 at = (__u64)sk, *total, zero = 0;
	struct tcp_end end;
	__u32 drops;

	if (!l || l->closed)
		return;
	l->closed = 1;
	end_of(sk, &end);
	key.cgroup_id = l->cgroup_id;
	key.port = end.local_port;
	__builtin_memcpy(key.address, end.local, 16);
	drops = (__u32)BPF_CORE_READ(sk, sk_drops.counter) - l->seed_drops;
	if (!config.storage)
		bpf_map_delete_elem(&tcp_listenings_hash, &at);
	if (!drops)
		return;
	bpf_map_update_elem(&tcp_listeners_closed, &key, &zero, BPF_NOEXIST);
	total = bpf_map_lookup_elem(&tcp_listeners_closed, &key);
	if (total)
		__sync_fetch_and_add(total, drops);
}

static __always_inline void state_changed(struct sock *sk, int before, int after)
{
	if (after == STATE_SYN_SENT)
		conn_begin(sk);
	else if (after == STATE_ESTABLISHED)
		conn_established(sk, before);
	else if (after == STATE_FIN_WAIT1 || after == STATE_CLOSE_WAIT)
		conn_make_up(sk);
	else if (after == STATE_LISTEN)
		listener_begin(sk);
	else if (after == STATE_CLOSE && before == STATE_LISTEN)
		listener_end(sk);
	else if (after == STATE_CLOSE)
		conn_end(sk, before);
}

SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state, struct sock *sk, int before, int after)
{
	if (sock_is_tcp(sk))
		state_changed(sk, before, after);
	return 0;
}

/* Does the state of the connection say that the change has been taken note of? */
static __always_inline bool change_noted(struct sock *sk, int before, int after)
{
	struct tcp_listening *l;
	struct tcp_conn *conn;

	if (after == STATE_LISTEN || before == STATE_LISTEN) {
		l = listening_get(sk, false);
		return after == STATE_LISTEN ? l && !l->closed : !l || l->closed;
	}
	conn = conn_get(sk, false);
	if (after == STATE_SYN_SENT)
		return conn && conn->start_ns && !conn->established_ns && !conn->closed;
	if (after == STATE_ESTABLISHED)
		return conn ? conn->established_ns : before != STATE_SYN_RECV;
	return conn && conn->closed;
}

/* Since 05b24ff9b2cf (6.2) the kernel leaves a program out while the same one is running on that CPU, in a task that the
 * softirq has interrupted. This one is another, so it runs then, and sees to it that the change is taken note of. Where
 * packets are steered to another CPU (RPS), 15600 changes of 100000 connections were left out. */
SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state_again, struct sock *sk, int before, int after)
{
	if (after != STATE_SYN_SENT && after != STATE_ESTABLISHED && after != STATE_LISTEN && after != STATE_CLOSE)
		return 0;
	if (sock_is_tcp(sk) && !change_noted(sk, before, after))
		state_changed(sk, before, after);
	return 0;
}

/* The last chance to tell of an end. The state it was in before is not known any more. */
SEC("?tp_btf/tcp_destroy_sock")
int BPF_PROG(tcp_destroyed, struct sock *sk)
{
	struct tcp_conn *conn = conn_get(sk, false);
	int before = STATE_SYN_SENT;

	if (!conn || conn->closed || !conn->cgroup_id)
		return 0;
	if (conn->established_ns || conn->old)
		before = BPF_CORE_READ(sk, sk_shutdown) & SEND_SHUTDOWN && !BPF_CORE_READ(sk, sk_err)
				 ? STATE_LAST_ACK
				 : STATE_ESTABLISHED;
	conn_end(sk, before);
	return 0;
}

/* ---- walks ---- */

static __always_inline void live_count(struct sock *sk, struct tcp_conn *conn)
{
	struct tcp_sums sums = {};
	struct tcp_live *live;
	struct tcp_key key;
	__u8 state;

	if (!conn->cgroup_id || conn->closed)
		return;
	state = sock_state(sk);
	if (state == STATE_CLOSE || state == STATE_SYN_SENT || state == STATE_LISTEN || state == STATE_TIME_WAIT)
		return;
	/* Told under the name of its other end, which may need a moment to be known. */
	conn_place(sk, conn, false);
	if (!conn->placed && end_may_be_here(conn->class))
		return;
	sums_key_of(conn, &key);
	rtt_sample(sk, conn, &key);
	live = bpf_map_lookup_elem(&tcp_lives, &key);
	if (!live) {
		bpf_map_update_elem(&tcp_lives, &key, zero_live, BPF_NOEXIST);
		live = bpf_map_lookup_elem(&tcp_lives, &key);
		if (!live)
			return;
	}
	if (live->walk != tcp_walk_number) {
		__builtin_memset(live, 0, sizeof(*live));
		live->walk = tcp_walk_number;
	}
	live->count[conn->role & 1]++;
	sums_read(sk, conn, state, &sums);
	sums_add(conn, &sums, &live->sums);
}

SEC("?iter/bpf_sk_storage_map")
int tcp_walk(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct tcp_conn *conn = ctx->value;
	struct sock *sk = ctx->sk;

	if (conn && sk)
		live_count(sk, conn);
	return 0;
}

/* A socket is met once for each process that has it and each of its descriptors. */
SEC("?iter/task_file")
int tcp_walk_files(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file; /* read once: what is checked must be what is passed */
	struct sock *sk = file_sock(file);
	struct tcp_conn *conn = sk ? conn_get(sk, false) : NULL;
	__u32 walk = tcp_walk_number;

	if (!conn || conn->walk == walk)
		return 0;
	conn->walk = walk;
	live_count(sk, conn);
	return 0;
}

SEC("?iter/bpf_map_elem")
int tcp_walk_hash(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *key = ctx->key;
	struct tcp_conn *conn;
	__u64 at;

	if (!key)
		return 0;
	at = *key;
	conn = bpf_map_lookup_elem(&tcp_conns_hash, &at);
	if (conn)
		live_count((struct sock *)at, conn);
	return 0;
}

static __always_inline void listener_tell(struct sock *sk, struct tcp_listening *l, struct seq_file *seq)
{
	struct tcp_listener row = {};
	struct tcp_end end;

	if (l->closed || !l->cgroup_id || sock_state(sk) != STATE_LISTEN)
		return;
	end_of(sk, &end);
	row.cgroup_id = l->cgroup_id;
	row.port = end.local_port;
	__builtin_memcpy(row.address, end.local, 16);
	row.drops = (__u32)BPF_CORE_READ(sk, sk_drops.counter) - l->seed_drops;
	row.queue = BPF_CORE_READ(sk, sk_ack_backlog);
	row.limit = BPF_CORE_READ(sk, sk_max_ack_backlog);
	bpf_seq_write(seq, &row, sizeof(row));
}

SEC("?iter/bpf_sk_storage_map")
int tcp_listeners(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct tcp_listening *l = ctx->value;
	struct sock *sk = ctx->sk;

	if (l && sk)
		listener_tell(sk, l, seq);
	return 0;
}

SEC("?iter/task_file")
int tcp_listeners_files(struct bpf_iter__task_file *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct file *file = ctx->file;
	struct sock *sk = file_sock(file);
	struct tcp_listening *l = sk ? listening_get(sk, false) : NULL;
	__u32 walk = tcp_walk_number;

	if (!l || l->walk == walk)
		return 0;
	l->walk = walk;
	listener_tell(sk, l, seq);
	return 0;
}

SEC("?iter/bpf_map_elem")
int tcp_listeners_hash(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct tcp_listening *l;
	__u64 *key = ctx->key;
	__u64 at;

	if (!key)
		return 0;
	at = *key;
	l = bpf_map_lookup_elem(&tcp_listenings_hash, &at);
	if (l)
		listener_tell((struct sock *)at, l, seq);
	return 0;
}

/* ---- start: sockets that are there already, as the open files of processes ---- */

static __always_inline void sock_found(struct sock *sk)
{
	struct tcp_conn *conn;
	__u8 state;

	if (!sock_is_tcp(sk))
		return;
	state = sock_state(sk);
	if (state == STATE_LISTEN) {
		if (!listening_get(sk, false))
			listener_begin(sk);
		return;
	}
	if (state == STATE_CLOSE || state == STATE_SYN_SENT || conn_get(sk, false))
		return;
	conn = conn_get(sk, true);
	if (conn)
		conn_seed_old(sk, conn);
}

SEC("?iter/task_file")
int tcp_find(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct sock *sk = file_sock(file);

	if (sk)
		sock_found(sk);
	return 0;
}

/* The helper is of 5.11. Without socket storage nobody needs a pointer that the verifier trusts. */
SEC("?iter/task_file")
int tcp_find_hash(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct socket *sock;
	struct sock *sk;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	sock = BPF_CORE_READ(file, private_data);
	sk = sock ? BPF_CORE_READ(sock, sk) : NULL;
	if (!sk)
		return 0;
	sock_found(sk);
	if (sock_state(sk) == STATE_CLOSE) /* meanwhile: its end has not seen what was made here */
		conn_drop(sk);
	return 0;
}
