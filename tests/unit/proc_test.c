/* The parsers of /proc, and the search for the process of a socket: on made-up trees and on this very machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "identity/proc.h"

#define V4(a, b, c, d)                                               \
	{                                                            \
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d \
	}

static void endpoint_read_takes_both_families(void **state)
{
	static const struct {
		const char *text;
		struct endpoint want;
	} good[] = {
		{ "127.0.0.1:80", { V4(127, 0, 0, 1), 80 } },
		{ "[::1]:65535", { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, 65535 } },
		{ "[::ffff:10.1.2.3]:8080", { V4(10, 1, 2, 3), 8080 } },
		{ "[2001:db8::5]:0", { { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5 }, 0 } },
	};
	static const char *const bad[] = { "",
					   ":",
					   "80",
					   "127.0.0.1",
					   "127.0.0.1:",
					   "127.0.0.1:65536",
					   "[::1]",
					   "[]:1",
					   "x:1",
					   "1.2.3:4",
					   "[1:2:3:4:5:6:7:8:9]:1",
					   "[1111111111111111111111111111111111111111111111111111111]:1" };
	struct endpoint got;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(endpoint_read(good[i].text, &got), 0);
		assert_memory_equal(got.address, good[i].want.address, 16);
		assert_int_equal(got.port, good[i].want.port);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_not_equal(endpoint_read(bad[i], &got), 0);
}

static const char line4[] =
	"   0: 0100007F:1F90 0200007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 "
	"123456 1 0000000000000000 20 4 30 10 -1";
static const char line6[] = "  12: 00000000000000000000000001000000:0050 0000000000000000FFFF00000300010A:1A0B 01 "
			    "00000000:00000000 02:00000E0F 00000000     0        0 77 2 0000000000000000 20 4 30 10 -1";

static void tcp_line_read_takes_the_kernels_lines(void **state)
{
	static const struct endpoint local4 = { V4(127, 0, 0, 1), 8080 }, peer4 = { V4(127, 0, 0, 2), 49153 };
	static const struct endpoint local6 = { { [15] = 1 }, 80 }, peer6 = { V4(10, 1, 0, 3), 6667 };
	struct endpoint local, peer;
	__u64 inode;

	assert_int_equal(tcp_line_read(line4, false, &local, &peer, &inode), 0);
	assert_memory_equal(local.address, local4.address, 16);
	assert_int_equal(local.port, local4.port);
	assert_memory_equal(peer.address, peer4.address, 16);
	assert_int_equal(peer.port, peer4.port);
	assert_int_equal(inode, 123456);

	assert_int_equal(tcp_line_read(line6, true, &local, &peer, &inode), 0);
	assert_memory_equal(local.address, local6.address, 16);
	assert_int_equal(local.port, local6.port);
	assert_memory_equal(peer.address, peer6.address, 16);
	assert_int_equal(peer.port, peer6.port);
	assert_int_equal(inode, 77);
}

static void tcp_line_read_refuses_other_lines(void **state)
{
	static const char *const bad[] = {
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
		"",
		":",
		"0:",
		"0: 0100007F",
		"0: 0100007F:1F90",
		"0: 0100007F:1F90F 0200007F:C001 1 2 3 4 5 6 7",
		"0: 0100007:1F90 0200007F:C001 1 2 3 4 5 6 7",
		"0: 0100007G:1F90 0200007F:C001 1 2 3 4 5 6 7",
		"0: 0100007F:1F90 0200007F:C001 1 2 3 4 5 6",
		"0: 0100007F:1F90 0200007F:C001 1 2 3 4 5 6 x",
		"0: 0100007F:1F90 0200007F:C001 1 2 3 4 5 6 99999999999999999999999",
	};
	struct endpoint local, peer;
	__u64 inode;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_not_equal(tcp_line_read(bad[i], false, &local, &peer, &inode), 0);
	assert_int_not_equal(tcp_line_read(line4, true, &local, &peer, &inode), 0);
	assert_int_not_equal(tcp_line_read(line6, false, &local, &peer, &inode), 0);
}

/* A cut line is refused, or (cut within the inode or after it) has the same ends. */
static void tcp_line_read_survives_every_cut(void **state)
{
	for (size_t bytes = 0; bytes < sizeof(line6); bytes++) {
		char *cut = calloc(1, bytes + 1);
		struct endpoint local, peer;
		__u64 inode;

		memcpy(cut, line6, bytes);
		if (!tcp_line_read(cut, true, &local, &peer, &inode))
			assert_true(local.port == 80 && peer.port == 6667 && (inode == 77 || inode == 7));
		free(cut);
	}
}

