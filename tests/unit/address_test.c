#include "model/address.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Expected texts as inet_ntop(3) and RFC 5952 have them. */
static void addresses_are_printed(void **state)
{
	static const struct {
		const char *v6, *want;
	} cases[] = {
		{ "::ffff:192.0.2.1", "192.0.2.1:80" },
		{ "2001:db8::1", "[2001:db8::1]:80" },
		{ "::1", "[::1]:80" },
		{ "2001:db8:1111:2222:3333:4444:5555:6666", "[2001:db8:1111:2222:3333:4444:5555:6666]:80" },
	};
	char got[ADDRESS_ROOM];
	__u8 address[16];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(1, inet_pton(AF_INET6, cases[i].v6, address));
		assert_string_equal(cases[i].want, address_port_text(address, 80, got));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
