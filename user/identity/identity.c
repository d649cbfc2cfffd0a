/* Two tables. Entries: cgroup id to path, one for every cgroup heard of, so that one which lives for 100 ms has its name
 * when its data arrive. Owners: path of a container (or unit, or plain cgroup) to its workload, made when first asked
 * for; many entries may have the same owner.
 *
 * An entry is in one of three queues, oldest first, or, alive and with data, in none:
 *   idle        alive, nobody has asked: the first to leave when the table is full, a walk can find it again
 *   gone_idle   ended, nobody has asked: leaves even before those
 *   gone        ended, has data: stays for keep_ns and leaves through identity_expire() only
 *
 * The last cgroup of each container and unit is also found by what stays the same when it is started again: the id of the
 * container, else the path. */
#include "identity/identity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "identity/cgroup.h"
#include "identity/container.h"
#include "identity/proc.h"
#include "identity/workload.h"

#define HASH_FUNCTION(key, bytes, hash) ((hash) = (unsigned)hash_bytes(key, bytes))
#define HASH_NONFATAL_OOM		1
#include <uthash.h>
#include <utlist.h>

/* Removals whose event was lost are noticed at this pace. A walk over 1,000 cgroups takes about 10 ms. */
#define RECONCILE_NS (120 * NS_PER_S)

/* On the average of a full table. Paths of pods take 600 with their workload; a path may have 4,096, made by anybody who
 * may make cgroups. */
#define BYTES_PER_CGROUP 1024

struct owner {
	struct workload *who;
	unsigned entries_count;
	UT_hash_handle hh;
	size_t path_bytes;
	char path[]; /* of its own cgroup, raw */
};

/* What a cgroup is to the workload it belongs to. */
enum entry_kind {
	KIND_OWN,    /* a container's or unit's own */
	KIND_INSIDE, /* below one */
	KIND_PLAIN,  /* there is none */
	KIND_NONE,   /* vanished, or the root */
};

struct entry {
	__u64 cgroup_id;
	struct owner *owner; /* NULL: nobody has asked */
	__u64 gone_ns;	     /* 0: alive */
	__u64 made_ns;	     /* 0: not known */
	__u64 walk;	     /* the last walk that met it */
	__u8 kind;	     /* enum entry_kind */
	bool branch;	     /* has or had a cgroup below it; known to identity_each() only */
	struct entry *prev, *next;
	UT_hash_handle hh;
	UT_hash_handle started; /* tbl is NULL: it is not the last of its name */
	char path[];		/* raw; "" : vanished */
};

struct identity {
	char mount[CGROUP_PATH_MAX];
	char *docker;
	unsigned cgroups_max;
	__u64 bytes_max;
	__u64 walk_pause_ns;
	__u64 keep_ns;

	void (*restarted)(void *arg, __u64 cgroup_id, __u64 made_ns);
	void *restarted_arg;

	struct entry *entries;
	struct entry *last_started; /* by container id or path */
	struct owner *owners;
	struct entry *idle, *gone_idle, *gone;
	struct owner *vanished;
	struct proc_pids *pids;

	/* Workloads that a restart has replaced; borrowers may still look at them until the next identity_expire(). */
	struct workload **retired;
	size_t retired_count, retired_cap;

	__u64 walk;	    /* number of the current or last one */
	__u64 walk_ns;	    /* when it was */
	__u64 expire_ns[2]; /* the last two calls of identity_expire() */
	__u64 missed, refused, bytes;
};

/* --- entries and owners ------------------------------------------------------------------------------------- */

static struct entry **entry_queue(struct identity *id, const struct entry *e)
{
	if (e->gone_ns)
		return e->owner ? &id->gone : &id->gone_idle;
	return e->owner ? NULL : &id->idle;
}

static void entry_enqueue(struct identity *id, struct entry *e)
{
	struct entry **queue = entry_queue(id, e);

	if (queue)
		DL_APPEND(*queue, e);
}

