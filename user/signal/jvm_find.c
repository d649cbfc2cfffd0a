#include "signal/jvm_find.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"

/* A process that was in the last list. */
struct seen {
	__u32 pid;
	__u32 list; /* number of the list that had it last */
	__u32 looks;
	bool known;
};

struct soon {
	__u32 pid;
	__u64 until_ns;
};

struct jvm_find {
	struct jvm_find_options options;
	struct map seen;
	struct soon *soon; /* JVM_FIND_SOON_MAX */
	unsigned soon_count;
	__u32 list;
	__u64 next_ns;
};

struct jvm_find *jvm_find_new(const struct jvm_find_options *options)
{
	struct jvm_find *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->options = *options;
	f->soon = calloc(JVM_FIND_SOON_MAX, sizeof(*f->soon));
	if (!f->soon) {
		free(f);
		return NULL;
	}
	return f;
}

void jvm_find_free(struct jvm_find *f)
{
	struct seen *s;
	size_t pos = 0;

	if (!f)
		return;
	while ((s = map_next(&f->seen, &pos)))
		free(s);
	map_done(&f->seen);
	free(f->soon);
	free(f);
}

static bool seen_same(const void *item, const void *key)
{
	return ((const struct seen *)item)->pid == *(const __u32 *)key;
}

static struct seen *seen_get(struct jvm_find *f, __u32 pid)
{
	__u64 hash = hash_mix(pid, 0);
	struct seen *s = map_find(&f->seen, hash, seen_same, &pid);

	if (s || f->seen.count >= JVM_FIND_PIDS_MAX)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->pid = pid;
	if (map_add(&f->seen, hash, s)) {
		free(s);
		return NULL;
	}
	return s;
}

void jvm_find_soon(struct jvm_find *f, __u32 pid, __u64 now_ns)
{
	struct seen *s = map_find(&f->seen, hash_mix(pid, 0), seen_same, &pid);

	/* Another program in the same process, or another process of that number. */
	if (s)
		s->known = false;
	if (f->soon_count < JVM_FIND_SOON_MAX)
		f->soon[f->soon_count++] = (struct soon){ .pid = pid, .until_ns = now_ns + JVM_FIND_YOUNG_NS };
}

static void find_soon(struct jvm_find *f, __u64 now_ns)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < f->soon_count; i++)
		if (!f->options.look(f->options.arg, f->soon[i].pid) && now_ns < f->soon[i].until_ns)
			f->soon[kept++] = f->soon[i];
	f->soon_count = kept;
}

static void find_one(struct jvm_find *f, __u32 pid, bool all)
{
	struct seen *s = seen_get(f, pid);

	if (!s) {
		if (all)
			f->options.look(f->options.arg, pid);
		return;
	}
	/* It was gone between two lists: the number is another process's now. */
	if (s->list + 1 != f->list)
		s->looks = s->known = 0;
	s->list = f->list;
	if (s->known || (!all && s->looks >= JVM_FIND_LOOKS))
		return;
	s->looks++;
	s->known = f->options.look(f->options.arg, pid);
}

static void find_gone(struct jvm_find *f)
{
	struct seen *s, **gone = f->seen.count ? malloc(f->seen.count * sizeof(*gone)) : NULL;
	size_t pos = 0, count = 0;

	if (!gone)
		return;
	while ((s = map_next(&f->seen, &pos)))
		if (s->list != f->list)
			gone[count++] = s;
	while (count) {
		s = gone[--count];
		map_del(&f->seen, hash_mix(s->pid, 0), s);
		free(s);
	}
	free(gone);
}

int jvm_find_all(struct jvm_find *f, __u64 now_ns)
{
	DIR *dir = opendir(f->options.proc);
	struct dirent *entry;
	bool all = f->list % JVM_FIND_ALL == 0;
	__u64 pid;

	f->next_ns = now_ns + JVM_FIND_SCAN_NS;
	if (!dir)
		return -errno;
	f->list++;
	while ((entry = readdir(dir)))
		if (!str_to_u64(entry->d_name, ~0u, &pid) && pid)
			find_one(f, pid, all);
	closedir(dir);
	find_gone(f);
	return 0;
}

int jvm_find_tick(struct jvm_find *f, __u64 now_ns)
{
	find_soon(f, now_ns);
	return now_ns >= f->next_ns ? jvm_find_all(f, now_ns) : 0;
}
