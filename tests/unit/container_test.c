/* Paths as they are found on machines, one row each; then what no machine should have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "identity/container.h"

#define ID1	   "0c7b1f6d4e5a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b3c"
#define ID2	   "f00dfeed4e5a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b3c"
#define UID1	   "8b1e2c5a-0f3d-4c6b-9a7e-112233445566"
#define UID1_	   "8b1e2c5a_0f3d_4c6b_9a7e_112233445566"
#define UID2	   "aa1e2c5a-0f3d-4c6b-9a7e-998877665544"
#define UID2_	   "aa1e2c5a_0f3d_4c6b_9a7e_998877665544"
#define STATIC_UID "5d7e3c1f9b8a7654321000aabbccddee"
#define SLICE	   "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID1_ ".slice"
#define KIND                                                                       \
	"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/" \
	"kubelet-kubepods-besteffort-pod" UID2_ ".slice"
#define USER "/user.slice/user-1000.slice/user@1000.service"

/* The expected own path is given by what follows it. */
struct row {
	const char *path;
	const char *runtime, *id, *pod_uid, *qos, *unit;
	const char *below; /* part of the path below the own cgroup */
};

static const struct row rows[] = {
	/* docker */
	{ "/docker/" ID1, "docker", ID1, "", "", "", "" },
	{ "/docker/" ID1 "/init.scope", "docker", ID1, "", "", "", "/init.scope" },
	{ "/system.slice/docker-" ID1 ".scope", "docker", ID1, "", "", "", "" },
	{ "/system.slice/docker-" ID1 ".scope/system.slice/cron.service", "docker", ID1, "", "", "",
	  "/system.slice/cron.service" },
	{ USER "/user.slice/docker-" ID1 ".scope", "docker", ID1, "", "", "", "" },
	{ "/mine.slice/docker-" ID1 ".scope", "docker", ID1, "", "", "", "" },
	{ "/mine/" ID1, "oci", ID1, "", "", "", "" },
	{ "/moby/" ID1, "docker", ID1, "", "", "", "" },
	{ "/ecs/prod/4f6a/" ID1, "oci", ID1, "", "", "", "" },
	{ "/docker/" ID1 "/docker/" ID2, "docker", ID2, "", "", "", "" },
	{ "/docker/buildkit", "", "", "", "", "", "" },
	{ "/system.slice/docker.service", "systemd", "", "", "", "docker.service", "" },
	/* containerd */
	{ "/default/" ID1, "containerd", ID1, "", "", "", "" },
	{ "/k8s.io/" ID1, "containerd", ID1, "", "", "", "" },
	{ "/system.slice/nerdctl-" ID1 ".scope", "containerd", ID1, "", "", "", "" },
	{ "/system.slice/containerd.service", "systemd", "", "", "", "containerd.service", "" },
	/* Kubernetes, cgroupfs driver */
	{ "/kubepods/pod" UID1 "/" ID1, "containerd", ID1, UID1, "guaranteed", "", "" },
	{ "/kubepods/burstable/pod" UID1 "/" ID1, "containerd", ID1, UID1, "burstable", "", "" },
	{ "/kubepods/besteffort/pod" UID1 "/" ID1, "containerd", ID1, UID1, "besteffort", "", "" },
	{ "/kubepods/besteffort/pod" UID1 "/" ID1 "/worker", "containerd", ID1, UID1, "besteffort", "", "/worker" },
	{ "/kubepods/burstable/pod" STATIC_UID "/" ID1, "containerd", ID1, STATIC_UID, "burstable", "", "" },
	{ "/kubepods/burstable/pod" UID1 "/crio-" ID1, "cri-o", ID1, UID1, "burstable", "", "" },
	{ "/kubepods/burstable/pod" UID1 "/crio-conmon-" ID1, "", "", UID1, "burstable", "", "" },
	{ "/kubepods/burstable/pod" UID1, "", "", UID1, "burstable", "", "" },
	{ "/kubepods/burstable", "", "", "", "", "", "" },
	{ "/kubepods", "", "", "", "", "", "" },
	{ "/kubepods/pod" UID1 "/" ID1 "/docker/" ID2, "docker", ID2, UID1, "guaranteed", "", "" },
	/* Kubernetes, systemd driver */
	{ SLICE "/cri-containerd-" ID1 ".scope", "containerd", ID1, UID1, "burstable", "", "" },
	{ SLICE "/docker-" ID1 ".scope", "docker", ID1, UID1, "burstable", "", "" },
	{ SLICE "/crio-" ID1 ".scope", "cri-o", ID1, UID1, "burstable", "", "" },
	{ SLICE "/crio-" ID1 ".scope/container", "cri-o", ID1, UID1, "burstable", "", "/container" },
	{ SLICE "/crio-conmon-" ID1 ".scope", "", "", UID1, "burstable", "", "" },
	{ SLICE, "", "", UID1, "burstable", "", "" },
	{ "/kubepods.slice/kubepods-pod" UID1_ ".slice/cri-containerd-" ID1 ".scope", "containerd", ID1, UID1,
	  "guaranteed", "", "" },
	{ "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID1_ ".slice/crio-" ID1 ".scope",
	  "cri-o", ID1, UID1, "besteffort", "", "" },
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" STATIC_UID ".slice/cri-containerd-" ID1
	  ".scope",
	  "containerd", ID1, STATIC_UID, "burstable", "", "" },
	{ SLICE "/cri-containerd-" ID1 ".scope/system.slice/nginx.service", "containerd", ID1, UID1, "burstable", "",
	  "/system.slice/nginx.service" },
	{ "/kubepods.slice/x/y", "", "", "", "", "", "" },
	/* a kubelet that uses systemd over a runtime that does not */
	{ "/system.slice/containerd.service/kubepods-burstable-pod" UID1_ ".slice:cri-containerd:" ID1, "containerd",
	  ID1, UID1, "burstable", "", "" },
	{ "/kubepods-pod" UID1_ ".slice:crio:" ID1, "cri-o", ID1, UID1, "guaranteed", "", "" },
	{ "/system.slice:docker:" ID1, "docker", ID1, "", "", "", "" },
	/* Kubernetes in containers: kind, k3d, minikube */
	{ "/docker/" ID1 "/kubelet/kubepods/burstable/pod" UID2 "/" ID2, "containerd", ID2, UID2, "burstable", "", "" },
	{ "/system.slice/docker-" ID1 ".scope" KIND "/cri-containerd-" ID2 ".scope", "containerd", ID2, UID2,
	  "besteffort", "", "" },
	{ "/docker/" ID1 KIND "/cri-containerd-" ID2 ".scope", "containerd", ID2, UID2, "besteffort", "", "" },
	{ "/docker/" ID1 "/kubepods/pod" UID2 "/" ID2, "containerd", ID2, UID2, "guaranteed", "", "" },
	{ "/docker/" ID1 "/system.slice/k3s.service", "docker", ID1, "", "", "", "/system.slice/k3s.service" },
	{ "/system.slice/docker-" ID1 ".scope/kubelet.slice/kubelet.service", "docker", ID1, "", "", "",
	  "/kubelet.slice/kubelet.service" },
	{ SLICE "/cri-containerd-" ID1 ".scope/kubepods/pod" UID2 "/" ID2, "containerd", ID2, UID2, "guaranteed", "",
	  "" },
	{ "/system.slice/k3s.service", "systemd", "", "", "", "k3s.service", "" },
	/* podman */
	{ "/machine.slice/libpod-" ID1 ".scope", "podman", ID1, "", "", "", "" },
	{ "/machine.slice/libpod-" ID1 ".scope/container", "podman", ID1, "", "", "", "/container" },
	{ "/machine.slice/libpod-conmon-" ID1 ".scope", "", "", "", "", "", "" },
	{ "/machine.slice/machine-libpod_pod_" ID2 ".slice/libpod-" ID1 ".scope/container", "podman", ID1, "", "", "",
	  "/container" },
	{ USER "/user.slice/libpod-" ID1 ".scope/container", "podman", ID1, "", "", "", "/container" },
	{ USER "/user.slice/user-libpod_pod_" ID2 ".slice/libpod-" ID1 ".scope", "podman", ID1, "", "", "", "" },
	{ "/libpod_parent/libpod-" ID1, "podman", ID1, "", "", "", "" },
	{ "/libpod_parent/conmon", "", "", "", "", "", "" },
	{ "/system.slice/web.service/libpod-payload-" ID1, "podman", ID1, "", "", "", "" },
	/* LXC, LXD, Proxmox */
	{ "/lxc.payload.web", "lxc", "web", "", "", "", "" },
	{ "/lxc.payload.web/system.slice/nginx.service", "lxc", "web", "", "", "", "/system.slice/nginx.service" },
	{ "/lxc.monitor.web", "", "", "", "", "", "" },
	{ "/lxc.payload/web/init.scope", "lxc", "web", "", "", "", "/init.scope" },
	{ "/lxc/101/ns/system.slice/cron.service", "lxc", "101", "", "", "", "/ns/system.slice/cron.service" },
	{ "/lxc/.scope", "lxc", ".scope", "", "", "", "" },
	{ "/lxc.monitor/101", "", "", "", "", "", "" },
	{ "/lxc", "", "", "", "", "", "" },
	/* Fargate */
	{ "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-2091336", "containerd",
	  "0123456789abcdef0123456789abcdef-2091336", "", "", "", "" },
	/* systemd */
	{ "/system.slice/nginx.service", "systemd", "", "", "", "nginx.service", "" },
	{ "/system.slice/nginx.service/workers/3", "systemd", "", "", "", "nginx.service", "/workers/3" },
	{ "/system.slice/system-getty.slice/getty@tty1.service", "systemd", "", "", "", "getty@tty1.service", "" },
	{ "/system.slice/systemd-cryptsetup@my\\x2ddisk.service", "systemd", "", "", "",
	  "systemd-cryptsetup@my\\x2ddisk.service", "" },
	{ "/init.scope", "systemd", "", "", "", "init.scope", "" },
	{ "/user.slice/user-1000.slice/session-3.scope", "systemd", "", "", "", "session-3.scope", "" },
	{ USER "/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope", "systemd", "", "", "", "vte-spawn-1.scope",
	  "" },
	{ USER, "systemd", "", "", "", "user@1000.service", "" },
	{ "/system.slice/podman-restart.service", "systemd", "", "", "", "podman-restart.service", "" },
	{ "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator", "systemd", "", "", "",
	  "machine-qemu\\x2d1\\x2dvm.scope", "/libvirt/emulator" },
	{ "/system.slice", "", "", "", "", "", "" },
	/* plain */
	{ "/", "", "", "", "", "", "" },
	{ "/batch/nightly", "", "", "", "", "", "" },
	{ "/yarn/container_1700000000000_0001_01_000002", "", "", "", "", "", "" },
	/* nearly */
	{ "/docker/0c7b1f6d4e5a", "", "", "", "", "", "" },
	{ "/docker/" ID1 "0", "", "", "", "", "", "" },
	{ "/system.slice/docker-" ID1 "x.scope", "systemd", "", "", "", "docker-" ID1 "x.scope", "" },
	{ "/kubepods/podman", "", "", "", "", "", "" },
	{ "/kubepods/pod8b1e2c5a-0f3d-4c6b-9a7e", "", "", "", "", "", "" },
	{ "/mykubepods-pod" UID1_ ".slice", "", "", "", "", "", "" },
	{ "/pod" UID1 "/app", "", "", "", "", "", "" },
	{ "/.service/.scope", "", "", "", "", "", "" },
	{ "/a::", "", "", "", "", "", "" },
	{ "", "", "", "", "", "", "" },
	{ "relative/docker/" ID1, "", "", "", "", "", "" },
	{ "//docker///" ID1 "//", "docker", ID1, "", "", "", "//" },
};

