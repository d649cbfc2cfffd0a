/* The table of identities over a cgroup tree made of plain directories: their inode numbers are the cgroup ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "base/why.h"
#include "identity/cgroup.h"
#include "identity/identity.h"
#include "identity/workload.h"

#define ID1	"0c7b1f6d4e5a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b3c"
#define ID2	"f00dfeed4e5a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b3c"
#define UID1	"8b1e2c5a-0f3d-4c6b-9a7e-112233445566"
#define KEEP_NS (10 * NS_PER_S)

struct lab {
	char dir[64], mount[80], docker[80];
	struct identity *id;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static __u64 lab_mkdir(const struct lab *lab, const char *path)
{
	char whole[512];
	struct stat st;

	snprintf(whole, sizeof(whole), "%s%s", lab->mount, path);
	for (char *at = whole + strlen(lab->mount) + 1; (at = strchr(at, '/')); at++) {
		*at = 0;
		mkdir(whole, 0755);
		*at = '/';
	}
	mkdir(whole, 0755);
	assert_int_equal(stat(whole, &st), 0);
	return st.st_ino;
}

static void lab_rmdir(const struct lab *lab, const char *path)
{
	char whole[512];

	snprintf(whole, sizeof(whole), "%s%s", lab->mount, path);
	assert_int_equal(rmdir(whole), 0);
}

static void lab_write(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void lab_open(struct lab *lab, const struct identity_options *more)
{
	struct identity_options options = *more;
	struct why why = {};

	options.cgroup_mount = lab->mount;
	options.docker = lab->docker;
	options.keep_ns = KEEP_NS;
	lab->id = identity_new(&options, &why);
	if (!lab->id)
		fail_msg("%s", why.text);
}

static int setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	strcpy(lab->dir, "/tmp/weir-identity-XXXXXX");
	if (!mkdtemp(lab->dir))
		return -1;
	snprintf(lab->mount, sizeof(lab->mount), "%s/cgroup", lab->dir);
	snprintf(lab->docker, sizeof(lab->docker), "%s/docker", lab->dir);
	*state = lab;
	return mkdir(lab->mount, 0755) || mkdir(lab->docker, 0755);
}

static int teardown(void **state)
{
	struct lab *lab = *state;

	identity_free(lab->id);
	nftw(lab->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(lab);
	return 0;
}

/* What identity_expire() told of. */
struct forgotten {
	unsigned count;
	__u64 cgroup_id[16], heir[16];
};

static void forget(void *arg, __u64 cgroup_id, __u64 heir)
{
	struct forgotten *f = arg;

	assert_true(f->count < 16);
	f->cgroup_id[f->count] = cgroup_id;
	f->heir[f->count++] = heir;
}

/* Three intervals pass, the last of them after KEEP_NS. */
static struct forgotten expire(struct lab *lab)
{
	struct forgotten f = {};
	__u64 now_ns = time_now_ns();

	identity_expire(lab->id, now_ns + 1, forget, &f);
	identity_expire(lab->id, now_ns + 2, forget, &f);
	assert_int_equal(f.count, 0);
	identity_expire(lab->id, now_ns + 2 * KEEP_NS, forget, &f);
	return f;
}

static void identity_knows_what_was_there_before(void **state)
{
	struct lab *lab = *state;
	__u64 pod = lab_mkdir(lab, "/kubepods/burstable/pod" UID1 "/" ID1);
	__u64 unit = lab_mkdir(lab, "/system.slice/my\\x2dweb.service");
	__u64 plain = lab_mkdir(lab, "/batch/nightly");
	__u64 root = lab_mkdir(lab, "/");
	const struct workload *who;
	struct identity_use use;

	lab_open(lab, &(struct identity_options){});
	who = identity_lookup(lab->id, pod);
	assert_int_equal(who->cgroup_id, pod);
	assert_string_equal(who->cgroup, "/kubepods/burstable/pod" UID1 "/" ID1);
	assert_string_equal(who->runtime, "containerd");
	assert_string_equal(who->container_id, ID1);
	assert_string_equal(who->container_name, "0c7b1f6d4e5a");
	assert_string_equal(who->service_name, "0c7b1f6d4e5a");
	assert_string_equal(who->pod_uid, UID1);
	assert_string_equal(who->pod_qos, "burstable");

	who = identity_lookup(lab->id, unit);
	assert_string_equal(who->service_name, "my-web.service");
	assert_string_equal(who->runtime, "systemd");
	assert_string_equal(who->container_id, "");

	assert_string_equal(identity_lookup(lab->id, plain)->service_name, "nightly");
	assert_string_equal(identity_lookup(lab->id, plain)->runtime, "");
	assert_string_equal(identity_lookup(lab->id, root)->service_name, "/");
	assert_string_equal(identity_lookup(lab->id, root)->cgroup, "/");
	identity_use(lab->id, &use);
	assert_int_equal(use.walks, 1);
	assert_int_equal(use.missed, 0);
}

