/* ask PID COMMAND [--start TICKS] [--deadline MS] [--room BYTES] [--check]: what the JVM PID answers. Status 0: that alone; 1:
 * "ENAME: reason" on standard error, and what there is of the answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/why.h"
#include "jvm/attach.h"
#include "jvm/perf_source.h"

int main(int argc, char **argv)
{
	struct jvm_attach_options options = { .proc = "/proc" };
	struct process_stat stat = { 0 };
	size_t room = 1u << 30;
	struct why why = { "" };
	bool check = false;
	struct buf answer;
	int err;

	if (argc < 3)
		return 2;
	options.pid = (__u32)strtoul(argv[1], NULL, 10);
	process_stat_read("/proc", options.pid, &stat);
	options.start_ticks = stat.start_ticks;
	for (int i = 3; i < argc; i++) {
		if (!strcmp(argv[i], "--check"))
			check = true;
		else if (!strcmp(argv[i], "--start") && i + 1 < argc)
			options.start_ticks = strtoull(argv[++i], NULL, 10);
		else if (!strcmp(argv[i], "--deadline") && i + 1 < argc)
			options.deadline_ns = strtoull(argv[++i], NULL, 10) * 1000000;
		else if (!strcmp(argv[i], "--room") && i + 1 < argc)
			room = strtoul(argv[++i], NULL, 10);
		else
			return 2;
	}
	buf_init(&answer, room);
	err = check ? jvm_attach_check(&options, &why) : jvm_attach(&options, argv[2], &answer, &why);
	fwrite(answer.data, 1, answer.used, stdout);
	if (err)
		fprintf(stderr, "%s: %s\n", strerrorname_np(-err), why.text);
	buf_done(&answer);
	return err ? 1 : 0;
}
