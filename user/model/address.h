/* Addresses as the kernel half hands them over: IPv6 or v4-mapped, in network order. */
#ifndef WEIR_MODEL_ADDRESS_H
#define WEIR_MODEL_ADDRESS_H

#include <linux/types.h>

#define ADDRESS_ROOM 64

/* "192.0.2.1", "2001:db8::1". Both return @ret. */
const char *address_text(const __u8 address[16], char ret[ADDRESS_ROOM]);
/* "192.0.2.1:80", "[2001:db8::1]:80" */
const char *address_port_text(const __u8 address[16], __u16 port, char ret[ADDRESS_ROOM]);

#endif
