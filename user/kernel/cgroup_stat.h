/* What the kernel counts for each cgroup anyway, read from its files: CPU time, throttling, pressure. From the cgroup2
 * tree where it is there; throttling (and CPU time, on a kernel whose cgroup2 tree has none) from the v1 controllers of a
 * "hybrid" machine. No hooks, no privileges but to read.
 *
 * Everything may be absent, malformed or gone at any moment: a figure that could not be read is not known, never 0.
 * All figures are hierarchical: those of a cgroup contain its descendants'. */
#ifndef WEIR_KERNEL_CGROUP_STAT_H
#define WEIR_KERNEL_CGROUP_STAT_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct why;

/* Times are in nanoseconds. */
enum cgroup_figure {
	CGROUP_CPU_USER,
	CGROUP_CPU_SYSTEM,
	CGROUP_CPU_PERIODS,	      /* in which a quota was enforced and the cgroup ran */
	CGROUP_CPU_THROTTLED_PERIODS, /* of these, in which it was used up */
	CGROUP_CPU_THROTTLED_TIME,
	CGROUP_PRESSURE_CPU_SOME,
	CGROUP_PRESSURE_CPU_FULL,
	CGROUP_PRESSURE_MEMORY_SOME,
	CGROUP_PRESSURE_MEMORY_FULL,
	CGROUP_PRESSURE_IO_SOME,
	CGROUP_PRESSURE_IO_FULL,
	CGROUP_FIGURES_MAX
};

struct cgroup_stat {
	__u32 known; /* bits 1 << enum cgroup_figure */
	__u64 value[CGROUP_FIGURES_MAX];
};

static inline bool cgroup_stat_knows(const struct cgroup_stat *stat, enum cgroup_figure figure)
{
	return stat->known & 1u << figure;
}

/* --- parsers: pure functions on @bytes hostile bytes; add to *ret what they understand ------------------------ */

/* cpu.stat of either hierarchy: "key number" a line. Keys in microseconds (v2) and nanoseconds (v1) have other names. */
void cpu_stat_parse(const char *text, size_t bytes, struct cgroup_stat *ret);
/* cpuacct.stat: "user N", "system N" in ticks of 1/@ticks_per_s second. */
void cpuacct_stat_parse(const char *text, size_t bytes, long ticks_per_s, struct cgroup_stat *ret);
/* A file that is one number (cpuacct.usage_user). */
void cpuacct_usage_parse(const char *text, size_t bytes, enum cgroup_figure figure, struct cgroup_stat *ret);
/* {cpu,memory,io}.pressure; @some: the figure of its first line, the next one is that of "full". */
void pressure_parse(const char *text, size_t bytes, enum cgroup_figure some, struct cgroup_stat *ret);
/* /proc/PID/cgroup: the path in the v1 hierarchy of @controller of the cgroup whose cgroup2 path is @path. The process may
 * live below it, so the path is cut after the component that has the cgroup's own name; where it shares a v1 cgroup with
 * others (a service without CPUAccounting) there is none of that name. 0; -ESRCH: the text does not tell of a process in
 * @path; -ENOENT: it has no v1 cgroup of its own; -ENAMETOOLONG. */
int cgroup_v1_path(const char *text, size_t bytes, const char *controller, const char *path, char *ret, size_t room);

/* --- reading ------------------------------------------------------------------------------------------------- */

enum cgroup_v1 { CGROUP_V1_CPU, CGROUP_V1_CPUACCT, CGROUP_V1_MAX };

/* What the reader remembers of one cgroup: where it is in the v1 hierarchies. Yours; zeroed at first. */
struct cgroup_place {
	struct {
		__u8 state;	   /* not found so far, at the same path, at another */
		__u8 pause, waits; /* readings until it is looked for again */
		char *path;	   /* another */
	} v1[CGROUP_V1_MAX];
	__u32 from_v1, from_v2; /* bits of figures, by where they were read the last time */
};

void cgroup_place_done(struct cgroup_place *place);

struct cgroup_reader;

/* @mount: of cgroup2. @proc: NULL: "/proc"; v1 mounts are found in its file "mounts", once. NULL: see @why. */
struct cgroup_reader *cgroup_reader_open(const char *mount, const char *proc, struct why *why);
void cgroup_reader_close(struct cgroup_reader *r); /* NULL is fine */
/* Reads the cgroup @path (below the mount, begins with '/'). *ret_moved: bits of the figures that are read from another
 * file than the last time, so that a difference to the last value means nothing. */
void cgroup_reader_read(struct cgroup_reader *r, const char *path, struct cgroup_place *place, struct cgroup_stat *ret,
			__u32 *ret_moved);

#endif
