#include "kernel/process_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/str.h"

#define LINE_ROOM 8192 /* the kernel writes a newline in a path as four characters */
#define DELETED	  " (deleted)"

bool path_ends_in(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash ? slash + 1 : path, name) == 0;
}

bool path_has_prefix(const char *path, const char *prefix)
{
	for (const char *at = path; at; at = strchr(at, '/')) {
		at += *at == '/';
		if (str_starts(at, prefix))
			return true;
	}
	return false;
}

/* --- parsing ------------------------------------------------------------------------------------------------ */

struct cursor {
	const char *at, *end;
};

static unsigned digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	return 16;
}

static bool take_number(struct cursor *c, unsigned base, __u64 *ret)
{
	const char *begin = c->at;
	__u64 value = 0;

	for (; c->at < c->end; c->at++) {
		unsigned digit = digit_of(*c->at);

		if (digit >= base)
			break;
		if (__builtin_mul_overflow(value, (__u64)base, &value) ||
		    __builtin_add_overflow(value, (__u64)digit, &value))
			return false;
	}
	*ret = value;
	return c->at > begin;
}

static bool take_char(struct cursor *c, char wanted)
{
	if (c->at == c->end || *c->at != wanted)
		return false;
	c->at++;
	return true;
}

/* What follows the inode: the path of a file, or something else, or nothing. */
static int take_path(struct cursor *c, const char **ret_path, size_t *ret_bytes, bool *ret_deleted)
{
	size_t bytes, mark = strlen(DELETED);
	bool deleted;

	while (take_char(c, ' '))
		;
	if (c->at == c->end || *c->at != '/')
		return -ENOENT; /* [heap], anon_inode:..., nothing */
	bytes = (size_t)(c->end - c->at);
	if (memchr(c->at, 0, bytes))
		return -EINVAL;
	deleted = bytes > mark && !memcmp(c->end - mark, DELETED, mark);
	if (deleted)
		bytes -= mark;
	if (bytes >= PROCESS_MAP_PATH_ROOM)
		return -ENAMETOOLONG;
	*ret_path = c->at;
	*ret_bytes = bytes;
	*ret_deleted = deleted;
	return 0;
}

int process_map_parse(const char *line, size_t bytes, struct process_map *ret)
{
	struct cursor c = { .at = line, .end = line + bytes };
	__u64 start, end, offset, major, minor, inode;
	const char *permissions, *path;
	size_t path_bytes;
	bool deleted;
	int err;

	if (!take_number(&c, 16, &start) || !take_char(&c, '-') || !take_number(&c, 16, &end) || !take_char(&c, ' '))
		return -EINVAL;
	permissions = c.at; /* "r-xp" */
	c.at += c.end - c.at < 4 ? c.end - c.at : 4;
	if (!take_char(&c, ' ') || !take_number(&c, 16, &offset) || !take_char(&c, ' ') ||
	    !take_number(&c, 16, &major) || !take_char(&c, ':') || !take_number(&c, 16, &minor) ||
	    !take_char(&c, ' ') || !take_number(&c, 10, &inode))
		return -EINVAL;
	if (start >= end || major > UINT_MAX || minor > UINT_MAX)
		return -EINVAL;
	err = take_path(&c, &path, &path_bytes, &deleted);
	if (err || !inode)
		return err ? err : -ENOENT;
	ret->start = start;
	ret->end = end;
	ret->offset = offset;
	ret->inode = inode;
	ret->major = (__u32)major;
	ret->minor = (__u32)minor;
	ret->writable = permissions[1] == 'w';
	ret->executable = permissions[2] == 'x';
	ret->deleted = deleted;
	memcpy(ret->path, path, path_bytes);
	ret->path[path_bytes] = 0;
	return 0;
}

/* --- reading ------------------------------------------------------------------------------------------------ */