static void cgroup_procs_read_takes_numbers_only(void **state)
{
	static const char text[] = "1\n0\n4194304\nx\n-5\n\n99999999999\n7";
	__u32 pids[8];

	assert_int_equal(cgroup_procs_read(text, sizeof(text) - 1, pids, 8), 3);
	assert_int_equal(pids[0], 1);
	assert_int_equal(pids[1], 4194304);
	assert_int_equal(pids[2], 7);
	assert_int_equal(cgroup_procs_read(text, sizeof(text) - 1, pids, 1), 1);
	assert_int_equal(cgroup_procs_read("", 0, pids, 8), 0);
}

static void socket_link_read_takes_sockets_only(void **state)
{
	static const struct {
		const char *text;
		__u64 want;
	} cases[] = {
		{ "socket:[123]", 123 }, { "socket:[]", 0 }, { "socket:[", 0 }, { "socket:", 0 },     { "", 0 },
		{ "pipe:[123]", 0 },	 { "socket:[1", 0 }, { "/tmp/x", 0 },	{ "socket:[1x]", 0 }, { "]", 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t bytes = strlen(cases[i].text);
		char *exact = malloc(bytes ? bytes : 1);

		memcpy(exact, cases[i].text, bytes);
		assert_int_equal(socket_link_read(exact, bytes), cases[i].want);
		free(exact);
	}
}

/* --- a made-up /proc ---------------------------------------------------------------------------------------- */

struct lab {
	char dir[64];
	struct proc_pids *pids;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	strcpy(lab->dir, "/tmp/weir-proc-XXXXXX");
	if (!mkdtemp(lab->dir))
		return -1;
	lab->pids = proc_pids_new(lab->dir, 1000000); /* limits have a test of their own */
	*state = lab;
	return !lab->pids;
}

static int teardown(void **state)
{
	struct lab *lab = *state;

	proc_pids_free(lab->pids);
	nftw(lab->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(lab);
	return 0;
}

static void lab_write(const struct lab *lab, const char *path, const char *text)
{
	char whole[256];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s/%s", lab->dir, path);
	for (char *at = whole + strlen(lab->dir) + 1; (at = strchr(at, '/')); at++) {
		*at = 0;
		mkdir(whole, 0755);
		*at = '/';
	}
	file = fopen(whole, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void lab_fd(const struct lab *lab, unsigned pid, unsigned fd, const char *target)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%u", lab->dir, pid);
	mkdir(path, 0755);
	strcat(path, "/fd");
	mkdir(path, 0755);
	snprintf(path + strlen(path), sizeof(path) - strlen(path), "/%u", fd);
	assert_int_equal(symlink(target, path), 0);
}

static __u32 lab_find(const struct lab *lab, __u64 cookie, const char *local, const char *peer, __u64 now_ns)
{
	char dir[128];

	snprintf(dir, sizeof(dir), "%s/cgroup", lab->dir);
	return proc_pids_find(lab->pids, dir, 5, cookie, local, peer, now_ns);
}

static void pid_of_a_lone_process_is_known(void **state)
{
	struct lab *lab = *state;

	lab_write(lab, "cgroup/cgroup.procs", "4711\n");
	assert_int_equal(lab_find(lab, 1, NULL, NULL, NS_PER_S), 4711);
	/* Kept for the socket; another socket of that cgroup is asked about anew after a second. */
	lab_write(lab, "cgroup/cgroup.procs", "4712\n");
	assert_int_equal(lab_find(lab, 1, NULL, NULL, 100 * NS_PER_S), 4711);
	assert_int_equal(lab_find(lab, 2, NULL, NULL, 100 * NS_PER_S), 4712);
	lab_write(lab, "cgroup/cgroup.procs", "");
	assert_int_equal(lab_find(lab, 3, NULL, NULL, 200 * NS_PER_S), 0);
}

/* Master 10, workers 11 and 12; 12 holds the connection. */
static void pid_of_several_is_who_holds_the_socket(void **state)
{
	struct lab *lab = *state;
	char text[512];

	lab_write(lab, "cgroup/cgroup.procs", "10\n11\n12\n");
	snprintf(text, sizeof(text), "  sl  local_address ...\n%s\n", line4);
	lab_write(lab, "10/net/tcp", text);
	lab_fd(lab, 10, 3, "socket:[999]");
	lab_fd(lab, 11, 3, "socket:[999]");
	lab_fd(lab, 12, 3, "socket:[999]");
	lab_fd(lab, 12, 4, "socket:[123456]");
	assert_int_equal(lab_find(lab, 1, "127.0.0.1:8080", "127.0.0.2:49153", NS_PER_S), 12);
	assert_int_equal(lab_find(lab, 2, "127.0.0.1:8080", "127.0.0.2:49154", NS_PER_S), 0);
	assert_int_equal(lab_find(lab, 3, "nonsense", "127.0.0.2:49153", NS_PER_S), 0);
	assert_int_equal(lab_find(lab, 4, NULL, NULL, NS_PER_S), 0);
}

static void pid_of_a_v6_socket_with_a_v4_peer_is_found(void **state)
{
	struct lab *lab = *state;

	lab_write(lab, "cgroup/cgroup.procs", "10\n11\n");
	lab_write(lab, "10/net/tcp", "");
	lab_write(
		lab, "10/net/tcp6",
		"   0: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000200007F:C001 01 0:0 0:0 0 0 0 55 1\n");
	lab_fd(lab, 11, 7, "socket:[55]");
	assert_int_equal(lab_find(lab, 1, "127.0.0.1:8080", "127.0.0.2:49153", NS_PER_S), 11);
}

static void pid_questions_are_limited(void **state)
{
	struct lab *lab = *state;
	unsigned answered = 0;

	proc_pids_free(lab->pids);
	lab->pids = proc_pids_new(lab->dir, 50);
	lab_write(lab, "cgroup/cgroup.procs", "10\n11\n");
	lab_write(lab, "10/net/tcp", line4);
	lab_fd(lab, 11, 4, "socket:[123456]");
	for (__u64 cookie = 1; cookie <= 1000; cookie++)
		answered += lab_find(lab, cookie, "127.0.0.1:8080", "127.0.0.2:49153", NS_PER_S) == 11;
	assert_in_range(answered, 1, 50); /* fewer when an answer took long */
}

/* This process, as it is: a real connection over loopback in a cgroup whose list holds it and its parent. */
static void pid_of_a_real_connection_is_ours(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, peer_address;
	socklen_t address_bytes = sizeof(address), cookie_bytes = sizeof(__u64);
	__u64 cookie;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
	    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct proc_pids *real = proc_pids_new("/proc", 1000000);
	struct lab *lab = *state;
	char text[64], dir[128], local[64], peer[64];
	int server;

	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &address_bytes), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	server = accept(listener, NULL, NULL);
	assert_true(server >= 0);
	assert_int_equal(getsockname(client, (struct sockaddr *)&peer_address, &address_bytes), 0);

	snprintf(text, sizeof(text), "%d\n%d\n", getppid(), getpid());
	lab_write(lab, "cgroup/cgroup.procs", text);
	snprintf(dir, sizeof(dir), "%s/cgroup", lab->dir);
	snprintf(local, sizeof(local), "127.0.0.1:%u", ntohs(address.sin_port));
	snprintf(peer, sizeof(peer), "127.0.0.1:%u", ntohs(peer_address.sin_port));
	assert_int_equal(proc_pids_find(real, dir, 5, 1, local, peer, time_now_ns()), getpid());

	/* Without a process whose table of connections could be read, sock_diag alone finds it: by the right cookie only. */
	snprintf(text, sizeof(text), "4194304\n%d\n", getpid());
	lab_write(lab, "cgroup/cgroup.procs", text);
	assert_int_equal(getsockopt(server, SOL_SOCKET, SO_COOKIE, &cookie, &cookie_bytes), 0);
	assert_int_equal(proc_pids_find(real, dir, 5, cookie + 1024, local, peer, time_now_ns()), 0);
	assert_int_equal(proc_pids_find(real, dir, 5, cookie, local, peer, time_now_ns()), getpid());
	close(server);
	close(client);
	close(listener);
	proc_pids_free(real);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(endpoint_read_takes_both_families),
		cmocka_unit_test(tcp_line_read_takes_the_kernels_lines),
		cmocka_unit_test(tcp_line_read_refuses_other_lines),
		cmocka_unit_test(tcp_line_read_survives_every_cut),
		cmocka_unit_test(cgroup_procs_read_takes_numbers_only),
		cmocka_unit_test(socket_link_read_takes_sockets_only),
		TEST(pid_of_a_lone_process_is_known),
		TEST(pid_of_several_is_who_holds_the_socket),
		TEST(pid_of_a_v6_socket_with_a_v4_peer_is_found),
		TEST(pid_questions_are_limited),
		TEST(pid_of_a_real_connection_is_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
