/* Where top and hist get their snapshots: a running agent when there is one on the socket, else a pipeline of their own.
 * What uses it does not know which. */
#ifndef WEIR_CMD_SOURCE_H
#define WEIR_CMD_SOURCE_H

#include <stdbool.h>

struct loop;
struct options;
struct snapshot;
struct source;
struct why;

/* Connects, or loads and attaches. 0, -EINVAL (options), or what the kernel said, with @why. */
int source_new(const struct options *options, struct source **ret, struct why *why);
void source_free(struct source *source);
const char *source_name(const struct source *source); /* "agent at /run/weir.sock", "own programs" */
bool source_is_agent(const struct source *source);
/* A fresh one, the caller's; to be given back before source_free(). */
int source_snapshot(struct source *source, struct snapshot **ret, struct why *why);

struct loop *source_loop(struct source *source);
int source_run(struct source *source); /* until source_stop(); 0 or -errno */
void source_stop(struct source *source);
/* Ends source_run() on SIGINT and SIGTERM (and SIGHUP: the terminal has gone). */
int source_stop_on_signals(struct source *source, struct why *why);

#endif
