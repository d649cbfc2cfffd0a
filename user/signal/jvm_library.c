#include "signal/jvm_library.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "base/why.h"
#include "kernel/elf_file.h"
#include "kernel/process_maps.h"
#include "kernel/uprobe.h"

#define MAPS_MAX   16 /* mappings of one library: one for each segment, a few more where they were split */
#define SITES_MAX  32 /* of one probe: it has as many as the compiler made copies of the function around it */
#define PROBES_MAX 12

/* What a library has and where we look. */
struct library {
	struct jvm_library shown; /* first: callers have a pointer to it */
	__u64 inode;
	__u64 bytes;
	__u64 site;  /* file offset of a place that an attachment changes */
	__u8 before; /* the byte there in the file */
	struct uprobe *probes[PROBES_MAX];
	unsigned probes_count;
	__u64 unused_ns; /* since when; of no meaning while .processes */
};

struct jvm_libraries {
	struct jvm_libraries_options options;
	struct library *list[JVM_LIBRARIES_MAX];
	unsigned count;
};

/* One process's view of a library. */
struct mapped {
	__u32 pid;
	struct process_map maps[MAPS_MAX];
	int maps_count;
	int fd;
	char path[64]; /* below /proc, for the kernel to open */
};

struct jvm_libraries *jvm_libraries_new(const struct jvm_libraries_options *options)
{
	struct jvm_libraries *l = calloc(1, sizeof(*l));

	if (l)
		l->options = *options;
	return l;
}

static void library_free(struct library *lib)
{
	while (lib->probes_count)
		uprobe_free(lib->probes[--lib->probes_count]);
	free(lib);
}

void jvm_libraries_free(struct jvm_libraries *l)
{
	if (!l)
		return;
	while (l->count)
		library_free(l->list[--l->count]);
	free(l);
}

/* ---- which register */

int jvm_argument_register(const char *arguments)
{
	static const char *const names[] = {
#if defined(__x86_64__)
		/* struct pt_regs of arch/x86/include/uapi/asm/ptrace.h */
		"%r15",
		"%r14",
		"%r13",
		"%r12",
		"%rbp",
		"%rbx",
		"%r11",
		"%r10",
		"%r9",
		"%r8",
		"%rax",
		"%rcx",
		"%rdx",
		"%rsi",
		"%rdi",
#else
		/* struct user_pt_regs of arch/arm64/include/uapi/asm/ptrace.h */
		"x0",
		"x1",
		"x2",
		"x3",
		"x4",
		"x5",
		"x6",
		"x7",
		"x8",
		"x9",
		"x10",
		"x11",
		"x12",
		"x13",
		"x14",
		"x15",
		"x16",
		"x17",
		"x18",
		"x19",
		"x20",
		"x21",
		"x22",
		"x23",
		"x24",
		"x25",
		"x26",
		"x27",
		"x28",
		"x29",
		"x30",
#endif
	};
	size_t length;

	if (!str_starts(arguments, "8@") && !str_starts(arguments, "-8@"))
		return -ENOTSUP;
	arguments = strchr(arguments, '@') + 1;
	length = strcspn(arguments, " ");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (mem_equals_str(arguments, length, names[i]))
			return (int)i;
	return -ENOTSUP;
}

/* ---- attach */

static struct bpf_program *library_program(struct jvm_libraries *l, const char *name)
{
	return bpf_object__find_program_by_name(l->options.obj, name);
}

static int library_attach(struct jvm_libraries *l, struct library *lib, const char *path, const char *program,
			  const __u64 *offsets, unsigned count, struct why *why)
{
	struct bpf_program *prog = library_program(l, program);
	int err;

	if (!prog || lib->probes_count == PROBES_MAX)
		return why_set(why, -ENOENT, "no program '%s'", program);
	err = uprobe_attach(prog, path, offsets, count, l->options.multi, &lib->probes[lib->probes_count], why);
	lib->probes_count += !err;
	return err;
}

static void library_detach(struct library *lib)
{
	while (lib->probes_count)
		uprobe_free(lib->probes[--lib->probes_count]);
}

static int attach_sites(struct jvm_libraries *l, struct library *lib, const char *path, const char *program,
			const struct elf_site *sites, int count, struct why *why)
{
	__u64 offsets[SITES_MAX];

	for (int i = 0; i < count; i++)
		offsets[i] = sites[i].offset;
	return library_attach(l, lib, path, program, offsets, count, why);
}

/* Those sites where the name is in the same register share a program. */
static int attach_operations(struct jvm_libraries *l, struct library *lib, const char *path,
			     const struct elf_site *sites, int count, struct why *why)
{
	__u64 offsets[SITES_MAX];
	bool done[SITES_MAX] = { false };
	char program[64];
	int err = 0;

	for (int i = 0; i < count && !err; i++) {
		int number = jvm_argument_register(sites[i].arguments);
		unsigned same = 0;

		if (done[i] || number < 0)
			continue;
		for (int k = i; k < count; k++) {
			if (jvm_argument_register(sites[k].arguments) != number)
				continue;
			done[k] = true;
			offsets[same++] = sites[k].offset;
		}
		snprintf(program, sizeof(program), "jvm_usdt_operation_%d", number);
		err = library_attach(l, lib, path, program, offsets, same, why);
	}
	return err;
}

