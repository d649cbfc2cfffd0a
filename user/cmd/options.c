#include "cmd/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/time.h"
#include "base/why.h"
#include "cmd/config.h"

#define AGENT  VERB_AGENT
#define TRACE  VERB_TRACE
#define TOP    VERB_TOP
#define HIST   VERB_HIST
#define DOCTOR VERB_DOCTOR
#define JVM    VERB_JVM

const struct option_row option_rows[OPTIONS_COUNT] = {
#define OPTION(member, type_, letter_, name_, env_, value_, limits_, standard_, verbs_, text_) \
	[OPTION_##member] = {                                                                  \
		.name = name_,                                                                 \
		.letter = letter_,                                                             \
		.type = OPTION_TYPE_##type_,                                                   \
		.env = env_,                                                                   \
		.value = value_,                                                               \
		.limits = limits_,                                                             \
		.standard = standard_,                                                         \
		.verbs = verbs_,                                                               \
		.text = text_,                                                                 \
		.offset = offsetof(struct options, member),                                    \
	},
#include "cmd/options.def"
#undef OPTION
};

static void *option_member(struct options *options, enum option_id id)
{
	return (char *)options + option_rows[id].offset;
}

/* Length of the choice at @at in "a|b|c"; *ret_next is where the following begins, NULL after the last. */
static size_t choice_next(const char *at, const char **ret_next)
{
	size_t bytes = strcspn(at, "|");

	*ret_next = at[bytes] ? at + bytes + 1 : NULL;
	return bytes;
}

const char *option_choice(enum option_id id, unsigned choice, char *room, size_t room_bytes)
{
	const char *at = option_rows[id].limits;
	const char *next;
	size_t bytes = 0;

	for (unsigned i = 0; at; i++, at = next) {
		bytes = choice_next(at, &next);
		if (i == choice)
			break;
	}
	if (!at)
		bytes = 0;
	if (bytes >= room_bytes)
		bytes = room_bytes - 1;
	memcpy(room, at ? at : "", bytes);
	room[bytes] = '\0';
	return room;
}

static int set_choice(unsigned *ret, const struct option_row *row, const char *text, bool any_case, struct why *why)
{
	const char *next;
	unsigned i = 0;

	for (const char *at = row->limits; at; at = next, i++) {
		size_t bytes = choice_next(at, &next);

		if (strlen(text) != bytes)
			continue;
		if (any_case ? !strncasecmp(text, at, bytes) : !strncmp(text, at, bytes)) {
			*ret = i;
			return 0;
		}
	}
	return why_set(why, -EINVAL, "'%.100s' is none of %s", text, row->limits);
}

/* "least..most" of a number or duration. Rows are ours, so a bad one is a bug that the unit test finds. */
static int limits_parse(const struct option_row *row, __u64 *ret_least, __u64 *ret_most)
{
	const char *dots = strstr(row->limits, "..");
	char least[32];

	if (!dots || (size_t)(dots - row->limits) >= sizeof(least))
		return -EINVAL;
	memcpy(least, row->limits, dots - row->limits);
	least[dots - row->limits] = '\0';
	if (row->type == OPTION_TYPE_UINT)
		return str_to_u64(least, ~0ull, ret_least) ?: str_to_u64(dots + 2, ~0ull, ret_most);
	return str_to_duration_ns(least, ret_least) ?: str_to_duration_ns(dots + 2, ret_most);
}

static int set_number(__u64 *ret, const struct option_row *row, const char *text, bool milliseconds, struct why *why)
{
	__u64 least = 0, most = ~0ull, value;
	int err;

	if (row->type == OPTION_TYPE_UINT) {
		err = str_to_u64(text, ~0ull, &value);
		if (err)
			return why_set(why, -EINVAL, "'%.100s' is not a whole number", text);
	} else if (milliseconds) {
		err = str_to_u64(text, ~0ull / NS_PER_MS, &value);
		if (err)
			return why_set(why, -EINVAL, "'%.100s' is not a number of milliseconds", text);
		value *= NS_PER_MS;
	} else {
		err = str_to_duration_ns(text, &value);
		if (err)
			return why_set(why, -EINVAL, "'%.100s' is not a time such as 10ms, 1s or 2m", text);
	}
	err = limits_parse(row, &least, &most);
	if (err)
		return err;
	if (value < least || value > most)
		return why_set(why, -EINVAL, "'%.100s' is outside of %s", text, row->limits);
	*ret = value;
	return 0;
}

static int set_str(char **ret, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*ret);
	*ret = copy;
	return 0;
}

