/* Addresses as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "model/address.h"

static const struct {
	__u8 address[16];
	__u16 port;
	const char *text, *with_port;
} cases[] = {
	{ { [10] = 0xff, 0xff, 192, 0, 2, 1 }, 80, "192.0.2.1", "192.0.2.1:80" },
	{ { [10] = 0xff, 0xff }, 0, "0.0.0.0", "0.0.0.0:0" },
	{ { [10] = 0xff, 0xff, 255, 255, 255, 255 }, 65535, "255.255.255.255", "255.255.255.255:65535" },
	{ { 0 }, 443, "::", "[::]:443" },
	{ { [15] = 1 }, 8080, "::1", "[::1]:8080" },
	{ { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 }, 1, "2001:db8::1", "[2001:db8::1]:1" },
	/* Not mapped: the words before are another address's. */
	{ { [9] = 1, 0xff, 0xff, 192, 0, 2, 1 }, 80, "::1:ffff:c000:201", "[::1:ffff:c000:201]:80" },
	{ { 0xfe, 0x80, [8] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
	  65535,
	  "fe80::ffff:ffff:ffff:ffff",
	  "[fe80::ffff:ffff:ffff:ffff]:65535" },
	{ { 0x20, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff },
	  65535,
	  "2011:2233:4455:6677:8899:aabb:ccdd:eeff",
	  "[2011:2233:4455:6677:8899:aabb:ccdd:eeff]:65535" },
};

static void addresses_are_written_as_usual(void **state)
{
	char ret[ADDRESS_ROOM];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_ptr_equal(address_text(cases[i].address, ret), ret);
		assert_string_equal(ret, cases[i].text);
		assert_ptr_equal(address_port_text(cases[i].address, cases[i].port, ret), ret);
		assert_string_equal(ret, cases[i].with_port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(addresses_are_written_as_usual) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
