/* Thread dumps of JDK 8 to 25, cut to what matters, and texts that no JVM writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/why.h"
#include "jvm/threads.h"

static struct jvm_threads *parsed(const char *text)
{
	struct jvm_threads *threads = NULL;
	struct why why = {};

	if (jvm_threads_parse(text, strlen(text), &threads, &why))
		fail_msg("%s", why.text);
	return threads;
}

static const struct jvm_thread *named(const struct jvm_threads *threads, const char *name)
{
	for (unsigned i = 0; i < threads->count; i++)
		if (!strcmp(threads->threads[i]->name, name))
			return threads->threads[i];
	fail_msg("no thread '%s'", name);
	return NULL;
}

static const char jdk8[] =
	"2024-03-05 10:11:12\n"
	"Full thread dump OpenJDK 64-Bit Server VM (25.402-b06 mixed mode):\n"
	"\n"
	"\"pool-1-thread-1\" #9 prio=5 os_prio=0 tid=0x00007f1c2c0f1000 nid=0x1a12 waiting on condition [0x00007f1c13ffe000]\n"
	"   java.lang.Thread.State: TIMED_WAITING (sleeping)\n"
	"\tat java.lang.Thread.sleep(Native Method)\n"
	"\tat App.work(App.java:20)\n"
	"\n"
	"\"Finalizer\" #3 daemon prio=8 os_prio=0 tid=0x00007f1c2c0b2000 nid=0x1a0a in Object.wait() [0x00007f1c18dfc000]\n"
	"   java.lang.Thread.State: WAITING (on object monitor)\n"
	"\tat java.lang.Object.wait(Native Method)\n"
	"\t- waiting on <0x00000000d5d08ee0> (a java.lang.ref.ReferenceQueue$Lock)\n"
	"\tat java.lang.ref.ReferenceQueue.remove(ReferenceQueue.java:144)\n"
	"\t- locked <0x00000000d5d08ee0> (a java.lang.ref.ReferenceQueue$Lock)\n"
	"\tat java.lang.ref.Finalizer$FinalizerThread.run(Finalizer.java:216)\n"
	"\n"
	"\"VM Thread\" os_prio=0 tid=0x00007f1c2c0a7000 nid=0x1a08 runnable \n"
	"\n"
	"\"GC task thread#0 (ParallelGC)\" os_prio=0 tid=0x00007f1c2c01e000 nid=0x1a04 runnable \n"
	"\n"
	"JNI global references: 7\n"
	"\n";

static void jdk8_is_read(void **state)
{
	struct jvm_threads *threads = parsed(jdk8);
	const struct jvm_thread *pool = named(threads, "pool-1-thread-1"), *finalizer = named(threads, "Finalizer");

	assert_int_equal(threads->count, 4);
	assert_int_equal(threads->by_state[JVM_THREAD_OF_VM], 2);
	assert_int_equal(threads->by_state[JVM_THREAD_WAITING], 1);
	assert_int_equal(threads->by_state[JVM_THREAD_TIMED_WAITING], 1);
	assert_int_equal(pool->number, 9);
	assert_int_equal(pool->nid, 0x1a12);
	assert_int_equal(pool->priority, 5);
	assert_false(pool->daemon);
	assert_int_equal(pool->wait, JVM_WAIT_NONE);
	assert_int_equal(pool->stack->frames_count, 2);
	assert_string_equal(pool->stack->frames[0], "java.lang.Thread.sleep(Native Method)");
	assert_string_equal(pool->stack->frames[1], "App.work(App.java:20)");
	assert_true(finalizer->daemon);
	assert_int_equal(named(threads, "VM Thread")->nid, 0x1a08);
	assert_null(named(threads, "VM Thread")->stack);
	jvm_threads_free(threads);
}

/* Object.wait() gives the monitor up, although the frame that entered it is still there. */
static void a_thread_in_wait_does_not_hold_its_lock(void **state)
{
	struct jvm_threads *threads = parsed(jdk8);
	const struct jvm_thread *finalizer = named(threads, "Finalizer");

	assert_int_equal(finalizer->wait, JVM_WAIT_NOTIFY);
	assert_int_equal(threads->locks_count, 1);
	assert_ptr_equal(finalizer->waits_for, threads->locks[0]);
	assert_int_equal(threads->locks[0]->address, 0xd5d08ee0);
	assert_string_equal(threads->locks[0]->class_name, "java.lang.ref.ReferenceQueue$Lock");
	assert_null(threads->locks[0]->holder);
	jvm_threads_free(threads);
}

