/* Class histograms of JDK 8 to 25, cut to what matters, their differences, and texts that no JVM writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/why.h"
#include "jvm/classes.h"

static struct jvm_classes *parsed(const char *text)
{
	struct jvm_classes *classes = NULL;
	struct why why = {};

	if (jvm_classes_parse(text, strlen(text), &classes, &why))
		fail_msg("%s", why.text);
	return classes;
}

static const char jdk8[] = "\n num     #instances         #bytes  class name\n"
			   "----------------------------------------------\n"
			   "   1:          5012         460000  [C\n"
			   "   2:          4900         117600  java.lang.String\n"
			   "   3:             2          48000  [I\n"
			   "Total         9914         625600\n";

static const char jdk17[] = " num     #instances         #bytes  class name (module)\n"
			    "-------------------------------------------------------\n"
			    "   1:           974        3070608  [I (java.base@17.0.15)\n"
			    "   2:            30            720  Locks$Thing\n"
			    "   3:            10            240  Locks$Thing\n"
			    "   4:             1            900  odd (name\n"
			    "   5:             1             16  Locks$$Lambda$2/0x00007ff6a8001220\n"
			    "Total          1016        3072484\n";

static void jdk8_is_read(void **state)
{
	struct jvm_classes *classes = parsed(jdk8);

	assert_int_equal(classes->count, 3);
	assert_int_equal(classes->instances, 9914);
	assert_int_equal(classes->bytes, 625600);
	assert_int_equal(classes->told_instances, 9914);
	assert_int_equal(classes->told_bytes, 625600);
	assert_string_equal(classes->classes[0]->name, "[C");
	assert_string_equal(classes->classes[0]->module, "");
	assert_int_equal(classes->classes[0]->instances, 5012);
	assert_int_equal(classes->classes[0]->bytes, 460000);
	assert_string_equal(classes->classes[2]->name, "[I");
	jvm_classes_free(classes);
}

static void jdk17_is_read(void **state)
{
	struct jvm_classes *classes = parsed(jdk17);

	assert_int_equal(classes->count, 4);
	assert_string_equal(classes->classes[0]->name, "[I");
	assert_string_equal(classes->classes[0]->module, "java.base@17.0.15");
	assert_int_equal(classes->instances, 1016);
	assert_int_equal(classes->bytes, classes->told_bytes);
	jvm_classes_free(classes);
}

static void classes_of_one_name_are_one(void **state)
{
	struct jvm_classes *classes = parsed(jdk17);

	assert_string_equal(classes->classes[1]->name, "Locks$Thing"); /* 960 bytes: before the one of 900 */
	assert_int_equal(classes->classes[1]->instances, 40);
	assert_int_equal(classes->classes[1]->bytes, 960);
	assert_string_equal(classes->classes[2]->name, "odd (name");
	jvm_classes_free(classes);
}

static void growth_is_sorted(void **state)
{
	struct jvm_classes *before =
		parsed("1: 10 100 A\n2: 10 80 B\n3: 5 50 C\n4: 1 16 D\n5: 2 64 [E\nTotal 28 310\n");
	struct jvm_classes *now =
		parsed("1: 12 120 A\n2: 9 72 B\n3: 5 50 C\n4: 3 48 N (m)\n5: 2 164 [E\n6: 2 16 D\nTotal 33 470\n");
	struct jvm_growth *growth;

	assert_int_equal(jvm_classes_growth(before, now, &growth), 4);
	assert_string_equal(growth[0].now->name, "[E");
	assert_int_equal(growth[0].bytes, 100);
	assert_int_equal(growth[0].instances, 0);
	assert_string_equal(growth[1].now->name, "N"); /* was not there */
	assert_int_equal(growth[1].bytes, 48);
	assert_int_equal(growth[1].instances, 3);
	assert_string_equal(growth[2].now->name, "A");
	assert_int_equal(growth[2].instances, 2);
	assert_int_equal(growth[2].now->instances, 12);
	assert_string_equal(growth[3].now->name, "D");
	assert_int_equal(growth[3].bytes, 0);
	assert_int_equal(growth[3].instances, 1);
	free(growth);
	jvm_classes_free(now);
	jvm_classes_free(before);
}

static void nothing_grows_from_itself(void **state)
{
	struct jvm_classes *classes = parsed(jdk17);
	struct jvm_growth *growth;

	assert_int_equal(jvm_classes_growth(classes, classes, &growth), 0);
	free(growth);
	jvm_classes_free(classes);
}

static void names_are_made_printable(void **state)
{
	struct jvm_classes *classes = parsed("1: 1 16 a\x1b[2J (m\xff)\nTotal 1 16\n");

	assert_string_equal(classes->classes[0]->name, "a\\x1b[2J");
	assert_string_equal(classes->classes[0]->module, "m\uFFFD");
	jvm_classes_free(classes);
}

/* Sums cannot overflow. */
static void numbers_are_bounded(void **state)
{
	struct jvm_classes *classes =
		parsed("1: 17592186044416 17592186044416 A\n2: 1 1 A\n"
		       "3: 17592186044417 1 B\n4: 99999999999999999999999 1 C\n5: 1 8 D\nTotal 1 1\n");

	assert_int_equal(classes->count, 2);
	assert_int_equal(classes->classes[0]->bytes, 1ull << 44);
	assert_string_equal(classes->classes[1]->name, "D");
	jvm_classes_free(classes);
}

static void what_is_no_histogram_is_refused(void **state)
{
	static const char *const texts[] = { "",
					     "Total 0 0\n",
					     "1: 1 16\nTotal 1 16\n",
					     "1: 1 16 A\n",
					     "1: 1 16 A\nTotal\n",
					     "java.lang.IllegalArgumentException: Unknown diagnostic command\n" };
	struct jvm_classes *classes;
	struct why why;

	for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		why.text[0] = '\0';
		assert_int_equal(jvm_classes_parse(texts[i], strlen(texts[i]), &classes, &why), -EBADMSG);
		assert_string_not_equal(why.text, "");
	}
}

static void too_many_classes_are_refused(void **state)
{
	struct jvm_classes *classes;
	struct why why = {};
	struct buf text;

	buf_init(&text, 64 << 20);
	for (unsigned i = 0; i <= JVM_CLASSES_MAX; i++)
		buf_printf(&text, "%u: 1 16 c%u\n", i, i);
	buf_add_str(&text, "Total 1 1\n");
	assert_int_equal(jvm_classes_parse(text.data, text.used, &classes, &why), -EFBIG);
	assert_non_null(strstr(why.text, "200000 classes"));
	buf_done(&text);
}

/* Of exactly that size, so that reading on is found. */
static void every_cut_is_survived(void **state)
{
	for (size_t bytes = 0; bytes < strlen(jdk17); bytes++) {
		struct jvm_classes *classes = NULL;
		char *cut = malloc(bytes ? bytes : 1);

		memcpy(cut, jdk17, bytes);
		jvm_classes_parse(cut, bytes, &classes, NULL);
		jvm_classes_free(classes);
		free(cut);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jdk8_is_read),
		cmocka_unit_test(jdk17_is_read),
		cmocka_unit_test(classes_of_one_name_are_one),
		cmocka_unit_test(growth_is_sorted),
		cmocka_unit_test(nothing_grows_from_itself),
		cmocka_unit_test(names_are_made_printable),
		cmocka_unit_test(numbers_are_bounded),
		cmocka_unit_test(what_is_no_histogram_is_refused),
		cmocka_unit_test(too_many_classes_are_refused),
		cmocka_unit_test(every_cut_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
