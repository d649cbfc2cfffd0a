/* Snapshot -> bytes of OTLP requests, without any idea of how they are sent. */
#ifndef WEIR_EXPORT_OTLP_PACK_H
#define WEIR_EXPORT_OTLP_PACK_H

#include <linux/types.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "export/otlp.h"
#include "export/resources.h"

struct why;

#define OTLP_ATTRS_MAX	64
#define OTLP_SCOPE	"weir"
#define OTLP_SCHEMA_URL "https://opentelemetry.io/schemas/1.45.0"

/* "key=value" of the user's, decoded. */
struct otlp_pair {
	char *key, *value;
};

struct otlp_pairs {
	unsigned count;
	struct otlp_pair items[OTLP_ATTRS_MAX];
};

/* Reads "key=value,key=value", percent-decoded, blanks around keys and values dropped. 0, or -EINVAL and nothing at all,
 * as the specification has it. */
int otlp_pairs_parse(struct otlp_pairs *pairs, const char *text, struct why *why);
void otlp_pairs_done(struct otlp_pairs *pairs);

struct otlp_packer {
	enum otlp_histogram histogram;
	struct otlp_pairs extra; /* attributes from the environment */
	char *service_name;	 /* of the agent's own resource */
	char host_name[256], host_id[64];
	/* Wall clock minus monotonic of the first snapshot: when a series began must not move with the clock. */
	__s64 start_offset_ns;
	struct arena arena;
};

/* 0 or -ENOMEM; @pairs are taken either way: otlp_packer_done(). */
int otlp_packer_init(struct otlp_packer *packer, enum otlp_histogram histogram, const char *service_name,
		     const struct otlp_pairs *pairs);
void otlp_packer_done(struct otlp_packer *packer);
/* Appends one ResourceMetrics as a field of the request: requests are such fields one after the other. @points: some of
 * the resource's, so that one with very many can be cut. 0, -ENOMEM or -ENOBUFS (then nothing is added). */
int otlp_pack(struct otlp_packer *packer, const struct snapshot *snap, const struct resource *resource,
	      const struct point *points, size_t points_count, struct buf *out);

#endif
