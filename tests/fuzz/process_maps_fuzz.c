/* Any bytes as lines of /proc/PID/maps. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/process_maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void line_check(const uint8_t *line, size_t bytes)
{
	char *exact = malloc(bytes ? bytes : 1), path[PROCESS_MAP_FILES_ROOM];
	struct process_map map;

	memcpy(exact, line, bytes);
	if (!process_map_parse(exact, bytes, &map)) {
		const char *slash = strrchr(map.path, '/');

		assert(map.start < map.end && map.inode && map.path[0] == '/');
		assert(strlen(map.path) < PROCESS_MAP_PATH_ROOM);
		assert(path_ends_in(map.path, slash + 1) && path_has_prefix(map.path, slash + 1));
		process_map_path("/proc", 4294967295u, &map, path, sizeof(path));
		assert(strlen(path) < sizeof(path) - 1);
	}
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size, *newline;

	for (; (newline = memchr(data, '\n', (size_t)(end - data))); data = newline + 1)
		line_check(data, (size_t)(newline - data));
	line_check(data, (size_t)(end - data));
	return 0;
}