static void identity_keeps_who_lived_shortly(void **state)
{
	struct lab *lab = *state;
	__u64 id;

	lab_open(lab, &(struct identity_options){});
	id = lab_mkdir(lab, "/docker/" ID1);
	identity_learn(lab->id, id, "/docker/" ID1, 0);
	lab_rmdir(lab, "/docker/" ID1);
	identity_gone(lab->id, id);
	/* Its data come late. */
	assert_string_equal(identity_lookup(lab->id, id)->container_id, ID1);
	assert_int_equal(identity_lookup(lab->id, id)->cgroup_id, id);
	assert_int_equal(expire(lab).count, 1);
}

static void identity_finds_what_no_event_told_of(void **state)
{
	struct lab *lab = *state;
	struct identity_use use;
	__u64 id;

	lab_open(lab, &(struct identity_options){ .walks_per_s = 1000000000 });
	id = lab_mkdir(lab, "/docker/" ID1);
	assert_string_equal(identity_lookup(lab->id, id)->container_id, ID1);
	identity_use(lab->id, &use);
	assert_int_equal(use.walks, 2);
}

static void identity_limits_walks(void **state)
{
	struct lab *lab = *state;
	struct identity_use use;
	__u64 begun_ns = time_now_ns();

	lab_open(lab, &(struct identity_options){ .walks_per_s = 1 });
	for (__u64 id = 1ull << 40; id < (1ull << 40) + 1000; id++)
		assert_string_equal(identity_lookup(lab->id, id)->service_name, "unknown");
	identity_use(lab->id, &use);
	/* The first, and one a second. */
	assert_true(use.walks <= 2 + (time_now_ns() - begun_ns) / NS_PER_S);
}

static void identity_looks_once_for_who_vanished(void **state)
{
	struct lab *lab = *state;
	const struct workload *who;
	struct identity_use use;
	struct forgotten f;

	lab_open(lab, &(struct identity_options){ .walks_per_s = 1000000000 });
	who = identity_lookup(lab->id, 1ull << 40);
	assert_string_equal(who->service_name, "unknown");
	assert_string_equal(who->cgroup, "");
	assert_int_equal(who->cgroup_id, 0);
	assert_ptr_equal(identity_lookup(lab->id, 1ull << 40), who);
	assert_ptr_equal(identity_lookup(lab->id, (1ull << 40) + 1), who);
	identity_use(lab->id, &use);
	assert_int_equal(use.walks, 3);
	assert_int_equal(use.missed, 2);

	f = expire(lab);
	assert_int_equal(f.count, 2);
	assert_int_equal(f.cgroup_id[0], 1ull << 40);
	assert_int_equal(f.heir[0], IDENTITY_VANISHED);
	assert_ptr_equal(identity_lookup(lab->id, IDENTITY_VANISHED), who);
	identity_use(lab->id, &use);
	assert_int_equal(use.cgroups, 1); /* the root */
}

static void identity_learns_the_name_of_a_vanished_one_after_all(void **state)
{
	struct lab *lab = *state;

	lab_open(lab, &(struct identity_options){ .walks_per_s = 1000000000 });
	assert_string_equal(identity_lookup(lab->id, 1ull << 40)->service_name, "unknown");
	identity_learn(lab->id, 1ull << 40, "/docker/" ID1, 0);
	assert_string_equal(identity_lookup(lab->id, 1ull << 40)->container_id, ID1);
}

