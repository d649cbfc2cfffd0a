#include "base/str.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/time.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int mem_to_u64(const char *text, size_t bytes, __u64 max, __u64 *ret)
{
	__u64 value = 0;

	if (!bytes)
		return -EINVAL;
	for (size_t i = 0; i < bytes; i++)
		if (!is_digit(text[i]))
			return -EINVAL;
	for (size_t i = 0; i < bytes; i++)
		if (__builtin_mul_overflow(value, 10ull, &value) ||
		    __builtin_add_overflow(value, (__u64)(text[i] - '0'), &value))
			return -ERANGE;
	if (value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

int str_to_u64(const char *text, __u64 max, __u64 *ret)
{
	return mem_to_u64(text, strlen(text), max, ret);
}

struct unit {
	const char *name;
	__u64 factor;
};

/* "12.5" followed by a unit of @units (descending, ended by a NULL name) at *text, which moves behind it.
 * *ret_unit is the index of the unit, whose factor the value has been multiplied with. */
static int quantity_parse(const char **text, const struct unit *units, __u64 *ret, unsigned *ret_unit)
{
	__u64 whole = 0, fraction = 0, fraction_of = 1, value, part;
	const char *p = *text;
	size_t unit_bytes;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++)
		if (__builtin_mul_overflow(whole, 10ull, &whole) ||
		    __builtin_add_overflow(whole, (__u64)(*p - '0'), &whole))
			return -ERANGE;
	if (*p == '.') {
		if (!is_digit(*++p))
			return -EINVAL;
		for (; is_digit(*p); p++) {
			if (fraction_of >= NS_PER_S)
				continue; /* finer than anything weir measures */
			fraction = fraction * 10 + (__u64)(*p - '0');
			fraction_of *= 10;
		}
	}
	unit_bytes = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
	for (unsigned i = 0; units[i].name; i++) {
		if (!mem_equals_str(p, unit_bytes, units[i].name))
			continue;
		part = (__u64)((unsigned __int128)fraction * units[i].factor / fraction_of);
		if (__builtin_mul_overflow(whole, units[i].factor, &value) ||
		    __builtin_add_overflow(value, part, &value))
			return -ERANGE;
		*text = p + unit_bytes;
		*ret_unit = i;
		*ret = value;
		return 0;
	}
	return -EINVAL;
}

int str_to_duration_ns(const char *text, __u64 *ret_ns)
{
	static const struct unit units[] = {
		{ "d", 86400 * NS_PER_S },
		{ "h", 3600 * NS_PER_S },
		{ "m", 60 * NS_PER_S },
		{ "s", NS_PER_S },
		{ "ms", NS_PER_MS },
		{ "us", NS_PER_US },
		{ "ns", 1 },
		{ NULL, 0 },
	};
	__u64 sum = 0, value = 0;
	unsigned first = 0, unit = 0;
	int err;

	if (!strcmp(text, "0")) {
		*ret_ns = 0;
		return 0;
	}
	do {
		/* Each unit at most once and in descending order: "5m1h" is more likely a mistake than meant. */
		if (!units[first].name)
			return -EINVAL;
		err = quantity_parse(&text, units + first, &value, &unit);
		if (err)
			return err;
		first += unit + 1;
		if (__builtin_add_overflow(sum, value, &sum))
			return -ERANGE;
	} while (*text);
	*ret_ns = sum;
	return 0;
}

int str_to_bytes(const char *text, __u64 max, __u64 *ret_bytes)
{
	static const struct unit units[] = {
		{ "", 1 },	     { "B", 1 },
		{ "K", 1ull << 10 }, { "KiB", 1ull << 10 },
		{ "M", 1ull << 20 }, { "MiB", 1ull << 20 },
		{ "G", 1ull << 30 }, { "GiB", 1ull << 30 },
		{ "T", 1ull << 40 }, { "TiB", 1ull << 40 },
		{ NULL, 0 },
	};
	__u64 value = 0;
	unsigned unit;
	int err;

	err = quantity_parse(&text, units, &value, &unit);
	if (err)
		return err;
	if (*text)
		return -EINVAL;
	if (value > max)
		return -ERANGE;
	*ret_bytes = value;
	return 0;
}

int str_to_bool(const char *text, bool *ret)
{
	static const char *const words[][2] = { { "false", "true" }, { "no", "yes" }, { "off", "on" }, { "0", "1" } };

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		for (int truth = 0; truth < 2; truth++)
			if (!strcmp(text, words[i][truth])) {
				*ret = truth;
				return 0;
			}
	return -EINVAL;
}

/* Three significant digits. */
static void number_print(char ret[STR_NUMBER_ROOM], double value, const char *unit)
{
	int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;

	snprintf(ret, STR_NUMBER_ROOM, "%.*f%s", digits, value, unit);
}

const char *str_format_duration(__u64 ns, char ret[STR_NUMBER_ROOM])
{
	static const struct unit units[] = { { "us", NS_PER_US }, { "ms", NS_PER_MS }, { "s", NS_PER_S } };
	__u64 seconds, minutes, hours;

	if (ns < 1000) {
		snprintf(ret, STR_NUMBER_ROOM, ns ? "%lluns" : "%llu", ns);
		return ret;
	}
	for (unsigned i = 0; i < 3; i++) {
		double value = (double)ns / (double)units[i].factor;

		if (value < (i < 2 ? 999.5 : 59.95)) {
			number_print(ret, value, units[i].name);
			return ret;
		}
	}
	seconds = ns / NS_PER_S + (ns % NS_PER_S >= NS_PER_S / 2);
	minutes = seconds / 60 + (seconds % 60 >= 30);
	hours = minutes / 60 + (minutes % 60 >= 30);
	if (seconds < 3600)
		snprintf(ret, STR_NUMBER_ROOM, "%llum%02llus", seconds / 60, seconds % 60);
	else if (minutes < 24 * 60)
		snprintf(ret, STR_NUMBER_ROOM, "%lluh%02llum", minutes / 60, minutes % 60);
	else
		snprintf(ret, STR_NUMBER_ROOM, "%llud%02lluh", hours / 24, hours % 24);
	return ret;
}

/* @step is 1000 or 1024. 1000 to 1023 of a binary unit keep four digits: "1000K" is clearer than "0.98M". */
static const char *scaled_print(__u64 number, double step, const char *const *units, char ret[STR_NUMBER_ROOM])
{
	double value = (double)number;
	unsigned i = 0;

	if (value < step) {
		snprintf(ret, STR_NUMBER_ROOM, "%llu", number);
		return ret;
	}
	for (; value >= step - 0.5 && units[i + 1]; i++)
		value /= step;
	number_print(ret, value, units[i]);
	return ret;
}

const char *str_format_bytes(__u64 bytes, char ret[STR_NUMBER_ROOM])
{
	static const char *const units[] = { "", "K", "M", "G", "T", "P", "E", NULL };

	return scaled_print(bytes, 1024, units, ret);
}

const char *str_format_count(__u64 count, char ret[STR_NUMBER_ROOM])
{
	static const char *const units[] = { "", "k", "M", "G", "T", "P", "E", NULL };

	return scaled_print(count, 1000, units, ret);
}

bool str_starts(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

bool str_ends(const char *text, const char *suffix)
{
	size_t bytes = strlen(text), suffix_bytes = strlen(suffix);

	return bytes >= suffix_bytes && !strcmp(text + bytes - suffix_bytes, suffix);
}

bool mem_equals_str(const void *mem, size_t bytes, const char *text)
{
	return strlen(text) == bytes && !memcmp(mem, text, bytes);
}

size_t str_copy(char *ret, size_t room, const char *text)
{
	size_t bytes = strlen(text);

	if (!room)
		return 0;
	if (bytes >= room) {
		bytes = room - 1;
		while (bytes && ((unsigned char)text[bytes] & 0xc0) == 0x80)
			bytes--;
	}
	memcpy(ret, text, bytes);
	ret[bytes] = '\0';
	return bytes;
}

/* One character of @bytes > 0 bytes: its length with *ret_point set; or minus the length of what can begin no
 * character (the longest prefix that could have, at least one byte). */
static int utf8_step(const unsigned char *in, size_t bytes, __u32 *ret_point)
{
	unsigned char low = 0x80, high = 0xbf;
	unsigned char first = in[0];
	__u32 point;
	int more;

	if (first < 0x80) {
		*ret_point = first;
		return 1;
	} else if (first >= 0xc2 && first <= 0xdf) {
		more = 1;
		point = first & 0x1f;
	} else if (first >= 0xe0 && first <= 0xef) {
		more = 2;
		point = first & 0x0f;
		if (first == 0xe0)
			low = 0xa0; /* below: could be written shorter */
		else if (first == 0xed)
			high = 0x9f; /* above: surrogates */
	} else if (first >= 0xf0 && first <= 0xf4) {
		more = 3;
		point = first & 0x07;
		if (first == 0xf0)
			low = 0x90;
		else if (first == 0xf4)
			high = 0x8f; /* above: beyond U+10FFFF */
	} else {
		return -1;
	}
	for (int i = 1; i <= more; i++) {
		if ((size_t)i >= bytes || in[i] < low || in[i] > high)
			return -i;
		point = point << 6 | (in[i] & 0x3f);
		low = 0x80;
		high = 0xbf;
	}
	*ret_point = point;
	return more + 1;
}

unsigned utf8_decode(const void *in, size_t bytes, __u32 *ret_point)
{
	int step = bytes ? utf8_step(in, bytes, ret_point) : 0;

	return step > 0 ? (unsigned)step : 0;
}

bool utf8_valid(const void *in, size_t bytes)
{
	const unsigned char *p = in;
	__u32 point;
	int step;

	for (size_t i = 0; i < bytes; i += (size_t)step) {
		step = utf8_step(p + i, bytes - i, &point);
		if (step < 0)
			return false;
	}
	return true;
}

/* Characters that reorder the text around them, and line ends that are no control characters: with them a path could
 * make a line on a terminal read like another one. */
static bool is_deceptive(__u32 point)
{
	return point == 0x061c || point == 0x200e || point == 0x200f || (point >= 0x2028 && point <= 0x202e) ||
	       (point >= 0x2066 && point <= 0x2069);
}

size_t utf8_sanitise(const void *in, size_t bytes, char *ret, size_t room)
{
	const unsigned char *p = in;
	char escape[8];
	size_t used = 0;

	if (!room)
		return 0;
	for (size_t i = 0; i < bytes;) {
		const char *from;
		__u32 point = 0;
		size_t add;
		int step;

		/* Nearly all there ever is. */
		if (p[i] >= 0x20 && p[i] < 0x7f && used + 1 < room) {
			ret[used++] = (char)p[i++];
			continue;
		}
		from = (const char *)p + i;
		step = utf8_step(p + i, bytes - i, &point);
		add = (size_t)step;
		if (step < 0) {
			step = -step;
			from = "\xef\xbf\xbd";
			add = 3;
		} else if (point < 0x20 || (point >= 0x7f && point < 0xa0)) {
			add = (size_t)snprintf(escape, sizeof(escape), "\\x%02x", (unsigned)point);
			from = escape;
		} else if (is_deceptive(point)) {
			add = (size_t)snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)point);
			from = escape;
		}
		if (add >= room - used)
			break;
		memcpy(ret + used, from, add);
		used += add;
		i += (size_t)step;
	}
	ret[used] = '\0';
	return used;
}

