/* Time: inside the program CLOCK_MONOTONIC nanoseconds, as bpf_ktime_get_ns() has it; wall clock only in outputs. */
#ifndef WEIR_BASE_TIME_H
#define WEIR_BASE_TIME_H

#include <linux/types.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

__u64 time_now_ns(void);
/* Wall clock (ns since 1970) minus CLOCK_MONOTONIC, measured now. Add it to a monotonic time to show it. */
__s64 time_wall_offset_ns(void);

#define TIME_ROOM 40
/* 2026-01-31T12:34:56.123456789Z; returns @ret. */
const char *time_format_utc(__u64 unix_ns, char ret[TIME_ROOM]);
/* 12:34:56.123 in the local time zone; returns @ret. */
const char *time_format_clock(__u64 unix_ns, char ret[TIME_ROOM]);

#endif