static void identity_gives_nested_cgroups_to_their_container(void **state)
{
	struct lab *lab = *state;
	__u64 child = lab_mkdir(lab, "/docker/" ID1 "/system.slice/nginx.service");
	__u64 own = lab_mkdir(lab, "/docker/" ID1);
	const struct workload *who;
	struct forgotten f;

	lab_open(lab, &(struct identity_options){});
	who = identity_lookup(lab->id, child);
	assert_int_equal(who->cgroup_id, own);
	assert_string_equal(who->cgroup, "/docker/" ID1);
	assert_ptr_equal(identity_lookup(lab->id, own), who);

	lab_rmdir(lab, "/docker/" ID1 "/system.slice/nginx.service");
	identity_gone(lab->id, child);
	f = expire(lab);
	assert_int_equal(f.count, 1);
	assert_int_equal(f.cgroup_id[0], child);
	assert_int_equal(f.heir[0], own);
}

static void identity_joins_restarts_at_one_path(void **state)
{
	struct lab *lab = *state;
	const struct workload *who;
	struct forgotten f;

	lab_open(lab, &(struct identity_options){});
	identity_learn(lab->id, 1ull << 40, "/system.slice/web.service", 0);
	who = workload_ref(identity_lookup(lab->id, 1ull << 40));
	assert_int_equal(who->cgroup_id, 1ull << 40);
	identity_gone(lab->id, 1ull << 40);
	identity_learn(lab->id, (1ull << 40) + 1, "/system.slice/web.service", 0);

	assert_int_equal(identity_lookup(lab->id, (1ull << 40) + 1)->cgroup_id, (1ull << 40) + 1);
	assert_ptr_equal(identity_lookup(lab->id, 1ull << 40), identity_lookup(lab->id, (1ull << 40) + 1));
	/* The directory is not there, so the new one is noticed as gone only by a walk; it is not the one that expires. */
	f = expire(lab);
	assert_int_equal(f.count, 1);
	assert_int_equal(f.cgroup_id[0], 1ull << 40);
	assert_int_equal(f.heir[0], (1ull << 40) + 1);
	/* Who kept a reference to the first may still read it. */
	assert_string_equal(who->service_name, "web.service");
	assert_int_equal(who->cgroup_id, 1ull << 40);
	workload_unref(who);
}

static void namesake_is_another_workload_of_the_same_name(void **state)
{
	struct lab *lab = *state;

	lab_open(lab, &(struct identity_options){});
	identity_learn(lab->id, 1ull << 40, "/x/app", 0);
	identity_learn(lab->id, 2ull << 40, "/y/app", 0);
	identity_learn(lab->id, 3ull << 40, "/z/app", 0);
	identity_learn(lab->id, 4ull << 40, "/x/other", 0);
	identity_learn(lab->id, 5ull << 40, "/docker/" ID1, 0);
	identity_learn(lab->id, 6ull << 40, "/docker/" ID1 "/inside", 0);
	assert_int_equal(identity_namesake(lab->id, 1ull << 40), 0); /* nobody has asked for a name */
	for (__u64 i = 1; i <= 6; i++)
		identity_lookup(lab->id, i << 40);
	identity_gone(lab->id, 2ull << 40);
	assert_int_equal(identity_namesake(lab->id, 1ull << 40), 3ull << 40);
	identity_gone(lab->id, 3ull << 40);
	assert_int_equal(identity_namesake(lab->id, 1ull << 40), 3ull << 40);
	assert_int_equal(identity_namesake(lab->id, 3ull << 40), 1ull << 40);
	assert_int_equal(identity_namesake(lab->id, 4ull << 40), 0);
	assert_int_equal(identity_namesake(lab->id, 5ull << 40), 0); /* its own cgroups are no others */
	assert_int_equal(identity_namesake(lab->id, 7ull << 40), 0);
	/* Vanished: they share a name, and are nobody. */
	identity_settle(lab->id, (__u64[]){ 7ull << 40, 8ull << 40 }, 2);
	assert_int_equal(identity_namesake(lab->id, 7ull << 40), 0);
}

