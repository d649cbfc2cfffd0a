#include "model/address.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *address_text(const __u8 address[16], char ret[ADDRESS_ROOM])
{
	static const __u8 mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool v4 = memcmp(address, mapped, sizeof(mapped)) == 0;

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + 12 : address, ret, ADDRESS_ROOM))
		*ret = '\0';
	return ret;
}

const char *address_port_text(const __u8 address[16], __u16 port, char ret[ADDRESS_ROOM])
{
	char text[ADDRESS_ROOM];

	address_text(address, text);
	snprintf(ret, ADDRESS_ROOM, strchr(text, ':') ? "[%.46s]:%u" : "%.46s:%u", text, port);
	return ret;
}
