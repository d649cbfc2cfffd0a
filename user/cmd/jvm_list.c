/* weir jvm list */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "base/table.h"
#include "base/why.h"
#include "cmd/cmd.h"
#include "cmd/jvm.h"
#include "cmd/jvm_target.h"
#include "identity/identity.h"
#include "view/who.h"

struct list {
	const struct options *options;
	struct identity *id;
	struct table table;
	json_t *jvms;
	unsigned refused; /* processes that could not be looked at */
};

static const struct table_column columns[] = {
	{ .title = "PID", .right = true },
	{ .title = "UID", .right = true },
	{ .title = "CONTAINER", .width_max = 40 },
	{ .title = "JAVA" },
	{ .title = "COLLECTOR" },
	{ .title = "MAIN", .width_max = 40 },
	{ .title = "CAN BE ASKED" },
};

static void list_text(struct list *list, const struct jvm_target *target, const char *reason)
{
	char pid[16], uid[16], name[sizeof(target->about.command)];
	struct buf who;
	const char *const cells[] = {
		pid,
		uid,
		NULL,
		*target->about.version ? target->about.version : "-",
		*jvm_collector_name(target->about.gc) ? jvm_collector_name(target->about.gc) : "-",
		*target->about.command ? name : "-",
		*reason ? reason : "yes",
	};
	const char *row[sizeof(cells) / sizeof(*cells)];

	buf_init(&who, 4096);
	if (target->who)
		who_print(target->who, &who);
	snprintf(pid, sizeof(pid), "%u", target->pid);
	snprintf(uid, sizeof(uid), "%u", target->uid);
	jvm_target_main(target, name, sizeof(name));
	memcpy(row, cells, sizeof(row));
	row[2] = *who.data ? who.data : "-";
	table_add(&list->table, row);
	buf_done(&who);
}

static void list_json(struct list *list, const struct jvm_target *target, const char *reason)
{
	json_t *one = jvm_target_json(target);

	json_object_set_new(one, "askable", json_boolean(!*reason));
	json_object_set_new(one, "reason", json_string(reason));
	json_object_set_new(one, "about_reason", json_string(target->about_why.text));
	json_array_append_new(list->jvms, one);
}

static void list_one(struct list *list, __u32 pid)
{
	struct jvm_target target;
	struct jvm_attach_options attach;
	struct why why = {};
	int err = jvm_target_read(list->id, pid, &target, NULL);

	if (err && err != -ESRCH)
		list->refused++;
	if (err || target.kind == JVM_KIND_NONE)
		return;
	attach = jvm_target_attach(&target);
	if (target.kind != JVM_KIND_HOTSPOT)
		why_set(&why, 0, "%s", jvm_kind_sentence(target.kind));
	else if (!jvm_attach_check(&attach, &why))
		why.text[0] = '\0';
	if (list->jvms)
		list_json(list, &target, why.text);
	else
		list_text(list, &target, why.text);
}

static int pid_order(const void *left, const void *right)
{
	__u32 a = *(const __u32 *)left, b = *(const __u32 *)right;

	return (a > b) - (a < b);
}

/* Kept and sorted: hash order of /proc is nobody's order. */
static int list_pids(__u32 **ret, size_t *ret_count, struct why *why)
{
	DIR *dir = opendir(JVM_PROC);
	size_t count = 0, cap = 0;
	struct dirent *entry;
	__u32 *pids = NULL;
	__u64 pid;
	int err = 0;

	if (!dir)
		return why_set(why, -errno, "cannot read " JVM_PROC ": %s", strerror(errno));
	while (!err && (entry = readdir(dir))) {
		if (str_to_u64(entry->d_name, ~0u >> 1, &pid) || !pid)
			continue;
		if (count == cap) {
			__u32 *more = realloc(pids, (cap = cap ? 2 * cap : 1024) * sizeof(*pids));

			err = more ? 0 : why_set(why, -ENOMEM, "no memory");
			pids = more ?: pids;
		}
		if (!err)
			pids[count++] = pid;
	}
	closedir(dir);
	if (err) {
		free(pids);
		return err;
	}
	if (count)
		qsort(pids, count, sizeof(*pids), pid_order);
	*ret = pids;
	*ret_count = count;
	return 0;
}

static int list_print(struct list *list, struct why *why)
{
	struct buf out;
	int err;

	if (list->jvms)
		return jvm_print_json(json_pack("{s:O, s:I}", "jvms", list->jvms, "refused", (json_int_t)list->refused),
				      why);
	buf_init(&out, JVM_OUT_MAX);
	if (list->table.rows_count)
		table_print(&list->table, &out);
	else
		buf_add_str(&out, "no JVM runs here\n");
	err = jvm_print(&out, why);
	buf_done(&out);
	return err;
}

int jvm_list(const struct options *options, struct why *why)
{
	struct list list = { .options = options };
	size_t count = 0;
	__u32 *pids = NULL;
	int err = list_pids(&pids, &count, why);

	if (err)
		return err;
	list.id = jvm_identity(options);
	list.jvms = options->format == FORMAT_JSON ? json_array() : NULL;
	table_init(&list.table, columns, sizeof(columns) / sizeof(*columns));
	for (size_t i = 0; i < count; i++)
		list_one(&list, pids[i]);
	err = list_print(&list, why);
	if (list.refused)
		log_warn("%u of the processes could not be looked at: CAP_SYS_PTRACE or root is needed", list.refused);
	table_done(&list.table);
	json_decref(list.jvms);
	identity_free(list.id);
	free(pids);
	return err;
}
