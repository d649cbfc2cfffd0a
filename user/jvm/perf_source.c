/* The table gHotSpotVMStructs is an array of records { type name, field name, ..., is static, offset, address }; where
 * in a record each of these is, and how long one is, stands in further exported variables, so that a debugger of one
 * version can read another. It is made for reading dead processes too and has not changed its ways from JDK 8 to 25.
 *
 * 600 to 800 records point to as many texts. Read one by one that takes 4,000 system calls; so only static fields are
 * looked at, and all their names are fetched by one process_vm_readv(). */
#include "jvm/perf_source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "jvm/perfdata.h"
#include "kernel/elf_file.h"
#include "kernel/process_maps.h"

#define STAT_ROOM 2048 /* the kernel's line has 52 numbers and a name of at most 64 bytes */
#define FILES_MAX 4    /* mappings that look like the file; a JVM has one, and one of each JVM that it watches itself */

#define LIBJVM_MAPS_MAX 8 /* it has four or five */

struct perf_source {
	char *proc;
	__u32 pid;
	struct process_stat stat;
	int fd;			/* of the file; negative: from memory */
	char mapping[PATH_MAX]; /* of the file: its link below /proc */
	__u64 address;		/* of the block in the process */
	size_t room;		/* how much can be read there */
	char *image;
	size_t cap;
	size_t used;   /* of image, by the last prologue: how much to read at once the next time */
	size_t copied; /* by the last reading */
	struct perfdata *data;
};

/* --- the process -------------------------------------------------------------------------------------------- */

/* The number after @skip further fields; *at moves behind it. */
static bool field_take(const char **at, const char *end, unsigned skip, __u64 *ret)
{
	const char *space;

	for (;; skip--) {
		space = memchr(*at, ' ', (size_t)(end - *at));
		if (!space)
			return false;
		if (!skip)
			break;
		*at = space + 1;
	}
	if (mem_to_u64(*at, (size_t)(space - *at), ~0ull, ret))
		return false;
	*at = space + 1;
	return true;
}

int process_stat_parse(const char *text, size_t bytes, struct process_stat *ret)
{
	const char *end = text + bytes, *at;
	__u64 user, system, start, ticks_per_s = (__u64)sysconf(_SC_CLK_TCK);

	/* "PID (NAME) STATE ...": the name can hold anything, also ") "; nothing after it can. */
	at = memrchr(text, ')', bytes);
	if (!at || end - at < 2 || at[1] != ' ')
		return -EINVAL;
	at += 2;
	if (at < end && (*at == 'Z' || *at == 'X'))
		return -ESRCH; /* only its number is left */
	/* The state is field 3, utime 14, stime 15, starttime 22. */
	if (!field_take(&at, end, 11, &user) || !field_take(&at, end, 0, &system) || !field_take(&at, end, 6, &start))
		return -EINVAL;
	if (__builtin_add_overflow(user, system, &user) || __builtin_mul_overflow(user, NS_PER_S / ticks_per_s, &user))
		return -EINVAL;
	*ret = (struct process_stat){ .start_ticks = start, .cpu_ns = user };
	return 0;
}

