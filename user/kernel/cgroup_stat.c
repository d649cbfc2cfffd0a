/* Where a figure is read, in this order: the cgroup2 tree, then v1. The cgroup2 tree has CPU time and pressure of each
 * cgroup, with or without controllers, on every kernel that weir runs on; throttling only where it has the cpu controller.
 *
 * The v1 cgroup of a container usually has the same path, but nobody promises it. What the kernel says of a process in it
 * decides; the same path is taken only where there is no process to ask. Found once, and looked for again when it goes
 * missing: each time while there is nobody to ask, which is cheap and ends with the first process; the more seldom the
 * more often the answer was no. */
#include "kernel/cgroup_stat.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "base/time.h"
#include "base/why.h"

#define FILE_MAX	  4096	 /* the kernel's files are some hundred bytes; what is cut is not understood */
#define PATH_ROOM	  4352	 /* a path and a name of a file */
#define V1_PATH_MAX	  512	 /* kept for each cgroup whose path differs; those of pods take 250 */
#define MOUNTS_MAX	  100000 /* a node with thousands of containers has some ten thousand */
#define PROCESS_DIRS_MAX  64	 /* looked through for a process, and how deep */
#define PROCESS_DEPTH_MAX 8
#define PAUSE_MAX	  32 /* readings */
#define CGROUP_ROOT_INO	  1  /* of the root of each hierarchy, and only of it */

enum { V1_UNKNOWN, V1_SAME, V1_OTHER };

static const char *const v1_controllers[CGROUP_V1_MAX] = { [CGROUP_V1_CPU] = "cpu", [CGROUP_V1_CPUACCT] = "cpuacct" };

struct cgroup_reader {
	int mount_fd;
	int v1_fd[CGROUP_V1_MAX]; /* negative: not mounted */
	long ticks_per_s;
	char *proc;
	char text[FILE_MAX];
};

/* Of a text, not terminated. */
struct piece {
	const char *text;
	size_t bytes;
};

/* --- parsers ------------------------------------------------------------------------------------------------ */

/* Takes one line without its end off *text. What has no end was cut, and a cut number is another number. */
static bool line_take(const char **text, size_t *bytes, struct piece *ret)
{
	const char *end = *bytes ? memchr(*text, '\n', *bytes) : NULL;

	if (!end)
		return false;
	*ret = (struct piece){ .text = *text, .bytes = (size_t)(end - *text) };
	*bytes -= ret->bytes + 1;
	*text = end + 1;
	return true;
}

/* Cuts @line at the first @at into what is before it, returned, and what follows. False: there is none. */
static bool line_cut(struct piece *line, char at, struct piece *ret_before)
{
	const char *found = memchr(line->text, at, line->bytes);

	if (!found)
		return false;
	*ret_before = (struct piece){ .text = line->text, .bytes = (size_t)(found - line->text) };
	line->bytes -= ret_before->bytes + 1;
	line->text = found + 1;
	return true;
}

static void figure_read(struct cgroup_stat *stat, enum cgroup_figure figure, const struct piece *number, __u64 factor)
{
	__u64 value;

	if (mem_to_u64(number->text, number->bytes, ~0ull / factor, &value))
		return;
	stat->value[figure] = value * factor;
	stat->known |= 1u << figure;
}

void cpu_stat_parse(const char *text, size_t bytes, struct cgroup_stat *ret)
{
	static const struct {
		const char *key;
		enum cgroup_figure figure;
		__u64 factor;
	} keys[] = {
		{ "user_usec", CGROUP_CPU_USER, NS_PER_US },
		{ "system_usec", CGROUP_CPU_SYSTEM, NS_PER_US },
		{ "nr_periods", CGROUP_CPU_PERIODS, 1 },
		{ "nr_throttled", CGROUP_CPU_THROTTLED_PERIODS, 1 },
		{ "throttled_usec", CGROUP_CPU_THROTTLED_TIME, NS_PER_US },
		{ "throttled_time", CGROUP_CPU_THROTTLED_TIME, 1 },
	};
	struct piece line, key;

	while (line_take(&text, &bytes, &line)) {
		if (!line_cut(&line, ' ', &key))
			continue;
		for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			if (mem_equals_str(key.text, key.bytes, keys[i].key))
				figure_read(ret, keys[i].figure, &line, keys[i].factor);
	}
}