/* Coarse on purpose: what terminals agree on, without a table of the whole of Unicode. */
static unsigned point_width(__u32 point)
{
	static const struct {
		__u32 first, last;
		unsigned width;
	} ranges[] = {
		{ 0x0300, 0x036f, 0 },	 { 0x1100, 0x115f, 2 },	  { 0x200b, 0x200f, 0 },   { 0x20d0, 0x20f0, 0 },
		{ 0x2e80, 0x303e, 2 },	 { 0x3041, 0xa4cf, 2 },	  { 0xac00, 0xd7a3, 2 },   { 0xf900, 0xfaff, 2 },
		{ 0xfe00, 0xfe0f, 0 },	 { 0xfe30, 0xfe6f, 2 },	  { 0xff00, 0xff60, 2 },   { 0xffe0, 0xffe6, 2 },
		{ 0x1f300, 0x1f64f, 2 }, { 0x1f680, 0x1f6ff, 2 }, { 0x1f900, 0x1f9ff, 2 }, { 0x20000, 0x3fffd, 2 },
	};

	if (point < 0x20 || (point >= 0x7f && point < 0xa0))
		return 0;
	for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (point >= ranges[i].first && point <= ranges[i].last)
			return ranges[i].width;
	return 1;
}

size_t utf8_width(const char *text)
{
	size_t bytes = strlen(text), width = 0;
	__u32 point;

	for (size_t i = 0; i < bytes;) {
		unsigned step = utf8_decode(text + i, bytes - i, &point);

		width += step ? point_width(point) : 1;
		i += step ? step : 1;
	}
	return width;
}