static void entry_dequeue(struct identity *id, struct entry *e)
{
	struct entry **queue = entry_queue(id, e);

	if (queue)
		DL_DELETE(*queue, e);
}

static struct entry *entry_find(const struct identity *id, __u64 cgroup_id)
{
	struct entry *e;

	HASH_FIND(hh, id->entries, &cgroup_id, sizeof(cgroup_id), e);
	return e;
}

/* With its workload: a struct of pointers, the path again, and names that are mostly parts of the path. */
static size_t owner_bytes(size_t path_bytes)
{
	return sizeof(struct owner) + sizeof(struct workload) + 3 * path_bytes;
}

static void owner_put(struct identity *id, struct owner *o)
{
	if (!o || --o->entries_count || o == id->vanished)
		return;
	HASH_DEL(id->owners, o);
	id->bytes -= owner_bytes(o->path_bytes);
	workload_unref(o->who);
	free(o);
}

static void entry_unstart(struct identity *id, struct entry *e)
{
	if (e->started.tbl)
		HASH_DELETE(started, id->last_started, e);
	e->started.tbl = NULL;
}

static void entry_free(struct identity *id, struct entry *e)
{
	entry_unstart(id, e);
	entry_dequeue(id, e);
	HASH_DEL(id->entries, e);
	id->bytes -= sizeof(*e) + strlen(e->path) + 1;
	owner_put(id, e->owner);
	free(e);
}

/* Makes room for one more of @bytes. False: everybody in the table has data. */
static bool entries_make_room(struct identity *id, size_t bytes)
{
	while (HASH_COUNT(id->entries) >= id->cgroups_max || id->bytes + bytes > id->bytes_max) {
		if (id->gone_idle)
			entry_free(id, id->gone_idle);
		else if (id->idle)
			entry_free(id, id->idle);
		else
			return false;
	}
	return true;
}

/* NULL: the table is full, or no memory. Counted. */
static struct entry *entry_new(struct identity *id, __u64 cgroup_id, const char *path)
{
	size_t path_bytes = strnlen(path, CGROUP_PATH_MAX - 1);
	size_t bytes = sizeof(struct entry) + path_bytes + 1;
	struct entry *e = NULL;

	if (entries_make_room(id, bytes))
		e = calloc(1, bytes);
	if (!e) {
		id->refused++;
		return NULL;
	}
	e->cgroup_id = cgroup_id;
	e->kind = KIND_NONE;
	e->walk = id->walk;
	memcpy(e->path, path, path_bytes);
	HASH_ADD(hh, id->entries, cgroup_id, sizeof(e->cgroup_id), e);
	if (!e->hh.tbl) {
		free(e);
		id->refused++;
		return NULL;
	}
	id->bytes += bytes;
	entry_enqueue(id, e);
	return e;
}

static struct owner *owner_new(struct identity *id, const char *path, size_t bytes, struct workload *who)
{
	struct owner *o = who ? calloc(1, sizeof(*o) + bytes) : NULL;

	if (!o) {
		workload_unref(who);
		return NULL;
	}
	o->who = who;
	o->path_bytes = bytes;
	memcpy(o->path, path, bytes);
	return o;
}

/* A container was started again at the path of an earlier one: same owner, new cgroup. What was there is immutable and
 * may be borrowed, so it is replaced and kept for a while. */
static void owner_renew(struct identity *id, struct owner *o, __u64 cgroup_id)
{
	struct workload *who;

	if (id->retired_count == id->retired_cap) {
		size_t cap = id->retired_cap ? 2 * id->retired_cap : 16;
		struct workload **bigger = reallocarray(id->retired, cap, sizeof(*bigger));

		if (!bigger)
			return;
		id->retired = bigger;
		id->retired_cap = cap;
	}
	who = workload_new(cgroup_id, o->path, o->path_bytes, id->docker);
	if (!who)
		return;
	id->retired[id->retired_count++] = o->who;
	o->who = who;
}

static struct owner *owner_of(struct identity *id, const struct entry *e)
{
	size_t path_bytes = strlen(e->path);
	struct container c;
	struct owner *o;
	__u64 own_id = e->cgroup_id;

