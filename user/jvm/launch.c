/* Files are opened below the root of the process, whatever links there are: otherwise a container could have any file of the
 * host read. Before 5.6 that cannot be had, and no file is opened. */
#include "jvm/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"
#include "kernel/process_maps.h"

#define CMDLINE_ROOM (256u << 10)
#define RELEASE_ROOM (64u << 10) /* 100 bytes to 2 KiB */
/* From the directory of the library: HOME/lib/server, HOME/jre/lib/amd64/server. */
#define HOME_LEVELS_MAX 4

/* ---- cmdline */

/* Those whose value is the next word. */
static bool takes_a_word(const char *word, size_t bytes)
{
	static const char *const options[] = {
		"-cp",
		"-classpath",
		"--class-path",
		"-p",
		"--module-path",
		"--add-modules",
		"--add-exports",
		"--add-opens",
		"--add-reads",
		"--patch-module",
		"--limit-modules",
		"--upgrade-module-path",
		"--enable-native-access",
	};

	for (unsigned i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (mem_equals_str(word, bytes, options[i]))
			return true;
	return false;
}

struct words {
	const char *at, *end;
};

static bool word_next(struct words *words, const char **ret, size_t *ret_bytes)
{
	if (words->at >= words->end)
		return false;
	*ret = words->at;
	*ret_bytes = strnlen(words->at, (size_t)(words->end - words->at));
	words->at += *ret_bytes + 1;
	return true;
}

/* After the name of the program: what "java" takes for what it is to run. */
static bool main_find(struct words *words, const char **ret, size_t *ret_bytes)
{
	static const char module[] = "--module=";

	while (word_next(words, ret, ret_bytes)) {
		const char *word = *ret;
		size_t bytes = *ret_bytes;

		if (mem_equals_str(word, bytes, "-jar") || mem_equals_str(word, bytes, "-m") ||
		    mem_equals_str(word, bytes, "--module"))
			return word_next(words, ret, ret_bytes);
		if (bytes >= sizeof(module) - 1 && !memcmp(word, module, sizeof(module) - 1)) {
			*ret += sizeof(module) - 1;
			*ret_bytes -= sizeof(module) - 1;
			return true;
		}
		/* Its options, and maybe the class too, are in a file. */
		if (bytes && *word == '@')
			return false;
		if (!bytes || *word != '-')
			return bytes > 0;
		if (takes_a_word(word, bytes))
			word_next(words, &word, &bytes);
	}
	return false;
}

void jvm_main_of_cmdline(const char *text, size_t bytes, char *ret, size_t room)
{
	struct words words = { text, text + bytes };
	const char *name, *slash;
	size_t length;

	ret[0] = '\0';
	if (!word_next(&words, &name, &length))
		return;
	slash = memrchr(name, '/', length);
	if (slash) {
		length -= slash + 1 - name;
		name = slash + 1;
	}
	if (mem_equals_str(name, length, "java") && !main_find(&words, &name, &length))
		return;
	utf8_sanitise(name, length, ret, room);
}

/* ---- release */

bool jvm_version_of_release(const char *text, size_t bytes, char *ret, size_t room)
{
	static const char key[] = "JAVA_VERSION=\"";
	const size_t key_bytes = sizeof(key) - 1;
	const char *end = text + bytes;

	ret[0] = '\0';
	while (text < end) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text)) ?: end;
		const char *value = text + key_bytes, *quote;

		if ((size_t)(line_end - text) > key_bytes && !memcmp(text, key, key_bytes)) {
			quote = memchr(value, '"', (size_t)(line_end - value));
			if (quote)
				utf8_sanitise(value, (size_t)(quote - value), ret, room);
			return *ret;
		}
		text = line_end + 1;
	}
	return false;
}

/* ---- of a process */

/* Bytes, 0 where there are none. */
static size_t fd_read(int fd, char *ret, size_t room)
{
	size_t used = 0;
	ssize_t got;

	while (used < room && (got = read(fd, ret + used, room - used)) > 0)
		used += (size_t)got;
	return used;
}

void jvm_main_read(const char *proc, __u32 pid, char *ret, size_t room)
{
	char path[PATH_MAX], *text = malloc(CMDLINE_ROOM);
	int fd;

	ret[0] = '\0';
	snprintf(path, sizeof(path), "%s/%u/cmdline", proc, pid);
	fd = text ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd >= 0) {
		jvm_main_of_cmdline(text, fd_read(fd, text, CMDLINE_ROOM), ret, room);
		close(fd);
	}
	free(text);
}

static bool is_libjvm(const char *path)
{
	return path_ends_in(path, "libjvm.so");
}

/* A regular file below @root, or -1. */
static int open_below(int root, const char *path)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* @path: of the library; the directories above it are looked through. */
static int release_open(int root, char *path)
{
	char name[PROCESS_MAP_PATH_ROOM + sizeof("/release")];
	char *slash;

	for (unsigned i = 0; i <= HOME_LEVELS_MAX && (slash = strrchr(path, '/')); i++) {
		int fd;

		*slash = '\0';
		snprintf(name, sizeof(name), "%s/release", path);
		fd = open_below(root, name);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

void jvm_version_read(const char *proc, __u32 pid, char *ret, size_t room)
{
	char path[PATH_MAX], *text;
	struct process_map map;
	int root, fd = -1;

	ret[0] = '\0';
	/* Deleted: what has the name by now is another version. */
	if (process_maps_find(proc, pid, is_libjvm, &map, 1) != 1 || map.deleted)
		return;
	snprintf(path, sizeof(path), "%s/%u/root", proc, pid);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	text = malloc(RELEASE_ROOM);
	if (root >= 0 && text)
		fd = release_open(root, map.path);
	if (fd >= 0) {
		jvm_version_of_release(text, fd_read(fd, text, RELEASE_ROOM), ret, room);
		close(fd);
	}
	if (root >= 0)
		close(root);
	free(text);
}
