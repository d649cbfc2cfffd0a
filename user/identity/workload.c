#include "identity/workload.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "identity/container.h"

#define NAME_ROOM	256 /* names of units and containers are shorter: NAME_MAX */
#define PATH_ROOM	4096
#define SHORT_ID_BYTES	12 /* what docker ps shows */
#define DOCKER_JSON_MAX (1u << 20)

int docker_name_read(const char *docker, const char *container_id, char *ret, size_t room)
{
	char path[PATH_ROOM];
	const char *name;
	json_t *root;
	FILE *file;
	char *text;
	size_t bytes;
	int err = -ENOENT;

	if (!docker[0] ||
	    (size_t)snprintf(path, sizeof(path), "%s/%s/config.v2.json", docker, container_id) >= sizeof(path))
		return -ENOENT;
	file = fopen(path, "re");
	if (!file)
		return -ENOENT;
	text = malloc(DOCKER_JSON_MAX);
	bytes = text ? fread(text, 1, DOCKER_JSON_MAX, file) : 0;
	fclose(file);
	root = json_loadb(text ? text : "", bytes, 0, NULL);
	name = json_string_value(json_object_get(root, "Name"));
	if (name && name[0] == '/')
		name++;
	if (name && name[0]) {
		utf8_sanitise(name, strlen(name), ret, room);
		err = 0;
	}
	json_decref(root);
	free(text);
	return err;
}

/* Moves @from and all strings but the static ones into one block. */
static struct workload *workload_pack(const struct workload *from)
{
	const char *const texts[] = { from->cgroup,  from->service_name, from->container_id,  from->container_name,
				      from->pod_uid, from->pod_name,	 from->namespace_name };
	enum { TEXTS_COUNT = sizeof(texts) / sizeof(texts[0]) };
	const char *moved[TEXTS_COUNT];
	size_t bytes = sizeof(*from);
	struct workload *who;
	char *at;

	for (unsigned i = 0; i < TEXTS_COUNT; i++)
		bytes += texts[i][0] ? strlen(texts[i]) + 1 : 0;
	who = malloc(bytes);
	if (!who)
		return NULL;
	at = (char *)(who + 1);
	for (unsigned i = 0; i < TEXTS_COUNT; i++) {
		size_t text_bytes = strlen(texts[i]) + 1;

		moved[i] = text_bytes > 1 ? memcpy(at, texts[i], text_bytes) : "";
		at += text_bytes > 1 ? text_bytes : 0;
	}
	*who = (struct workload){
		.refs = 1,
		.cgroup_id = from->cgroup_id,
		.cgroup = moved[0],
		.service_name = moved[1],
		.runtime = from->runtime,
		.container_id = moved[2],
		.container_name = moved[3],
		.pod_uid = moved[4],
		.pod_qos = from->pod_qos,
		.pod_name = moved[5],
		.namespace_name = moved[6],
	};
	return who;
}

struct workload *workload_new(__u64 cgroup_id, const char *path, size_t bytes, const char *docker)
{
	char cgroup[PATH_ROOM], id[NAME_ROOM] = "", name[NAME_ROOM] = "", service[NAME_ROOM];
	struct container c;
	struct slice last;

	container_parse(path, bytes, &c);
	utf8_sanitise(path, bytes, cgroup, sizeof(cgroup));
	if (c.id.bytes) {
		utf8_sanitise(c.id.text, c.id.bytes, id, sizeof(id));
		if (strcmp(c.runtime, "docker") || docker_name_read(docker, id, name, sizeof(name)))
			str_copy(name, c.id.bytes == CONTAINER_ID_MAX ? SHORT_ID_BYTES + 1 : sizeof(name), id);
		str_copy(service, sizeof(service), name);
	} else if (c.unit.bytes) {
		char plain[PATH_ROOM];
		size_t plain_bytes = unit_unescape(&c.unit, plain, sizeof(plain));

		utf8_sanitise(plain, plain_bytes, service, sizeof(service));
	} else {
		last = path_last(path, bytes);
		utf8_sanitise(last.text, last.bytes, service, sizeof(service));
	}
	return workload_pack(&(struct workload){
		.cgroup_id = cgroup_id,
		.cgroup = cgroup,
		.service_name = service,
		.runtime = c.runtime,
		.container_id = id,
		.container_name = name,
		.pod_uid = c.pod_uid,
		.pod_qos = c.pod_qos,
		.pod_name = "",
		.namespace_name = "",
	});
}

struct workload *workload_new_vanished(void)
{
	return workload_pack(&(struct workload){
		.cgroup = "",
		.service_name = "unknown",
		.runtime = "",
		.container_id = "",
		.container_name = "",
		.pod_uid = "",
		.pod_qos = "",
		.pod_name = "",
		.namespace_name = "",
	});
}
