#include "view/who.h"

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

const char *who_name(const struct workload *who)
{
	if (!who)
		return "weir";
	return *who->container_name ? who->container_name : who->service_name;
}

const char *who_key(const struct workload *who)
{
	if (!who)
		return "";
	return *who->container_id ? who->container_id : who->cgroup;
}

void who_print(const struct workload *who, struct buf *out)
{
	if (who && *who->namespace_name)
		buf_printf(out, "%s/", who->namespace_name);
	if (who && *who->pod_name)
		buf_printf(out, "%s/", who->pod_name);
	buf_add_str(out, who_name(who));
}

static int set_known(json_t *object, const char *key, const char *text)
{
	return *text ? json_object_set_new(object, key, json_string(text)) : 0;
}

json_t *who_json(const struct workload *who)
{
	json_t *object;

	if (!who)
		return json_null();
	object = json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", who->container_id, "name", who_name(who), "pod_uid",
			   who->pod_uid, "runtime", who->runtime, "cgroup", who->cgroup);
	if (!object)
		return NULL;
	if (set_known(object, "pod_name", who->pod_name) || set_known(object, "namespace", who->namespace_name) ||
	    set_known(object, "service_name", who->service_name)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

void cell_print(struct buf *out, const char *text, unsigned width, bool right)
{
	size_t columns = utf8_width(text);
	size_t bytes;

	if (columns <= width) {
		if (right)
			buf_add_repeat(out, ' ', width - columns);
		buf_add_str(out, text);
		if (!right)
			buf_add_repeat(out, ' ', width - columns);
		return;
	}
	if (!width)
		return;
	bytes = utf8_prefix(text, width - 1);
	buf_add(out, text, bytes);
	buf_add_str(out, "\u2026");
	/* A wide character that did not fit leaves one column more. */
	for (columns = 0; columns < width - 1; columns++)
		if (utf8_prefix(text, columns) == bytes)
			break;
	buf_add_repeat(out, ' ', width - 1 - columns);
}
