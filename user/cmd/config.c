#include "cmd/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

#include "base/why.h"
#include "cmd/options.h"

struct config {
	struct options *options;
	const char *path;
	yaml_parser_t parser;
	struct why *why;
	bool seen[OPTIONS_COUNT];
};

__attribute__((format(printf, 3, 4))) static int config_fail(const struct config *config, size_t line,
							     const char *format, ...)
{
	struct why inner;
	va_list args;

	va_start(args, format);
	vsnprintf(inner.text, sizeof(inner.text), format, args);
	va_end(args);
	return why_set(config->why, -EINVAL, "%.200s:%zu: %.250s", config->path, line + 1, inner.text);
}

/* Marks count from 0. libyaml gives a problem without its place for bad bytes: only their offset is known then. */
static int config_next(struct config *config, yaml_event_t *event)
{
	const yaml_parser_t *parser = &config->parser;

	if (yaml_parser_parse(&config->parser, event))
		return 0;
	memset(event, 0, sizeof(*event));
	if (parser->error == YAML_MEMORY_ERROR)
		return why_set(config->why, -ENOMEM, "no memory");
	if (parser->error == YAML_READER_ERROR)
		return why_set(config->why, -EINVAL, "%.200s: byte %zu: %s", config->path, parser->problem_offset,
			       parser->problem ? parser->problem : "cannot be read");
	return config_fail(config, parser->problem_mark.line, "%.200s",
			   parser->problem ? parser->problem : "this is not YAML");
}

static int config_value(struct config *config, enum option_id id, const yaml_event_t *event)
{
	struct why inner = { .text = "no memory" };
	int err;

	/* "key:" without a value says nothing, as an empty variable does. */
	if (!event->data.scalar.length)
		return 0;
	if (strlen((const char *)event->data.scalar.value) != event->data.scalar.length)
		return config_fail(config, event->start_mark.line, "%s: a NUL byte in the value", option_rows[id].name);
	err = option_set(config->options, id, (const char *)event->data.scalar.value, ORIGIN_FILE, &inner);
	if (err == -EINVAL)
		return config_fail(config, event->start_mark.line, "%s: %.200s", option_rows[id].name, inner.text);
	return err;
}

static int config_list(struct config *config, enum option_id id)
{
	yaml_event_t event;
	int err;

	for (;;) {
		err = config_next(config, &event);
		if (err)
			return err;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			break;
		if (event.type == YAML_SCALAR_EVENT)
			err = config_value(config, id, &event);
		else
			err = config_fail(config, event.start_mark.line, "%s: only plain values may be in this list",
					  option_rows[id].name);
		yaml_event_delete(&event);
		if (err)
			return err;
	}
	yaml_event_delete(&event);
	return 0;
}

static int config_key(struct config *config, const yaml_event_t *key)
{
	enum option_id id;

	if (key->type != YAML_SCALAR_EVENT)
		return config_fail(config, key->start_mark.line, "a key must be the name of an option");
	id = option_find((const char *)key->data.scalar.value, key->data.scalar.length, VERB_AGENT);
	if (id == OPTIONS_COUNT || id == OPTION_config)
		return config_fail(config, key->start_mark.line,
				   "there is no option '%.100s'; 'weir agent --help' lists them",
				   (const char *)key->data.scalar.value);
	if (config->seen[id])
		return config_fail(config, key->start_mark.line, "'%.100s' is here for the second time",
				   option_rows[id].name);
	config->seen[id] = true;
	return id;
}

static int config_pair(struct config *config, const yaml_event_t *key)
{
	int id = config_key(config, key);
	yaml_event_t value;
	int err;

	if (id < 0)
		return id;
	err = config_next(config, &value);
	if (err)
		return err;
	if (value.type == YAML_SCALAR_EVENT)
		err = config_value(config, id, &value);
	else if (value.type == YAML_SEQUENCE_START_EVENT && option_rows[id].type == OPTION_TYPE_LIST)
		err = config_list(config, id);
	else
		err = config_fail(config, value.start_mark.line, "%s must be %s", option_rows[id].name,
				  option_rows[id].type == OPTION_TYPE_LIST ? "a value or a list of values"
									   : "one plain value");
	yaml_event_delete(&value);
	return err;
}

/* The events of a file in order: stream, document, mapping, key and value by turns, and the ends of all three. */
static int config_events(struct config *config)
{
	unsigned documents = 0;
	bool inside = false, end = false;
	int err = 0;

	while (!err && !end) {
		yaml_event_t event;

		err = config_next(config, &event);
		if (err)
			break;
		if (event.type == YAML_STREAM_END_EVENT)
			end = true;
		else if (event.type == YAML_DOCUMENT_START_EVENT && documents++)
			err = config_fail(config, event.start_mark.line, "a second document begins here");
		else if (inside && event.type == YAML_MAPPING_END_EVENT)
			inside = false;
		else if (inside)
			err = config_pair(config, &event);
		else if (event.type == YAML_MAPPING_START_EVENT)
			inside = true;
		else if (event.type == YAML_ALIAS_EVENT || event.type == YAML_SEQUENCE_START_EVENT ||
			 (event.type == YAML_SCALAR_EVENT && event.data.scalar.length))
			err = config_fail(config, event.start_mark.line, "expected 'option: value' lines");
		yaml_event_delete(&event);
	}
	return err;
}

int config_read(struct options *options, const char *path, struct why *why)
{
	struct config config = { .options = options, .path = path, .why = why };
	struct stat stat;
	FILE *file;
	int err;

	file = fopen(path, "re");
	if (!file)
		return why_set(why, -errno, "cannot open the configuration file '%.200s': %s", path, strerror(errno));
	if (fstat(fileno(file), &stat) || S_ISDIR(stat.st_mode) || stat.st_size > CONFIG_BYTES_MAX) {
		fclose(file);
		return why_set(why, -EINVAL, "'%.200s' is not a configuration file (a YAML file below 1 MiB)", path);
	}
	if (!yaml_parser_initialize(&config.parser)) {
		fclose(file);
		return why_set(why, -ENOMEM, "no memory");
	}
	yaml_parser_set_input_file(&config.parser, file);
	err = config_events(&config);
	yaml_parser_delete(&config.parser);
	fclose(file);
	return err;
}
