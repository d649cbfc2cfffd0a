/* The counters of a HotSpot JVM (perfdata.h) under the names that JMX has for them, so that dashboards made for a Java
 * agent show the same: memory pools, collectors, threads, classes; and time at safepoints, which JMX does not tell.
 *
 * What is right, and how right, was compared with JMX in the same JVM, of JDK 8, 11, 17, 21 and 25, with each
 * collector:
 *
 *   threads, classes, collections of a collector
 *             exact
 *   time of a collector
 *             exact to the ns; JMX counts whole ms of each collection. Stop-the-world time only: of ZGC the pauses and
 *             not the cycles
 *   G1        eden within one region (1 to 32 MB); the old generation as of the last collection
 *   Serial, Parallel
 *             up to JDK 24 sampled every 50 ms by the JVM. Since 25 nobody samples: eden is written after a collection
 *             only, when it is empty, and says 0 from there on. "used" of eden is then not known, and that of the
 *             others is as of the last collection
 *   ZGC       as of the last collection
 *   Shenandoah
 *             memory within some MB, as one pool, also with generations. Its collectors are left out: it counts
 *             phases, concurrent ones too, which is neither of the two things that JMX calls a collection
 *   Metaspace, Compressed Class Space
 *             as of the last collection, not known before the first. As in JMX the former contains the latter
 *   code heaps, buffer pools, mapped memory
 *             not there
 *
 * Limits are what JMX gives as "max", and are not known where JMX says -1: of eden and survivors of G1; of Metaspace,
 * unless -XX:MaxMetaspaceSize is set. (The counters have something under maxCapacity for all of these. For G1 each
 * generation claims the whole heap.) To have the size of the heap, see jvm_figures.heap_limit; limits of pools may not
 * be summed. */
#ifndef WEIR_JVM_FIGURES_H
#define WEIR_JVM_FIGURES_H

#include <linux/types.h>
#include <stdbool.h>

struct perfdata;

#define JVM_COLLECTORS_MAX 3
#define JVM_POOLS_MAX	   5

enum jvm_gc {
	JVM_GC_UNKNOWN,
	JVM_GC_SERIAL,
	JVM_GC_PARALLEL,
	JVM_GC_CMS,
	JVM_GC_G1,
	JVM_GC_Z,	      /* one generation: 11 to 23; up to 14 without collectors */
	JVM_GC_Z_GENERATIONS, /* 21 and later */
	JVM_GC_SHENANDOAH,
	JVM_GC_EPSILON,
};

/* What does not change while the JVM runs. Texts are valid and printable UTF-8; "": not known. */
struct jvm_about {
	unsigned major;	     /* 8, 11, 17...; 0: not known */
	char version[64];    /* 17.0.15 */
	char vm_name[96];    /* OpenJDK 64-Bit Server VM */
	char vm_vendor[96];  /* Debian */
	char vm_version[96]; /* 17.0.15+6-Debian-1deb12u1 */
	char command[512];   /* main class or jar with its arguments; may hold secrets */
	enum jvm_gc gc;
	/* To attach means to send SIGQUIT first, where nobody has attached before. Not to be done to one that: */
	bool attach_allowed;   /* false (-XX:+DisableAttachMechanism, or not known): prints all stacks */
	bool signals_reduced;  /* true (-Xrs, -XX:+ReduceSignalUsage): may be killed by it */
	__u64 metaspace_limit; /* -XX:MaxMetaspaceSize; 0: none */
};

/* Of a pool. */
#define JVM_USED       (1u << 0)
#define JVM_COMMITTED  (1u << 1)
#define JVM_LIMIT      (1u << 2)
#define JVM_USED_AT_GC (1u << 3) /* "used" is as of the last collection */

struct jvm_pool {
	const char *name;	      /* jvm.memory.pool.name: static text */
	bool heap;		      /* jvm.memory.type: heap, non_heap */
	__u32 known;		      /* bits of the above */
	__u64 used, committed, limit; /* bytes; 0 where not known */
};

struct jvm_collector {
	const char *name;   /* jvm.gc.name: static text */
	const char *action; /* jvm.gc.action: static text */
	__u64 count;	    /* collections that have ended; of ZGC and of concurrent cycles: pauses */
	__u64 stopped_ns;   /* in all */
};

/* Of struct jvm_figures. */
#define JVM_THREADS    (1u << 0)
#define JVM_CLASSES    (1u << 1)
#define JVM_SAFEPOINTS (1u << 2)
#define JVM_GC_CPU     (1u << 3) /* JDK 25 */
#define JVM_HEAP_LIMIT (1u << 4)

struct jvm_figures {
	__u32 known;
	__u64 threads_live, threads_daemon;	/* now; jvm.thread.count: daemon of true, live - daemon of false */
	__u64 classes_loaded, classes_unloaded; /* since the start */
	__u64 safepoints;			/* begun */
	__u64 safepoint_stopped_ns;		/* from begin to end, of those that have ended */
	__u64 safepoint_sync_ns;		/* of that, until all threads stood still */
	__u64 gc_cpu_ns;			/* of all GC threads */
	__u64 heap_limit; /* -Xmx, as rounded by the JVM; JMX: of Serial and Parallel a survivor space less */
	unsigned collector_count;
	struct jvm_collector collectors[JVM_COLLECTORS_MAX];
	unsigned pool_count;
	struct jvm_pool pools[JVM_POOLS_MAX];
};

void jvm_about_read(const struct perfdata *data, struct jvm_about *ret);
/* @about: of the same JVM. */
void jvm_figures_read(const struct perfdata *data, const struct jvm_about *about, struct jvm_figures *ret);
/* Why the JVM collected last ("G1 Evacuation Pause"): jvm.gc.cause. False: it never has. */
bool jvm_gc_cause(const struct perfdata *data, char *ret, unsigned room);
/* The JDK's number: "1.8.0_504" is 8, "25-ea" is 25; 0: not understood. */
unsigned jvm_major(const char *version);

#endif
