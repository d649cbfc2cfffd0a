/* A connection to the socket of a JVM, made as the user that runs it: by a child process, which alone changes its user and
 * sends the connected socket back. The JVM sees who has connected, not who speaks. */
#ifndef WEIR_JVM_ATTACH_CONNECT_H
#define WEIR_JVM_ATTACH_CONNECT_H

#include <stdbool.h>

struct attach_target;
struct why;

/* Where the JVM does not listen yet, it is told to. *@ret_fd: connected, non-blocking, the caller's. With @look_only nothing
 * is done that the JVM could notice, and *@ret_fd is not written. 0, or a reason as jvm_attach() has it. */
int attach_connect(const struct attach_target *t, bool look_only, int *ret_fd, struct why *why);

#endif