int process_stat_read(const char *proc, __u32 pid, struct process_stat *ret)
{
	char path[PATH_MAX], text[STAT_ROOM];
	ssize_t got;
	int fd, err;

	snprintf(path, sizeof(path), "%s/%u/stat", proc, pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	got = read(fd, text, sizeof(text));
	err = got < 0 ? -errno : process_stat_parse(text, (size_t)got, ret);
	close(fd);
	return err;
}

/* Is it still the one that was meant? */
static int process_check(const char *proc, __u32 pid, __u64 start_ticks, struct process_stat *ret, struct why *why)
{
	struct process_stat stat;
	int err = process_stat_read(proc, pid, &stat);

	if (err == -ESRCH)
		return why_set(why, err, "process %u has ended", pid);
	if (err)
		return why_set(why, err, "cannot read %s/%u/stat: %s", proc, pid, strerror(-err));
	if (stat.start_ticks != start_ticks)
		return why_set(why, -ESRCH, "process %u has ended, another one has its number", pid);
	*ret = stat;
	return 0;
}

/* --- its memory --------------------------------------------------------------------------------------------- */

/* How many bytes could be read, or a negative errno. */
static ssize_t memory_read(__u32 pid, __u64 address, void *ret, size_t bytes)
{
	struct iovec to = { .iov_base = ret, .iov_len = bytes };
	struct iovec from = { .iov_base = (void *)(uintptr_t)address, .iov_len = bytes };
	ssize_t got = process_vm_readv((pid_t)pid, &to, 1, &from, 1, 0);

	return got < 0 ? -errno : got;
}

static int memory_read_all(__u32 pid, __u64 address, void *ret, size_t bytes)
{
	ssize_t got = memory_read(pid, address, ret, bytes);

	return got < 0 ? (int)got : (size_t)got < bytes ? -EFAULT : 0;
}

/* --- the table of libjvm.so --------------------------------------------------------------------------------- */

#define RECORDS_MAX	 4096
#define RECORD_BYTES_MAX 128 /* 56 so far */
#define STATICS_MAX	 512 /* static fields looked at; two texts of each fit into IOV_MAX parts */
#define NAME_ROOM	 16  /* of the texts that are compared; the longest has 11 with its end */
#define TYPE_NAME	 "PerfMemory"

_Static_assert(2 * STATICS_MAX <= IOV_MAX, "one process_vm_readv()");

/* Exported variables of 8 bytes. */
enum { TABLE, TYPE_NAME_OFFSET, FIELD_NAME_OFFSET, IS_STATIC_OFFSET, ADDRESS_OFFSET, STRIDE, VARIABLES_MAX };

static const char *const variable_names[VARIABLES_MAX] = {
	[TABLE] = "gHotSpotVMStructs",
	[TYPE_NAME_OFFSET] = "gHotSpotVMStructEntryTypeNameOffset",
	[FIELD_NAME_OFFSET] = "gHotSpotVMStructEntryFieldNameOffset",
	[IS_STATIC_OFFSET] = "gHotSpotVMStructEntryIsStaticOffset",
	[ADDRESS_OFFSET] = "gHotSpotVMStructEntryAddressOffset",
	[STRIDE] = "gHotSpotVMStructEntryArrayStride",
};

struct table {
	__u32 pid;
	__u64 value[VARIABLES_MAX]; /* first their addresses, then what is there */
	unsigned found;		    /* bits */
};

static int variable_visit(void *arg, const char *name, const struct elf_site *site)
{
	struct table *t = arg;

	if (name[0] != 'g')
		return 0;
	for (unsigned i = 0; i < VARIABLES_MAX; i++) {
		if (t->found & 1u << i || strcmp(name, variable_names[i]) != 0)
			continue;
		t->value[i] = site->address;
		t->found |= 1u << i;
	}
	return t->found == (1u << VARIABLES_MAX) - 1;
}

static bool is_libjvm(const char *path)
{
	return path_ends_in(path, "libjvm.so");
}

/* Its mapping of code. */
static int libjvm_find(const char *proc, __u32 pid, struct process_map *ret, struct why *why)
{
	struct process_map maps[LIBJVM_MAPS_MAX];
	int count = process_maps_find(proc, pid, is_libjvm, maps, LIBJVM_MAPS_MAX);

	if (count < 0)
		return why_set(why, count, "cannot read %s/%u/maps: %s", proc, pid, strerror(-count));
	for (int i = 0; i < count; i++) {
		if (!maps[i].executable)
			continue;
		*ret = maps[i];
		return 0;
	}
	return why_set(why, -ENOENT, "process %u has no libjvm.so: no HotSpot JVM", pid);
}

/* Addresses of the variables in the process. */
static int variables_find(const char *proc, __u32 pid, const struct process_map *map, struct table *t, struct why *why)
{
	struct elf_file *elf;
	__u64 bias;
	int fd, err;

	fd = process_map_open(proc, pid, map);
	if (fd < 0)
		return why_set(why, fd, "cannot open libjvm.so of process %u: %s", pid, strerror(-fd));
	err = elf_file_open(fd, &elf, why);
	if (err)
		goto out_close;
	err = elf_file_symbols(elf, variable_visit, t);
	if (err >= 0)
		err = t->found == (1u << VARIABLES_MAX) - 1 ? 0 : -ENOENT;
	if (!err)
		err = elf_file_bias(elf, map->start, map->offset, &bias);
	if (err)
		why_set(why, err, "libjvm.so of process %u does not say where its counters are: %s", pid,
			strerror(-err));
	for (unsigned i = 0; !err && i < VARIABLES_MAX; i++)
		t->value[i] += bias;
	elf_file_close(elf);
out_close:
	close(fd);
	return err;
}

/* From addresses to values. */
static int variables_read(struct table *t)
{
	int err;

	for (unsigned i = 0; i < VARIABLES_MAX; i++) {
		__u64 value;

		err = memory_read_all(t->pid, t->value[i], &value, sizeof(value));
		if (err)
			return err;
		t->value[i] = value;
	}
	if (t->value[STRIDE] < 8 || t->value[STRIDE] > RECORD_BYTES_MAX)
		return -EBADMSG;
	for (unsigned i = TYPE_NAME_OFFSET; i <= ADDRESS_OFFSET; i++)
		if (t->value[i] > t->value[STRIDE] - 8)
			return -EBADMSG;
	return 0;
}

/* Static fields of any type. */
struct statics {
	unsigned count;
	struct {
		__u64 type_name, field_name, address;
		char type[NAME_ROOM], field[NAME_ROOM];
	} at[STATICS_MAX];
};

static __u64 record_pointer(const struct table *t, const char *record, unsigned which)
{
	__u64 value;

	memcpy(&value, record + t->value[which], sizeof(value));
	return value;
}

static void statics_collect(const struct table *t, const char *records, size_t bytes, struct statics *ret)
{
	size_t stride = t->value[STRIDE];

	for (size_t at = 0; at + stride <= bytes && ret->count < STATICS_MAX; at += stride) {
		const char *record = records + at;
		__u32 is_static;

		memcpy(&is_static, record + t->value[IS_STATIC_OFFSET], sizeof(is_static));
		if (!record_pointer(t, record, TYPE_NAME_OFFSET))
			return; /* the end of the table */
		if (!is_static)
			continue;
		ret->at[ret->count].type_name = record_pointer(t, record, TYPE_NAME_OFFSET);
		ret->at[ret->count].field_name = record_pointer(t, record, FIELD_NAME_OFFSET);
		ret->at[ret->count].address = record_pointer(t, record, ADDRESS_OFFSET);
		ret->count++;
	}
}

/* Fetches the first bytes of their names. A text that cannot be read stays empty, and with it all that follow: they
 * are in the same read-only part of libjvm.so. */
static int statics_names(const struct table *t, struct statics *s)
{
	struct iovec to[2 * STATICS_MAX], from[2 * STATICS_MAX];
	ssize_t got;

	for (unsigned i = 0; i < s->count; i++) {
		to[2 * i] = (struct iovec){ .iov_base = s->at[i].type, .iov_len = NAME_ROOM - 1 };
		from[2 * i] =
			(struct iovec){ .iov_base = (void *)(uintptr_t)s->at[i].type_name, .iov_len = NAME_ROOM - 1 };
		to[2 * i + 1] = (struct iovec){ .iov_base = s->at[i].field, .iov_len = NAME_ROOM - 1 };
		from[2 * i + 1] =
			(struct iovec){ .iov_base = (void *)(uintptr_t)s->at[i].field_name, .iov_len = NAME_ROOM - 1 };
	}
	got = process_vm_readv((pid_t)t->pid, to, 2 * s->count, from, 2 * s->count, 0);
	return got < 0 ? -errno : 0;
}

static __u64 statics_find(const struct statics *s, const char *field)
{
	for (unsigned i = 0; i < s->count; i++)
		if (!strcmp(s->at[i].type, TYPE_NAME) && !strcmp(s->at[i].field, field))
			return s->at[i].address;
	return 0;
}

/* Addresses of the static fields PerfMemory::_start and _capacity. */
static int fields_find(const struct table *t, __u64 *ret_start, __u64 *ret_capacity)
{
	size_t bytes = RECORDS_MAX * (size_t)t->value[STRIDE];
	struct statics *s = calloc(1, sizeof(*s));
	char *records = malloc(bytes);
	ssize_t got;
	int err = -ENOMEM;

	if (!s || !records)
		goto out_free;
	got = memory_read(t->pid, t->value[TABLE], records, bytes); /* ends early at the end of libjvm.so's data */
	err = got < 0 ? (int)got : 0;
	if (err)
		goto out_free;
	statics_collect(t, records, (size_t)got, s);
	if (s->count)
		err = statics_names(t, s);
	if (err)
		goto out_free;
	*ret_start = statics_find(s, "_start");
	*ret_capacity = statics_find(s, "_capacity");
	/* Before the dynamic linker is done with libjvm.so its pointers are not there yet. */
	err = *ret_start && *ret_capacity ? 0 : -EAGAIN;
out_free:
	free(records);
	free(s);
	return err;
}

static int memory_reason(int err, __u32 pid, struct why *why)
{
	if (err == -EAGAIN)
		return why_set(why, err, "process %u has just begun: its JVM is not ready", pid);
	if (err == -EPERM || err == -EACCES)
		return why_set(why, err, "the memory of process %u may not be read (CAP_SYS_PTRACE)", pid);
	if (err == -ESRCH)
		return why_set(why, err, "process %u has ended", pid);
	return why_set(why, err == -EFAULT ? -EBADMSG : err, "cannot read the memory of process %u: %s", pid,
		       strerror(-err));
}

/* Finds the block in memory. */
static int memory_find(struct perf_source *s, struct why *why)
{
	struct table table = { .pid = s->pid };
	__u64 start_at, capacity_at, start, capacity;
	struct process_map map;
	int err;

	err = libjvm_find(s->proc, s->pid, &map, why);
	err = err ? err : variables_find(s->proc, s->pid, &map, &table, why);
	if (err)
		return err;
	err = variables_read(&table);
	err = err ? err : fields_find(&table, &start_at, &capacity_at);
	err = err ? err : memory_read_all(s->pid, start_at, &start, sizeof(start));
	err = err ? err : memory_read_all(s->pid, capacity_at, &capacity, sizeof(capacity));
	if (err)
		return memory_reason(err, s->pid, why);
	if (!start || !capacity)
		return why_set(why, -ENODATA,
			       "the JVM %u keeps no counters: it was started with -XX:-UsePerfData (or a moment ago)",
			       s->pid);
	s->address = start;
	s->room = capacity < PERFDATA_BYTES_MAX ? (size_t)capacity : PERFDATA_BYTES_MAX;
	return 0;
}

/* --- the file ----------------------------------------------------------------------------------------------- */

/* ".../hsperfdata_USER/PID". */
static bool is_hsperfdata(const char *path)
{
	const char *name = strrchr(path, '/'), *dir = name ? memrchr(path, '/', (size_t)(name - path)) : NULL;
	__u64 pid;

	return dir && str_starts(dir, "/hsperfdata_") && !str_to_u64(name + 1, UINT_MAX, &pid);
}

/* Opens the file. -ENOENT: there is none. Its own one is mapped for writing; a JVM that runs jps or jstat maps those
 * of others for reading. */
static int file_find(struct perf_source *s)
{
	struct process_map maps[FILES_MAX];
	int count = process_maps_find(s->proc, s->pid, is_hsperfdata, maps, FILES_MAX);

	for (int i = 0; i < count; i++) {
		const struct process_map *map = &maps[i];
		__u64 bytes = map->end - map->start;
		int fd;

		if (!map->writable || map->executable || map->offset)
			continue;
		fd = process_map_open(s->proc, s->pid, map);
		if (fd < 0)
			return fd;
		s->fd = fd;
		s->address = map->start;
		s->room = bytes < PERFDATA_BYTES_MAX ? (size_t)bytes : PERFDATA_BYTES_MAX;
		process_map_path(s->proc, s->pid, map, s->mapping, sizeof(s->mapping));
		return 0;
	}
	return count < 0 ? count : -ENOENT;
}

/* A process that has become another program is the same process still, and the file stays behind as it was. */
static bool file_is_mapped(const struct perf_source *s)
{
	struct stat st;

	return !lstat(s->mapping, &st) || errno != ENOENT;
}

/* --- reading ------------------------------------------------------------------------------------------------ */

static int image_reserve(struct perf_source *s, size_t bytes)
{
	char *image;

	if (s->cap >= bytes)
		return 0;
	image = realloc(s->image, bytes);
	if (!image)
		return -ENOMEM;
	s->image = image;
	s->cap = bytes;
	return 0;
}

/* Copies the first @bytes, or fewer where there are no more. */
static int image_copy(struct perf_source *s, size_t bytes, struct why *why)
{
	ssize_t got;
	int err = image_reserve(s, bytes);

	if (err)
		return why_set(why, err, "no memory for the counters of process %u", s->pid);
	if (s->fd < 0) {
		got = memory_read(s->pid, s->address, s->image, bytes);
		if (got < 0)
			return memory_reason((int)got, s->pid, why);
	} else {
		got = pread(s->fd, s->image, bytes, 0);
		if (got < 0)
			return why_set(why, -errno, "cannot read the counters of process %u: %s", s->pid,
				       strerror(errno));
	}
	s->copied = (size_t)got;
	return 0;
}

static int image_read(struct perf_source *s, struct why *why)
{
	size_t used = s->used < PERFDATA_PROLOGUE_BYTES ? PERFDATA_PROLOGUE_BYTES : s->used;
	int err = 0;

	/* Once; again when it has grown; not more often, however fast it grows. */
	for (unsigned round = 0; round < 2; round++) {
		err = image_copy(s, used, why);
		err = err ? err : perfdata_used(s->image, s->copied, &used, why);
		if (err || used <= s->copied)
			break;
		used = used < s->room ? used : s->room;
	}
	if (!err)
		s->used = used < s->room ? used : s->room;
	return err;
}

int perf_source_read(struct perf_source *s, struct why *why)
{
	int gone, err = image_read(s, why);

	if (!err)
		err = perfdata_set(s->data, s->image, s->copied, why);
	/* After reading: had it been exchanged before, or while we read, it is seen now. */
	gone = process_check(s->proc, s->pid, s->stat.start_ticks, &s->stat, why);
	if (!gone && s->fd >= 0 && !file_is_mapped(s))
		gone = why_set(why, -ESRCH, "process %u runs another program by now", s->pid);
	err = gone ? gone : err;
	if (err)
		perfdata_clear(s->data);
	return err;
}

/* --- life cycle --------------------------------------------------------------------------------------------- */

static int source_find(struct perf_source *s, struct why *why)
{
	int err = process_check(s->proc, s->pid, s->stat.start_ticks, &s->stat, why);

	if (err)
		return err;
	/* A file that cannot be opened, or is none, may hide one that is only in memory. */
	if (!file_find(s)) {
		err = perf_source_read(s, why);
		if (err != -EBADMSG)
			return err;
		close(s->fd);
		s->fd = -1;
		s->used = 0;
	}
	err = memory_find(s, why);
	return err ? err : perf_source_read(s, why);
}

int perf_source_open(const char *proc, __u32 pid, __u64 start_ticks, struct perf_source **ret, struct why *why)
{
	struct perf_source *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return why_set(why, -ENOMEM, "no memory");
	s->fd = -1;
	s->pid = pid;
	s->stat.start_ticks = start_ticks;
	s->proc = strdup(proc);
	s->data = perfdata_new();
	if (!s->proc || !s->data)
		err = why_set(why, -ENOMEM, "no memory");
	else
		err = source_find(s, why);
	if (err) {
		perf_source_close(s);
		return err;
	}
	*ret = s;
	return 0;
}

void perf_source_close(struct perf_source *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	perfdata_free(s->data);
	free(s->image);
	free(s->proc);
	free(s);
}

/* --- what it has -------------------------------------------------------------------------------------------- */

const struct perfdata *perf_source_data(const struct perf_source *s)
{
	return s->data;
}

const struct process_stat *perf_source_stat(const struct perf_source *s)
{
	return &s->stat;
}

int perf_source_address(const struct perf_source *s, const char *name, __u64 *ret_address)
{
	size_t place;

	if (!perfdata_place(s->data, name, &place))
		return -ENOENT;
	*ret_address = s->address + place;
	return 0;
}

const char *perf_source_way(const struct perf_source *s)
{
	return s->fd >= 0 ? "hsperfdata file" : "memory";
}

size_t perf_source_bytes(const struct perf_source *s)
{
	return s->copied;
}