#define JDK17_WAITER(number)                                                                                          \
	"\"waiter-" number "\" #3" number " daemon prio=5 os_prio=0 cpu=0.37ms elapsed=0.70s tid=0x00007ff71c0d1520 " \
	"nid=0x47f" number " waiting for monitor entry  [0x00007ff7044fe000]\n"                                       \
	"   java.lang.Thread.State: BLOCKED (on object monitor)\n"                                                    \
	"\tat Locks.want(Locks.java:68)\n"                                                                            \
	"\t- waiting to lock <0x00000000ffd1bde8> (a Locks$Gate)\n"                                                   \
	"\tat java.lang.Thread.run(java.base@17.0.15/Thread.java:840)\n\n"

static const char jdk17[] =
	"4711:\n2026-11-27 21:58:37\n"
	"Full thread dump OpenJDK 64-Bit Server VM (17.0.15+6-Debian-1deb12u1 mixed mode, sharing):\n\n"
	"Threads class SMR info:\n_java_thread_list=0x00007ff698002d70, length=2, elements={\n"
	"0x00007ff71c017ef0, 0x00007ff71c095240\n}\n\n" JDK17_WAITER("3") JDK17_WAITER(
		"4") "\"keeper\" #32 daemon prio=5 os_prio=0 cpu=0.26ms elapsed=0.70s tid=0x00007ff71c0d04e0 nid=0x47f4 waiting on "
		     "condition  [0x00007ff7045fe000]\n"
		     "   java.lang.Thread.State: WAITING (parking)\n"
		     "\tat jdk.internal.misc.Unsafe.park(java.base@17.0.15/Native Method)\n"
		     "\t- parking to wait for  <0x00000000ffd1b5f0> (a java.util.concurrent.CountDownLatch$Sync)\n"
		     "\tat Locks.keep(Locks.java:62)\n"
		     "\t- locked <0x00000000ffd1bde8> (a Locks$Gate)\n"
		     "\t- locked <0x00000000ffd1be00> (a java.lang.Class for Locks)\n"
		     "\tat java.lang.Thread.run(java.base@17.0.15/Thread.java:840)\n"
		     "\n   Locked ownable synchronizers:\n\t- <0x00000000ffd1bf40> (a java.util.concurrent.locks.ReentrantLock$NonfairSync)\n\n"
		     "\"quoted \" #1 prio=5\" #40 prio=10 os_prio=0 cpu=1ms elapsed=1s tid=0x1 nid=0x47ff waiting on condition  [0x1]\n"
		     "   java.lang.Thread.State: WAITING (parking)\n"
		     "\tat jdk.internal.misc.Unsafe.park(java.base@17.0.15/Native Method)\n"
		     "\t- parking to wait for  <0x00000000ffd1bf40> (a java.util.concurrent.locks.ReentrantLock$NonfairSync)\n"
		     "\n   Locked ownable synchronizers:\n\t- None\n\n" JDK17_WAITER(
			     "5") "\"VM Thread\" os_prio=0 cpu=7.54ms elapsed=0.78s tid=0x00007ff71c0912b0 nid=0x47d3 runnable  \n\n"
				  "JNI global refs: 4, weak refs: 0\n\n";

static void the_holder_of_a_lock_is_found(void **state)
{
	struct jvm_threads *threads = parsed(jdk17);
	const struct jvm_lock *gate = threads->locks[0], *reentrant = threads->locks[1], *latch = threads->locks[2];

	assert_int_equal(threads->locks_count, 3);
	assert_string_equal(gate->class_name, "Locks$Gate");
	assert_ptr_equal(gate->holder, named(threads, "keeper"));
	assert_int_equal(gate->waiters_count, 3);
	assert_string_equal(gate->waiters->name, "waiter-3");
	assert_string_equal(gate->waiters->next_of_waiters->name, "waiter-4");
	assert_string_equal(gate->waiters->next_of_waiters->next_of_waiters->name, "waiter-5");
	assert_null(gate->waiters->next_of_waiters->next_of_waiters->next_of_waiters);
	assert_int_equal(gate->waiters->wait, JVM_WAIT_LOCK);
	/* With -l. */
	assert_int_equal(reentrant->address, 0xffd1bf40);
	assert_ptr_equal(reentrant->holder, named(threads, "keeper"));
	assert_int_equal(reentrant->waiters->wait, JVM_WAIT_PARK);
	assert_null(latch->holder);
	assert_int_equal(latch->waiters_count, 1);
	jvm_threads_free(threads);
}