static void list_clear(struct option_list *list)
{
	for (unsigned i = 0; i < list->count; i++)
		free(list->items[i]);
	memset(list, 0, sizeof(*list));
}

static int list_add(struct option_list *list, const struct option_row *row, const char *text, size_t bytes,
		    struct why *why)
{
	__u64 most = OPTION_LIST_MAX;

	if (str_to_u64(row->limits, OPTION_LIST_MAX, &most))
		return -EINVAL;
	if (list->count >= most)
		return why_set(why, -EINVAL, "more than %s values", row->limits);
	list->items[list->count] = strndup(text, bytes);
	if (!list->items[list->count])
		return -ENOMEM;
	list->count++;
	return 0;
}

/* Several values in one text only where the help says "NAME,...": a pattern may contain a comma. */
static int set_list(struct option_list *list, const struct option_row *row, const char *text, struct why *why)
{
	bool split = str_ends(row->value, ",...");

	while (*text) {
		size_t bytes = split ? strcspn(text, ",") : strlen(text);
		int err = bytes ? list_add(list, row, text, bytes, why) : 0;

		if (err)
			return err;
		text += bytes;
		if (*text)
			text++;
	}
	return 0;
}

static int set_member(struct options *options, enum option_id id, const char *text, enum option_origin origin,
		      bool otel, struct why *why)
{
	const struct option_row *row = &option_rows[id];
	void *member = option_member(options, id);

	switch (row->type) {
	case OPTION_TYPE_STR:
		return set_str(member, text);
	case OPTION_TYPE_FLAG:
	case OPTION_TYPE_SWITCH:
		if (otel && strcasecmp(text, "true") && strcasecmp(text, "false"))
			return why_set(why, -EINVAL, "'%.100s' is neither true nor false", text);
		if (otel)
			*(bool *)member = !strcasecmp(text, "true");
		else if (str_to_bool(text, member))
			return why_set(why, -EINVAL, "'%.100s' is neither on nor off", text);
		return 0;
	case OPTION_TYPE_DURATION:
	case OPTION_TYPE_UINT:
		return set_number(member, row, text, otel, why);
	case OPTION_TYPE_CHOICE:
		return set_choice(member, row, text, otel, why);
	case OPTION_TYPE_LIST:
		if (origin > options->origin[id])
			list_clear(member);
		return set_list(member, row, text, why);
	}
	return -EINVAL;
}

int option_set(struct options *options, enum option_id id, const char *text, enum option_origin origin, struct why *why)
{
	int err;

	if (origin < options->origin[id])
		return 0;
	err = set_member(options, id, text, origin, /* otel */ false, why);
	if (!err)
		options->origin[id] = origin;
	return err;
}

bool option_given(const struct options *options, enum option_id id)
{
	return options->origin[id] > ORIGIN_DEFAULT;
}

enum option_id option_find(const char *name, size_t name_bytes, enum verb verb)
{
	for (unsigned id = 0; id < OPTIONS_COUNT; id++)
		if ((option_rows[id].verbs & verb) && mem_equals_str(name, name_bytes, option_rows[id].name))
			return id;
	return OPTIONS_COUNT;
}

static enum option_id option_find_letter(char letter, enum verb verb)
{
	for (unsigned id = 0; id < OPTIONS_COUNT; id++)
		if ((option_rows[id].verbs & verb) && option_rows[id].letter == letter)
			return id;
	return OPTIONS_COUNT;
}

/* ---- flags */

/* Place in argv while reading it. */
struct words {
	const struct options_request *request;
	int next;
};

static int word_option(struct options *options, struct words *words, enum option_id id, const char *shown,
		       const char *value, struct why *why)
{
	const struct option_row *row = &option_rows[id];
	struct why inner = { .text = "no memory" };
	int err;

	if (row->type == OPTION_TYPE_FLAG) {
		if (value)
			return why_set(why, -EINVAL, "%s takes no value", shown);
		value = "on";
	} else if (!value) {
		if (words->next >= words->request->argc)
			return why_set(why, -EINVAL, "%s needs a value: %s=%s", shown, shown, row->value);
		value = words->request->argv[words->next++];
	}
	err = option_set(options, id, value, ORIGIN_FLAG, &inner);
	if (err)
		return why_set(why, err, "%s: %s", shown, inner.text);
	return 0;
}

