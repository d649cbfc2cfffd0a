/* Where the counters (perfdata.h) of a running JVM come from. The JVM is not asked and does not notice:
 *   its file  the mapping of "hsperfdata_USER/PID" in /proc/PID/maps, opened through it, whatever it is called in which
 *             namespace. Read with pread(), never mapped: the process may cut it.
 *   memory    where there is no file: -XX:+PerfDisableSharedMem, a user id without a passwd entry, /tmp that is
 *             read-only. libjvm.so exports a table for debuggers, gHotSpotVMStructs, which says where
 *             PerfMemory::_start is.
 * Reading is one copy of what is in use, and a look whether the process is still the same one: 20 us a poll together with
 * figures.h. Opening takes 0.5 ms by the file, 8 ms by memory.
 *
 * A process is its id and its start time (field 22 of /proc/PID/stat): of another one that has the id by now nothing is
 * read. */
#ifndef WEIR_JVM_PERF_SOURCE_H
#define WEIR_JVM_PERF_SOURCE_H

#include <linux/types.h>
#include <stddef.h>

struct perf_source;
struct perfdata;
struct why;

/* What /proc/PID/stat says of a process. */
struct process_stat {
	__u64 start_ticks; /* since boot, in 1/sysconf(_SC_CLK_TCK) s, as in field 22 */
	__u64 cpu_ns;	   /* user and system time of all its threads: jvm.cpu.time */
};

/* @text: of the file. 0, -EINVAL, or -ESRCH: it has ended and waits for its parent to look. */
int process_stat_parse(const char *text, size_t bytes, struct process_stat *ret);
/* @proc: "/proc", or the host's elsewhere. 0, -ESRCH, or another negative errno. */
int process_stat_read(const char *proc, __u32 pid, struct process_stat *ret);

/* Opens and reads once. 0, or a reason and
 *   -ESRCH   the process has ended, or is another one by now
 *   -ENOENT  it has no libjvm.so mapped and no counters: no HotSpot JVM
 *   -ENODATA it keeps no counters: -XX:-UsePerfData; or it has just begun: worth another try a second later
 *   -EAGAIN  it has just begun: try again
 *   -EACCES, -EPERM   its memory may not be read (CAP_SYS_PTRACE)
 *   -EBADMSG what it shows is not what HotSpot writes; or another negative errno. */
int perf_source_open(const char *proc, __u32 pid, __u64 start_ticks, struct perf_source **ret, struct why *why);
void perf_source_close(struct perf_source *s); /* NULL is fine */

/* Reads the counters anew. 0; -ESRCH: the process has ended: close; others as above: for this time there are no
 * values. */
int perf_source_read(struct perf_source *s, struct why *why);
/* The counters as of the last perf_source_read(). Lives and changes with @s. */
const struct perfdata *perf_source_data(const struct perf_source *s);
/* As of the last perf_source_read(); cpu_ns is of the same moment as the counters. */
const struct process_stat *perf_source_stat(const struct perf_source *s);

/* Where in the memory of the process the 8 bytes of a counter are: what a watchpoint takes. They stay there as long as
 * it runs. 0 or -ENOENT. */
int perf_source_address(const struct perf_source *s, const char *name, __u64 *ret_address);
/* "hsperfdata file" or "memory". */
const char *perf_source_way(const struct perf_source *s);
size_t perf_source_bytes(const struct perf_source *s); /* copied by the last perf_source_read() */

#endif