	if (!path_bytes)
		return id->vanished;
	container_parse(e->path, path_bytes, &c);
	HASH_FIND(hh, id->owners, e->path, c.own_bytes, o);
	if (o) {
		if (c.own_bytes == path_bytes && !e->gone_ns && o->who->cgroup_id != e->cgroup_id)
			owner_renew(id, o, e->cgroup_id);
		return o;
	}
	if (c.own_bytes < path_bytes) {
		char own[CGROUP_PATH_MAX];

		snprintf(own, sizeof(own), "%.*s", (int)c.own_bytes, e->path);
		cgroup_id_of(id->mount, own, &own_id); /* when it has gone already its child's id stands for it */
	}
	o = owner_new(id, e->path, c.own_bytes, workload_new(own_id, e->path, c.own_bytes, id->docker));
	if (!o)
		return NULL;
	HASH_ADD_KEYPTR(hh, id->owners, o->path, o->path_bytes, o);
	if (!o->hh.tbl) {
		workload_unref(o->who);
		free(o);
		return NULL;
	}
	id->bytes += owner_bytes(o->path_bytes);
	return o;
}

static const struct workload *entry_who(struct identity *id, struct entry *e)
{
	if (!e->owner) {
		struct owner *o = owner_of(id, e);

		if (!o)
			return id->vanished->who; /* no memory; asked again next time */
		entry_dequeue(id, e);
		e->owner = o;
		o->entries_count++;
		entry_enqueue(id, e);
	}
	return e->owner->who;
}

static void entry_gone(struct identity *id, struct entry *e, __u64 now_ns)
{
	if (e->gone_ns)
		return;
	entry_dequeue(id, e);
	e->gone_ns = now_ns;
	entry_enqueue(id, e);
}

/* The kind of @path, and what stays the same when its container or unit is started again. */
static enum entry_kind path_kind(const char *path, struct slice *ret_name)
{
	size_t path_bytes = strlen(path);
	struct container c;

	if (path_bytes < 2)
		return KIND_NONE;
	container_parse(path, path_bytes, &c);
	if (!c.id.bytes && !c.unit.bytes)
		return KIND_PLAIN;
	if (c.own_bytes < path_bytes)
		return KIND_INSIDE;
	*ret_name = c.id.bytes ? c.id : (struct slice){ .text = path, .bytes = path_bytes };
	return KIND_OWN;
}

/* Of a new entry. Returns whether its container or unit was there before, and has ended. A removal that nobody told of
 * is known by its path: there is one cgroup at a path. */
static bool entry_start(struct identity *id, struct entry *e)
{
	bool again = false;
	struct entry *last;
	struct slice name;

	e->kind = (__u8)path_kind(e->path, &name);
	if (e->kind != KIND_OWN)
		return false;
	HASH_FIND(started, id->last_started, name.text, name.bytes, last);
	if (last) {
		if (!strcmp(last->path, e->path))
			entry_gone(id, last, time_now_ns());
		again = last->gone_ns;
		entry_unstart(id, last);
	}
	HASH_ADD_KEYPTR(started, id->last_started, name.text, name.bytes, e);
	return again;
}

/* --- walks -------------------------------------------------------------------------------------------------- */

void identity_learn(struct identity *id, __u64 cgroup_id, const char *path, __u64 made_ns)
{
	struct entry *e = entry_find(id, cgroup_id);
	bool again = false;

	if (!cgroup_id || cgroup_id == IDENTITY_VANISHED || path[0] != '/')
		return;
	if (e && strcmp(e->path, path)) {
		entry_free(id, e); /* it was "vanished", or its number is used a second time */
		e = NULL;
	}
	if (!e) {
		e = entry_new(id, cgroup_id, path);
		again = e && entry_start(id, e);
	}
	if (!e)
		return;
	e->walk = id->walk;
	if (made_ns)
		e->made_ns = made_ns;
	if (e->gone_ns) {
		entry_dequeue(id, e);
		e->gone_ns = 0;
		entry_enqueue(id, e);
	}
	/* Last, because it may look up. */
	if (again && id->restarted)
		id->restarted(id->restarted_arg, cgroup_id, made_ns);
}