void cpuacct_stat_parse(const char *text, size_t bytes, long ticks_per_s, struct cgroup_stat *ret)
{
	struct piece line, key;

	if (ticks_per_s <= 0 || ticks_per_s > (long)NS_PER_S)
		return;
	while (line_take(&text, &bytes, &line)) {
		if (!line_cut(&line, ' ', &key))
			continue;
		if (mem_equals_str(key.text, key.bytes, "user"))
			figure_read(ret, CGROUP_CPU_USER, &line, NS_PER_S / (__u64)ticks_per_s);
		else if (mem_equals_str(key.text, key.bytes, "system"))
			figure_read(ret, CGROUP_CPU_SYSTEM, &line, NS_PER_S / (__u64)ticks_per_s);
	}
}

void cpuacct_usage_parse(const char *text, size_t bytes, enum cgroup_figure figure, struct cgroup_stat *ret)
{
	struct piece line;

	if (line_take(&text, &bytes, &line))
		figure_read(ret, figure, &line, 1);
}

void pressure_parse(const char *text, size_t bytes, enum cgroup_figure some, struct cgroup_stat *ret)
{
	static const char total[] = "total=";
	struct piece line, kind, word;

	while (line_take(&text, &bytes, &line)) {
		bool full;

		if (!line_cut(&line, ' ', &kind))
			continue;
		full = mem_equals_str(kind.text, kind.bytes, "full");
		if (!full && !mem_equals_str(kind.text, kind.bytes, "some"))
			continue;
		while (line_cut(&line, ' ', &word))
			;
		if (line.bytes < sizeof(total) || memcmp(line.text, total, sizeof(total) - 1))
			continue;
		line.text += sizeof(total) - 1;
		line.bytes -= sizeof(total) - 1;
		figure_read(ret, full ? some + 1 : some, &line, NS_PER_US);
	}
}

static bool list_has(struct piece list, const char *name)
{
	struct piece word;

	while (line_cut(&list, ',', &word))
		if (mem_equals_str(word.text, word.bytes, name))
			return true;
	return mem_equals_str(list.text, list.bytes, name);
}

static const char *path_name(const char *path)
{
	return strrchr(path, '/') + 1;
}

static bool slice_ends(const struct piece *s, const char *text, size_t bytes)
{
	return s->bytes >= bytes && !memcmp(s->text + s->bytes - bytes, text, bytes);
}

/* Length of @v1 up to its last component that is @name; 0: it has none. */
static size_t path_cut(const struct piece *v1, const char *name)
{
	size_t end = v1->bytes, name_bytes = strlen(name);

	for (size_t at = v1->bytes; at-- > 0;) {
		if (v1->text[at] != '/')
			continue;
		if (end - at - 1 == name_bytes && !memcmp(v1->text + at + 1, name, name_bytes))
			return end;
		end = at;
	}
	return 0;
}

static bool path_climbs(struct piece path)
{
	struct piece part;

	while (line_cut(&path, '/', &part))
		if (mem_equals_str(part.text, part.bytes, ".."))
			return true;
	return mem_equals_str(path.text, path.bytes, "..");
}

int cgroup_v1_path(const char *text, size_t bytes, const char *controller, const char *path, char *ret, size_t room)
{
	struct piece line, number, list, v1 = {}, below = {};
	size_t path_bytes = strlen(path), cut;

	if (path[0] != '/' || !path[1])
		return -ESRCH;
	while (line_take(&text, &bytes, &line)) {
		if (!line_cut(&line, ':', &number) || !line_cut(&line, ':', &list))
			continue;
		if (list_has(list, controller))
			v1 = line;
		else if (mem_equals_str(number.text, number.bytes, "0") && !list.bytes)
			below = line;
	}
	/* A process that has left meanwhile, or whose number is used again, tells nothing of this cgroup. */
	if (below.bytes < path_bytes || memcmp(below.text, path, path_bytes))
		return -ESRCH;
	below.text += path_bytes;
	below.bytes -= path_bytes;
	if (below.bytes && below.text[0] != '/')
		return -ESRCH;
	/* One that climbs is outside of our cgroup namespace. */
	if (!v1.bytes || v1.text[0] != '/' || memchr(v1.text, 0, v1.bytes) || path_climbs(v1))
		return -ESRCH;

	/* Mostly it lives as deep below the v1 cgroup as below this one. */
	if (below.bytes && slice_ends(&v1, below.text, below.bytes))
		v1.bytes -= below.bytes;
	cut = path_cut(&v1, path_name(path));
	if (!cut)
		return -ENOENT;
	if (cut >= room)
		return -ENAMETOOLONG;
	memcpy(ret, v1.text, cut);
	ret[cut] = 0;
	return 0;
}

