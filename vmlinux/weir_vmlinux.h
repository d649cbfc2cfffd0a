/* Kernel types for CO-RE: only the types and the fields that weir reads, kept by hand and reviewed like code.
 *
 * What user space may know too (__sk_buff, bpf_sock, iphdr, tcphdr, ...) comes from the uapi headers; here stands what
 * only the kernel knows. Order and completeness of the members do not matter: every access is a relocation that
 * libbpf resolves against the BTF of the running kernel, so only names and kinds must be right. A field that some
 * kernel lacks is read behind bpf_core_field_exists(), with the commit that moved it. */
#ifndef WEIR_VMLINUX_H
#define WEIR_VMLINUX_H

#include <linux/bpf.h>
#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* --- cgroups ----------------------------------------------------------------------------------------------------- */

struct kernfs_node {
	__u64 id; /* what bpf_skb_cgroup_id() returns for a cgroup, and the inode number of its directory */
};

struct cgroup_root {
	int hierarchy_id; /* 0: the v2 hierarchy */
};

struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct sock_cgroup_data {
	struct cgroup *cgroup; /* since 8486f7a8b1 (5.15); before, a tagged pointer in val */
	__u64 val;
};

/* --- sockets ----------------------------------------------------------------------------------------------------- */

typedef struct {
	__s64 counter;
} atomic64_t;

struct ns_common {
	unsigned int inum; /* number of a namespace, as /proc/PID/ns shows it */
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	unsigned short skc_family;
	volatile unsigned char skc_state;
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned long skc_flags;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
};

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	int owned; /* 1: a task holds it, and only it and nothing below it sends then */
} socket_lock_t;

struct sock {
	struct sock_common __sk_common;
	__u16 sk_type;
	__u16 sk_protocol;
	__u32 sk_shutdown;
	int sk_err;
	socket_lock_t sk_lock;
	atomic_t sk_drops; /* of a listener: SYNs and connections that found no room */
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
	struct sock_cgroup_data sk_cgrp_data;
};

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	__u32 icsk_rto; /* jiffies */
	__u8 icsk_ca_state : 5;
	__u8 icsk_pending;
};

struct minmax_sample {
	__u32 v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 srtt_us; /* smoothed round-trip time << 3 */
	struct minmax rtt_min;
	__u32 rcv_nxt;
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 write_seq;
	__u32 packets_out; /* segments sent and neither acknowledged nor given up */
	__u32 delivered;
	__u64 bytes_received;
	__u64 bytes_retrans;
	__u64 bytes_acked;   /* SYN and FIN included */
	__u32 total_retrans; /* segments */
	__u32 dsack_dups;
	__u32 rcv_ooopack;
	__u32 chrono_start;   /* jiffies */
	__u8 chrono_type : 2; /* which of these grows now, plus one */
	__u32 chrono_stat[3]; /* jiffies busy, limited by the receiver's window, by the send buffer */
};

struct request_sock {
	struct sock_common __req_common;
};

struct sk_buff {
	char cb[48];
	unsigned char *data;
};

struct tcp_skb_cb {
	__u32 end_seq;
	__u16 tcp_gso_segs;
	__u8 tcp_flags; /* 16 bits wide since 4bbb1b2e2ec6 (6.18): the flags of old are the low ones */
};

struct socket {
	struct sock *sk;
};

/* --- tasks ------------------------------------------------------------------------------------------------------- */

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct thread_info {
	__u32 status; /* x86 */
};

struct sched_info {
	unsigned long pcount;		/* waits ended */
	unsigned long long run_delay;	/* their nanoseconds, and those of parts of the present one on other CPUs */
	unsigned long long last_queued; /* 0: it does not wait */
};

struct rq {
	__u64 clock;
};

struct cfs_rq {
	struct rq *rq; /* of its CPU; with CONFIG_FAIR_GROUP_SCHED */
};

struct sched_entity {
	struct cfs_rq *cfs_rq; /* of the CPU that the task is on, whatever its class */
};

struct task_struct {
	struct sched_entity se;
	struct thread_info thread_info;
	unsigned int __state;
	unsigned int flags;
	int wake_cpu;
	unsigned in_iowait : 1;
	struct sched_info sched_info;
	int pid;
	int tgid;
	char comm[16];
	struct css_set *cgroups;
};

struct task_struct___before_5_14 { /* 2f064a59a11f */
	volatile long state;
};

struct pt_regs___x86 {
	unsigned long orig_ax;
};

struct pt_regs___arm64 {
	int syscallno;
};

/* --- iterators --------------------------------------------------------------------------------------------------- */

struct seq_file {
	void *private;
};

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

struct bpf_map {
	__u32 id;
};

struct inode {
	unsigned short i_mode;
};

struct file {
	struct inode *f_inode;
	void *private_data;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

#pragma clang attribute pop

#endif
