#include "jvm/kind.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "kernel/elf_file.h"
#include "kernel/process_maps.h"

static bool is_openj9(const char *path)
{
	const char *name = strrchr(path, '/');

	return name && str_starts(name, "/libj9vm") && str_ends(name, ".so");
}

static bool is_any(const char *path)
{
	return path_ends_in(path, "libjvm.so") || is_openj9(path);
}

/* Of no ELF file, of one that has gone, of one that may not be read: no. */
static bool is_native_image(const char *proc, __u32 pid)
{
	struct elf_file *elf;
	char path[PATH_MAX];
	bool is = false;
	int fd;

	snprintf(path, sizeof(path), "%s/%u/exe", proc, pid);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return false;
	if (!elf_file_open(fd, &elf, NULL)) {
		is = elf_file_has_section(elf, ".svm_heap");
		elf_file_close(elf);
	}
	close(fd);
	return is;
}

int jvm_kind_of(const char *proc, __u32 pid, enum jvm_kind *ret)
{
	struct process_map map;
	int count = process_maps_find(proc, pid, is_any, &map, 1);

	if (count < 0)
		return count;
	if (!count) {
		*ret = is_native_image(proc, pid) ? JVM_KIND_NATIVE_IMAGE : JVM_KIND_NONE;
		return 0;
	}
	/* OpenJ9 comes with a libjvm.so that loads it: in which order they are mapped is chance. */
	if (!is_openj9(map.path))
		count = process_maps_find(proc, pid, is_openj9, &map, 1);
	if (count < 0)
		return count;
	*ret = count && is_openj9(map.path) ? JVM_KIND_OPENJ9 : JVM_KIND_HOTSPOT;
	return 0;
}

const char *jvm_kind_sentence(enum jvm_kind kind)
{
	switch (kind) {
	case JVM_KIND_NONE:
		return "no Java virtual machine";
	case JVM_KIND_HOTSPOT:
		return "a HotSpot JVM: safepoints, collections, memory pools, threads and classes can be seen";
	case JVM_KIND_OPENJ9:
		return "an OpenJ9 JVM: it keeps no counters for others and has no probes; only what the kernel knows of "
		       "the process can be seen";
	case JVM_KIND_NATIVE_IMAGE:
		return "a GraalVM native image: a program without a JVM; only what the kernel knows of the process can "
		       "be seen";
	}
	return "";
}
