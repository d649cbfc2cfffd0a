#include "kernel/iter.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/why.h"

#define ROWS_BYTES (16u << 10)

int iter_attach(struct bpf_program *prog, int map_fd, struct bpf_link **ret_link, struct why *why)
{
	union bpf_iter_link_info info = { .map.map_fd = map_fd };
	DECLARE_LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_link *link = bpf_program__attach_iter(prog, map_fd >= 0 ? &opts : NULL);

	if (!link)
		return why_set(why, -errno, "cannot attach the walk '%s': %s", bpf_program__name(prog),
			       strerror(errno));
	*ret_link = link;
	return 0;
}

/* The kernel writes whole rows; a read may end in the middle of one. */
static int iter_rows(int fd, size_t row_bytes, void (*row)(void *arg, const void *row), void *arg)
{
	_Alignas(8) char rows[ROWS_BYTES];
	size_t have = 0;
	ssize_t got;

	/* -EAGAIN: the kernel has walked a long way without a row, and goes on from there. */
	while ((got = read(fd, rows + have, sizeof(rows) - have)) > 0 || (got < 0 && errno == EAGAIN)) {
		size_t used = 0;

		have += got > 0 ? (size_t)got : 0;
		for (; row && have - used >= row_bytes; used += row_bytes)
			row(arg, rows + used);
		if (!row)
			used = have;
		memmove(rows, rows + used, have - used);
		have -= used;
	}
	return got < 0 ? -errno : 0;
}

int iter_run(const struct bpf_link *link, size_t row_bytes, void (*row)(void *arg, const void *row), void *arg)
{
	int fd, err;

	if (row && (!row_bytes || row_bytes > ITER_ROW_MAX))
		return -EINVAL;
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0)
		return -errno;
	err = iter_rows(fd, row_bytes, row, arg);
	close(fd);
	return err;
}
