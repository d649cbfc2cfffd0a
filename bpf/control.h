/* What user space tells the programs while they run: one memory-mapped page. */
#ifndef WEIR_CONTROL_H
#define WEIR_CONTROL_H

#include <linux/types.h>

struct control {
	__u64 interval;	     /* number of the current interval, for maxima that belong to one */
	__u32 reader_sleeps; /* 1: wake the reader of the ring */
	__u32 records;	     /* bits 1 << enum signal_id: somebody wants every record of that signal */
	__u32 jvms;	     /* processes that have a stopped-time clock, or may get one: 0 saves looking for it */
	__u32 pad;
};

#endif
