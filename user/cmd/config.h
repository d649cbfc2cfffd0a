/* The configuration file: one YAML mapping whose keys are the agent's option names and whose values are scalars or lists
 * of scalars. Nothing else of YAML is needed, so anchors, tags and nested mappings are refused with their line. */
#ifndef WEIR_CMD_CONFIG_H
#define WEIR_CMD_CONFIG_H

struct options;
struct why;

#define CONFIG_BYTES_MAX (1u << 20)

/* Sets what the file says, origin ORIGIN_FILE. 0; -EINVAL with "FILE:LINE: reason", or what open() says. */
int config_read(struct options *options, const char *path, struct why *why);

#endif
