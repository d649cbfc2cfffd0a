/* The listening sockets of the agent's doors. Not blocking, close-on-exec. */
#ifndef WEIR_VIEW_WEB_LISTEN_H
#define WEIR_VIEW_WEB_LISTEN_H

struct why;

/* "host:port", "[v6]:port" or ":port" (every address). Returns the fd or negative errno. */
int web_listen_tcp(const char *address, struct why *why);
/* Mode 0600 from the first moment. A socket file on which nobody answers is replaced; anything else that is in the way
 * is an error. Returns the fd or negative errno. */
int web_listen_unix(const char *path, struct why *why);
/* Removes the file if it is still the one of that inode number; 0: nothing. */
void web_unlink_unix(const char *path, unsigned long inode);

#endif
