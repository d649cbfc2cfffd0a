#include "base/time.h"

#include <stdio.h>
#include <time.h>

static __u64 clock_read_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts); /* cannot fail: valid clock, valid pointer */
	return (__u64)ts.tv_sec * NS_PER_S + (__u64)ts.tv_nsec;
}

__u64 time_now_ns(void)
{
	return clock_read_ns(CLOCK_MONOTONIC);
}

/* The wall clock is read between two readings of the other one; of three tries the tightest counts, so that being
 * preempted in the middle does not shift every time that is shown. */
__s64 time_wall_offset_ns(void)
{
	__u64 best = ~0ull;
	__s64 offset = 0;

	for (int i = 0; i < 3; i++) {
		__u64 before = clock_read_ns(CLOCK_MONOTONIC);
		__u64 wall = clock_read_ns(CLOCK_REALTIME);
		__u64 gap = clock_read_ns(CLOCK_MONOTONIC) - before;

		if (gap < best) {
			best = gap;
			offset = (__s64)(wall - (before + gap / 2));
		}
	}
	return offset;
}

const char *time_format_utc(__u64 unix_ns, char ret[TIME_ROOM])
{
	time_t seconds = (time_t)(unix_ns / NS_PER_S);
	char text[24];
	struct tm tm;

	gmtime_r(&seconds, &tm); /* fails only for years that 64 bits of nanoseconds cannot hold */
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret, TIME_ROOM, "%s.%09uZ", text, (unsigned)(unix_ns % NS_PER_S));
	return ret;
}

const char *time_format_clock(__u64 unix_ns, char ret[TIME_ROOM])
{
	time_t seconds = (time_t)(unix_ns / NS_PER_S);
	char text[24];
	struct tm tm;

	localtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%H:%M:%S", &tm);
	snprintf(ret, TIME_ROOM, "%s.%03u", text, (unsigned)(unix_ns % NS_PER_S / NS_PER_MS));
	return ret;
}
