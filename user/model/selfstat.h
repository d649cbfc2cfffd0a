/* Weir's own numbers, named once in selfstat.def and exported like everybody's, as series of cgroup 0.
 * Stages that own their counters hand over totals once an interval (selfstat_total, selfstat_gauge); what happens on
 * other threads or in no stage is counted in place (selfstat_count) and handed over by selfstat_publish(). */
#ifndef WEIR_MODEL_SELFSTAT_H
#define WEIR_MODEL_SELFSTAT_H

#include <linux/types.h>

#include "event.h"
#include "model/aggregate.h"
#include "model/metric.h"

enum selfstat_id {
#define SELFSTAT(id, name, unit, kind, first, second, text) SELFSTAT_##id,
#include "model/selfstat.def"
#undef SELFSTAT
	SELFSTAT_MAX
};

/* By id. Internal unit of seconds is nanoseconds (scale 1e-9). */
extern const struct metric selfstat_metrics[SELFSTAT_MAX];

/* Attribute values in the order of the row; NULL: the row has none (or it is left out). Not interned by the caller.
 * @start_ns: start of the agent. */
void selfstat_total(struct aggregate *agg, enum selfstat_id id, const char *first, const char *second, __u64 total,
		    __u64 start_ns);
void selfstat_gauge(struct aggregate *agg, enum selfstat_id id, const char *first, const char *second, __s64 value);
void selfstat_hist(struct aggregate *agg, enum selfstat_id id, __u64 value_ns, __u64 start_ns);
/* The conservation law of one signal: weir.signal.*; @lost has LOSS_MAX entries. */
void selfstat_signal(struct aggregate *agg, const char *signal, __u64 seen, __u64 delivered, __u64 filtered,
		     const __u64 *lost, __u64 start_ns);

/* Any thread, no allocation. Attributes must be string literals (or live as long as the program); 64 different
 * combinations are kept, more are not counted. Only rows of kind SUM. */
void selfstat_count(enum selfstat_id id, const char *first, const char *second, __u64 add);
/* What selfstat_count() has counted of these so far. */
__u64 selfstat_counted(enum selfstat_id id, const char *first, const char *second);
/* Hands over everything counted so far, the figures of @agg itself, of the intern table and of this process. */
void selfstat_publish(struct aggregate *agg, __u64 start_ns);

const char *loss_reason_name(enum loss_reason reason); /* "ring", "table", ... */

#endif
