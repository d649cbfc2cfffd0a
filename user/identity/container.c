/* Reads a path from the root downwards and keeps the last container, pod and unit seen: what is nearest to the process
 * wins, so a container in a container (kind, docker in a pod) is told by its inner one, and a pod stays known below it. */
#include "identity/container.h"

#include <string.h>

static const char docker[] = "docker";
static const char containerd[] = "containerd";
static const char crio[] = "cri-o";
static const char podman[] = "podman";
static const char lxc[] = "lxc";
static const char oci[] = "oci"; /* looks like a container, by whom cannot be told */

/* <prefix><id>, with or without ".scope". Longer prefixes first where one begins with the other. */
static const struct id_prefix {
	const char *prefix;
	const char *runtime; /* NULL: a helper beside the container, not in it */
} id_prefixes[] = {
	{ .prefix = "docker-", .runtime = docker },
	{ .prefix = "cri-containerd-", .runtime = containerd },
	{ .prefix = "containerd-", .runtime = containerd },
	{ .prefix = "nerdctl-", .runtime = containerd },
	{ .prefix = "crio-conmon-", .runtime = NULL },
	{ .prefix = "crio-", .runtime = crio },
	{ .prefix = "libpod-conmon-", .runtime = NULL },
	{ .prefix = "libpod-payload-", .runtime = podman }, /* a unit whose container shares its cgroup */
	{ .prefix = "libpod-", .runtime = podman },
};

/* <parent>/<id>: who names a cgroup by the bare id. */
static const struct id_parent {
	const char *parent;
	const char *runtime;
} id_parents[] = {
	{ .parent = "docker", .runtime = docker },
	{ .parent = "moby", .runtime = docker },
	{ .parent = "default", .runtime = containerd }, /* namespaces of containerd */
	{ .parent = "k8s.io", .runtime = containerd },
};

/* "SLICE:<name>:<id>": systemd's notation taken as a plain directory name, which is what a runtime told to use cgroupfs
 * makes of it when the kubelet uses systemd. */