size_t utf8_prefix(const char *text, size_t width)
{
	size_t bytes = strlen(text), used = 0, i = 0;
	__u32 point;

	while (i < bytes) {
		unsigned step = utf8_decode(text + i, bytes - i, &point);

		used += step ? point_width(point) : 1;
		if (used > width)
			break;
		i += step ? step : 1;
	}
	return i;
}

/* Only the last star ever needs to be tried again, because what an earlier one has matched can stay as it is: hence
 * no recursion and at most pattern * text steps. */
bool glob_match(const char *pattern, const char *text)
{
	const char *star = NULL, *retry = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = ++pattern;
			retry = text;
			continue;
		}
		if (*pattern == '?') {
			__u32 point;
			unsigned step = utf8_decode(text, strnlen(text, 4), &point);

			pattern++;
			text += step ? step : 1;
			continue;
		}
		if (*pattern == '\\' && pattern[1] && pattern[1] == *text) {
			pattern += 2;
			text++;
			continue;
		}
		if (*pattern && (*pattern != '\\' || !pattern[1]) && *pattern == *text) {
			pattern++;
			text++;
			continue;
		}
		if (!star)
			return false;
		pattern = star;
		text = ++retry;
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

/* Set once, before the first hash: the tables of this process are laid out in a way nobody outside can predict. */
static __u64 hash_seed[2];
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