static void identity_notices_removals_that_no_event_told_of(void **state)
{
	struct lab *lab = *state;
	__u64 id = lab_mkdir(lab, "/docker/" ID1);
	__u64 now_ns = time_now_ns();
	struct forgotten f = {};

	lab_open(lab, &(struct identity_options){});
	identity_lookup(lab->id, id);
	lab_rmdir(lab, "/docker/" ID1);
	for (unsigned minute = 1; minute <= 5; minute++)
		identity_expire(lab->id, now_ns + minute * 60 * NS_PER_S, forget, &f);
	assert_int_equal(f.count, 1);
	assert_int_equal(f.cgroup_id[0], id);
	assert_int_equal(f.heir[0], 0);
}

static void identity_keeps_the_gone_for_two_intervals(void **state)
{
	struct lab *lab = *state;
	struct forgotten f = {};
	__u64 now_ns;

	lab_open(lab, &(struct identity_options){});
	identity_learn(lab->id, 1ull << 40, "/docker/" ID1, 0);
	identity_lookup(lab->id, 1ull << 40);
	identity_expire(lab->id, time_now_ns(), forget, &f);
	identity_gone(lab->id, 1ull << 40);
	now_ns = time_now_ns();
	/* An interval of an hour: by time alone it would leave before anybody was told. */
	identity_expire(lab->id, now_ns + 3600 * NS_PER_S, forget, &f);
	assert_int_equal(f.count, 0);
	identity_expire(lab->id, now_ns + 2 * 3600 * NS_PER_S, forget, &f);
	assert_int_equal(f.count, 0);
	identity_expire(lab->id, now_ns + 3 * 3600 * NS_PER_S, forget, &f);
	assert_int_equal(f.count, 1);
}

static void identity_is_bounded_and_keeps_those_with_data(void **state)
{
	struct lab *lab = *state;
	struct identity_use use;
	char path[128];

	lab_open(lab, &(struct identity_options){ .cgroups_max = 100, .walks_per_s = 1 });
	for (__u64 i = 0; i < 60; i++) {
		snprintf(path, sizeof(path), "/used/%llu", i);
		identity_learn(lab->id, (1ull << 40) + i, path, 0);
		identity_lookup(lab->id, (1ull << 40) + i);
	}
	for (__u64 i = 60; i < 10000; i++) {
		snprintf(path, sizeof(path), "/idle/%llu", i);
		identity_learn(lab->id, (1ull << 40) + i, path, 0);
		if (i % 2)
			identity_gone(lab->id, (1ull << 40) + i);
	}
	identity_use(lab->id, &use);
	assert_int_equal(use.cgroups, 100);
	assert_int_equal(use.refused, 0);
	for (__u64 i = 0; i < 60; i++) {
		snprintf(path, sizeof(path), "%llu", i);
		assert_string_equal(identity_lookup(lab->id, (1ull << 40) + i)->service_name, path);
	}
	/* The last one heard of is there as well: the gone and then the oldest left for it. */
	assert_string_equal(identity_lookup(lab->id, (1ull << 40) + 9998)->service_name, "9998");

	for (__u64 i = 10000; i < 10100; i++) {
		snprintf(path, sizeof(path), "/used/%llu", i);
		identity_learn(lab->id, (1ull << 40) + i, path, 0);
		identity_lookup(lab->id, (1ull << 40) + i);
	}
	identity_use(lab->id, &use);
	assert_int_equal(use.cgroups, 100);
	assert_true(use.refused > 0);
	assert_string_equal(identity_lookup(lab->id, (1ull << 40) + 10099)->service_name, "unknown");
}

/* Paths as long as paths may be: the bytes are bounded as well as the number. */
static void identity_is_bounded_in_bytes(void **state)
{
	struct lab *lab = *state;
	struct identity_use use;
	char path[CGROUP_PATH_MAX];

	lab_open(lab, &(struct identity_options){ .cgroups_max = 1000 });
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = 0;
	for (__u64 i = 0; i < 2000; i++) {
		memcpy(path + 1, (char[]){ (char)('a' + i % 26), (char)('a' + i / 26 % 26), (char)('a' + i / 676) }, 3);
		identity_learn(lab->id, (1ull << 40) + i, path, 0);
		if (i % 2)
			identity_lookup(lab->id, (1ull << 40) + i);
	}
	identity_use(lab->id, &use);
	assert_in_range(use.cgroups, 10, 1000);
	assert_true(use.bytes < 1000 * 1024 + 64 * 1024);
	assert_true(use.refused > 0);
}

