/* What is said on the socket of a HotSpot JVM (attach.h), as bytes: requests of both versions, and how an answer begins.
 *
 *   version 1   "1" NAME and three arguments, each with a NUL behind it. Understood by all
 *   version 2   JDK 24: "2", the number of bytes that follow, NAME and any number of arguments, likewise
 *   the answer  a number in decimal and a newline: 0, or what went wrong; then text until the end */
#ifndef WEIR_JVM_ATTACH_PROTOCOL_H
#define WEIR_JVM_ATTACH_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

#define ATTACH_ARGUMENT_MAX   1024
#define ATTACH_CODE_BYTES_MAX 12 /* "-2147483648" and the newline */

/* Adds a request to @b. */
void attach_request_v1(struct buf *b, const char *name, const char *argument);
void attach_request_v2(struct buf *b, const char *name, const char *argument);

/* The first line of an answer: how many bytes it has, 0 (more are needed), or -EPROTO. */
int attach_code_parse(const char *text, size_t bytes, int *ret_code);
/* What a JVM answers to "getversion options": a number, then names of options. Does it understand version 2, and
 * @option? */
bool attach_version_has(const char *text, size_t bytes, const char *option);

#endif
