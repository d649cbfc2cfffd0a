/* The first line of an HTTP/1 request, taken apart without copying. The bytes are hostile and may be cut anywhere. */
#ifndef WEIR_MODEL_REQUEST_LINE_H
#define WEIR_MODEL_REQUEST_LINE_H

#include <stdbool.h>
#include <stddef.h>

enum target_form {
	TARGET_NONE,	  /* no target: the line ended or was cut before it */
	TARGET_ORIGIN,	  /* /path?query */
	TARGET_ABSOLUTE,  /* http://host:port/path?query */
	TARGET_AUTHORITY, /* host:port, of CONNECT */
	TARGET_ASTERISK,  /* *, of OPTIONS */
	TARGET_OTHER,	  /* none of these: malformed */
};

/* Not terminated; data is never NULL. */
struct slice {
	const char *data;
	size_t bytes;
};

struct request_line {
	struct slice method;
	struct slice target;	/* as sent */
	struct slice authority; /* of the absolute and the authority form, otherwise empty; without user:password@ */
	struct slice path;  /* of the origin and the absolute form ("/" when there is none); without ? and # parts */
	struct slice query; /* behind '?', without it */
	enum target_form form;
	bool path_cut;	 /* the bytes ended inside the path: more of it may follow */
	bool target_cut; /* the bytes ended inside the target */
};

/* 0 or -EINVAL (no method, or bytes that no method has); *ret is written on success only. Borrows @line.
 * Leading empty lines are skipped, one space or more separates the parts, CR and LF end the line. */
int request_line_parse(const char *line, size_t bytes, struct request_line *ret);

#endif