static void identity_makes_hostile_names_safe(void **state)
{
	static const char *const paths[] = {
		"/\xff\xfe\x01\x1b[31m",
		"/a\nb",
		"/system.slice/\\xff\\x00\\x1b.service",
		"/lxc.payload.\x80\x80",
		"/\xe2\x80\xae"
		"abc",
		"/lxc/\"}\\",
	};
	struct lab *lab = *state;

	lab_open(lab, &(struct identity_options){});
	for (unsigned i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		const struct workload *who;

		identity_learn(lab->id, (1ull << 40) + i, paths[i], 0);
		who = identity_lookup(lab->id, (1ull << 40) + i);
		assert_int_equal(who->cgroup_id, (1ull << 40) + i);
		assert_true(who->service_name[0]);
		for (const char *at = who->service_name; *at; at++)
			assert_true((unsigned char)*at >= ' ' && *at != 0x7f);
		for (const char *at = who->cgroup; *at; at++)
			assert_true((unsigned char)*at >= ' ' && *at != 0x7f);
		assert_null(strstr(who->service_name, "\xff"));
	}
	identity_learn(lab->id, 5ull << 40, "no slash", 0);
	identity_learn(lab->id, 5ull << 40, "", 0);
	assert_string_equal(identity_lookup(lab->id, 5ull << 40)->service_name, "unknown");
}

static void identity_reads_names_of_docker(void **state)
{
	struct lab *lab = *state;
	char path[256];

	snprintf(path, sizeof(path), "%s/" ID1, lab->docker);
	assert_int_equal(mkdir(path, 0755), 0);
	strcat(path, "/config.v2.json");
	lab_write(path, "{\"ID\":\"" ID1 "\",\"Name\":\"/checkout\",\"Config\":{\"Name\":\"no\"}}");
	lab_open(lab, &(struct identity_options){});
	identity_learn(lab->id, 1ull << 40, "/docker/" ID1, 0);
	identity_learn(lab->id, 2ull << 40, "/docker/" ID2, 0);
	assert_string_equal(identity_lookup(lab->id, 1ull << 40)->container_name, "checkout");
	assert_string_equal(identity_lookup(lab->id, 1ull << 40)->service_name, "checkout");
	assert_string_equal(identity_lookup(lab->id, 2ull << 40)->container_name, "f00dfeed4e5a");

	lab_write(path, "{\"Name\":");
	identity_learn(lab->id, 3ull << 40, "/system.slice/docker-" ID1 ".scope", 0);
	assert_string_equal(identity_lookup(lab->id, 3ull << 40)->container_name, "0c7b1f6d4e5a");
}

/* What identity_each() tells of. */
struct each {
	unsigned count;
	struct {
		__u64 cgroup_id, made_ns;
		char path[256];
	} of[16];
};

static void each_add(void *arg, __u64 cgroup_id, const char *path, __u64 made_ns)
{
	struct each *each = arg;

	assert_true(each->count < 16);
	each->of[each->count].cgroup_id = cgroup_id;
	each->of[each->count].made_ns = made_ns;
	snprintf(each->of[each->count++].path, sizeof(each->of[0].path), "%s", path);
}

static struct each each_of(struct lab *lab)
{
	struct each each = {};

	identity_each(lab->id, each_add, &each);
	return each;
}

