/* What a class histogram of HotSpot says (the answer to "GC.class_histogram", which jmap prints too; JDK 8 to 25): how many
 * objects of which class there are and how many bytes they take, and which classes have grown since an earlier one.
 *
 * A class is its name and its module. Several class loaders can have one of the same name: these are one row here. The text is
 * hostile; numbers, rows and memory are bounded. Texts of the result are valid and printable UTF-8. */
#ifndef WEIR_JVM_CLASSES_H
#define WEIR_JVM_CLASSES_H

#include <linux/types.h>
#include <stddef.h>

struct why;

#define JVM_CLASSES_MAX	      200000
#define JVM_CLASSES_BYTES_MAX (64u << 20)  /* of a result */
#define JVM_CLASS_TEXT_MAX    1024	   /* of a name: the rest is cut */
#define JVM_CLASS_NUMBER_MAX  (1ull << 44) /* of objects and bytes of one class: a heap has at most 16 TiB */

struct jvm_class {
	const char *name;   /* "[B", "java.lang.String" */
	const char *module; /* "java.base@17.0.15"; "": of none, or not told (JDK 8) */
	__u64 instances, bytes;
};

struct jvm_classes {
	struct jvm_class **classes; /* most bytes first */
	unsigned count;
	__u64 instances, bytes;		  /* of all of them */
	__u64 told_instances, told_bytes; /* in the JVM's own line "Total" */
};

/* 0, or -EBADMSG: this is none, or its end is missing; -EFBIG: more than the above; -ENOMEM. */
int jvm_classes_parse(const char *text, size_t bytes, struct jvm_classes **ret, struct why *why);
void jvm_classes_free(struct jvm_classes *classes); /* NULL is fine */

struct jvm_growth {
	const struct jvm_class *now;
	__s64 instances, bytes; /* more than before */
};

/* The classes that have more bytes or more instances than in @before, most bytes first. @ret is the caller's (free()) and
 * borrows from @now. How many, or -ENOMEM. */
int jvm_classes_growth(const struct jvm_classes *before, const struct jvm_classes *now, struct jvm_growth **ret);

#endif