static void assert_slice(const struct row *row, const struct slice *got, const char *want)
{
	if (got->bytes != strlen(want) || (got->bytes && memcmp(got->text, want, got->bytes)))
		fail_msg("'%s': got '%.*s', want '%s'", row->path, (int)got->bytes, got->text ? got->text : "", want);
}

static void assert_text(const struct row *row, const char *got, const char *want)
{
	if (strcmp(got, want))
		fail_msg("'%s': got '%s', want '%s'", row->path, got, want);
}

static void container_parse_reads_real_paths(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		size_t bytes = strlen(row->path);
		char *exact = malloc(bytes ? bytes : 1); /* no terminator: reading past the end is found */
		struct container c;

		memcpy(exact, row->path, bytes);
		container_parse(exact, bytes, &c);
		assert_text(row, c.runtime, row->runtime);
		assert_slice(row, &c.id, row->id);
		assert_text(row, c.pod_uid, row->pod_uid);
		assert_text(row, c.pod_qos, row->qos);
		assert_slice(row, &c.unit, row->unit);
		assert_int_equal(c.own_bytes, bytes - strlen(row->below));
		free(exact);
	}
}

/* Cut anywhere, a path is still a path: nothing is read beyond the cut, and all that is found lies within. */
static void container_parse_survives_every_cut(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t bytes = 0; bytes < strlen(rows[i].path); bytes++) {
			char *exact = malloc(bytes ? bytes : 1);
			struct container c;

			memcpy(exact, rows[i].path, bytes);
			container_parse(exact, bytes, &c);
			assert_true(c.own_bytes <= bytes);
			if (c.id.bytes) {
				assert_true(c.id.text >= exact && c.id.text + c.id.bytes <= exact + bytes);
				assert_int_equal(c.unit.bytes, 0);
			}
			free(exact);
		}
}