/* --- files -------------------------------------------------------------------------------------------------- */

/* Into r->text. 0: nothing there. */
static size_t file_read(struct cgroup_reader *r, int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t got;

	if (fd < 0)
		return 0;
	got = read(fd, r->text, sizeof(r->text));
	close(fd);
	return got > 0 ? (size_t)got : 0;
}

/* The first process of this cgroup that our pid namespace has; 0: none. */
static __u32 procs_first(struct cgroup_reader *r, int dir_fd)
{
	const char *text = r->text;
	size_t bytes = file_read(r, dir_fd, "cgroup.procs");
	struct piece line;
	__u64 pid;

	while (line_take(&text, &bytes, &line))
		if (!mem_to_u64(line.text, line.bytes, ~0u >> 1, &pid) && pid)
			return (__u32)pid;
	return 0;
}

/* A process of this cgroup or, in a few directories, below it. */
static __u32 process_find(struct cgroup_reader *r, int dir_fd, unsigned depth, unsigned *budget)
{
	__u32 pid = procs_first(r, dir_fd);
	const struct dirent *entry;
	DIR *dir;
	int fd;

	if (pid || depth >= PROCESS_DEPTH_MAX)
		return pid;
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while (!pid && *budget && (entry = readdir(dir))) {
		int child;

		if ((entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) || entry->d_name[0] == '.')
			continue;
		(*budget)--;
		child = openat(fd, entry->d_name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child < 0)
			continue;
		pid = process_find(r, child, depth + 1, budget);
		close(child);
	}
	closedir(dir);
	return pid;
}

/* --- v1 ----------------------------------------------------------------------------------------------------- */

static void place_set(struct cgroup_place *place, enum cgroup_v1 which, const char *path, const char *v1)
{
	char *copy = strcmp(path, v1) ? strdup(v1) : NULL;

	free(place->v1[which].path);
	place->v1[which].path = copy;
	place->v1[which].state = copy ? V1_OTHER : !strcmp(path, v1) ? V1_SAME : V1_UNKNOWN;
}

void cgroup_place_done(struct cgroup_place *place)
{
	for (unsigned i = 0; i < CGROUP_V1_MAX; i++)
		free(place->v1[i].path);
	*place = (struct cgroup_place){ .from_v1 = 0 };
}

static const char *place_v1(const struct cgroup_place *place, enum cgroup_v1 which, const char *path)
{
	return place->v1[which].state == V1_OTHER ? place->v1[which].path : path;
}