/* The argument of the function at whose first instruction the probe is, if it is there: time since all had stopped. */
static bool end_has_argument(struct elf_file *elf, const struct elf_site *end)
{
	struct elf_site symbol;

	return !elf_file_symbol(elf, "_ZN14RuntimeService20record_safepoint_endEl", &symbol) &&
	       symbol.offset == end->offset;
}

static int attach_usdt(struct jvm_libraries *l, struct library *lib, struct elf_file *elf, const char *path,
		       struct why *why)
{
	struct elf_site begin[SITES_MAX], end[SITES_MAX], operation[SITES_MAX], over[SITES_MAX];
	int begins = elf_file_usdt(elf, "hs_private", "safepoint__begin", begin, SITES_MAX);
	int ends = elf_file_usdt(elf, "hs_private", "safepoint__end", end, SITES_MAX);
	int operations = elf_file_usdt(elf, "hotspot", "vmops__begin", operation, SITES_MAX);
	int overs = elf_file_usdt(elf, "hotspot", "vmops__end", over, SITES_MAX);
	int err;

	if (begins <= 0 || ends <= 0)
		return why_set(why, -ENOENT, "it was built without probes (USDT)");
	/* What ends safepoints first, so that none begins that could not end. */
	err = attach_sites(l, lib, path, "jvm_usdt_end", end, ends, why);
	if (!err && overs > 0)
		err = attach_sites(l, lib, path, "jvm_usdt_operation_end", over, overs, why);
	if (!err && operations > 0)
		err = attach_operations(l, lib, path, operation, operations, why);
	if (!err)
		err = attach_sites(l, lib, path, "jvm_usdt_begin", begin, begins, why);
	if (err)
		return err;
	lib->shown.argument = ends == 1 && end_has_argument(elf, &end[0]);
	lib->site = begin[0].offset;
	return 0;
}

static int attach_symbols(struct jvm_libraries *l, struct library *lib, struct elf_file *elf, const char *path,
			  struct why *why)
{
	/* Until 11 they have no argument. */
	static const struct {
		const char *program, *plain, *with_argument;
	} moments[] = {
		{ "jvm_symbol_end", "_ZN14RuntimeService20record_safepoint_endEv",
		  "_ZN14RuntimeService20record_safepoint_endEl" },
		{ "jvm_symbol_synchronised", "_ZN14RuntimeService29record_safepoint_synchronizedEv",
		  "_ZN14RuntimeService29record_safepoint_synchronizedEl" },
		{ "jvm_symbol_begin", "_ZN14RuntimeService22record_safepoint_beginEv",
		  "_ZN14RuntimeService22record_safepoint_beginEl" },
	};
	struct elf_site site;
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(moments) / sizeof(moments[0]); i++) {
		if (elf_file_symbol(elf, moments[i].with_argument, &site) &&
		    elf_file_symbol(elf, moments[i].plain, &site))
			return why_set(why, -ENOENT, "its symbols were stripped");
		err = attach_sites(l, lib, path, moments[i].program, &site, 1, why);
	}
	lib->site = site.offset;
	return err;
}

/* ---- processes and files */

static bool map_is_library(const char *path)
{
	return path_ends_in(path, JVM_LIBRARY_NAME);
}

static int mapped_open(struct jvm_libraries *l, __u32 pid, struct mapped *ret, struct why *why)
{
	*ret = (struct mapped){ .pid = pid, .fd = -1 };
	ret->maps_count = process_maps_find(l->options.proc, pid, map_is_library, ret->maps, MAPS_MAX);
	if (ret->maps_count <= 0)
		return why_set(why, ret->maps_count ? ret->maps_count : -ENOENT, "it has no " JVM_LIBRARY_NAME);
	ret->fd = process_map_open(l->options.proc, pid, &ret->maps[0]);
	if (ret->fd < 0)
		return why_set(why, ret->fd, "cannot open its " JVM_LIBRARY_NAME ": %s", strerror(-ret->fd));
	/* Whatever way it was opened. */
	snprintf(ret->path, sizeof(ret->path), "/proc/self/fd/%d", ret->fd);
	return 0;
}

