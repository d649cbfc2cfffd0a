/* Standard output of the commands: whole buffers at once, and errors that are noticed. */
#ifndef WEIR_CMD_OUT_H
#define WEIR_CMD_OUT_H

struct buf;
struct loop;

/* Writes all of @buf and empties it. 0 or -errno; -EPIPE: nobody reads any more, which is a reason to end and no fault. */
int out_write(struct buf *buf);
/* Columns to draw for: the terminal's, else $COLUMNS, else 100. */
unsigned out_width(void);
/* Calls @gone when the reader of standard output goes away, also while there is nothing to write. */
void out_watch(struct loop *loop, void (*gone)(void *arg), void *arg);

#endif