void identity_gone(struct identity *id, __u64 cgroup_id)
{
	struct entry *e = entry_find(id, cgroup_id);

	if (e)
		entry_gone(id, e, time_now_ns());
}

static void walk_seen(void *arg, __u64 cgroup_id, const char *path)
{
	identity_learn(arg, cgroup_id, path, 0);
}

static int identity_walk(struct identity *id, __u64 now_ns)
{
	struct entry *e, *next;
	bool complete;
	int err;

	id->walk++;
	id->walk_ns = now_ns;
	err = cgroup_walk(id->mount, walk_seen, id, &complete);
	if (err || !complete)
		return err;
	HASH_ITER(hh, id->entries, e, next)
		if (e->walk != id->walk)
			entry_gone(id, e, now_ns);
	return 0;
}

/* Remembers that there is nothing to be found, so that it is looked for once. Expires like every cgroup that is gone. */
static void vanished_add(struct identity *id, __u64 cgroup_id, __u64 now_ns)
{
	struct entry *e = entry_new(id, cgroup_id, "");

	if (!e)
		return; /* counted as refused, and looked for again */
	id->missed++;
	entry_who(id, e);
	entry_gone(id, e, now_ns);
}

void identity_settle(struct identity *id, const __u64 *cgroup_ids, size_t count)
{
	__u64 now_ns = time_now_ns();
	bool walked = false;

	for (size_t i = 0; i < count; i++) {
		__u64 cgroup_id = cgroup_ids[i];

		if (!cgroup_id || cgroup_id == IDENTITY_VANISHED || entry_find(id, cgroup_id))
			continue;
		if (!walked)
			identity_walk(id, now_ns);
		walked = true;
		if (!entry_find(id, cgroup_id))
			vanished_add(id, cgroup_id, now_ns);
	}
	for (size_t i = 0; i < count; i++) {
		struct entry *e = entry_find(id, cgroup_ids[i]);

		if (e)
			entry_who(id, e);
	}
}

/* --- questions ---------------------------------------------------------------------------------------------- */

const struct workload *identity_lookup(struct identity *id, __u64 cgroup_id)
{
	struct entry *e = entry_find(id, cgroup_id);

	if (!e && cgroup_id && cgroup_id != IDENTITY_VANISHED) {
		__u64 now_ns = time_now_ns();

		/* Too soon after the last walk it is shown as vanished for now, and looked for at the next question. */
		if (now_ns - id->walk_ns >= id->walk_pause_ns)
			identity_settle(id, &cgroup_id, 1);
		e = entry_find(id, cgroup_id);
	}
	return e ? entry_who(id, e) : id->vanished->who;
}

__u32 identity_pid(struct identity *id, __u64 cgroup_id, __u64 socket_cookie, const char *local, const char *peer)
{
	struct entry *e = entry_find(id, cgroup_id);
	char dir[2 * CGROUP_PATH_MAX];

	if (!e || e->gone_ns)
		return 0;
	snprintf(dir, sizeof(dir), "%s%s", id->mount, e->path);
	return proc_pids_find(id->pids, dir, cgroup_id, socket_cookie, local, peer, time_now_ns());
}

/* --- cgroups whose statistics stand for a workload ------------------------------------------------------------ */

/* '/' is less than all that may stand in a name: what is below a path follows it. */
static int compare_paths(const void *left, const void *right)
{
	const char *a = (*(const struct entry *const *)left)->path, *b = (*(const struct entry *const *)right)->path;

	while (*a && *a == *b) {
		a++;
		b++;
	}
	if (*a == *b || !*a || !*b)
		return !!*a - !!*b;
	if (*a == '/' || *b == '/')
		return *a == '/' ? -1 : 1;
	return (unsigned char)*a - (unsigned char)*b;
}