static const struct id_parent id_colons[] = {
	{ .parent = "cri-containerd", .runtime = containerd },
	{ .parent = "docker", .runtime = docker },
	{ .parent = "crio", .runtime = crio },
	{ .parent = "libpod", .runtime = podman },
	{ .parent = "nerdctl", .runtime = containerd },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool slice_is(const struct slice *s, const char *text)
{
	return s->bytes == strlen(text) && !memcmp(s->text, text, s->bytes);
}

static bool slice_starts(const struct slice *s, const char *prefix)
{
	size_t bytes = strlen(prefix);

	return s->bytes >= bytes && !memcmp(s->text, prefix, bytes);
}

static bool slice_ends(const struct slice *s, const char *suffix)
{
	size_t bytes = strlen(suffix);

	return s->bytes >= bytes && !memcmp(s->text + s->bytes - bytes, suffix, bytes);
}

static struct slice slice_skip(const struct slice *s, size_t bytes)
{
	return (struct slice){ .text = s->text + bytes, .bytes = s->bytes - bytes };
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_container_id(const struct slice *s)
{
	if (s->bytes != CONTAINER_ID_MAX)
		return false;
	for (size_t i = 0; i < s->bytes; i++)
		if (!is_hex(s->text[i]))
			return false;
	return true;
}

/* Fargate names a container <32 hex digits of the task>-<digits>. */
static bool is_fargate_id(const struct slice *s)
{
	if (s->bytes < 34 || s->bytes > CONTAINER_ID_MAX || s->text[32] != '-')
		return false;
	for (size_t i = 0; i < s->bytes; i++)
		if (i < 32 ? !is_hex(s->text[i]) : i > 32 && (s->text[i] < '0' || s->text[i] > '9'))
			return false;
	return true;
}

/* 8-4-4-4-12 hex digits, joined by '-' or, in names of slices, by '_'; or the 32 digits of a static pod. */
static bool pod_uid_read(const struct slice *s, char *ret)
{
	if (s->bytes != POD_UID_MAX && s->bytes != 32)
		return false;
	for (size_t i = 0; i < s->bytes; i++) {
		bool joint = s->bytes == POD_UID_MAX && (i == 8 || i == 13 || i == 18 || i == 23);

		if (joint ? s->text[i] != '-' && s->text[i] != '_' : !is_hex(s->text[i]))
			return false;
		ret[i] = joint ? '-' : s->text[i];
	}
	ret[s->bytes] = 0;
	return true;
}

static const char *qos_read(const struct slice *s)
{
	if (slice_is(s, "burstable"))
		return "burstable";
	if (slice_is(s, "besteffort"))
		return "besteffort";
	return NULL;
}

/* What the walk down the path knows so far. */
struct walk {
	struct container *ret;
	struct slice before; /* the component above; empty at the top */
	bool kube;	     /* below a kubepods group */
	const char *qos;     /* of the group above the pod; NULL: none, so guaranteed */
};

static void container_found(struct walk *w, const struct slice *id, const char *runtime, size_t own_bytes)
{
	w->ret->id = *id;
	w->ret->runtime = runtime;
	w->ret->own_bytes = own_bytes;
	w->ret->unit = (struct slice){};
}

static void pod_found(struct walk *w, const char *uid, const char *qos)
{
	memcpy(w->ret->pod_uid, uid, sizeof(w->ret->pod_uid));
	w->ret->pod_qos = qos ? qos : "guaranteed";
}

/* "kubepods", "kubelet-kubepods" (kind) and what follows in names of slices: -burstable, -besteffort, -pod<uid>. */
static bool kube_slice_read(struct walk *w, struct slice s)
{
	static const char word[] = "kubepods";
	const char *at = memmem(s.text, s.bytes, word, sizeof(word) - 1);
	char uid[POD_UID_MAX + 1] = "";
	const char *qos = NULL;

	if (!at || (at != s.text && at[-1] != '-'))
		return false;
	s = slice_skip(&s, (size_t)(at - s.text) + sizeof(word) - 1);
	if (s.bytes && s.text[0] != '-')
		return false;
	if (slice_starts(&s, "-burstable")) {
		qos = "burstable";
		s = slice_skip(&s, strlen("-burstable"));
	} else if (slice_starts(&s, "-besteffort")) {
		qos = "besteffort";
		s = slice_skip(&s, strlen("-besteffort"));
	}
	if (slice_starts(&s, "-pod")) {
		s = slice_skip(&s, strlen("-pod"));
		if (!pod_uid_read(&s, uid))
			return false;
		pod_found(w, uid, qos);
	} else if (s.bytes) {
		return false;
	}
	w->kube = true;
	w->qos = qos;
	return true;
}

/* Components of the cgroupfs driver: kubepods, burstable, pod<uid>. */
static bool kube_plain_read(struct walk *w, const struct slice *s)
{
	char uid[POD_UID_MAX + 1] = "";
	struct slice rest;

	if (!w->kube)
		return false;
	if (qos_read(s) && slice_ends(&w->before, "kubepods")) {
		w->qos = qos_read(s);
		return true;
	}
	if (!slice_starts(s, "pod"))
		return false;
	rest = slice_skip(s, strlen("pod"));
	if (!pod_uid_read(&rest, uid))
		return false;
	pod_found(w, uid, w->qos);
	return true;
}

/* Returns true when the component is a container or one of its helpers. */
static bool container_read(struct walk *w, const struct slice *whole, size_t own_bytes)
{
	struct slice s = *whole, id;
	const char *colon;

	if (slice_ends(&s, ".scope"))
		s.bytes -= strlen(".scope");

	for (size_t i = 0; i < COUNT(id_prefixes); i++) {
		if (!slice_starts(&s, id_prefixes[i].prefix))
			continue;
		id = slice_skip(&s, strlen(id_prefixes[i].prefix));
		if (!is_container_id(&id))
			continue;
		if (id_prefixes[i].runtime)
			container_found(w, &id, id_prefixes[i].runtime, own_bytes);
		return true;
	}

	colon = memrchr(s.text, ':', s.bytes);
	if (colon) {
		struct slice left = { .text = s.text, .bytes = (size_t)(colon - s.text) };
		const char *first = memchr(left.text, ':', left.bytes);

		id = slice_skip(&s, left.bytes + 1);
		if (first && is_container_id(&id)) {
			struct slice name = slice_skip(&left, (size_t)(first - left.text) + 1);

			left.bytes = (size_t)(first - left.text);
			if (slice_ends(&left, ".slice"))
				left.bytes -= strlen(".slice");
			for (size_t i = 0; i < COUNT(id_colons); i++) {
				if (!slice_is(&name, id_colons[i].parent))
					continue;
				kube_slice_read(w, left);
				container_found(w, &id, id_colons[i].runtime, own_bytes);
				return true;
			}
		}
	}

	if (is_container_id(&s)) {
		/* The kubelet's cgroupfs driver names no runtime; containerd is what remains since it left dockershim
		 * and CRI-O writes its prefix. */
		const char *runtime = w->kube && w->ret->pod_uid[0] ? containerd : oci;

		for (size_t i = 0; i < COUNT(id_parents); i++)
			if (slice_is(&w->before, id_parents[i].parent))
				runtime = id_parents[i].runtime;
		container_found(w, &s, runtime, own_bytes);
		return true;
	}
	if (is_fargate_id(&s) && s.bytes > 33) {
		container_found(w, &s, containerd, own_bytes);
		return true;
	}

	/* LXC names its containers itself: lxc.payload.web, lxc.payload/web, lxc/web; lxc.monitor is the helper. */
	if (slice_starts(whole, "lxc.payload.") && whole->bytes > strlen("lxc.payload.")) {
		id = slice_skip(whole, strlen("lxc.payload."));
		container_found(w, &id, lxc, own_bytes);
		return true;
	}
	if (slice_is(&w->before, "lxc.payload") || slice_is(&w->before, "lxc")) {
		container_found(w, whole, lxc, own_bytes);
		return true;
	}
	return false;
}

static void component_read(struct walk *w, const struct slice *s, size_t own_bytes)
{
	struct slice slice = *s;

	if (container_read(w, s, own_bytes))
		return;
	if (slice_ends(s, ".slice"))
		slice.bytes -= strlen(".slice");
	if (kube_slice_read(w, slice) || kube_plain_read(w, s))
		return;
	if (w->ret->id.bytes)
		return; /* a unit inside a container is the container's */
	if ((slice_ends(s, ".service") && s->bytes > strlen(".service")) ||
	    (slice_ends(s, ".scope") && s->bytes > strlen(".scope"))) {
		w->ret->unit = *s;
		w->ret->runtime = "systemd";
		w->ret->own_bytes = own_bytes;
	}
}

void container_parse(const char *path, size_t bytes, struct container *ret)
{
	struct walk w = { .ret = ret };
	size_t at = 0;

	*ret = (struct container){ .runtime = "", .pod_qos = "", .own_bytes = bytes };
	if (!bytes || path[0] != '/')
		return;
	while (at < bytes) {
		struct slice s;
		size_t end;

		if (path[at] == '/') {
			at++;
			continue;
		}
		for (end = at; end < bytes && path[end] != '/'; end++)
			;
		s = (struct slice){ .text = path + at, .bytes = end - at };
		component_read(&w, &s, end);
		w.before = s;
		at = end;
	}
}

struct slice path_last(const char *path, size_t bytes)
{
	size_t begin;

	while (bytes > 1 && path[bytes - 1] == '/')
		bytes--;
	for (begin = bytes; begin > 0 && path[begin - 1] != '/'; begin--)
		;
	if (begin == bytes)
		return (struct slice){ .text = "/", .bytes = 1 };
	return (struct slice){ .text = path + begin, .bytes = bytes - begin };
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

size_t unit_unescape(const struct slice *unit, char *ret, size_t room)
{
	size_t used = 0;

	for (size_t i = 0; i < unit->bytes && used < room; i++) {
		const char *at = unit->text + i;

		if (at[0] == '\\' && unit->bytes - i >= 4 && at[1] == 'x' && hex_value(at[2]) >= 0 &&
		    hex_value(at[3]) >= 0) {
			ret[used++] = (char)(hex_value(at[2]) * 16 + hex_value(at[3]));
			i += 3;
		} else {
			ret[used++] = at[0];
		}
	}
	return used;
}
