#include "kernel/features.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/why.h"
#include "kernel/loader.h"
#include "kernel/uprobe.h"
#include "kernel/watch.h"

#include "probe.skel.h"

#define BTF_PATH "/sys/kernel/btf/vmlinux"

const struct feature_row feature_rows[FEATURES_COUNT] = {
	[FEATURE_PRIVILEGE] = {
		.feature = FEATURE_PRIVILEGE,
		.name = "privileges",
		.since = "CAP_BPF and CAP_PERFMON: 2c78ee898d8f (5.8)",
		.serves = "loading and attaching programs",
		.remedy = "run as root, or give CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN in the initial user namespace",
	},
	[FEATURE_BTF] = {
		.feature = FEATURE_BTF,
		.name = "kernel types (BTF)",
		.since = "341dfcf8d78e (5.4)",
		.serves = "programs that fit the running kernel",
		.remedy = "a kernel built with CONFIG_DEBUG_INFO_BTF=y, and /sys mounted",
	},
	[FEATURE_CGROUP2] = {
		.feature = FEATURE_CGROUP2,
		.name = "cgroup v2",
		.since = "67e9c74b8a87 (4.5)",
		.serves = "telling containers apart",
		.remedy = "mount it (mount -t cgroup2 none /sys/fs/cgroup/unified), or share /sys/fs/cgroup with this container",
	},
	[FEATURE_RINGBUF] = {
		.feature = FEATURE_RINGBUF,
		.name = "ring buffer",
		.since = "457f44363a88 (5.8)",
		.serves = "records of single events",
		.remedy = "a kernel from 5.10 on",
	},
	[FEATURE_CGROUP_SKB] = {
		.feature = FEATURE_CGROUP_SKB,
		.name = "packet programs on cgroups",
		.since = "af6eea57437a (5.7)",
		.serves = "seeing what sockets send and receive",
		.remedy = "a kernel with CONFIG_CGROUP_BPF=y; no other program may hold the cgroup root for itself alone (bpftool cgroup tree)",
	},
	[FEATURE_SK_STORAGE] = {
		.feature = FEATURE_SK_STORAGE,
		.name = "socket storage",
		.since = "6ac99e8f23d4 (5.2)",
		.serves = "the state of each connection",
		.remedy = "a kernel from 5.10 on",
	},
	[FEATURE_TP_BTF] = {
		.feature = FEATURE_TP_BTF,
		.name = "typed tracepoints",
		.since = "f1b9509c2fb0 (5.5)",
		.serves = "connections that end without a packet, and cgroups as they are made",
		.remedy = "CAP_PERFMON, and a kernel whose lockdown is not 'confidentiality'",
	},
	[FEATURE_TP_BTF_SK_STORAGE] = {
		.feature = FEATURE_TP_BTF_SK_STORAGE,
		.name = "socket storage in tracepoints",
		.since = "8e4597c627fb (5.11)",
		.serves = "nothing: without it a table by socket cookie does the same",
		.remedy = "none is needed",
	},
	[FEATURE_SK_STORAGE_ITER] = {
		.feature = FEATURE_SK_STORAGE_ITER,
		.name = "listing of socket storage",
		.since = "5ce6e77c7edf (5.9)",
		.serves = "nothing: without it the open files of all processes are gone through",
		.remedy = "none is needed",
	},
	[FEATURE_TP_CONGESTION] = {
		.feature = FEATURE_TP_CONGESTION,
		.name = "tracepoint of congestion states",
		.since = "15fcdf6ae116 (5.16)",
		.serves = "nothing: without it each acknowledgement is looked at while something is being sent again",
		.remedy = "none is needed",
	},
	[FEATURE_SOCK_FROM_FILE] = {
		.feature = FEATURE_SOCK_FROM_FILE,
		.name = "sockets among open files",
		.since = "4f19cab76136 (5.11)",
		.serves = "nothing: without it the fields of the file say the same",
		.remedy = "none is needed",
	},
	[FEATURE_SOCK_WALK] = {
		.feature = FEATURE_SOCK_WALK,
		.name = "walk over sockets",
		.since = "listing of socket storage (5.9), or sockets among open files (5.11)",
		.serves = "the number of requests in flight; round-trip times and bytes of connections",
		.remedy = "a kernel from 5.10 on that allows one of the two",
	},
	[FEATURE_RUN_QUEUES] = {
		.feature = FEATURE_RUN_QUEUES,
		.name = "run queues",
		.since = "bc4278987e38 (5.8), a walk of threads: eaaacd23910f (5.8)",
		.serves = "waits for a CPU",
		.remedy = "a kernel with CONFIG_FAIR_GROUP_SCHED=y and CONFIG_SCHED_INFO=y (CONFIG_TASK_DELAY_ACCT=y or CONFIG_SCHEDSTATS=y)",
	},
	[FEATURE_SENDER] = {
		.feature = FEATURE_SENDER,
		.name = "sender of a packet",
		.since = "2c78ee898d8f (5.8)",
		.serves = "how long a JVM stood still during a request",
		.remedy = "CAP_PERFMON, and a kernel whose lockdown is not 'confidentiality'",
	},
	[FEATURE_TASK_PT_REGS] = {
		.feature = FEATURE_TASK_PT_REGS,
		.name = "registers of a thread",
		.since = "dd6e10fbd9fb (5.15)",
		.serves = "telling locks, sleep and polling apart from other reasons to leave the CPU",
		.remedy = "a kernel from 5.15 on",
	},
	[FEATURE_UPROBE] = {
		.feature = FEATURE_UPROBE,
		.name = "probes in programs",
		.since = "33ea4b24277b (4.17)",
		.serves = "events inside programs as they happen",
		.remedy = "a kernel with CONFIG_UPROBE_EVENTS=y; CAP_SYS_ADMIN where there are not many probes by one link",
	},
	[FEATURE_UPROBE_MULTI] = {
		.feature = FEATURE_UPROBE_MULTI,
		.name = "many probes by one link",
		.since = "89ae89f53d20 (6.6)",
		.serves = "nothing: without it each place is attached to by itself, which takes CAP_SYS_ADMIN (ba677dbe77af)",
		.remedy = "none is needed",
	},
	[FEATURE_WATCH] = {
		.feature = FEATURE_WATCH,
		.name = "watchpoints",
		.since = "0515e5999a46 (4.9)",
		.serves = "events inside programs that have no places for probes",
		.remedy = "a machine, or a hypervisor, that lends debug registers",
	},
};

