/* What one word after `weir jvm` does each, and what they share. */
#ifndef WEIR_CMD_JVM_H
#define WEIR_CMD_JVM_H

#include <jansson.h>
#include <linux/types.h>
#include <stdbool.h>

struct buf;
struct jvm_target;
struct options;
struct why;

#define JVM_OUT_MAX (256u << 20)

/* Each prints its answer. 0 or a negative errno with @why. */
int jvm_list(const struct options *options, struct why *why);
int jvm_threads(const struct options *options, const struct jvm_target *target, struct why *why);
int jvm_histogram(const struct options *options, const struct jvm_target *target, struct why *why);
int jvm_info(const struct options *options, const struct jvm_target *target, struct why *why);

/* Asks it one thing. @answer: initialised, hostile bytes. */
int jvm_ask(const struct jvm_target *target, const char *command, struct buf *answer, struct why *why);
/* To standard output; a reader that has gone is no fault. */
int jvm_print(struct buf *out, struct why *why);
/* One line; takes @object, NULL: no memory. */
int jvm_print_json(json_t *object, struct why *why);
/* @text line by line: printable, tabs become blanks. Each line with @indent blanks before it. */
void jvm_lines(const char *text, size_t bytes, unsigned indent, struct buf *out);

#endif