/* Where the cgroup @path, open as @dir_fd, is in a v1 hierarchy. 0 or negative errno; *ret_asked: a process said so. */
static int v1_ask(struct cgroup_reader *r, int dir_fd, const char *path, enum cgroup_v1 which, char *ret,
		  bool *ret_asked)
{
	char name[PATH_ROOM];
	unsigned budget = PROCESS_DIRS_MAX;
	__u32 pid = process_find(r, dir_fd, 0, &budget);
	int err = -ESRCH;

	if (pid && (size_t)snprintf(name, sizeof(name), "%s/%u/cgroup", r->proc, pid) < sizeof(name))
		err = cgroup_v1_path(r->text, file_read(r, AT_FDCWD, name), v1_controllers[which], path, ret,
				     V1_PATH_MAX);
	*ret_asked = pid;
	if (err != -ESRCH)
		return err;
	if (strlen(path) >= V1_PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(ret, path);
	return 0;
}

/* Reads file @name of the v1 cgroup @v1 into r->text. */
static size_t v1_file(struct cgroup_reader *r, enum cgroup_v1 which, const char *v1, const char *name)
{
	char path[PATH_ROOM];

	if ((size_t)snprintf(path, sizeof(path), ".%s/%s", v1, name) >= sizeof(path))
		return 0;
	return file_read(r, r->v1_fd[which], path);
}

static bool v1_cpu(struct cgroup_reader *r, const char *v1, struct cgroup_stat *ret)
{
	size_t bytes = v1_file(r, CGROUP_V1_CPU, v1, "cpu.stat");

	cpu_stat_parse(r->text, bytes, ret);
	return bytes;
}

static bool v1_cpuacct(struct cgroup_reader *r, const char *v1, struct cgroup_stat *ret)
{
	size_t bytes = v1_file(r, CGROUP_V1_CPUACCT, v1, "cpuacct.usage_user");

	if (!bytes) { /* before 4.9 */
		bytes = v1_file(r, CGROUP_V1_CPUACCT, v1, "cpuacct.stat");
		cpuacct_stat_parse(r->text, bytes, r->ticks_per_s, ret);
		return bytes;
	}
	cpuacct_usage_parse(r->text, bytes, CGROUP_CPU_USER, ret);
	bytes = v1_file(r, CGROUP_V1_CPUACCT, v1, "cpuacct.usage_sys");
	cpuacct_usage_parse(r->text, bytes, CGROUP_CPU_SYSTEM, ret);
	return true;
}

static bool v1_read(struct cgroup_reader *r, enum cgroup_v1 which, const char *v1, struct cgroup_stat *ret)
{
	return which == CGROUP_V1_CPU ? v1_cpu(r, v1, ret) : v1_cpuacct(r, v1, ret);
}

/* Where it was the last time, else where it is now. Returns true when that is another place. */
static bool v1_find_and_read(struct cgroup_reader *r, int dir_fd, const char *path, enum cgroup_v1 which,
			     struct cgroup_place *place, struct cgroup_stat *ret)
{
	bool known = place->v1[which].state != V1_UNKNOWN, moved, asked;
	char v1[V1_PATH_MAX];

	if (r->v1_fd[which] < 0)
		return false;
	if (known && v1_read(r, which, place_v1(place, which, path), ret))
		return false;
	if (place->v1[which].waits) {
		place->v1[which].waits--;
		return false;
	}
	if (!v1_ask(r, dir_fd, path, which, v1, &asked) && v1_read(r, which, v1, ret)) {
		moved = known && strcmp(v1, place_v1(place, which, path));
		place_set(place, which, path, v1);
		place->v1[which].pause = 0;
		return moved;
	}
	if (!asked)
		return false;
	place->v1[which].pause = place->v1[which].pause ? 2 * place->v1[which].pause : 1;
	if (place->v1[which].pause > PAUSE_MAX)
		place->v1[which].pause = PAUSE_MAX;
	place->v1[which].waits = place->v1[which].pause;
	return false;
}

/* --- the reader --------------------------------------------------------------------------------------------- */

static void v2_read(struct cgroup_reader *r, int dir_fd, struct cgroup_stat *ret)
{
	static const struct {
		const char *file;
		enum cgroup_figure some;
	} pressures[] = {
		{ "cpu.pressure", CGROUP_PRESSURE_CPU_SOME },
		{ "memory.pressure", CGROUP_PRESSURE_MEMORY_SOME },
		{ "io.pressure", CGROUP_PRESSURE_IO_SOME },
	};

	cpu_stat_parse(r->text, file_read(r, dir_fd, "cpu.stat"), ret);
	for (unsigned i = 0; i < sizeof(pressures) / sizeof(pressures[0]); i++)
		pressure_parse(r->text, file_read(r, dir_fd, pressures[i].file), pressures[i].some, ret);
}

void cgroup_reader_read(struct cgroup_reader *r, const char *path, struct cgroup_place *place, struct cgroup_stat *ret,
			__u32 *ret_moved)
{
	static const __u32 cpu_time = 1u << CGROUP_CPU_USER | 1u << CGROUP_CPU_SYSTEM;
	static const __u32 throttling = 1u << CGROUP_CPU_PERIODS | 1u << CGROUP_CPU_THROTTLED_PERIODS |
					1u << CGROUP_CPU_THROTTLED_TIME;
	struct cgroup_stat v1 = { .known = 0 };
	__u32 moved = 0;
	int dir_fd;

	*ret = (struct cgroup_stat){ .known = 0 };
	*ret_moved = 0;
	if (path[0] != '/')
		return;
	dir_fd = openat(r->mount_fd, path[1] ? path + 1 : ".", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir_fd < 0)
		return;
	v2_read(r, dir_fd, ret);
	if (!(ret->known & throttling) && path[1] && v1_find_and_read(r, dir_fd, path, CGROUP_V1_CPU, place, &v1))
		moved |= throttling;
	if (!(ret->known & cpu_time) && path[1] && v1_find_and_read(r, dir_fd, path, CGROUP_V1_CPUACCT, place, &v1))
		moved |= cpu_time;
	close(dir_fd);

	v1.known &= ~ret->known;
	*ret_moved = (moved & v1.known) | (v1.known & place->from_v2) | (ret->known & place->from_v1);
	place->from_v2 = (place->from_v2 & ~v1.known) | ret->known;
	place->from_v1 = (place->from_v1 & ~ret->known) | v1.known;
	for (unsigned i = 0; i < CGROUP_FIGURES_MAX; i++)
		if (cgroup_stat_knows(&v1, i))
			ret->value[i] = v1.value[i];
	ret->known |= v1.known;
}

/* A container may have its own part of a hierarchy mounted, and the host's beside it. */
static void v1_mount_try(struct cgroup_reader *r, enum cgroup_v1 which, const char *dir, bool *root)
{
	struct stat st;
	int fd;

	if (*root)
		return;
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	*root = !fstat(fd, &st) && st.st_ino == CGROUP_ROOT_INO;
	if (r->v1_fd[which] >= 0 && !*root) {
		close(fd);
		return;
	}
	if (r->v1_fd[which] >= 0)
		close(r->v1_fd[which]);
	r->v1_fd[which] = fd;
}

static int v1_mounts_open(struct cgroup_reader *r, struct why *why)
{
	bool root[CGROUP_V1_MAX] = { false };
	char name[PATH_ROOM], line[2 * PATH_ROOM];
	struct mntent mount;
	FILE *file;

	snprintf(name, sizeof(name), "%s/mounts", r->proc);
	file = setmntent(name, "re");
	if (!file)
		return why_set(why, -errno, "cannot read '%s': %s", name, strerror(errno));
	for (unsigned i = 0; i < MOUNTS_MAX && getmntent_r(file, &mount, line, sizeof(line)); i++) {
		if (strcmp(mount.mnt_type, "cgroup"))
			continue;
		for (unsigned which = 0; which < CGROUP_V1_MAX; which++)
			if (hasmntopt(&mount, v1_controllers[which]))
				v1_mount_try(r, which, mount.mnt_dir, &root[which]);
	}
	endmntent(file);
	return 0;
}

struct cgroup_reader *cgroup_reader_open(const char *mount, const char *proc, struct why *why)
{
	struct cgroup_reader *r = calloc(1, sizeof(*r));

	if (!r) {
		why_set(why, -ENOMEM, "no memory");
		return NULL;
	}
	for (unsigned i = 0; i < CGROUP_V1_MAX; i++)
		r->v1_fd[i] = -1;
	r->ticks_per_s = sysconf(_SC_CLK_TCK);
	r->mount_fd = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r->proc = strdup(proc ? proc : "/proc");
	if (r->mount_fd < 0)
		why_set(why, -errno, "cannot open the cgroup2 mount '%s': %s", mount, strerror(errno));
	else if (!r->proc)
		why_set(why, -ENOMEM, "no memory");
	else if (!v1_mounts_open(r, why))
		return r;
	cgroup_reader_close(r);
	return NULL;
}

void cgroup_reader_close(struct cgroup_reader *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < CGROUP_V1_MAX; i++)
		if (r->v1_fd[i] >= 0)
			close(r->v1_fd[i]);
	if (r->mount_fd >= 0)
		close(r->mount_fd);
	free(r->proc);
	free(r);
}