static void feature_set(struct features *f, enum feature feature)
{
	f->have |= 1u << feature;
	f->reasons[feature][0] = '\0';
}

__attribute__((format(printf, 3, 4))) static void feature_lack(struct features *f, enum feature feature,
							       const char *format, ...)
{
	va_list args;

	f->have &= ~(1u << feature);
	va_start(args, format);
	vsnprintf(f->reasons[feature], sizeof(f->reasons[feature]), format, args);
	va_end(args);
}

/* The root may be held by a program that allows no others beside it. */
static void attach_cgroup(struct features *f, const struct probe_bpf *skel)
{
	struct bpf_link *link = NULL;
	struct why why = { "" };
	int fd, err;

	if (!features_have(f, FEAT(CGROUP2)))
		return;
	fd = open(f->cgroup_mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		feature_lack(f, FEATURE_CGROUP_SKB, "cannot open '%s': %s", f->cgroup_mount, strerror(errno));
		return;
	}
	err = loader_attach_cgroup(skel->progs.probe_cgroup_skb, fd, &link, &why);
	close(fd);
	if (err)
		feature_lack(f, FEATURE_CGROUP_SKB, "%.150s", why.text);
	bpf_link__destroy(link);
}

/* Where features_probe() is in our own file; 1 ends the walk, which begins with the program. */
static int own_place(struct dl_phdr_info *info, size_t bytes, void *ret_offset)
{
	const __u64 address = (uintptr_t)features_probe - info->dlpi_addr;

	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];

		if (segment->p_type == PT_LOAD && address - segment->p_vaddr < segment->p_filesz)
			*(__u64 *)ret_offset = address - segment->p_vaddr + segment->p_offset;
	}
	return 1;
}

/* On a function of ours that is called once. */
static void attach_own(struct features *f, enum feature feature, const struct bpf_program *prog)
{
	bool multi = feature == FEATURE_UPROBE_MULTI;
	struct uprobe *uprobe = NULL;
	__u64 offset = 0;
	struct why why;

	dl_iterate_phdr(own_place, &offset);
	if (uprobe_attach(prog, "/proc/self/exe", &offset, 1, multi, &uprobe, &why))
		feature_lack(f, feature, "%.150s", why.text);
	uprobe_free(uprobe);
}

static void attach_uprobe(struct features *f, const struct probe_bpf *skel)
{
	attach_own(f, FEATURE_UPROBE, skel->progs.probe_uprobe);
}

/* Measured on 6.18: takes CAP_BPF and CAP_PERFMON only. */
static void attach_uprobe_multi(struct features *f, const struct probe_bpf *skel)
{
	attach_own(f, FEATURE_UPROBE_MULTI, skel->progs.probe_uprobe_multi);
	if (features_have(f, FEAT(UPROBE_MULTI)))
		feature_set(f, FEATURE_UPROBE);
}

