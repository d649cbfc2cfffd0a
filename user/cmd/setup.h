/* From options to what the pipeline wants: one translation for all commands. */
#ifndef WEIR_CMD_SETUP_H
#define WEIR_CMD_SETUP_H

#include "pipeline.h"

struct buf;
struct options;
struct span_filter;
struct why;

/* enum signal_id of a name; 0: there is none. */
unsigned setup_signal_id(const char *name);
const char *setup_signal_name(unsigned id);
/* "http, oom" */
void setup_signal_names(struct buf *out);

/* Fills *ret from what the command's options say; lists and strings are borrowed from @options. 0 or -EINVAL. */
int setup_pipeline(const struct options *options, struct pipeline_options *ret, struct why *why);
/* --container, --pod, --namespace, --path, --status, --min, --role. 0 or -EINVAL. */
int setup_filter(const struct options *options, struct span_filter *ret, struct why *why);
/* "server", "client", or NULL for both. */
const char *setup_role(const struct options *options);
/* --socket, NULL when it is off. */
const char *setup_socket(const struct options *options);

#endif