static void equal_stacks_are_one(void **state)
{
	struct jvm_threads *threads = parsed(jdk17);

	assert_int_equal(threads->stacks_count, 3);
	assert_int_equal(threads->stacks[0]->threads_count, 3);
	assert_int_equal(threads->stacks[0]->frames_count, 2);
	assert_string_equal(threads->stacks[0]->threads->name, "waiter-3");
	assert_string_equal(threads->stacks[0]->threads->next_of_stack->next_of_stack->name, "waiter-5");
	assert_ptr_equal(named(threads, "waiter-4")->stack, threads->stacks[0]);
	assert_int_equal(threads->stacks[1]->threads_count, 1);
	jvm_threads_free(threads);
}

static void a_name_may_hold_quotes(void **state)
{
	struct jvm_threads *threads = parsed(jdk17);
	const struct jvm_thread *quoted = named(threads, "quoted \" #1 prio=5");

	assert_int_equal(quoted->number, 40);
	assert_int_equal(quoted->priority, 10);
	assert_int_equal(quoted->nid, 0x47ff);
	jvm_threads_free(threads);
}

static const char jdk25[] =
	"\"left\" #47 [18711] daemon prio=5 os_prio=0 cpu=0.20ms elapsed=0.84s tid=0x00007f7a9c0e5e00 nid=18711 waiting for "
	"monitor entry  [0x00007f7a74cfe000]\n"
	"   java.lang.Thread.State: BLOCKED (on object monitor)\n"
	"\tat Locks.monitors(Locks.java:48)\n"
	"\t- waiting to lock <0x00000000ffd1ad40> (a java.lang.Object)\n"
	"\t- locked <0x00000000ffd1ad30> (a java.lang.Object)\n\n"
	"\"down\" #50 [18714] daemon prio=5 os_prio=0 cpu=0.20ms elapsed=0.84s tid=0x1 nid=18714 waiting on condition  [0x1]\n"
	"   java.lang.Thread.State: WAITING (parking)\n"
	"\tat jdk.internal.misc.Unsafe.park(java.base@25.0.3/Native Method)\n"
	"\t- parking to wait for  <0x00000000ffd19488> (a java.util.concurrent.locks.ReentrantLock$NonfairSync)\n\n"
	"\"up\" #49 [18713] daemon prio=5 os_prio=0 cpu=0.20ms elapsed=0.84s tid=0x1 nid=18713 waiting on condition  [0x1]\n"
	"   java.lang.Thread.State: WAITING (parking)\n\n"
	"\"ForkJoinPool-1-worker-1\" #23 [22331] daemon prio=5 os_prio=0 cpu=673.18ms elapsed=0.73s tid=0x00007f7d440ec490  "
	"[0x00007f7d15cfd000]\n"
	"   Carrying virtual thread #22\n"
	"\tat jdk.internal.vm.Continuation.run(java.base@25.0.3/Continuation.java:251)\n"
	"   Mounted virtual thread #22\n"
	"\tat V.lambda$main$0(V.java:2)\n\n"
	"\"G1 Service\" os_prio=0 cpu=0.08ms elapsed=0.90s tid=0x00007f7a9c06b9a0 nid=18672 runnable  \n\n"
	"JNI global refs: 4, weak refs: 0\n\n\n"
	"Found one Java-level deadlock:\n"
	"=============================\n"
	"\"left\":\n"
	"  waiting to lock monitor 0x00007f7a7c001970 (object 0x00000000ffd1ad40, a java.lang.Object),\n"
	"  which is held by \"right\"\n\n"
	"\"right\":\n"
	"  waiting to lock monitor 0x00007f7a78001970 (object 0x00000000ffd1ad30, a java.lang.Object),\n"
	"  which is held by \"left\"\n\n"
	"Java stack information for the threads listed above:\n"
	"===================================================\n"
	"\"left\":\n"
	"\tat Locks.monitors(Locks.java:48)\n"
	"\t- waiting to lock <0x00000000ffd1ad40> (a java.lang.Object)\n\n"
	"Found one Java-level deadlock:\n"
	"=============================\n"
	"\"up\":\n"
	"  waiting for ownable synchronizer 0x00000000ffd194b8, (a java.util.concurrent.locks.ReentrantLock$NonfairSync),\n"
	"  which is held by \"down\"\n\n"
	"\"down\":\n"
	"  waiting for ownable synchronizer 0x00000000ffd19488, (a java.util.concurrent.locks.ReentrantLock$NonfairSync),\n"
	"  which is held by \"up\"\n\n"
	"Java stack information for the threads listed above:\n"
	"===================================================\n"
	"\"up\":\n"
	"\tat jdk.internal.misc.Unsafe.park(java.base@25.0.3/Native Method)\n\n"
	"Found 2 deadlocks.\n\n";