static void attach_watch(struct features *f, const struct probe_bpf *skel)
{
	struct bpf_link *link = NULL;
	__u64 watched = 0;
	struct why why;

	if (watch_attach(skel->progs.probe_watch, (__u32)gettid(), (uintptr_t)&watched, &link, &why))
		feature_lack(f, FEATURE_WATCH, "%.150s", why.text);
	bpf_link__destroy(link);
}

/* Which program asks, and which maps it needs; a kernel that lacks a kind of map refuses the whole object. By age,
 * so that what is missing lies together; the first one is refused by kernels of any age. UPROBE_MULTI after UPROBE. */
static const struct probe {
	enum feature feature;
	const char *program;
	bool ring, storage;
	void (*attach)(struct features *f, const struct probe_bpf *skel); /* that it loads is not all */
} probes[] = {
	{ .feature = FEATURE_SK_STORAGE_ITER, .program = "probe_sk_storage_iter" },
	{ .feature = FEATURE_RINGBUF, .program = "probe_ringbuf", .ring = true },
	{ .feature = FEATURE_CGROUP_SKB, .program = "probe_cgroup_skb", .attach = attach_cgroup },
	{ .feature = FEATURE_SK_STORAGE, .program = "probe_sk_storage", .storage = true },
	{ .feature = FEATURE_TP_BTF, .program = "probe_tp_btf" },
	{ .feature = FEATURE_RUN_QUEUES, .program = "probe_run_queues" },
	{ .feature = FEATURE_SENDER, .program = "probe_sender" },
	{ .feature = FEATURE_UPROBE, .program = "probe_uprobe", .attach = attach_uprobe },
	{ .feature = FEATURE_WATCH, .program = "probe_watch", .attach = attach_watch },
	{ .feature = FEATURE_TP_BTF_SK_STORAGE, .program = "probe_tp_btf_sk_storage", .storage = true },
	{ .feature = FEATURE_SOCK_FROM_FILE, .program = "probe_sock_from_file" },
	{ .feature = FEATURE_TASK_PT_REGS, .program = "probe_task_pt_regs" },
	{ .feature = FEATURE_TP_CONGESTION, .program = "probe_tp_congestion" },
	{ .feature = FEATURE_UPROBE_MULTI, .program = "probe_uprobe_multi", .attach = attach_uprobe_multi },
};
#define PROBES_COUNT (sizeof(probes) / sizeof(probes[0]))

/* Opens the probe object with the programs of @mask (bits by place in probes[]) and loads it. */
static int probe_load(unsigned mask, struct probe_bpf **ret_skel, struct why *why)
{
	struct probe_bpf *skel = probe_bpf__open();
	bool ring = false, storage = false;
	int err;

	if (!skel)
		return why_set(why, -errno, "cannot open the probe object: %s", strerror(errno));
	for (size_t i = 0; i < PROBES_COUNT; i++) {
		bool load = mask & 1u << i;

		err = loader_choose(skel->obj, probes[i].program, load, why);
		if (err)
			goto out_close;
		ring |= load && probes[i].ring;
		storage |= load && probes[i].storage;
	}
	err = uprobe_prepare(skel->progs.probe_uprobe_multi, true, why);
	if (err)
		goto out_close;
	bpf_map__set_autocreate(skel->maps.probe_ring, ring);
	bpf_map__set_autocreate(skel->maps.probe_storage, storage);
	err = loader_load(skel->skeleton, why);
	if (err)
		goto out_close;
	*ret_skel = skel;
	return 0;

out_close:
	probe_bpf__destroy(skel);
	return err;
}

static void probe_privilege(struct features *f)
{
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
		{ CAP_BPF, "CAP_BPF" },
		{ CAP_PERFMON, "CAP_PERFMON" },
		{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
	};
	char missing[64] = "";
	size_t used = 0;

	if (capng_get_caps_process()) {
		feature_lack(f, FEATURE_PRIVILEGE, "the capabilities of this process cannot be read");
		return;
	}
	feature_set(f, FEATURE_PRIVILEGE);
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN))
		return;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!capng_have_capability(CAPNG_EFFECTIVE, needed[i].cap))
			used += snprintf(missing + used, sizeof(missing) - used, "%s%s", used ? ", " : "",
					 needed[i].name);
	if (used)
		feature_lack(f, FEATURE_PRIVILEGE, "without %s", missing);
}

static void probe_btf(struct features *f)
{
	int fd = open(BTF_PATH, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		feature_lack(f, FEATURE_BTF, "cannot read %s: %s", BTF_PATH, strerror(errno));
		return;
	}
	close(fd);
	feature_set(f, FEATURE_BTF);
}

