/* load FILE.bpf.o [VARIABLE[+OFFSET]=HEXBYTES]...: asks the running kernel's verifier about an object and says, for each
 * program, how many instructions it walked; when one is refused, the last lines of the verifier.
 * load --running: the same number for the programs that are loaded now (0 where the kernel does not keep it).
 * The assignments write into .rodata before the load: code that a constant switches off is never verified. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAMS_MAX 256
#define STATS_BYTES  (64u << 10)       /* log level 4 is three lines a program */
#define LOG_BYTES    ((16u << 20) - 1) /* the most that 5.10 accepts */
#define LINES_SHOWN  100

#define LOG_LEVEL_BRANCHES 1
#define LOG_LEVEL_STATS	   4

static bool verbose; /* libbpf's own words are shown */

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	return verbose && level != LIBBPF_DEBUG ? vprintf(format, args) : 0;
}

static void print_last_lines(const char *text)
{
	const char *at = text + strlen(text);

	for (unsigned lines = 0; at > text; at--) {
		if (at[-1] == '\n' && lines++ > LINES_SHOWN) {
			printf("[...]\n");
			break;
		}
	}
	fputs(at, stdout);
}

/* Writes @bytes (hex) into the .rodata variable @name at @offset. */
static int set_variable(struct bpf_object *object, const char *name, size_t offset, const char *bytes)
{
	struct btf *btf = bpf_object__btf(object);
	int id = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
	const struct btf_type *section;
	struct bpf_map *map;

	bpf_object__for_each_map(map, object) {
		const char *map_name = bpf_map__name(map);
		size_t name_bytes = strlen(map_name), size;
		const void *initial = bpf_map__initial_value(map, &size);
		char *value;
		int err = -ENOENT;

		if (id < 0 || !initial || name_bytes < 7 || strcmp(map_name + name_bytes - 7, ".rodata"))
			continue;
		value = malloc(size);
		if (!value)
			return -ENOMEM;
		memcpy(value, initial, size);
		section = btf__type_by_id(btf, id);
		for (int i = 0; i < btf_vlen(section); i++) {
			const struct btf_var_secinfo *info = btf_var_secinfos(section) + i;

			if (strcmp(btf__name_by_offset(btf, btf__type_by_id(btf, info->type)->name_off), name))
				continue;
			err = 0;
			for (; bytes[0] && bytes[1] && offset < info->size; bytes += 2, offset++) {
				char byte[3] = { bytes[0], bytes[1], '\0' };

				value[info->offset + offset] = strtoul(byte, NULL, 16);
			}
			if (bytes[0])
				err = -ERANGE;
		}
		if (!err)
			err = bpf_map__set_initial_value(map, value, size);
		free(value);
		return err;
	}
	return -ENOENT;
}

static int open_object(const char *path, int settings_count, char **settings, struct bpf_object **ret)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);

	if (!object)
		return -errno;
	for (int i = 0; i < settings_count; i++) {
		char name[128];
		size_t offset = 0;
		char bytes[1024];
		int err;

		if (sscanf(settings[i], "%127[^+=]+%zu=%1023s", name, &offset, bytes) != 3 &&
		    sscanf(settings[i], "%127[^=]=%1023s", name, bytes) != 2)
			err = -EINVAL;
		else
			err = set_variable(object, name, offset, bytes);
		if (err) {
			printf("cannot set '%s': %s\n", settings[i], strerror(-err));
			bpf_object__close(object);
			return err;
		}
	}
	*ret = object;
	return 0;
}

/* Loads @path and says what each program cost. When the verifier refuses one, its name goes to @ret_refused. */
static int load(const char *path, int settings_count, char **settings, char ret_refused[128])
{
	char *logs[PROGRAMS_MAX] = { 0 };
	struct bpf_object *object;
	struct bpf_program *program;
	unsigned count = 0, tried = 0;
	int err;

	err = open_object(path, settings_count, settings, &object);
	if (err)
		return err;
	bpf_object__for_each_program(program, object) {
		if (count == PROGRAMS_MAX)
			break;
		logs[count] = calloc(1, STATS_BYTES);
		if (!logs[count])
			break;
		bpf_program__set_log_level(program, LOG_LEVEL_STATS);
		bpf_program__set_log_buf(program, logs[count], STATS_BYTES);
		count++;
	}
	err = bpf_object__load(object);

	/* libbpf loads in this order and closes all of them on failure: the last one with a log is the one refused. */
	for (unsigned i = 0; i < count; i++)
		if (logs[i][0])
			tried = i + 1;
	count = 0;
	bpf_object__for_each_program(program, object) {
		const char *name = bpf_program__name(program);
		const char *processed;

		if (count == PROGRAMS_MAX || !logs[count])
			break;
		processed = strstr(logs[count], "processed ");
		printf("  %-28s %-32s ", name, bpf_program__section_name(program));
		if (!bpf_program__autoload(program)) {
			printf("not asked for\n");
		} else if (err && count + 1 == tried) {
			printf("REFUSED\n");
			snprintf(ret_refused, 128, "%s", name);
		} else if (processed) {
			printf("%7lu insns verified, %zu long\n", strtoul(processed + strlen("processed "), NULL, 10),
			       bpf_program__insn_cnt(program));
		} else {
			printf("not reached\n");
		}
		free(logs[count++]);
	}
	bpf_object__close(object);
	return err;
}

/* Loads @path once more to hear why it does not work; only the program @refused gives a log. */
static void explain(const char *path, int settings_count, char **settings, const char *refused)
{
	struct bpf_object *object;
	struct bpf_program *program;
	char *log = calloc(1, LOG_BYTES);

	verbose = true;
	if (!log || open_object(path, settings_count, settings, &object))
		return;
	program = bpf_object__find_program_by_name(object, refused);
	if (program) {
		bpf_program__set_log_level(program, LOG_LEVEL_BRANCHES);
		bpf_program__set_log_buf(program, log, LOG_BYTES);
	}
	bpf_object__load(object);
	print_last_lines(log);
	bpf_object__close(object);
	free(log);
}

static int list_running(void)
{
	__u32 id = 0;

	while (!bpf_prog_get_next_id(id, &id)) {
		struct bpf_prog_info info = { 0 };
		__u32 bytes = sizeof(info);
		int fd = bpf_prog_get_fd_by_id(id);

		if (fd < 0)
			continue;
		if (!bpf_obj_get_info_by_fd(fd, &info, &bytes))
			printf("%s: %u instructions verified (0: this kernel does not keep it), %u long\n", info.name,
			       info.verified_insns, info.xlated_prog_len / 8);
		close(fd);
	}
	return 0;
}

int main(int argc, char **argv)
{
	char refused[128] = "";
	int err;

	setvbuf(stdout, NULL, _IOLBF, 0);
	libbpf_set_print(print);
	if (argc == 2 && !strcmp(argv[1], "--running"))
		return list_running();
	if (argc < 2) {
		fprintf(stderr, "usage: load FILE.bpf.o [VARIABLE[+OFFSET]=HEXBYTES]... | load --running\n");
		return 2;
	}
	err = load(argv[1], argc - 2, argv + 2, refused);
	if (err)
		explain(argv[1], argc - 2, argv + 2, refused);
	printf("%s %s\n", err ? "REFUSED" : "loaded", argv[1]);
	return err ? 1 : 0;
}