static void hash_init(void)
{
	/* Early in boot there may be no entropy yet; an address and a clock are then the best there is. */
	if (getrandom(hash_seed, sizeof(hash_seed), GRND_NONBLOCK) != sizeof(hash_seed)) {
		hash_seed[0] = (__u64)(size_t)&hash_seed ^ 0x9e3779b97f4a7c15ull;
		hash_seed[1] = time_now_ns() * 0xd1342543de82ef95ull + 1;
	}
}

static __u64 fold(__u64 a, __u64 b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (__u64)product ^ (__u64)(product >> 64);
}

__u64 hash_mix(__u64 a, __u64 b)
{
	pthread_once(&hash_once, hash_init);
	return fold(a ^ hash_seed[0], b ^ hash_seed[1] ^ 0x9e3779b97f4a7c15ull);
}

__u64 hash_bytes(const void *data, size_t bytes)
{
	const unsigned char *p = data;
	__u64 hash, word;

	pthread_once(&hash_once, hash_init);
	hash = hash_seed[0] ^ bytes;
	for (; bytes >= 8; bytes -= 8, p += 8) {
		memcpy(&word, p, 8);
		hash = fold(hash ^ word, hash_seed[1] ^ 0xa0761d6478bd642full);
	}
	word = 0;
	if (bytes)
		memcpy(&word, p, bytes);
	hash = fold(hash ^ word, hash_seed[1] ^ 0xe7037ed1a0b428dbull);
	return fold(hash ^ hash_seed[1], 0x9e3779b97f4a7c15ull);
}