/* The byte at file offset @offset as the process has it now, or negative errno. */
static int mapped_byte(struct jvm_libraries *l, const struct mapped *m, __u64 offset)
{
	char path[64];
	__u8 byte;
	int fd, err = -ENOENT;

	snprintf(path, sizeof(path), "%s/%u/mem", l->options.proc, m->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (int i = 0; i < m->maps_count; i++) {
		const struct process_map *map = &m->maps[i];

		if (offset < map->offset || offset - map->offset >= map->end - map->start)
			continue;
		err = pread(fd, &byte, 1, (off_t)(map->start + (offset - map->offset))) == 1 ? byte : -errno;
		break;
	}
	close(fd);
	return err;
}

/* The same file as far as one can see, and where we are attached to it this process has what we put there. */
static bool library_serves(struct jvm_libraries *l, const struct library *lib, const struct mapped *m,
			   const struct stat *st, const char *build_id)
{
	int byte;

	if (lib->inode != st->st_ino || lib->bytes != (__u64)st->st_size || strcmp(lib->shown.build_id, build_id))
		return false;
	if (!lib->probes_count)
		return true;
	byte = mapped_byte(l, m, lib->site);
	return byte < 0 || byte != lib->before;
}

static struct library *library_find(struct jvm_libraries *l, const struct mapped *m, const struct stat *st,
				    const char *build_id)
{
	for (unsigned i = 0; i < l->count; i++)
		if (library_serves(l, l->list[i], m, st, build_id))
			return l->list[i];
	return NULL;
}

/* The best source that the file has and that is wanted. */
static void library_choose(struct jvm_libraries *l, struct library *lib, struct elf_file *elf, const struct mapped *m)
{
	struct why why = { "" };

	if (!l->options.attach) {
		snprintf(lib->shown.why, sizeof(lib->shown.why), "no uprobes here");
		return;
	}
	if (l->options.at_best <= JVM_SOURCE_USDT) {
		if (!attach_usdt(l, lib, elf, m->path, &why)) {
			lib->shown.source = JVM_SOURCE_USDT;
			return;
		}
		library_detach(lib);
		snprintf(lib->shown.why, sizeof(lib->shown.why), "%.150s", why.text);
	}
	if (l->options.at_best > JVM_SOURCE_SYMBOLS)
		return;
	if (!attach_symbols(l, lib, elf, m->path, &why)) {
		lib->shown.source = JVM_SOURCE_SYMBOLS;
		return;
	}
	library_detach(lib);
	snprintf(lib->shown.why, sizeof(lib->shown.why), "%.150s", why.text);
}

static int library_new(struct jvm_libraries *l, struct elf_file *elf, const struct mapped *m, const struct stat *st,
		       struct library **ret, struct why *why)
{
	struct library *lib;

	if (l->count == JVM_LIBRARIES_MAX)
		return why_set(why, -ENOSPC, "more than %d different " JVM_LIBRARY_NAME, JVM_LIBRARIES_MAX);
	lib = calloc(1, sizeof(*lib));
	if (!lib)
		return why_set(why, -ENOMEM, "no memory");
	lib->inode = st->st_ino;
	lib->bytes = st->st_size;
	str_copy(lib->shown.build_id, sizeof(lib->shown.build_id), elf_file_build_id(elf));
	utf8_sanitise(m->maps[0].path, strlen(m->maps[0].path), lib->shown.path, sizeof(lib->shown.path));
	library_choose(l, lib, elf, m);
	if (lib->probes_count && pread(m->fd, &lib->before, 1, (off_t)lib->site) != 1)
		lib->before = 0;
	l->list[l->count++] = lib;
	*ret = lib;
	return 0;
}

int jvm_library_get(struct jvm_libraries *l, __u32 pid, struct jvm_library **ret, struct why *why)
{
	struct library *lib = NULL;
	struct elf_file *elf = NULL;
	struct why reason = { "" };
	struct mapped m;
	struct stat st;
	int err = mapped_open(l, pid, &m, why);

	if (err)
		return err;
	if (fstat(m.fd, &st)) {
		err = why_set(why, -errno, "cannot look at its " JVM_LIBRARY_NAME ": %s", strerror(errno));
		goto out_close;
	}
	err = elf_file_open(m.fd, &elf, &reason);
	if (err) {
		char path[128];

		utf8_sanitise(m.maps[0].path, strlen(m.maps[0].path), path, sizeof(path));
		why_set(why, err, "'%s': %.300s", path, reason.text);
		goto out_close;
	}
	lib = library_find(l, &m, &st, elf_file_build_id(elf));
	if (!lib)
		err = library_new(l, elf, &m, &st, &lib, why);
	if (!err) {
		lib->shown.processes++;
		*ret = &lib->shown;
	}
	elf_file_close(elf);
out_close:
	close(m.fd);
	return err;
}

void jvm_library_put(struct jvm_libraries *l, struct jvm_library *library, __u64 now_ns)
{
	struct library *lib = (struct library *)library;

	if (lib && !--lib->shown.processes)
		lib->unused_ns = now_ns;
}

void jvm_libraries_expire(struct jvm_libraries *l, __u64 now_ns)
{
	for (unsigned i = 0; i < l->count; i++) {
		struct library *lib = l->list[i];

		if (lib->shown.processes || now_ns - lib->unused_ns < JVM_LIBRARY_KEEP_NS)
			continue;
		library_free(lib);
		memmove(&l->list[i], &l->list[i + 1], (l->count - i - 1) * sizeof(l->list[0]));
		l->count--;
		i--;
	}
}

const struct jvm_library *jvm_libraries_at(const struct jvm_libraries *l, unsigned number)
{
	return number < l->count ? &l->list[number]->shown : NULL;
}
