/* What the user asked for, from three places: configuration file < environment < flags. The rows are in options.def;
 * a value's type, limits and default are read there and nowhere else. Strings are owned by struct options. */
#ifndef WEIR_CMD_OPTIONS_H
#define WEIR_CMD_OPTIONS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct buf;
struct command;
struct why;

enum verb {
	VERB_AGENT = 1,
	VERB_TRACE = 2,
	VERB_TOP = 4,
	VERB_HIST = 8,
	VERB_DOCTOR = 16,
	VERB_VERSION = 32,
};

enum option_type {
	OPTION_TYPE_STR,
	OPTION_TYPE_FLAG,
	OPTION_TYPE_SWITCH,
	OPTION_TYPE_DURATION,
	OPTION_TYPE_UINT,
	OPTION_TYPE_CHOICE,
	OPTION_TYPE_LIST,
};

enum option_id {
#define OPTION(member, ...) OPTION_##member,
#include "cmd/options.def"
#undef OPTION
	OPTIONS_COUNT
};

/* Where a value came from; a later one wins. */
enum option_origin { ORIGIN_NONE, ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENV, ORIGIN_FLAG };

struct option_row {
	const char *name;
	char letter;
	enum option_type type;
	const char *env;
	const char *value;
	const char *limits;
	const char *standard; /* the default, as text */
	unsigned verbs;
	const char *text;
	size_t offset; /* of the member in struct options */
};

#define OPTION_LIST_MAX 128

struct option_list {
	unsigned count;
	const char *items[OPTION_LIST_MAX + 1]; /* NULL-terminated */
};

#define OPTION_MEMBER_STR(member) const char *member;	/* NULL: not set */
#define OPTION_MEMBER_FLAG(member) bool member;
#define OPTION_MEMBER_SWITCH(member) bool member;
#define OPTION_MEMBER_DURATION(member) __u64 member;	/* nanoseconds; 0: not set, or zero (see origin) */
#define OPTION_MEMBER_UINT(member) __u64 member;	/* 0: not set */
#define OPTION_MEMBER_CHOICE(member) unsigned member;	/* place in .limits */
#define OPTION_MEMBER_LIST(member) struct option_list member;

struct options {
	enum verb verb;
	const char *argument; /* the word after the verb, NULL when it takes none */
#define OPTION(member, type, ...) OPTION_MEMBER_##type(member)
#include "cmd/options.def"
#undef OPTION
	enum option_origin origin[OPTIONS_COUNT];
	char *owned[OPTIONS_COUNT + OPTION_LIST_MAX * 3]; /* strings to free */
	unsigned owned_count;
};

/* CHOICE values, in the order of .limits. */
enum option_role { ROLE_BOTH, ROLE_SERVER, ROLE_CLIENT };
enum option_format { FORMAT_TEXT, FORMAT_JSON };
enum option_by { BY_CONTAINER, BY_POD, BY_NAMESPACE, BY_ROUTE };

extern const struct option_row option_rows[OPTIONS_COUNT];

/* Reads all three places for @command. @argv[0] is the verb. 0, or negative with one line in @why: -EINVAL for what the
 * user wrote wrongly, others for what could not be read. *ret_help is true when --help was asked for. Warnings (an
 * OpenTelemetry variable with a wrong value is ignored, as its specification says) go to @warnings, a line each. */
int options_read(struct options *options, const struct command *command, int argc, char **argv, bool *ret_help,
		 struct buf *warnings, struct why *why);
void options_done(struct options *options);

/* Sets one value from text: the same for flag, variable, file and default. 0, -EINVAL with @why, -ENOMEM. */
int option_set(struct options *options, enum option_id id, const char *text, enum option_origin origin, struct why *why);
/* Row of the given name for a verb, OPTIONS_COUNT: there is none. */
enum option_id option_find(const char *name, size_t name_bytes, enum verb verb);
bool option_given(const struct options *options, enum option_id id); /* by file, variable or flag */

/* The table of one verb's options, as --help shows it. */
void options_help(enum verb verb, struct buf *out);

#endif