struct search {
	bool (*match)(const char *path);
	struct process_map *ret;
	unsigned room, count;
	bool skip; /* the rest of a line too long to be wanted; it must not pass for a line of its own */
};

static void search_line(struct search *s, const char *line, size_t bytes)
{
	struct process_map *map = &s->ret[s->count]; /* one that is not liked is overwritten by the next */

	if (!s->skip && !process_map_parse(line, bytes, map) && s->match(map->path))
		s->count++;
	s->skip = false;
}

/* Takes the whole lines out of @text and says how many bytes they were. */
static size_t search_lines(struct search *s, const char *text, size_t bytes)
{
	const char *at = text, *end = text + bytes, *newline;

	while (s->count < s->room && (newline = memchr(at, '\n', (size_t)(end - at)))) {
		search_line(s, at, (size_t)(newline - at));
		at = newline + 1;
	}
	return (size_t)(at - text);
}

static int search_read(struct search *s, int fd)
{
	size_t used = 0, total = 0, taken;
	char text[LINE_ROOM];
	ssize_t got;

	while (s->count < s->room) {
		got = read(fd, text + used, sizeof(text) - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			return 0;
		used += (size_t)got;
		total += (size_t)got;
		if (total > PROCESS_MAPS_BYTES_MAX)
			return -EFBIG;
		taken = search_lines(s, text, used);
		if (!taken && used == sizeof(text)) {
			taken = used;
			s->skip = true;
		}
		used -= taken;
		memmove(text, text + taken, used);
	}
	return 0;
}

int process_maps_find(const char *proc, __u32 pid, bool (*match)(const char *path), struct process_map *ret,
		      unsigned room)
{
	struct search s = { .match = match, .ret = ret, .room = room };
	char path[PATH_MAX];
	int fd, err;

	snprintf(path, sizeof(path), "%s/%u/maps", proc, pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	err = search_read(&s, fd);
	close(fd);
	return s.count || !err ? (int)s.count : err;
}

void process_map_path(const char *proc, __u32 pid, const struct process_map *map, char *ret, size_t room)
{
	snprintf(ret, room, "%s/%u/map_files/%llx-%llx", proc, pid, map->start, map->end);
}

/* What has been found is looked at before it is opened: opening a device can do something. */
static int reopen(int path_fd)
{
	char path[64];
	struct stat st;
	int fd;

	if (fstat(path_fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ESTALE;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

/* The devices of a filesystem that lies on others, or has several of its own, are not those in maps. */
static bool same_file(int path_fd, const struct process_map *map)
{
	struct statfs fs;
	struct stat st;

	if (fstat(path_fd, &st) || fstatfs(path_fd, &fs) || st.st_ino != map->inode)
		return false;
	return (major(st.st_dev) == map->major && minor(st.st_dev) == map->minor) ||
	       fs.f_type == OVERLAYFS_SUPER_MAGIC || fs.f_type == BTRFS_SUPER_MAGIC;
}

/* maps shows a path without links; one that has come since must not lead us out of the root of the process. */
static int open_below_root(const char *proc, __u32 pid, const struct process_map *map)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	char path[PATH_MAX];
	int root, found, fd;

	snprintf(path, sizeof(path), "%s/%u/root", proc, pid);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	found = (int)syscall(SYS_openat2, root, map->path, &how, sizeof(how));
	fd = found < 0 ? -errno : same_file(found, map) ? reopen(found) : -ESTALE;
	close(root);
	if (found >= 0)
		close(found);
	return fd;
}

int process_map_open(const char *proc, __u32 pid, const struct process_map *map)
{
	char path[PATH_MAX];
	int found, fd;

	process_map_path(proc, pid, map, path, sizeof(path));
	found = open(path, O_PATH | O_CLOEXEC);
	if (found < 0 && (errno == EPERM || errno == EACCES))
		return open_below_root(proc, pid, map);
	if (found < 0)
		return -errno;
	fd = reopen(found);
	close(found);
	return fd;
}