static void identity_each_tells_of_those_that_stand_for_a_workload(void **state)
{
	struct lab *lab = *state;
	__u64 container = lab_mkdir(lab, "/docker/" ID1);
	__u64 unit = lab_mkdir(lab, "/system.slice/web.service");
	__u64 leaf = lab_mkdir(lab, "/batch/nightly/leaf");
	struct each each;
	struct identity_use use;

	lab_mkdir(lab, "/docker/" ID1 "/init.scope");
	lab_mkdir(lab, "/system.slice/web.service/worker");
	lab_mkdir(lab, "/batch/nightly-2"); /* would sort between a branch and what is below it */
	lab_mkdir(lab, "/batch/nightly-2/one");
	lab_open(lab, &(struct identity_options){ .cgroups_max = 12 });
	each = each_of(lab);
	assert_int_equal(each.count, 4);
	assert_int_equal(each.of[0].cgroup_id, leaf);
	assert_string_equal(each.of[0].path, "/batch/nightly/leaf");
	assert_string_equal(each.of[1].path, "/batch/nightly-2/one");
	assert_int_equal(each.of[2].cgroup_id, container);
	assert_int_equal(each.of[3].cgroup_id, unit);
	assert_int_equal(each.of[3].made_ns, 0);

	/* Nothing was asked for by that: all of them leave for others. */
	for (__u64 i = 0; i < 100; i++)
		identity_learn(lab->id, (1ull << 40) + i, "/x", 0);
	identity_use(lab->id, &use);
	assert_int_equal(use.cgroups, 12);
	assert_int_equal(use.refused, 0);
}

static void identity_each_leaves_out_what_was_a_branch(void **state)
{
	struct lab *lab = *state;
	__u64 leaf = lab_mkdir(lab, "/batch/nightly"), below;

	lab_open(lab, &(struct identity_options){});
	assert_int_equal(each_of(lab).count, 1);
	identity_gone(lab->id, leaf);
	assert_int_equal(each_of(lab).count, 0);
	identity_learn(lab->id, leaf, "/batch/nightly", 0);
	assert_int_equal(each_of(lab).count, 1);

	/* A branch for good, even when nobody looked while there was something below it. */
	below = 1ull << 40;
	identity_learn(lab->id, below, "/batch/nightly/one", 23);
	identity_gone(lab->id, below);
	assert_int_equal(each_of(lab).count, 0);
	assert_int_equal(expire(lab).count, 1);
	assert_int_equal(each_of(lab).count, 0);
}

static void identity_each_tells_when_it_was_made(void **state)
{
	struct lab *lab = *state;
	struct each each;

	lab_open(lab, &(struct identity_options){});
	identity_learn(lab->id, 1ull << 40, "/docker/" ID1, 4711);
	each = each_of(lab);
	assert_int_equal(each.count, 1);
	assert_int_equal(each.of[0].made_ns, 4711);
	/* A walk, which does not know, takes nothing away. */
	identity_learn(lab->id, 1ull << 40, "/docker/" ID1, 0);
	assert_int_equal(each_of(lab).of[0].made_ns, 4711);
}

static void identity_each_survives_many_at_one_path(void **state)
{
	struct lab *lab = *state;
	struct each each;

	lab_open(lab, &(struct identity_options){});
	for (__u64 i = 0; i < 5000; i++) {
		identity_learn(lab->id, (1ull << 40) + i, i % 2 ? "/a.service" : "/a", 0);
		identity_gone(lab->id, (1ull << 40) + i);
	}
	identity_learn(lab->id, 2ull << 40, "/a.service", 0);
	identity_learn(lab->id, 3ull << 40, "/a/b", 0);
	each = each_of(lab);
	assert_int_equal(each.count, 2);
	assert_string_equal(each.of[0].path, "/a/b");
	assert_int_equal(each.of[1].cgroup_id, 2ull << 40);
}

/* What the callback was told, and that it may look up. */
struct restarts {
	struct lab *lab;
	unsigned count;
	__u64 cgroup_id, made_ns;
};

static void restarted(void *arg, __u64 cgroup_id, __u64 made_ns)
{
	struct restarts *r = arg;

	r->count++;
	r->cgroup_id = cgroup_id;
	r->made_ns = made_ns;
	assert_int_equal(identity_lookup(r->lab->id, cgroup_id)->cgroup_id, cgroup_id);
}