static int word_long(struct options *options, struct words *words, const char *word, struct why *why)
{
	size_t bytes = strcspn(word + 2, "=");
	enum option_id id = option_find(word + 2, bytes, words->request->verb);
	char shown[64];

	if (id == OPTIONS_COUNT)
		return why_set(why, -EINVAL, "there is no option '%.100s'; 'weir %s --help' lists what there is", word,
			       words->request->argv[0]);
	str_copy(shown, sizeof(shown), word);
	if (bytes + 2 < sizeof(shown))
		shown[bytes + 2] = '\0';
	return word_option(options, words, id, shown, word[2 + bytes] ? word + 3 + bytes : NULL, why);
}

static int word_short(struct options *options, struct words *words, const char *word, struct why *why)
{
	enum option_id id = option_find_letter(word[1], words->request->verb);
	const char shown[] = { '-', word[1], '\0' };

	if (id == OPTIONS_COUNT)
		return why_set(why, -EINVAL, "there is no option '%.100s'; 'weir %s --help' lists what there is", word,
			       words->request->argv[0]);
	return word_option(options, words, id, shown, word[2] ? word + 2 : NULL, why);
}

static int word_plain(struct options *options, const struct options_request *request, const char *word, struct why *why)
{
	if (request->second && options->argument && !options->second)
		return set_str(&options->second, word);
	if (!request->argument || options->argument)
		return why_set(why, -EINVAL, "'%.100s' is one word too many; see 'weir %s --help'", word,
			       request->argv[0]);
	return set_str(&options->argument, word);
}

static bool help_wanted(const struct options_request *request)
{
	for (int i = 1; i < request->argc; i++) {
		if (!strcmp(request->argv[i], "--"))
			return false;
		if (!strcmp(request->argv[i], "--help") || !strcmp(request->argv[i], "-h"))
			return true;
	}
	return false;
}

static int read_flags(struct options *options, const struct options_request *request, struct why *why)
{
	struct words words = { .request = request, .next = 1 };
	bool only_plain = false;
	int err;

	while (words.next < request->argc) {
		const char *word = request->argv[words.next++];

		if (only_plain || word[0] != '-' || !word[1])
			err = word_plain(options, request, word, why);
		else if (!strcmp(word, "--"))
			err = 0, only_plain = true;
		else if (word[1] == '-')
			err = word_long(options, &words, word, why);
		else
			err = word_short(options, &words, word, why);
		if (err)
			return err;
	}
	if (request->argument && !options->argument)
		return why_set(why, -EINVAL, "%s is missing; see 'weir %s --help'", request->argument,
			       request->argv[0]);
	return 0;
}

/* ---- environment */

/* A variable of OpenTelemetry that is wrong is as good as not set, says its specification; one of our own is an error. */
static int read_variable(struct options *options, enum option_id id, const char *name, const char *value,
			 const struct options_request *request, struct why *why)
{
	struct why inner = { .text = "no memory" };
	bool otel = str_starts(name, "OTEL_");
	int err = set_member(options, id, value, ORIGIN_ENV, otel, &inner);

	if (!err)
		options->origin[id] = ORIGIN_ENV;
	else if (err == -EINVAL && !otel)
		return why_set(why, err, "%s: %s", name, inner.text);
	else if (err != -EINVAL)
		return err;
	else
		buf_printf(request->warnings, "%s: %s, ignoring it\n", name, inner.text);
	return 0;
}

static int read_env_row(struct options *options, enum option_id id, const struct options_request *request,
			struct why *why)
{
	const char *at = option_rows[id].env;
	char name[96];

	while (at && *at) {
		size_t bytes = strcspn(at, " ");
		const char *value = NULL;

		if (bytes < sizeof(name)) {
			memcpy(name, at, bytes);
			name[bytes] = '\0';
			value = request->getenv(name);
		}
		if (value && *value) /* empty is not set */
			return read_variable(options, id, name, value, request, why);
		at += bytes;
		at += *at == ' ';
	}
	return 0;
}

/* The one value that OpenTelemetry spreads over two variables. */
static int read_env_prometheus(struct options *options, const struct options_request *request, struct why *why)
{
	const char *host = request->getenv("OTEL_EXPORTER_PROMETHEUS_HOST");
	const char *port = request->getenv("OTEL_EXPORTER_PROMETHEUS_PORT");
	char address[300];
	__u64 number = 9464;

	if (!host || !*host)
		host = NULL;
	if (!port || !*port)
		port = NULL;
	if ((!host && !port) || options->origin[OPTION_prometheus] >= ORIGIN_ENV)
		return 0;
	if (port && str_to_u64(port, 65535, &number)) {
		buf_printf(request->warnings, "OTEL_EXPORTER_PROMETHEUS_PORT: '%.100s' is not a port, ignoring it\n",
			   port);
		number = 9464;
	}
	if (host && strchr(host, ':') && host[0] != '[')
		snprintf(address, sizeof(address), "[%.255s]:%llu", host, (unsigned long long)number);
	else
		snprintf(address, sizeof(address), "%.255s:%llu", host ? host : "127.0.0.1",
			 (unsigned long long)number);
	return option_set(options, OPTION_prometheus, address, ORIGIN_ENV, why);
}