static void probe_cgroup2(struct features *f, const char *mount)
{
	size_t length = mount ? strlen(mount) : 0;
	struct statfs fs;

	if (!mount) {
		feature_lack(f, FEATURE_CGROUP2, "no cgroup v2 hierarchy is mounted");
	} else if (length >= sizeof(f->cgroup_mount)) {
		feature_lack(f, FEATURE_CGROUP2, "the path of its mount is too long");
	} else if (statfs(mount, &fs)) {
		feature_lack(f, FEATURE_CGROUP2, "cannot look at '%s': %s", mount, strerror(errno));
	} else if (fs.f_type != CGROUP2_SUPER_MAGIC) {
		feature_lack(f, FEATURE_CGROUP2, "'%s' is no cgroup v2 hierarchy", mount);
	} else {
		memcpy(f->cgroup_mount, mount, length + 1);
		feature_set(f, FEATURE_CGROUP2);
	}
}

static void probe_loaded(struct features *f, const struct probe *probe, const struct probe_bpf *skel)
{
	feature_set(f, probe->feature);
	if (probe->attach)
		probe->attach(f, skel);
}

/* Most kernels have all: one load instead of many, each of which reads the kernel's types (0.1 s). What is refused is
 * tried again by halves, until the one that is missing stands alone. */
static void probe_programs(struct features *f, size_t first, size_t count)
{
	struct probe_bpf *skel = NULL;
	struct why why;

	if (!probe_load(((1u << count) - 1) << first, &skel, &why)) {
		for (size_t i = first; i < first + count; i++)
			probe_loaded(f, &probes[i], skel);
		probe_bpf__destroy(skel);
	} else if (count > 1) {
		probe_programs(f, first, count / 2);
		probe_programs(f, first + count / 2, count - count / 2);
	} else {
		feature_lack(f, probes[first].feature, "%.150s", why.text);
	}
}

/* CAP_SYS_RESOURCE may be missing: then what is allowed has to do, and since 5.11 it does not matter. */
static void lift_memlock(void)
{
	struct rlimit limit = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };

	if (!setrlimit(RLIMIT_MEMLOCK, &limit) || getrlimit(RLIMIT_MEMLOCK, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &limit);
}

/* Over all that is kept of sockets, or over the sockets of open files and then to what is kept of each. */
static void derive_walk(struct features *f)
{
	if (features_have(f, FEAT(SK_STORAGE_ITER)) || features_have(f, FEAT(SOCK_FROM_FILE) | FEAT(TP_BTF_SK_STORAGE)))
		feature_set(f, FEATURE_SOCK_WALK);
	else
		feature_lack(f, FEATURE_SOCK_WALK, "%s", f->reasons[FEATURE_SK_STORAGE_ITER]);
}

/* Features that WEIR_LACKS names count as missing: how the other ways are tried on a kernel that has everything. */
static void lack_by_environment(struct features *f)
{
	const char *list = getenv("WEIR_LACKS");

	for (int i = 0; list && i < FEATURES_COUNT; i++) {
		const char *name = feature_rows[i].name, *at = strstr(list, name);
		size_t length = strlen(name);

		if (at && (at == list || at[-1] == ',') && (!at[length] || at[length] == ','))
			feature_lack(f, i, "WEIR_LACKS names it");
	}
}

void features_probe(struct features *ret, const char *cgroup_mount)
{
	*ret = (struct features){ .cpus = libbpf_num_possible_cpus() };
	if (ret->cpus < 1)
		ret->cpus = 1;
	loader_init();
	lift_memlock();
	probe_privilege(ret);
	probe_btf(ret);
	probe_cgroup2(ret, cgroup_mount);
	if (features_have(ret, FEAT(PRIVILEGE) | FEAT(BTF))) {
		probe_programs(ret, 0, PROBES_COUNT);
	} else {
		for (size_t i = 0; i < PROBES_COUNT; i++)
			feature_lack(ret, probes[i].feature, "cannot be tried without %s",
				     feature_rows[ret->have & FEAT(PRIVILEGE) ? FEATURE_BTF : FEATURE_PRIVILEGE].name);
	}
	lack_by_environment(ret);
	derive_walk(ret);
}

int features_check(const struct features *f, unsigned needs, struct why *why)
{
	for (int i = 0; i < FEATURES_COUNT; i++)
		if (needs & ~f->have & 1u << i)
			return why_set(why, -ENOTSUP, "no %s: %s; remedy: %s", feature_rows[i].name,
				       f->reasons[i][0] ? f->reasons[i] : "not available", feature_rows[i].remedy);
	return 0;
}