static void identity_tells_of_restarts(void **state)
{
	static const struct {
		const char *before, *after;
		bool gone;
		unsigned count;
	} cases[] = {
		{ "/docker/" ID1, "/docker/" ID1, true, 1 },
		{ "/docker/" ID1, "/docker/" ID1, false, 1 }, /* nobody told of the end */
		{ "/docker/" ID1, "/docker/" ID2, true, 0 },
		{ "/docker/" ID1, "/system.slice/docker-" ID1 ".scope", true, 1 },
		{ "/docker/" ID1, "/system.slice/docker-" ID1 ".scope", false, 0 },
		{ "/docker/" ID1, "/docker/" ID1 "/init.scope", true, 0 },
		{ "/docker/" ID1 "/init.scope", "/docker/" ID1 "/init.scope", true, 0 },
		{ "/system.slice/web.service", "/system.slice/web.service", true, 1 },
		{ "/system.slice/web.service", "/user.slice/web.service", true, 0 },
		{ "/batch/nightly", "/batch/nightly", true, 0 }, /* nobody starts a directory */
	};
	struct lab *lab = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct restarts r = { .lab = lab };

		identity_free(lab->id);
		lab_open(lab, &(struct identity_options){ .restarted = restarted, .restarted_arg = &r });
		identity_learn(lab->id, 1ull << 40, cases[i].before, 23);
		identity_learn(lab->id, 1ull << 40, cases[i].before, 23); /* told twice */
		assert_int_equal(r.count, 0);
		if (cases[i].gone)
			identity_gone(lab->id, 1ull << 40);
		identity_learn(lab->id, 2ull << 40, cases[i].after, 29);
		assert_int_equal(r.count, cases[i].count);
		assert_int_equal(r.cgroup_id, cases[i].count ? 2ull << 40 : 0);
		assert_int_equal(r.made_ns, cases[i].count ? 29 : 0);
		identity_learn(lab->id, 2ull << 40, cases[i].after, 0);
		assert_int_equal(r.count, cases[i].count);
	}
}

static void identity_forgets_who_ended_long_ago(void **state)
{
	struct lab *lab = *state;
	struct restarts r = { .lab = lab };

	lab_open(lab, &(struct identity_options){ .restarted = restarted, .restarted_arg = &r });
	for (__u64 i = 0; i < 23; i++) {
		identity_learn(lab->id, (1ull << 40) + i, "/docker/" ID1, 0);
		identity_gone(lab->id, (1ull << 40) + i);
	}
	assert_int_equal(r.count, 22);
	for (unsigned i = 1; i <= 3; i++)
		identity_expire(lab->id, time_now_ns() + 2 * i * KEEP_NS, NULL, NULL);
	identity_learn(lab->id, 2ull << 40, "/docker/" ID1, 0);
	assert_int_equal(r.count, 22);
}

static void identity_new_says_what_is_missing(void **state)
{
	struct lab *lab = *state;
	struct why why = {};

	assert_null(identity_new(&(struct identity_options){ .cgroup_mount = "/nonexistent" }, &why));
	assert_non_null(strstr(why.text, "/nonexistent"));
	assert_non_null(strstr(why.text, "No such file"));
	assert_null(identity_new(&(struct identity_options){ .proc = lab->dir }, &why));
	assert_non_null(strstr(why.text, "mounts"));
}

static void cgroup_mount_is_found_in_mounts(void **state)
{
	static const struct {
		const char *mounts, *want;
		int err;
	} cases[] = {
		{ "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n", "/sys/fs/cgroup", 0 },
		{ "tmpfs /sys/fs/cgroup tmpfs ro 0 0\n"
		  "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
		  "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
		  "/sys/fs/cgroup/unified", 0 },
		{ "none /mnt/with\\040space\\134 cgroup2 rw 0 0\n", "/mnt/with space\\", 0 },
		{ "cgroup2 /first cgroup2 rw 0 0\ncgroup2 /second cgroup2 rw 0 0\n", "/first", 0 },
		{ "cgroup2 /cut cgroup2", "", -ENOENT },
		{ "cgroup2\n \n  \n\n", "", -ENOENT },
		{ "x cgroup2 y cgroup2x rw 0 0\n", "", -ENOENT },
		{ "", "", -ENOENT },
	};
	struct lab *lab = *state;
	char path[128], found[64];

	snprintf(path, sizeof(path), "%s/mounts", lab->dir);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct why why = {};

		strcpy(found, "");
		lab_write(path, cases[i].mounts);
		assert_int_equal(cgroup_find_mount(path, found, sizeof(found), &why), cases[i].err);
		assert_string_equal(found, cases[i].want);
		assert_true(!cases[i].err || why.text[0]);
	}
	lab_write(path, cases[0].mounts);
	assert_int_equal(cgroup_find_mount(path, found, 5, NULL), -ENAMETOOLONG);
}