static void deadlocks_are_read(void **state)
{
	struct jvm_threads *threads = parsed(jdk25);
	const struct jvm_deadlocked *monitors = threads->deadlocks[0].threads, *locks = threads->deadlocks[1].threads;

	assert_int_equal(threads->deadlocks_count, 2);
	assert_int_equal(threads->deadlocks[0].count, 2);
	assert_string_equal(monitors[0].thread, "left");
	assert_string_equal(monitors[0].holder, "right");
	assert_string_equal(monitors[0].class_name, "java.lang.Object");
	assert_int_equal(monitors[0].address, 0xffd1ad40);
	assert_string_equal(monitors[1].thread, "right");
	assert_string_equal(monitors[1].holder, "left");
	assert_int_equal(monitors[1].address, 0xffd1ad30);
	assert_int_equal(threads->deadlocks[1].count, 2);
	assert_string_equal(locks[1].thread, "down");
	assert_string_equal(locks[1].holder, "up");
	assert_int_equal(locks[1].address, 0xffd19488);
	assert_string_equal(locks[1].class_name, "java.util.concurrent.locks.ReentrantLock$NonfairSync");
	jvm_threads_free(threads);
}

/* Without -l the dump says it of nothing else. */
static void a_deadlock_tells_who_holds_a_lock(void **state)
{
	struct jvm_threads *threads = parsed(jdk25);

	assert_int_equal(named(threads, "down")->waits_for->address, 0xffd19488);
	assert_ptr_equal(named(threads, "down")->waits_for->holder, named(threads, "up"));
	jvm_threads_free(threads);
}

static void stacks_of_a_deadlock_are_not_threads(void **state)
{
	struct jvm_threads *threads = parsed(jdk25);

	assert_int_equal(threads->count, 6);
	assert_int_equal(named(threads, "left")->nid, 18711);
	assert_int_equal(named(threads, "left")->number, 47);
	assert_int_equal(threads->by_state[JVM_THREAD_BLOCKED], 1);
	assert_int_equal(threads->by_state[JVM_THREAD_WAITING], 2);
	assert_int_equal(threads->by_state[JVM_THREAD_OF_VM], 1);
	jvm_threads_free(threads);
}

static void a_virtual_thread_is_not_its_carrier(void **state)
{
	struct jvm_threads *threads = parsed(jdk25);
	const struct jvm_thread *carrier = named(threads, "ForkJoinPool-1-worker-1");
	const struct jvm_thread *virtual = named(threads, "virtual thread #22");

	assert_int_equal(carrier->state, JVM_THREAD_CARRIER);
	assert_int_equal(carrier->nid, 22331);
	assert_int_equal(carrier->stack->frames_count, 1);
	assert_int_equal(virtual->state, JVM_THREAD_VIRTUAL);
	assert_int_equal(virtual->number, 22);
	assert_string_equal(virtual->stack->frames[0], "V.lambda$main$0(V.java:2)");
	jvm_threads_free(threads);
}

