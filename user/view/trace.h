/* Spans as aligned lines. A signal says which columns it has (struct column); text in them is already valid UTF-8
 * without control bytes, but may be of any length and width. */
#ifndef WEIR_VIEW_TRACE_H
#define WEIR_VIEW_TRACE_H

#include <linux/types.h>

#include "model/span.h"
#include "model/workload.h"

struct buf;

void trace_header(const struct column *columns, struct buf *out);
/* One line with its newline. @time_unix_ns: the span's time by the wall clock. A value that is not there is "-". */
void trace_line(const struct column *columns, const struct span *span, const struct workload *who, __u64 time_unix_ns,
		struct buf *out);

#endif
