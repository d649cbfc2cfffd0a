/* What can be told of a JVM that keeps no counters (perfdata.h): by how it was started, and by what lies beside its library. */
#ifndef WEIR_JVM_LAUNCH_H
#define WEIR_JVM_LAUNCH_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

/* The main class, module or jar, without its arguments. @text: of /proc/PID/cmdline, hostile bytes. Of a program that is not
 * the JDK's "java", its own name. Valid and printable UTF-8, cut to @room; "": not told (a file of options has it). */
void jvm_main_of_cmdline(const char *text, size_t bytes, char *ret, size_t room);
/* "17.0.15" by the file "release" of a JDK. False and "": it does not tell. */
bool jvm_version_of_release(const char *text, size_t bytes, char *ret, size_t room);

/* The same of a process; "" where it is not known. */
void jvm_main_read(const char *proc, __u32 pid, char *ret, size_t room);
void jvm_version_read(const char *proc, __u32 pid, char *ret, size_t room);

#endif
