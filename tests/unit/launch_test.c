/* What is told of a JVM without counters: command lines as people write them, release files as JDKs have them, and each cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "jvm/launch.h"

/* Memory of exactly that size, so that reading on is found. */
static char *exact(const char *text, size_t bytes)
{
	char *copy = malloc(bytes ? bytes : 1);

	memcpy(copy, text, bytes);
	return copy;
}

static void main_class_or_jar_is_found(void **state)
{
	static const struct {
		const char *text; /* words end in '|' */
		const char *is;
	} cases[] = {
		{ "java|Main|", "Main" },
		{ "java|Main", "Main" },
		{ "/usr/lib/jvm/jdk/bin/java|-Xmx64m|-Da=b|com.example.Main|password=hunter2|", "com.example.Main" },
		{ "java|-jar|/app/shop.jar|--port=1|", "/app/shop.jar" },
		{ "java|-cp|a.jar:b.jar|-ea|Main|", "Main" },
		{ "java|--class-path=a.jar|Main|", "Main" },
		{ "java|--add-opens|java.base/java.lang=ALL-UNNAMED|-jar|x.jar|", "x.jar" },
		{ "java|-p|mods|-m|shop/com.example.Main|", "shop/com.example.Main" },
		{ "java|--module=shop/com.example.Main|x|", "shop/com.example.Main" },
		{ "java|@options|Main|", "" },
		{ "java|-Xmx1m|", "" },
		{ "java|-jar|", "" },
		{ "java|-cp|", "" },
		{ "java||Main|", "" },
		{ "java|", "" },
		{ "/opt/shop/bin/shop-server|-x|y|", "shop-server" },
		{ "Ma\033[31m|", "Ma\\x1b[31m" },
		{ "/opt/|", "" },
		{ "", "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t bytes = strlen(cases[i].text);
		char *text = exact(cases[i].text, bytes), ret[64];

		for (size_t k = 0; k < bytes; k++)
			if (text[k] == '|')
				text[k] = '\0';
		jvm_main_of_cmdline(text, bytes, ret, sizeof(ret));
		assert_string_equal(ret, cases[i].is);
		free(text);
	}
}

static void version_of_release_is_read(void **state)
{
	static const struct {
		const char *text, *is;
	} cases[] = {
		{ "IMPLEMENTOR=\"Debian\"\nJAVA_RUNTIME_VERSION=\"17.0.15+6\"\nJAVA_VERSION=\"17.0.15\"\nX=1\n",
		  "17.0.15" },
		{ "JAVA_VERSION=\"1.8.0_504\"", "1.8.0_504" },
		{ "JAVA_VERSION=\"\"\n", "" },
		{ "JAVA_VERSION=17\n", "" },
		{ "JAVA_VERSION=\"17\nJAVA_VERSION_DATE=\"2025\"\n", "" },
		{ "XJAVA_VERSION=\"17\"\n", "" },
		{ "JAVA_VERSION=\"17\033\"\n", "17\\x1b" },
		{ "", "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t bytes = strlen(cases[i].text);
		char *text = exact(cases[i].text, bytes), ret[64];

		assert_int_equal(jvm_version_of_release(text, bytes, ret, sizeof(ret)), *cases[i].is != '\0');
		assert_string_equal(ret, cases[i].is);
		free(text);
	}
}

static void every_cut_is_safe(void **state)
{
	static const char cmdline[] = "/bin/java\0-cp\0a.jar\0--module=m/C\0x";
	static const char release[] = "A=\"b\"\nJAVA_VERSION=\"17.0.15\"\n";

	for (size_t bytes = 0; bytes < sizeof(cmdline); bytes++) {
		char *text = exact(cmdline, bytes), ret[4];

		jvm_main_of_cmdline(text, bytes, ret, sizeof(ret));
		assert_true(strlen(ret) < sizeof(ret));
		free(text);
	}
	for (size_t bytes = 0; bytes < sizeof(release); bytes++) {
		char *text = exact(release, bytes), ret[4];

		jvm_version_of_release(text, bytes, ret, sizeof(ret));
		assert_true(strlen(ret) < sizeof(ret));
		free(text);
	}
}

static void who_is_gone_or_no_jvm_has_neither(void **state)
{
	char ret[64];

	jvm_version_read("/proc", (__u32)getpid(), ret, sizeof(ret));
	assert_string_equal(ret, "");
	jvm_main_read("/proc", (__u32)getpid(), ret, sizeof(ret));
	assert_string_equal(ret, "launch_test");
	jvm_version_read("/nowhere", 1, ret, sizeof(ret));
	assert_string_equal(ret, "");
	jvm_main_read("/nowhere", 1, ret, sizeof(ret));
	assert_string_equal(ret, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(main_class_or_jar_is_found),
		cmocka_unit_test(version_of_release_is_read),
		cmocka_unit_test(every_cut_is_safe),
		cmocka_unit_test(who_is_gone_or_no_jvm_has_neither),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
