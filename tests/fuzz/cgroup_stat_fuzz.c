/* Any bytes as the kernel's files of a cgroup. A figure that is not known is 0. The path of a v1 cgroup ends in the
 * cgroup's own name and does not climb. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/cgroup_stat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void stat_check(const struct cgroup_stat *stat, __u32 may)
{
	assert(!(stat->known & ~may));
	for (unsigned i = 0; i < CGROUP_FIGURES_MAX; i++)
		assert(cgroup_stat_knows(stat, i) || !stat->value[i]);
}

static void v1_check(const char *text, size_t bytes, const char *path, size_t room)
{
	char *ret = malloc(room);
	const char *name = strrchr(path, '/');

	if (!cgroup_v1_path(text, bytes, "cpu", path, ret, room)) {
		assert(strlen(ret) < room && ret[0] == '/');
		assert(strlen(ret) >= strlen(name) && !strcmp(ret + strlen(ret) - strlen(name), name));
		assert(!strstr(ret, "/../"));
	}
	free(ret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size ? size : 1); /* of exactly that size, so that reading on is found */
	struct cgroup_stat cpu = {}, acct = {}, usage = {}, pressure = {};

	memcpy(text, data, size);
	cpu_stat_parse(text, size, &cpu);
	stat_check(&cpu, 0x1f);
	cpuacct_stat_parse(text, size, 100, &acct);
	stat_check(&acct, 0x3);
	cpuacct_usage_parse(text, size, CGROUP_CPU_SYSTEM, &usage);
	stat_check(&usage, 0x2);
	pressure_parse(text, size, CGROUP_PRESSURE_IO_SOME, &pressure);
	stat_check(&pressure, 3u << CGROUP_PRESSURE_IO_SOME);
	v1_check(text, size, "/docker/a", 4096);
	v1_check(text, size, "/docker/a", 8);
	v1_check(text, size, "/a", 1);
	v1_check(text, size, "/", 4096);
	free(text);
	return 0;
}