/* A container sees its own part of the tree beside the host's: the one whose root has inode 1 is meant. Needs the real thing. */
static void cgroup_mount_prefers_the_whole_tree(void **state)
{
	struct lab *lab = *state;
	char path[128], real[CGROUP_PATH_MAX], text[2 * CGROUP_PATH_MAX], found[CGROUP_PATH_MAX];

	if (cgroup_find_mount(NULL, real, sizeof(real), NULL) || !cgroup_is_root(real))
		skip();
	snprintf(path, sizeof(path), "%s/mounts", lab->dir);
	snprintf(text, sizeof(text),
		 "cgroup2 %s cgroup2 rw 0 0\ncgroup2 %s cgroup2 rw 0 0\ncgroup2 %s cgroup2 rw 0 0\n", lab->mount, real,
		 lab->docker);
	lab_write(path, text);
	assert_int_equal(cgroup_find_mount(path, found, sizeof(found), NULL), 0);
	assert_string_equal(found, real);
}

struct seen {
	unsigned count, depth_max;
	bool parent_first;
	char last[CGROUP_PATH_MAX];
};

static void seen_add(void *arg, __u64 cgroup_id, const char *path)
{
	struct seen *s = arg;
	unsigned depth = 0;

	for (const char *at = path; (at = strchr(at, '/')); at++)
		depth++;
	s->depth_max = depth > s->depth_max ? depth : s->depth_max;
	if (!s->count++)
		s->parent_first = !strcmp(path, "/");
	strcpy(s->last, path);
}

static void cgroup_walk_is_bounded(void **state)
{
	struct lab *lab = *state;
	char path[512] = "", target[128];
	struct seen seen = {};
	bool complete = false;

	snprintf(target, sizeof(target), "%s/loop", lab->mount);
	assert_int_equal(symlink("..", target), 0);
	assert_int_equal(cgroup_walk(lab->mount, seen_add, &seen, &complete), 0);
	assert_int_equal(seen.count, 1);
	assert_true(seen.parent_first);
	assert_true(complete);

	for (unsigned i = 0; i < 100; i++)
		strcat(path, "/d");
	lab_mkdir(lab, path);
	seen = (struct seen){};
	assert_int_equal(cgroup_walk(lab->mount, seen_add, &seen, &complete), 0);
	assert_int_equal(seen.count, CGROUP_DEPTH_MAX);
	assert_false(complete);
	assert_int_equal(cgroup_walk("/nonexistent", seen_add, &seen, &complete), -ENOENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(identity_knows_what_was_there_before),
		TEST(identity_keeps_who_lived_shortly),
		TEST(identity_finds_what_no_event_told_of),
		TEST(identity_limits_walks),
		TEST(identity_looks_once_for_who_vanished),
		TEST(identity_learns_the_name_of_a_vanished_one_after_all),
		TEST(identity_gives_nested_cgroups_to_their_container),
		TEST(identity_joins_restarts_at_one_path),
		TEST(namesake_is_another_workload_of_the_same_name),
		TEST(identity_notices_removals_that_no_event_told_of),
		TEST(identity_keeps_the_gone_for_two_intervals),
		TEST(identity_is_bounded_and_keeps_those_with_data),
		TEST(identity_is_bounded_in_bytes),
		TEST(identity_makes_hostile_names_safe),
		TEST(identity_reads_names_of_docker),
		TEST(identity_each_tells_of_those_that_stand_for_a_workload),
		TEST(identity_each_leaves_out_what_was_a_branch),
		TEST(identity_each_tells_when_it_was_made),
		TEST(identity_each_survives_many_at_one_path),
		TEST(identity_tells_of_restarts),
		TEST(identity_forgets_who_ended_long_ago),
		TEST(identity_new_says_what_is_missing),
		TEST(cgroup_mount_is_found_in_mounts),
		TEST(cgroup_mount_prefers_the_whole_tree),
		TEST(cgroup_walk_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
