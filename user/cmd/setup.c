#include "cmd/setup.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/why.h"
#include "cmd/options.h"
#include "http.h"
#include "model/route.h"
#include "view/filter.h"

unsigned setup_signal_id(const char *name)
{
	for (unsigned id = 1; id < SIGNAL_MAX; id++)
		if (signals[id] && !strcmp(signals[id]->name, name))
			return id;
	return 0;
}

const char *setup_signal_name(unsigned id)
{
	return id < SIGNAL_MAX && signals[id] ? signals[id]->name : "";
}

void setup_signal_names(struct buf *out)
{
	bool first = true;

	for (unsigned id = 1; id < SIGNAL_MAX; id++) {
		if (!signals[id])
			continue;
		buf_printf(out, "%s%s", first ? "" : ", ", signals[id]->name);
		first = false;
	}
}

static int setup_signals(const struct option_list *names, unsigned *ret, struct why *why)
{
	struct buf known;

	*ret = 0;
	for (unsigned i = 0; i < names->count; i++) {
		unsigned id = setup_signal_id(names->items[i]);

		if (!strcmp(names->items[i], "all")) {
			*ret = 0;
			return 0;
		}
		if (!id) {
			buf_init(&known, 4096);
			setup_signal_names(&known);
			why_set(why, 0, "there is no signal '%.50s'; there are: %.300s", names->items[i], known.data);
			buf_done(&known);
			return -EINVAL;
		}
		*ret |= 1u << id;
	}
	return 0;
}

/* Here and not when the signal loads: a signal that does not load is a warning, a wrong pattern is wrong usage. */
static int setup_routes(const struct signal_options *signal, struct why *why)
{
	const struct routes_options options = {
		.patterns = signal->route_patterns,
		.per_cgroup_max = signal->routes_per_cgroup_max,
	};
	struct routes *routes;
	int err = routes_new(&options, &routes, why);

	if (!err)
		routes_free(routes);
	return err;
}

static unsigned setup_roles(const struct options *options)
{
	switch ((enum option_role)options->role) {
	case ROLE_SERVER:
		return 1u << HTTP_ROLE_SERVER;
	case ROLE_CLIENT:
		return 1u << HTTP_ROLE_CLIENT;
	case ROLE_BOTH:
		break;
	}
	return 0;
}

int setup_pipeline(const struct options *options, struct pipeline_options *ret, struct why *why)
{
	bool agent = options->verb == VERB_AGENT;
	unsigned chosen;
	int err;

	err = setup_signals(&options->signals, &chosen, why);
	if (err)
		return err;
	*ret = (struct pipeline_options){
		.signals = chosen,
		.required = chosen != 0,
		.interval_ns = agent ? options->interval : 0,
		.flush_ns = options->shutdown_timeout,
		.series_max = options->series_max,
		.cgroup_root = options->cgroup_root,
		.signal = {
			.roles = setup_roles(options),
			/* A verb without the option names routes too: only off is off. */
			.routes = options->routes || !(option_rows[OPTION_routes].verbs & options->verb),
			.route_patterns = options->route.count ? (const char *const *)options->route.items : NULL,
			.routes_per_cgroup_max = options->routes_max,
			.table_max = options->table_max,
			.jvm_source = options->jvm_source, /* the choices in the order of enum jvm_source */
		},
	};
	return setup_routes(&ret->signal, why);
}

const char *setup_role(const struct options *options)
{
	switch ((enum option_role)options->role) {
	case ROLE_SERVER:
		return "server";
	case ROLE_CLIENT:
		return "client";
	case ROLE_BOTH:
		break;
	}
	return NULL;
}

int setup_filter(const struct options *options, struct span_filter *ret, struct why *why)
{
	const struct {
		const char *key, *value;
	} conditions[] = {
		{ "container", options->container },
		{ "pod", options->pod },
		{ "namespace", options->namespace_name },
		{ "path", options->path },
		{ "status", options->status },
		{ "role", setup_role(options) },
		{ "closed", options->closed ? "1" : NULL },
	};

	*ret = (struct span_filter){ .min_ns = options->min };
	for (size_t i = 0; i < sizeof(conditions) / sizeof(*conditions); i++) {
		int err = conditions[i].value ? span_filter_set(ret, conditions[i].key, conditions[i].value, why) : 0;

		if (err)
			return err;
	}
	return 0;
}

const char *setup_socket(const struct options *options)
{
	return options->socket && *options->socket && strcmp(options->socket, "off") ? options->socket : NULL;
}