/* All entries by path; marks those that have one below them, living or not. NULL: no memory. */
static struct entry **entries_sort(struct identity *id, size_t count)
{
	struct entry **sorted = calloc(count, sizeof(struct entry *)), *e, *next;
	const char *below = "";
	size_t at = 0;

	if (!sorted)
		return NULL;
	HASH_ITER(hh, id->entries, e, next)
		sorted[at++] = e;
	qsort(sorted, count, sizeof(struct entry *), compare_paths);
	for (at = count; at-- > 0;) {
		size_t bytes = strlen(sorted[at]->path);

		/* Several that ended and one that lives may have the same path. */
		if (at + 1 < count && strcmp(sorted[at]->path, sorted[at + 1]->path))
			below = sorted[at + 1]->path;
		if (!strncmp(below, sorted[at]->path, bytes) && below[bytes] == '/')
			sorted[at]->branch = true;
	}
	return sorted;
}

static bool entry_stands(const struct entry *e)
{
	return !e->gone_ns && (e->kind == KIND_OWN || (e->kind == KIND_PLAIN && !e->branch));
}

void identity_each(struct identity *id, void (*fn)(void *arg, __u64 cgroup_id, const char *path, __u64 made_ns),
		   void *arg)
{
	size_t count = HASH_COUNT(id->entries);
	struct entry **sorted = count ? entries_sort(id, count) : NULL;

	for (size_t i = 0; sorted && i < count; i++)
		if (entry_stands(sorted[i]))
			fn(arg, sorted[i]->cgroup_id, sorted[i]->path, sorted[i]->made_ns);
	free(sorted);
}

/* --- what is gone ---------------------------------------------------------------------------------------------- */

/* Another cgroup of the same workload: one that lives if there is one, else the one that ended last. */
static __u64 entry_heir(struct identity *id, const struct entry *leaving)
{
	struct entry *e, *next, *best = NULL;

	if (leaving->owner == id->vanished)
		return IDENTITY_VANISHED;
	if (!leaving->owner || leaving->owner->entries_count == 1)
		return 0;
	e = entry_find(id, leaving->owner->who->cgroup_id);
	if (e && e != leaving && e->owner == leaving->owner && !e->gone_ns)
		return e->cgroup_id;
	HASH_ITER(hh, id->entries, e, next) {
		if (e == leaving || e->owner != leaving->owner)
			continue;
		if (!e->gone_ns)
			return e->cgroup_id;
		if (!best || e->gone_ns > best->gone_ns)
			best = e;
	}
	return best ? best->cgroup_id : 0;
}

__u64 identity_namesake(const struct identity *id, __u64 cgroup_id)
{
	const struct entry *of = entry_find(id, cgroup_id), *best = NULL;
	struct entry *e, *next;

	if (!of || !of->owner || of->owner == id->vanished)
		return 0;
	HASH_ITER(hh, id->entries, e, next) {
		if (!e->owner || e->owner == of->owner || e->owner == id->vanished ||
		    strcmp(e->owner->who->service_name, of->owner->who->service_name) != 0)
			continue;
		if (!e->gone_ns)
			return e->cgroup_id;
		if (!best || e->gone_ns > best->gone_ns)
			best = e;
	}
	return best ? best->cgroup_id : 0;
}

static void queue_expire(struct identity *id, struct entry **queue, __u64 before_ns,
			 void (*forget)(void *arg, __u64 cgroup_id, __u64 heir), void *arg)
{
	while (*queue && (*queue)->gone_ns <= before_ns) {
		struct entry *e = *queue;

		if (forget)
			forget(arg, e->cgroup_id, entry_heir(id, e));
		entry_free(id, e);
	}
}