/* The own path of a container, parsed again, is the same container with nothing below it. */
static void container_own_path_is_its_own(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct container whole, own;

		container_parse(rows[i].path, strlen(rows[i].path), &whole);
		container_parse(rows[i].path, whole.own_bytes, &own);
		assert_int_equal(own.own_bytes, whole.own_bytes);
		assert_string_equal(own.runtime, whole.runtime);
		assert_string_equal(own.pod_uid, whole.pod_uid);
		assert_int_equal(own.id.bytes, whole.id.bytes);
	}
}

static void path_last_takes_the_last_component(void **state)
{
	static const struct {
		const char *path, *want;
	} cases[] = {
		{ "/", "/" },	     { "//", "/" },	{ "", "/" },  { "/a", "a" },
		{ "/a/b c", "b c" }, { "/a/b//", "b" }, { "a", "a" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice last = path_last(cases[i].path, strlen(cases[i].path));

		assert_int_equal(last.bytes, strlen(cases[i].want));
		assert_memory_equal(last.text, cases[i].want, last.bytes);
	}
}

static void unit_unescape_undoes_systemd(void **state)
{
	static const struct {
		const char *unit, *want;
	} cases[] = {
		{ "nginx.service", "nginx.service" },
		{ "my\\x2ddisk.service", "my-disk.service" },
		{ "\\x2d\\x2D", "--" },
		{ "a\\", "a\\" },
		{ "a\\x2", "a\\x2" },
		{ "a\\xzz", "a\\xzz" },
		{ "a\\\\x2d", "a\\-" },
		{ "", "" },
	};
	char text[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice unit = { .text = cases[i].unit, .bytes = strlen(cases[i].unit) };
		size_t bytes = unit_unescape(&unit, text, sizeof(text));

		assert_int_equal(bytes, strlen(cases[i].want));
		assert_memory_equal(text, cases[i].want, bytes);
	}
	assert_int_equal(unit_unescape(&(struct slice){ .text = "abc", .bytes = 3 }, text, 2), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(container_parse_reads_real_paths),
		cmocka_unit_test(container_parse_survives_every_cut),
		cmocka_unit_test(container_own_path_is_its_own),
		cmocka_unit_test(path_last_takes_the_last_component),
		cmocka_unit_test(unit_unescape_undoes_systemd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
