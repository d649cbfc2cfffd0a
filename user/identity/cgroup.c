#include "identity/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/why.h"

#define MOUNT_LINES_MAX 100000 /* a node with thousands of containers has some ten thousand mounts */
#define CGROUP_ROOT_INO 1      /* of the root of the hierarchy, and only of it */

/* /proc/mounts writes space, tab, newline, backslash and # as \ and three octal digits. In place. */
static void octal_unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' &&
		    from[3] >= '0' && from[3] <= '7') {
			*to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = 0;
}

/* The mount point of a line whose file system is cgroup2; NULL for every other line. Cuts @line up. */
static char *cgroup2_mount_point(char *line)
{
	char *point = strchr(line, ' '), *type, *end;

	if (!point)
		return NULL;
	type = strchr(++point, ' ');
	if (!type)
		return NULL;
	*type++ = 0;
	end = strchr(type, ' ');
	if (!end)
		return NULL;
	*end = 0;
	if (strcmp(type, "cgroup2"))
		return NULL;
	octal_unescape(point);
	return point;
}

bool cgroup_is_root(const char *mount)
{
	struct stat st;

	return !stat(mount, &st) && st.st_ino == CGROUP_ROOT_INO;
}

int cgroup_find_mount(const char *mounts, char *ret, size_t room, struct why *why)
{
	FILE *file;
	char *line = NULL, *found = NULL;
	size_t line_cap = 0;
	int err = 0;

	if (!mounts)
		mounts = "/proc/mounts";
	file = fopen(mounts, "re");
	if (!file) {
		err = -errno;
		return why_set(why, err, "cannot read '%s': %s", mounts, strerror(-err));
	}
	for (unsigned i = 0; i < MOUNT_LINES_MAX && getline(&line, &line_cap, file) >= 0; i++) {
		char *point = cgroup2_mount_point(line);
		bool root;

		if (!point)
			continue;
		root = cgroup_is_root(point);
		if (found && !root)
			continue;
		free(found);
		found = strdup(point);
		if (!found || root)
			break;
	}
	if (!found)
		err = why_set(why, -ENOENT,
			      "cgroup2 is not mounted; mount it: mkdir -p /sys/fs/cgroup/unified && "
			      "mount -t cgroup2 none /sys/fs/cgroup/unified");
	else if (strlen(found) >= room)
		err = why_set(why, -ENAMETOOLONG, "the path of the cgroup2 mount is longer than %zu bytes", room - 1);
	else
		memcpy(ret, found, strlen(found) + 1);
	free(found);
	free(line);
	fclose(file);
	return err;
}

int cgroup_id_of(const char *mount, const char *path, __u64 *ret_id)
{
	char whole[2 * CGROUP_PATH_MAX];
	struct stat st;

	if ((size_t)snprintf(whole, sizeof(whole), "%s%s", mount, path) >= sizeof(whole))
		return -ENAMETOOLONG;
	if (stat(whole, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOENT;
	*ret_id = st.st_ino;
	return 0;
}

struct walk {
	void (*seen)(void *arg, __u64 cgroup_id, const char *path);
	void *arg;
	dev_t dev;
	unsigned dirs;
	unsigned depth;
	bool complete;
	size_t path_bytes; /* without the terminator; 0 at the root */
	char path[CGROUP_PATH_MAX];
};

static bool is_gone(int err)
{
	return err == -ENOENT || err == -ENODEV;
}

/* Takes @fd. */
static int walk_dir(struct walk *w, int fd)
{
	struct dirent *entry;
	struct stat st;
	DIR *dir;
	int err;

	if (fstat(fd, &st)) {
		err = -errno;
		close(fd);
		return err;
	}
	if (!w->depth)
		w->dev = st.st_dev;
	if (st.st_dev != w->dev) { /* something is mounted over a cgroup */
		close(fd);
		return 0;
	}
	dir = fdopendir(fd);
	if (!dir) {
		err = -errno;
		close(fd);
		return err;
	}
	w->dirs++;
	w->seen(w->arg, st.st_ino, w->path_bytes ? w->path : "/");

	while ((entry = readdir(dir))) {
		size_t before = w->path_bytes, bytes = strlen(entry->d_name);
		int child;

		if ((entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) || !strcmp(entry->d_name, ".") ||
		    !strcmp(entry->d_name, ".."))
			continue;
		if (w->dirs >= CGROUP_DIRS_MAX || w->depth + 1 >= CGROUP_DEPTH_MAX ||
		    before + 1 + bytes >= sizeof(w->path)) {
			w->complete = false;
			continue;
		}
		child = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child < 0) {
			if (errno != ENOTDIR && !is_gone(-errno))
				w->complete = false;
			continue;
		}
		w->path[before] = '/';
		memcpy(w->path + before + 1, entry->d_name, bytes + 1);
		w->path_bytes = before + 1 + bytes;
		w->depth++;
		err = walk_dir(w, child);
		if (err && !is_gone(err))
			w->complete = false;
		w->depth--;
		w->path_bytes = before;
		w->path[before] = 0;
	}
	closedir(dir);
	return 0;
}

int cgroup_walk(const char *mount, void (*seen)(void *arg, __u64 cgroup_id, const char *path), void *arg,
		bool *ret_complete)
{
	struct walk w = { .seen = seen, .arg = arg, .complete = true };
	int fd, err;

	fd = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = walk_dir(&w, fd);
	if (err)
		return err;
	*ret_complete = w.complete;
	return 0;
}
