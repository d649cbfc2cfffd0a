/* weir doctor: what this kernel and these privileges allow, proved by trying it. */
#include "cmd/doctor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/why.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/out.h"
#include "cmd/setup.h"
#include "cmd/status.h"
#include "identity/cgroup.h"
#include "kernel/features.h"

#ifndef WEIR_VERSION
#define WEIR_VERSION "unknown"
#endif

#define MAIN_SIGNAL SIGNAL_http /* what weir is for: without it doctor fails */
#define STATUS_MAX  (4u << 20)

struct doctor {
	const struct options *options;
	struct features features;
	char mount[256]; /* "": not found */
	struct why mount_why;
	struct why agent_why;
	bool agent;	    /* one is running */
	json_t *status;	    /* of the agent, or of a pipeline of our own; NULL: neither */
	struct why own_why; /* why our own could not start */
};

/* ---- finding out */

static void find_cgroup(struct doctor *doctor)
{
	const char *root = doctor->options->cgroup_root;

	if (root)
		str_copy(doctor->mount, sizeof(doctor->mount), root);
	else if (cgroup_find_mount(NULL, doctor->mount, sizeof(doctor->mount), &doctor->mount_why))
		doctor->mount[0] = '\0';
}

static void ask_agent(struct doctor *doctor)
{
	const char *socket = setup_socket(doctor->options);
	struct client *client;
	struct buf body;
	int err;

	if (!socket) {
		why_set(&doctor->agent_why, 0, "--socket is off");
		return;
	}
	err = client_new(socket, &client, &doctor->agent_why);
	if (err)
		return;
	buf_init(&body, STATUS_MAX);
	err = client_get(client, "/v1/status", &body, &doctor->agent_why);
	if (!err) {
		doctor->status = json_loadb(body.data, body.used, 0, NULL);
		doctor->agent = doctor->status != NULL;
		if (!doctor->status)
			why_set(&doctor->agent_why, 0, "the agent's status cannot be read");
	}
	buf_done(&body);
	client_free(client);
}

/* The proof that everything loads and attaches is to do it. Nothing stays behind. */
static void try_own(struct doctor *doctor)
{
	struct pipeline_options options;
	struct pipeline *pipeline = NULL;
	int err;

	err = setup_pipeline(doctor->options, &options, &doctor->own_why);
	if (!err)
		err = pipeline_new(&options, &pipeline, &doctor->own_why);
	if (!err)
		err = pipeline_start(pipeline, &doctor->own_why);
	if (!err)
		doctor->status = status_json(pipeline);
	pipeline_free(pipeline);
}

/* ---- the report */

static const json_t *status_signal(const struct doctor *doctor, const char *name)
{
	const json_t *array = json_object_get(doctor->status, "signals");

	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);
		const char *found = json_string_value(json_object_get(item, "name"));

		if (found && !strcmp(found, name))
			return item;
	}
	return NULL;
}

/* Does it run? The reason when not: what the kernel lacks, else what happened when it was tried. */
static bool signal_runs(const struct doctor *doctor, const struct signal *signal, struct why *why)
{
	const json_t *item = status_signal(doctor, signal->name);

	why_set(why, 0, "%s", "");
	if (features_check(&doctor->features, signal->needs, why))
		return false;
	if (item && json_is_true(json_object_get(item, "running")))
		return true;
	if (item)
		why_set(why, 0, "%s", json_string_value(json_object_get(item, "reason")) ?: "");
	else
		why_set(why, 0, "%s", doctor->own_why.text);
	return false;
}

static json_t *signals_json(const struct doctor *doctor)
{
	json_t *array = json_array();

	for (unsigned id = 1; id < SIGNAL_MAX; id++) {
		struct why why;

		if (!signals[id])
			continue;
		json_array_append_new(array, json_pack("{s:s, s:s, s:b, s:s}", "name", signals[id]->name, "text",
						       signals[id]->text, "runs",
						       signal_runs(doctor, signals[id], &why), "reason", why.text));
	}
	return array;
}

static json_t *features_json(const struct features *features)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < FEATURES_COUNT; i++) {
		const struct feature_row *row = &feature_rows[i];

		json_array_append_new(array,
				      json_pack("{s:s, s:b, s:s, s:s, s:s, s:s}", "name", row->name, "available",
						features_have(features, 1u << i), "reason", features->reasons[i],
						"serves", row->serves, "remedy", row->remedy, "since", row->since));
	}
	return array;
}

static json_t *report_json(const struct doctor *doctor)
{
	const char *socket = setup_socket(doctor->options);
	json_t *warnings = json_array();
	struct utsname name = {};
	struct why why;

	uname(&name); /* shown, never asked what it can do */
	doctor_warnings(warnings, doctor->mount[0] ? doctor->mount : NULL);
	return json_pack("{s:s, s:s, s:s, s:b, s:{s:s, s:b, s:s}, s:o, s:o, s:{s:s, s:b, s:s}, s:s, s:O?, s:o}",
			 "version", WEIR_VERSION, "kernel", name.release, "machine", name.machine, "ok",
			 signal_runs(doctor, signals[MAIN_SIGNAL], &why), "cgroup", "mount", doctor->mount, "root",
			 doctor->mount[0] && cgroup_is_root(doctor->mount), "reason", doctor->mount_why.text,
			 "features", features_json(&doctor->features), "signals", signals_json(doctor), "agent",
			 "socket", socket ?: "", "running", doctor->agent, "reason", doctor->agent_why.text, "source",
			 doctor->agent ? "agent" : "own programs", "status", doctor->status, "warnings", warnings);
}

static int report_print(const json_t *report, bool json)
{
	struct buf out;
	char *text;
	int err;

	buf_init(&out, STATUS_MAX);
	if (json) {
		text = json_dumps(report, JSON_COMPACT);
		buf_add_str(&out, text ?: "{}");
		buf_add_char(&out, '\n');
		free(text);
	} else {
		doctor_text(report, &out);
	}
	err = out_write(&out);
	buf_done(&out);
	return err;
}

static enum exit_status doctor_run(const struct options *options)
{
	struct doctor doctor = { .options = options };
	json_t *report;
	bool ok;
	int err;

	find_cgroup(&doctor);
	features_probe(&doctor.features, doctor.mount[0] ? doctor.mount : NULL);
	ask_agent(&doctor);
	if (!doctor.agent)
		try_own(&doctor);
	report = report_json(&doctor);
	json_decref(doctor.status);
	if (!report)
		return command_fail(EXIT_FAILED, "no memory");
	ok = json_is_true(json_object_get(report, "ok"));
	err = report_print(report, options->format == FORMAT_JSON);
	json_decref(report);
	if (err && err != -EPIPE)
		return command_fail(EXIT_FAILED, "cannot write: %s", strerror(-err));
	return ok ? EXIT_OK : EXIT_FAILED;
}

const struct command doctor_command = {
	.name = "doctor",
	.summary = "tell what this kernel and these privileges allow, and what to do about the rest",
	.verb = VERB_DOCTOR,
	.text = "Tries every signal, tells why one does not run and what to do about it, where cgroup v2 is mounted, and how\n"
		"full each table is (of a running agent, else of the programs it has just tried). Ends with status 0 only\n"
		"if HTTP requests can be observed.\n",
	.example = "  weir doctor\n"
		   "  weir doctor -o json | jq .signals\n",
	.run = doctor_run,
};