void identity_expire(struct identity *id, __u64 now_ns, void (*forget)(void *arg, __u64 cgroup_id, __u64 heir),
		     void *arg)
{
	__u64 before_ns = now_ns > id->keep_ns ? now_ns - id->keep_ns : 0;

	for (size_t i = 0; i < id->retired_count; i++)
		workload_unref(id->retired[i]);
	id->retired_count = 0;

	if (now_ns > id->walk_ns && now_ns - id->walk_ns >= RECONCILE_NS)
		identity_walk(id, now_ns);

	/* However long the interval is, what ended is in at least one more snapshot. */
	if (before_ns > id->expire_ns[0])
		before_ns = id->expire_ns[0];
	queue_expire(id, &id->gone_idle, before_ns, forget, arg);
	queue_expire(id, &id->gone, before_ns, forget, arg);
	id->expire_ns[0] = id->expire_ns[1];
	id->expire_ns[1] = now_ns;
}

void identity_use(const struct identity *id, struct identity_use *ret)
{
	*ret = (struct identity_use){
		.cgroups = HASH_COUNT(id->entries),
		.cgroups_max = id->cgroups_max,
		.missed = id->missed,
		.refused = id->refused,
		.walks = id->walk,
		.bytes = id->bytes + (id->entries ? HASH_OVERHEAD(hh, id->entries) : 0) +
			 (id->last_started ? HASH_OVERHEAD(started, id->last_started) : 0),
	};
}

const char *identity_cgroup_mount(const struct identity *id)
{
	return id->mount;
}

/* --- life cycle --------------------------------------------------------------------------------------------- */

static int mount_choose(struct identity *id, const struct identity_options *options, struct why *why)
{
	char mounts[CGROUP_PATH_MAX];

	if (options->cgroup_mount) {
		if (strlen(options->cgroup_mount) >= sizeof(id->mount))
			return why_set(why, -ENAMETOOLONG, "the path of the cgroup2 mount is too long");
		str_copy(id->mount, sizeof(id->mount), options->cgroup_mount);
		return 0;
	}
	snprintf(mounts, sizeof(mounts), "%s/mounts", options->proc ? options->proc : "/proc");
	return cgroup_find_mount(mounts, id->mount, sizeof(id->mount), why);
}

struct identity *identity_new(const struct identity_options *options, struct why *why)
{
	struct identity *id = calloc(1, sizeof(*id));
	unsigned walks_per_s = options->walks_per_s ? options->walks_per_s : IDENTITY_WALKS_PER_S;
	int err;

	if (!id)
		goto out_memory;
	id->cgroups_max = options->cgroups_max ? options->cgroups_max : IDENTITY_CGROUPS_MAX;
	id->bytes_max = (__u64)id->cgroups_max * BYTES_PER_CGROUP;
	id->keep_ns = options->keep_ns ? options->keep_ns : IDENTITY_KEEP_NS;
	id->walk_pause_ns = NS_PER_S / walks_per_s;
	id->restarted = options->restarted;
	id->restarted_arg = options->restarted_arg;
	if (mount_choose(id, options, why))
		goto out_free;

	id->docker = strdup(options->docker ? options->docker : "/var/lib/docker/containers");
	id->pids = proc_pids_new(options->proc ? options->proc : "/proc", IDENTITY_PIDS_PER_S);
	id->vanished = owner_new(id, "", 0, workload_new_vanished());
	if (!id->docker || !id->pids || !id->vanished)
		goto out_memory;

	err = identity_walk(id, time_now_ns());
	if (err) {
		why_set(why, err, "cannot read the cgroup2 mount '%s': %s", id->mount, strerror(-err));
		goto out_free;
	}
	return id;

out_memory:
	why_set(why, -ENOMEM, "no memory for the table of cgroups");
out_free:
	identity_free(id);
	return NULL;
}

void identity_free(struct identity *id)
{
	struct entry *e, *next;

	if (!id)
		return;
	HASH_ITER(hh, id->entries, e, next)
		entry_free(id, e);
	for (size_t i = 0; i < id->retired_count; i++)
		workload_unref(id->retired[i]);
	if (id->vanished)
		workload_unref(id->vanished->who);
	free(id->vanished);
	free(id->retired);
	proc_pids_free(id->pids);
	free(id->docker);
	free(id);
}
