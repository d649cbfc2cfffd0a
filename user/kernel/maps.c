#include "kernel/maps.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/why.h"
#include "control.h"
#include "core.h"
#include "kernel/features.h"
#include "kernel/loader.h"

#include "core.skel.h"

struct kernel_maps {
	struct core_bpf *skel;
	struct control *control; /* mapped: one page */
	size_t control_bytes;
	int cgroup_fd;
	struct bpf_link *mkdir_link, *rmdir_link;
};

static int maps_map_control(struct kernel_maps *maps, struct why *why)
{
	void *page;

	maps->control_bytes = sysconf(_SC_PAGESIZE);
	page = mmap(NULL, maps->control_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		    bpf_map__fd(maps->skel->maps.data_control), 0);
	if (page == MAP_FAILED)
		return why_set(why, -errno, "cannot map the control page: %s", strerror(errno));
	maps->control = page;
	return 0;
}

static int maps_open_cgroup(struct kernel_maps *maps, const struct features *features, struct why *why)
{
	if (!features_have(features, FEAT(CGROUP2)))
		return 0;
	maps->cgroup_fd = open(features->cgroup_mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (maps->cgroup_fd < 0)
		return why_set(why, -errno, "cannot open '%s': %s", features->cgroup_mount, strerror(errno));
	return 0;
}

int kernel_maps_open(const struct kernel_maps_options *options, const struct features *features,
		     struct kernel_maps **ret_maps, struct why *why)
{
	bool life = features_have(features, FEAT(TP_BTF));
	struct kernel_maps *maps = calloc(1, sizeof(*maps));
	int err;

	if (!maps)
		return why_set(why, -ENOMEM, "no memory");
	maps->cgroup_fd = -ENOENT;
	maps->skel = core_bpf__open();
	if (!maps->skel) {
		err = why_set(why, -errno, "cannot open the core object: %s", strerror(errno));
		goto out_close;
	}
	bpf_program__set_autoload(maps->skel->progs.core_mkdir, life);
	bpf_program__set_autoload(maps->skel->progs.core_rmdir, life);
	if (options->ring_bytes) {
		err = bpf_map__set_max_entries(maps->skel->maps.events, options->ring_bytes < KERNEL_RING_BYTES_MAX
										? options->ring_bytes
										: KERNEL_RING_BYTES_MAX);
		if (err) {
			why_set(why, err, "cannot set the size of the ring: %s", strerror(-err));
			goto out_close;
		}
	}
	err = loader_load(maps->skel->skeleton, why);
	if (err)
		goto out_close;
	err = maps_map_control(maps, why);
	if (err)
		goto out_close;
	err = maps_open_cgroup(maps, features, why);
	if (err)
		goto out_close;
	if (life) {
		err = loader_attach(maps->skel->progs.core_mkdir, &maps->mkdir_link, why);
		if (!err)
			err = loader_attach(maps->skel->progs.core_rmdir, &maps->rmdir_link, why);
		if (err)
			goto out_close;
	}
	*ret_maps = maps;
	return 0;

out_close:
	kernel_maps_close(maps);
	return err;
}

void kernel_maps_detach(struct kernel_maps *maps)
{
	bpf_link__destroy(maps->mkdir_link);
	bpf_link__destroy(maps->rmdir_link);
	maps->mkdir_link = maps->rmdir_link = NULL;
}

void kernel_maps_close(struct kernel_maps *maps)
{
	if (!maps)
		return;
	kernel_maps_detach(maps);
	if (maps->control)
		munmap(maps->control, maps->control_bytes);
	if (maps->cgroup_fd >= 0)
		close(maps->cgroup_fd);
	core_bpf__destroy(maps->skel);
	free(maps);
}

int kernel_maps_fd(const struct kernel_maps *maps, const char *name)
{
	const struct bpf_map *const shared[] = {
		maps->skel->maps.events,
		maps->skel->maps.data_control,
		maps->skel->maps.jvm_clocks,
		maps->skel->maps.jvm_cgroups,
	};

	for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
		if (strcmp(name, bpf_map__name(shared[i])) == 0)
			return bpf_map__fd(shared[i]);
	return -ENOENT;
}

struct control *kernel_maps_control(const struct kernel_maps *maps)
{
	return maps->control;
}

int kernel_maps_cgroup_fd(const struct kernel_maps *maps)
{
	return maps->cgroup_fd;
}

int kernel_maps_decode(const struct event_hdr *hdr, struct cgroup_change *ret)
{
	const struct core_event *e = (const struct core_event *)hdr;

	if (hdr->size_bytes != sizeof(*e) || (e->kind != CORE_CGROUP_MADE && e->kind != CORE_CGROUP_REMOVED))
		return -EBADMSG;
	*ret = (struct cgroup_change){ .cgroup_id = hdr->cgroup_id, .time_ns = hdr->time_ns };
	ret->made = e->kind == CORE_CGROUP_MADE;
	ret->path = e->path_bytes < CORE_PATH_MAX && !e->path[e->path_bytes] ? e->path : "";
	return 0;
}

void kernel_maps_counts(const struct kernel_maps *maps, __u64 *ret_seen, __u64 *ret_lost)
{
	/* Written by the kernel half at any time, with atomic additions of whole words. */
	*ret_seen = __atomic_load_n(&maps->skel->bss->core_count.seen, __ATOMIC_RELAXED);
	*ret_lost = __atomic_load_n(&maps->skel->bss->core_count.lost, __ATOMIC_RELAXED);
}
