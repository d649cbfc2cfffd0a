/* Interned strings: one copy each, valid for the life of the program, compared by pointer. Bounded: past
 * INTERN_BYTES_MAX everything becomes the string "{overflow}" and is counted (selfstat). Valid UTF-8 in, same out:
 * callers sanitise first (base/str.h). Any thread. */
#ifndef WEIR_MODEL_INTERN_H
#define WEIR_MODEL_INTERN_H

#include <stddef.h>

#define INTERN_BYTES_MAX (8u << 20)
#define INTERN_OVERFLOW	 "{overflow}"

const char *intern(const char *text, size_t bytes);
const char *intern_str(const char *text);
size_t intern_used_bytes(void);
unsigned long intern_overflowed(void); /* strings replaced by INTERN_OVERFLOW so far */

#endif
