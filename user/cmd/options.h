/* What the user asked for, from three places: configuration file < environment < flags. The rows are in options.def;
 * a value's type, limits and default are read there and nowhere else. Strings are owned by struct options. */
#ifndef WEIR_CMD_OPTIONS_H
#define WEIR_CMD_OPTIONS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct buf;
struct why;

enum verb {
	VERB_AGENT = 1,
	VERB_TRACE = 2,
	VERB_TOP = 4,
	VERB_HIST = 8,
	VERB_DOCTOR = 16,
	VERB_JVM = 32,
	VERB_VERSION = 64,
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
	const char *env; /* names with a space between; NULL: none */
	const char *value;
	const char *limits;
	const char *standard; /* the default, as text */
	unsigned verbs;	      /* bits of enum verb */
	const char *text;
	size_t offset; /* of the member in struct options */
};

#define OPTION_LIST_MAX 100

struct option_list {
	unsigned count;
	char *items[OPTION_LIST_MAX + 1]; /* NULL-terminated */
};

#define OPTION_MEMBER_STR(member)      char *member; /* NULL: not set */
#define OPTION_MEMBER_FLAG(member)     bool member;
#define OPTION_MEMBER_SWITCH(member)   bool member;
#define OPTION_MEMBER_DURATION(member) __u64 member; /* nanoseconds */
#define OPTION_MEMBER_UINT(member)     __u64 member;
#define OPTION_MEMBER_CHOICE(member)   unsigned member; /* place in .limits */
#define OPTION_MEMBER_LIST(member)     struct option_list member;

struct options {
	enum verb verb;
	char *argument; /* the word after the verb, NULL when it takes none */
	char *second;	/* the word after that; NULL: there was none */
#define OPTION(member, type, ...) OPTION_MEMBER_##type(member)
#include "cmd/options.def"
#undef OPTION
	enum option_origin origin[OPTIONS_COUNT];
};

/* CHOICE values, in the order of .limits. */
enum option_role { ROLE_BOTH, ROLE_SERVER, ROLE_CLIENT };
enum option_format { FORMAT_TEXT, FORMAT_JSON };

extern const struct option_row option_rows[OPTIONS_COUNT];

struct options_request {
	enum verb verb;
	const char *argument; /* what must follow the verb ("SIGNAL"), NULL: nothing may */
	const char *second;   /* what may follow that ("PID"), NULL: nothing may */
	int argc;
	char **argv;			   /* argv[0] is the verb */
	char *(*getenv)(const char *name); /* libc's, or a test's */
	struct buf *warnings; /* a line each: an OpenTelemetry variable with a wrong value is ignored, as its rules say */
};

/* Reads all three places. 0; -EINVAL for what the user wrote wrongly, others for what could not be read, with one line in
 * @why. *ret_help: --help was asked for (then nothing is checked). @options is initialised in every case. */
int options_read(struct options *options, const struct options_request *request, bool *ret_help, struct why *why);
void options_done(struct options *options);

/* Sets one value from text: the same for flag, variable, file and default. A value from a weaker origin is ignored; lists
 * are replaced by a stronger origin and grow by the same. 0, -EINVAL with @why, -ENOMEM. */
int option_set(struct options *options, enum option_id id, const char *text, enum option_origin origin,
	       struct why *why);
/* Row of the given name for a verb; OPTIONS_COUNT: there is none. */
enum option_id option_find(const char *name, size_t name_bytes, enum verb verb);
bool option_given(const struct options *options, enum option_id id); /* by file, variable or flag */
/* The chosen word of a CHOICE. Valid until the next call with the same @room. */
const char *option_choice(enum option_id id, unsigned choice, char *room, size_t room_bytes);

/* The table of one verb's options, as --help shows it. */
void options_help(enum verb verb, struct buf *out);

#endif