static void texts_are_made_printable(void **state)
{
	struct jvm_threads *threads =
		parsed("\"\x1b[2J\xff\" #1 prio=5 nid=0x1 x\n   java.lang.Thread.State: NEW\n"
		       "\tat a\x07(b)\n\t- locked <0x1> (a \x1b)\n\t- waiting to lock <0x2> (a \x1b)\n");

	assert_string_equal(threads->threads[0]->name, "\\x1b[2J\uFFFD");
	assert_string_equal(threads->threads[0]->stack->frames[0], "a\\x07(b)");
	assert_string_equal(threads->locks[0]->class_name, "\\x1b");
	jvm_threads_free(threads);
}

static void deep_stacks_are_cut(void **state)
{
	struct jvm_threads *threads;
	struct buf text;

	buf_init(&text, 1 << 20);
	for (unsigned thread = 0; thread < 2; thread++) {
		buf_printf(&text, "\"t%u\" #1 prio=5 nid=0x1 x\n", thread);
		for (unsigned i = 0; i < JVM_THREAD_FRAMES_MAX + 7 + thread; i++)
			buf_printf(&text, "\tat f%u\n\t- locked <0x%x> (a X)\n", i, i + 1);
	}
	threads = parsed(text.data);
	assert_int_equal(threads->threads[0]->stack->frames_count, JVM_THREAD_FRAMES_MAX);
	assert_int_equal(threads->threads[0]->stack->frames_left_out, 7);
	assert_int_equal(threads->threads[1]->stack->frames_left_out, 8);
	assert_int_equal(threads->stacks_count, 2);
	jvm_threads_free(threads);
	buf_done(&text);
}

static void too_many_threads_are_refused(void **state)
{
	struct jvm_threads *threads;
	struct why why = {};
	struct buf text;

	buf_init(&text, 64 << 20);
	for (unsigned i = 0; i <= JVM_THREADS_MAX; i++)
		buf_add_str(&text, "\"a\" #1 \n");
	assert_int_equal(jvm_threads_parse(text.data, text.used, &threads, &why), -EFBIG);
	assert_non_null(strstr(why.text, "100000 threads"));
	text.used -= 8;
	assert_int_equal(jvm_threads_parse(text.data, text.used, &threads, &why), 0);
	assert_int_equal(threads->count, JVM_THREADS_MAX);
	jvm_threads_free(threads);
	buf_done(&text);
}

static void what_is_no_dump_is_refused(void **state)
{
	static const char *const texts[] = { "",
					     "\n",
					     "java.lang.IllegalArgumentException: Unknown diagnostic command\n",
					     "\"",
					     "\"\"",
					     "\"a\"",
					     "Found one Java-level deadlock:\n\"a\":\n" };
	struct jvm_threads *threads;
	struct why why;

	for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		why.text[0] = '\0';
		assert_int_equal(jvm_threads_parse(texts[i], strlen(texts[i]), &threads, &why), -EBADMSG);
		assert_string_not_equal(why.text, "");
	}
}

/* Of exactly that size, so that reading on is found. */
static void every_cut_is_survived(void **state)
{
	static const char *const texts[] = { jdk8, jdk17, jdk25 };

	for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		for (size_t bytes = 0; bytes < strlen(texts[i]); bytes++) {
			struct jvm_threads *threads = NULL;
			char *cut = malloc(bytes ? bytes : 1);

			memcpy(cut, texts[i], bytes);
			jvm_threads_parse(cut, bytes, &threads, NULL);
			jvm_threads_free(threads);
			free(cut);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jdk8_is_read),
		cmocka_unit_test(a_thread_in_wait_does_not_hold_its_lock),
		cmocka_unit_test(the_holder_of_a_lock_is_found),
		cmocka_unit_test(equal_stacks_are_one),
		cmocka_unit_test(a_name_may_hold_quotes),
		cmocka_unit_test(deadlocks_are_read),
		cmocka_unit_test(a_deadlock_tells_who_holds_a_lock),
		cmocka_unit_test(stacks_of_a_deadlock_are_not_threads),
		cmocka_unit_test(a_virtual_thread_is_not_its_carrier),
		cmocka_unit_test(texts_are_made_printable),
		cmocka_unit_test(deep_stacks_are_cut),
		cmocka_unit_test(too_many_threads_are_refused),
		cmocka_unit_test(what_is_no_dump_is_refused),
		cmocka_unit_test(every_cut_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
