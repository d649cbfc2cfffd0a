#include "kernel/loader.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/why.h"
#include "kernel/maps.h"

#define SAID_LINES	3
#define SAID_LINE_BYTES 120

/* What libbpf said last. Its print callback has no argument of ours, and only the loop's thread loads programs: a
 * static is all there is. Cleared before each load. */
static struct said {
	char lines[SAID_LINES][SAID_LINE_BYTES];
	unsigned count;
} said;

/* Frame of the verifier's log and what libbpf says around it: true, and of no use to a reader. */
static bool said_noise(const char *line)
{
	static const char *const noise[] = {
		"-- BEGIN PROG LOAD LOG", "-- END PROG LOAD LOG", "processed ",	  "failed to load object",
		"verification time",	  "stack depth",	  "mark_precise", "failed to load BPF skeleton",
	};

	for (size_t i = 0; i < sizeof(noise) / sizeof(noise[0]); i++)
		if (strstr(line, noise[i]))
			return true;
	return !*line || *line == ';';
}

static void said_line(const char *line)
{
	char *to;

	if (strncmp(line, "libbpf: ", 8) == 0)
		line += 8;
	while (*line == ' ' || *line == '\t')
		line++;
	if (said_noise(line))
		return;
	to = said.lines[said.count++ % SAID_LINES];
	snprintf(to, SAID_LINE_BYTES, "%s", line);
}

static int loader_print(enum libbpf_print_level level, const char *format, va_list args)
{
	char *text, *rest;

	if (level == LIBBPF_DEBUG || vasprintf(&text, format, args) < 0)
		return 0;
	rest = text;
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (*line)
			log_debug("%s", line);
		said_line(line);
	}
	free(text);
	return 0;
}

/* The last lines in order, in one. */
static const char *said_text(char *ret, size_t room)
{
	unsigned first = said.count > SAID_LINES ? said.count - SAID_LINES : 0;
	size_t used = 0;

	*ret = '\0';
	for (unsigned i = first; i < said.count && used < room; i++)
		used += snprintf(ret + used, room - used, "%s%s", used ? " | " : ": ", said.lines[i % SAID_LINES]);
	return ret;
}

void loader_init(void)
{
	libbpf_set_print(loader_print);
}

int loader_share(struct bpf_object *obj, const struct kernel_maps *maps, struct why *why)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj) {
		int fd = kernel_maps_fd(maps, bpf_map__name(map));
		int err;

		if (fd < 0)
			continue;
		err = bpf_map__reuse_fd(map, fd);
		if (err)
			return why_set(why, err, "cannot share map '%s': %s", bpf_map__name(map), strerror(-err));
	}
	return 0;
}

int loader_choose(struct bpf_object *obj, const char *program, bool load, struct why *why)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, program);
	int err;

	if (!prog)
		return why_set(why, -ENOENT, "no program '%s' in object '%s'", program, bpf_object__name(obj));
	err = bpf_program__set_autoload(prog, load);
	if (err)
		return why_set(why, err, "cannot choose program '%s': %s", program, strerror(-err));
	return 0;
}

/* Its type is that of a function whose first argument is not passed on: typedef void (*btf_trace_NAME)(void *, ...). */
int loader_tracepoint_args(const char *name)
{
	struct btf *btf = btf__load_vmlinux_btf();
	const struct btf_type *type;
	char typedef_name[128];
	int id, count = -ENOENT;

	if (!btf)
		return -errno;
	snprintf(typedef_name, sizeof(typedef_name), "btf_trace_%s", name);
	id = btf__find_by_name_kind(btf, typedef_name, BTF_KIND_TYPEDEF);
	type = id > 0 ? btf__type_by_id(btf, id) : NULL;
	type = type ? btf__type_by_id(btf, type->type) : NULL;
	if (type && btf_is_ptr(type)) {
		type = btf__type_by_id(btf, type->type);
		if (type && btf_is_func_proto(type) && btf_vlen(type) > 0)
			count = btf_vlen(type) - 1;
	}
	btf__free(btf);
	return count;
}

int loader_load(struct bpf_object_skeleton *skel, struct why *why)
{
	char text[SAID_LINES * SAID_LINE_BYTES];
	int err;

	said.count = 0;
	err = bpf_object__load_skeleton(skel);
	if (err)
		return why_set(why, err, "the kernel refuses the programs of '%s' (%s)%s", skel->name, strerror(-err),
			       said_text(text, sizeof(text)));
	return 0;
}

static int loader_linked(struct bpf_program *prog, struct bpf_link *link, struct bpf_link **ret_link, struct why *why)
{
	char text[SAID_LINES * SAID_LINE_BYTES];

	if (!link) {
		int err = -errno;

		return why_set(why, err, "cannot attach program '%s' (%s)%s", bpf_program__name(prog), strerror(-err),
			       said_text(text, sizeof(text)));
	}
	*ret_link = link;
	return 0;
}

int loader_attach(struct bpf_program *prog, struct bpf_link **ret_link, struct why *why)
{
	said.count = 0;
	return loader_linked(prog, bpf_program__attach(prog), ret_link, why);
}

int loader_attach_cgroup(struct bpf_program *prog, int cgroup_fd, struct bpf_link **ret_link, struct why *why)
{
	said.count = 0;
	return loader_linked(prog, bpf_program__attach_cgroup(prog, cgroup_fd), ret_link, why);
}
