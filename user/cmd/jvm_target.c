#include "cmd/jvm_target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/options.h"
#include "identity/cgroup.h"
#include "identity/identity.h"
#include "jvm/launch.h"
#include "jvm/perf_source.h"
#include "view/who.h"

#define FILE_ROOM 8192

struct identity *jvm_identity(const struct options *options)
{
	struct identity_options identity = { .cgroup_mount = options->cgroup_root };
	struct why why = {};
	struct identity *id = identity_new(&identity, &why);

	if (!id)
		log_warn("%s, continuing without the names of containers", why.text);
	return id;
}

/* Bytes of text in @ret, or a negative errno. What does not fit is cut. */
static ssize_t file_read(__u32 pid, const char *name, char ret[FILE_ROOM])
{
	ssize_t bytes, used = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), JVM_PROC "/%u/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((bytes = read(fd, ret + used, FILE_ROOM - 1 - used)) > 0)
		used += bytes;
	if (bytes < 0 && !used)
		used = -errno;
	else
		ret[used] = '\0';
	close(fd);
	return used;
}

/* The cgroup in the v2 hierarchy; 0: not known. */
static __u64 cgroup_of(struct identity *id, __u32 pid)
{
	char text[FILE_ROOM], *line, *end;
	__u64 cgroup_id;

	if (file_read(pid, "cgroup", text) <= 0)
		return 0;
	line = str_starts(text, "0::/") ? text : strstr(text, "\n0::/");
	if (!line)
		return 0;
	line = strchr(line, '/');
	end = strchr(line, '\n');
	if (!end || strstr(line, "/../"))
		return 0; /* above the root of our cgroup namespace */
	*end = '\0';
	return cgroup_id_of(identity_cgroup_mount(id), line, &cgroup_id) ? 0 : cgroup_id;
}

/* "Uid:\tREAL\tEFFECTIVE\t..." */
static int uid_of(__u32 pid, __u32 *ret)
{
	char text[FILE_ROOM];
	ssize_t bytes = file_read(pid, "status", text);
	unsigned real, effective;
	const char *line;

	if (bytes < 0)
		return bytes == -ENOENT ? -ESRCH : (int)bytes;
	line = strstr(text, "\nUid:\t");
	if (!line || sscanf(line, "\nUid:\t%u\t%u", &real, &effective) != 2)
		return -EBADMSG;
	*ret = effective;
	return 0;
}

static void target_about(struct jvm_target *target)
{
	struct perf_source *source;

	if (target->kind != JVM_KIND_HOTSPOT)
		return;
	if (perf_source_open(JVM_PROC, target->pid, target->start_ticks, &source, &target->about_why)) {
		jvm_version_read(JVM_PROC, target->pid, target->about.version, sizeof(target->about.version));
		jvm_main_read(JVM_PROC, target->pid, target->about.command, sizeof(target->about.command));
		return;
	}
	jvm_about_read(perf_source_data(source), &target->about);
	perf_source_close(source);
}

int jvm_target_read(struct identity *id, __u32 pid, struct jvm_target *ret, struct why *why)
{
	struct process_stat stat;
	__u64 cgroup_id;
	int err;

	memset(ret, 0, sizeof(*ret));
	ret->pid = pid;
	err = process_stat_read(JVM_PROC, pid, &stat) ?: uid_of(pid, &ret->uid) ?: jvm_kind_of(JVM_PROC, pid, &ret->kind);
	if (err == -ESRCH || err == -ENOENT)
		return why_set(why, -ESRCH, "there is no process %u", pid);
	if (err)
		return why_set(why, err, "process %u cannot be looked at: %s", pid, strerror(-err));
	ret->start_ticks = stat.start_ticks;
	if (ret->kind == JVM_KIND_NONE)
		return 0;
	cgroup_id = id ? cgroup_of(id, pid) : 0;
	if (cgroup_id)
		ret->who = identity_lookup(id, cgroup_id);
	target_about(ret);
	return 0;
}

struct jvm_attach_options jvm_target_attach(const struct jvm_target *target)
{
	return (struct jvm_attach_options){ .proc = JVM_PROC, .pid = target->pid, .start_ticks = target->start_ticks };
}

void jvm_target_main(const struct jvm_target *target, char *ret, size_t room)
{
	str_copy(ret, room, target->about.command);
	ret[strcspn(ret, " ")] = '\0';
}

const char *jvm_collector_name(enum jvm_gc gc)
{
	switch (gc) {
	case JVM_GC_UNKNOWN:
		return "";
	case JVM_GC_SERIAL:
		return "Serial";
	case JVM_GC_PARALLEL:
		return "Parallel";
	case JVM_GC_CMS:
		return "CMS";
	case JVM_GC_G1:
		return "G1";
	case JVM_GC_Z:
		return "ZGC";
	case JVM_GC_Z_GENERATIONS:
		return "ZGC generational";
	case JVM_GC_SHENANDOAH:
		return "Shenandoah";
	case JVM_GC_EPSILON:
		return "Epsilon";
	}
	return "";
}

void jvm_target_text(const struct jvm_target *target, struct buf *out)
{
	char name[sizeof(target->about.command)];

	buf_printf(out, "pid %u", target->pid);
	if (target->who) {
		buf_add_str(out, ", ");
		who_print(target->who, out);
	}
	jvm_target_main(target, name, sizeof(name));
	if (*target->about.version)
		buf_printf(out, ", Java %s", target->about.version);
	if (*name)
		buf_printf(out, ", %s", name);
}

static const char *kind_name(enum jvm_kind kind)
{
	switch (kind) {
	case JVM_KIND_NONE:
		return "none";
	case JVM_KIND_HOTSPOT:
		return "hotspot";
	case JVM_KIND_OPENJ9:
		return "openj9";
	case JVM_KIND_NATIVE_IMAGE:
		return "native_image";
	}
	return "";
}

json_t *jvm_target_json(const struct jvm_target *target)
{
	char name[sizeof(target->about.command)];

	jvm_target_main(target, name, sizeof(name));
	return json_pack("{s:I, s:I, s:o, s:s, s:s, s:s, s:s}", "pid", (json_int_t)target->pid, "uid",
			 (json_int_t)target->uid, "container", target->who ? who_json(target->who) : json_null(),
			 "kind", kind_name(target->kind), "version", target->about.version, "collector",
			 jvm_collector_name(target->about.gc), "main", name);
}
