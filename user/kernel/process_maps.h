/* Which files a process has mapped, and how to open exactly those: from /proc/PID/maps and /proc/PID/map_files, without
 * entering another namespace. The file is opened by its mapping and not by its path, because a path can have been
 * replaced (an upgrade leaves "libjvm.so (deleted)" mapped), or mean another file in the process's own root.
 *
 * All of it is text that the watched process has a say in: read in pieces, bounded, each number checked. */
#ifndef WEIR_KERNEL_PROCESS_MAPS_H
#define WEIR_KERNEL_PROCESS_MAPS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define PROCESS_MAP_PATH_ROOM  1024	   /* longer ones are passed over */
#define PROCESS_MAPS_BYTES_MAX (32u << 20) /* of one process: about 300,000 mappings; the limit is 65,530 by default */
#define PROCESS_MAP_FILES_ROOM 96	   /* for process_map_path() with "/proc" */

/* One mapping of a file. */
struct process_map {
	__u64 start, end; /* addresses; start < end */
	__u64 offset;	  /* in the file, of start */
	__u64 inode;
	__u32 major, minor; /* device */
	bool executable;
	bool writable;
	bool deleted;			  /* the file has no name any more */
	char path[PROCESS_MAP_PATH_ROOM]; /* as the process sees it, without " (deleted)"; hostile bytes */
};

/* --- of paths, for match functions ---------------------------------------------------------------------------- */

/* Is the last component @name? ("/usr/lib/libjvm.so", "libjvm.so") */
bool path_ends_in(const char *path, const char *name);
/* Does any component begin with @prefix? ("/tmp/hsperfdata_root/1", "hsperfdata_") */
bool path_has_prefix(const char *path, const char *prefix);

/* --- parsing -------------------------------------------------------------------------------------------------- */

/* One line without its newline: 0, -EINVAL (not understood), -ENOENT (no file is mapped there) or -ENAMETOOLONG. */
int process_map_parse(const char *line, size_t bytes, struct process_map *ret);

/* --- reading -------------------------------------------------------------------------------------------------- */

/* The mappings whose path @match likes, in order of addresses, at most @room; reading ends when @ret is full. A library
 * has several: the executable one is the one that uprobes and elf_file_bias() are about. @proc: "/proc", or a made-up
 * one. How many, or a negative errno: -ESRCH (no such process), -EACCES, -ENOMEM, -EFBIG (none in what may be read). */
int process_maps_find(const char *proc, __u32 pid, bool (*match)(const char *path), struct process_map *ret,
		      unsigned room);
/* Its link below @proc: "/proc/PID/map_files/START-END". Cut to @room. */
void process_map_path(const char *proc, __u32 pid, const struct process_map *map, char *ret, size_t room);
/* Opens the mapped file for reading. By its link; where that is refused (it takes CAP_CHECKPOINT_RESTORE in the
 * initial user namespace, before 5.9 CAP_SYS_ADMIN) by its path below the root of the process, if the file there is
 * the same one: by inode, since the devices of overlayfs differ between maps and stat. A descriptor, or a negative
 * errno: -ESTALE: the path leads to another file; -ENOENT: the mapping is gone. Give "/proc/self/fd/N" to
 * uprobe_attach(): it cannot be exchanged. */
int process_map_open(const char *proc, __u32 pid, const struct process_map *map);

#endif
