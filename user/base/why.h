/* The reason of a failure, carried beside a negative errno on the caller's stack. Filled by whoever failed,
 * printed once, by cmd/ or pipeline. A NULL struct why is accepted everywhere and ignored. */
#ifndef WEIR_BASE_WHY_H
#define WEIR_BASE_WHY_H

#include <stdarg.h>
#include <stdio.h>

struct why {
	char text[512];
};

/* Sets the text, cut to the buffer. Returns @err, so that `return why_set(why, -EINVAL, "...")` reads well. */
__attribute__((format(printf, 3, 4))) static inline int why_set(struct why *why, int err, const char *format, ...)
{
	va_list args;

	if (why) {
		va_start(args, format);
		vsnprintf(why->text, sizeof(why->text), format, args);
		va_end(args);
	}
	return err;
}

#endif