static int read_env(struct options *options, const struct options_request *request, struct why *why)
{
	int err;

	for (unsigned id = 0; id < OPTIONS_COUNT; id++) {
		if (!(option_rows[id].verbs & request->verb))
			continue;
		err = read_env_row(options, id, request, why);
		if (err)
			return err;
	}
	return request->verb == VERB_AGENT ? read_env_prometheus(options, request, why) : 0;
}

/* ---- all together */

static int read_defaults(struct options *options, enum verb verb, struct why *why)
{
	int err;

	for (unsigned id = 0; id < OPTIONS_COUNT; id++) {
		if (!(option_rows[id].verbs & verb) || !option_rows[id].standard)
			continue;
		err = option_set(options, id, option_rows[id].standard, ORIGIN_DEFAULT, why);
		if (err)
			return err;
	}
	return 0;
}

int options_read(struct options *options, const struct options_request *request, bool *ret_help, struct why *why)
{
	int err;

	memset(options, 0, sizeof(*options));
	options->verb = request->verb;
	*ret_help = help_wanted(request);
	if (*ret_help)
		return 0;
	why_set(why, 0, "no memory");
	/* The file comes last although it is the weakest: flags and environment say which file. */
	err = read_defaults(options, request->verb, why) ?:
	      read_env(options, request, why) ?:
	      read_flags(options, request, why);
	if (!err && options->config)
		err = config_read(options, options->config, why);
	return err;
}

void options_done(struct options *options)
{
	for (unsigned id = 0; id < OPTIONS_COUNT; id++) {
		if (option_rows[id].type == OPTION_TYPE_STR)
			free(*(char **)option_member(options, id));
		else if (option_rows[id].type == OPTION_TYPE_LIST)
			list_clear(option_member(options, id));
	}
	free(options->argument);
	free(options->second);
	memset(options, 0, sizeof(*options));
}

/* ---- help */

#define HELP_NAME_WIDTH 32
#define HELP_WIDTH	100

/* Words of @text from column HELP_NAME_WIDTH on, broken before HELP_WIDTH. */
static void help_wrap(struct buf *out, const char *text)
{
	size_t column = HELP_NAME_WIDTH;

	while (*text) {
		size_t bytes = strcspn(text, " ");

		if (column > HELP_NAME_WIDTH && column + 1 + bytes > HELP_WIDTH) {
			buf_add_char(out, '\n');
			buf_add_repeat(out, ' ', HELP_NAME_WIDTH);
			column = HELP_NAME_WIDTH;
		} else if (column > HELP_NAME_WIDTH) {
			buf_add_char(out, ' ');
			column++;
		}
		buf_add(out, text, bytes);
		column += bytes;
		text += bytes;
		text += strspn(text, " ");
	}
	buf_add_char(out, '\n');
}

static void help_row(struct buf *out, const struct option_row *row)
{
	size_t begin = out->used;
	struct buf text;

	if (row->letter)
		buf_printf(out, "  -%c, ", row->letter);
	else
		buf_add_str(out, "      ");
	buf_printf(out, "--%s%s%s", row->name, row->value ? "=" : "", row->value ? row->value : "");
	if (out->used - begin + 2 > HELP_NAME_WIDTH) {
		buf_add_char(out, '\n');
		begin = out->used;
	}
	buf_add_repeat(out, ' ', HELP_NAME_WIDTH - (out->used - begin));

	buf_init(&text, 4096);
	buf_add_str(&text, row->text);
	if (row->type == OPTION_TYPE_CHOICE)
		buf_printf(&text, "; one of %s", row->limits);
	if (row->standard)
		buf_printf(&text, " (%s)", row->standard);
	if (row->env)
		buf_printf(&text, " [%s]", row->env);
	help_wrap(out, text.data);
	buf_done(&text);
}

void options_help(enum verb verb, struct buf *out)
{
	for (unsigned id = 0; id < OPTIONS_COUNT; id++)
		if (option_rows[id].verbs & verb)
			help_row(out, &option_rows[id]);
	buf_printf(out, "  -h, --help%*s%s\n", HELP_NAME_WIDTH - 12, "", "this text");
}
