/* Any bytes as lines of /proc/PID/net/tcp{,6}, cgroup.procs, links of descriptors and addresses. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "identity/proc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct endpoint local, peer;
	__u32 pids[16];
	__u64 inode;
	char *text = malloc(size + 1), *exact = malloc(size ? size : 1);
	unsigned count;

	memcpy(text, data, size);
	text[size] = 0;
	memcpy(exact, data, size);
	tcp_line_read(text, false, &local, &peer, &inode);
	tcp_line_read(text, true, &local, &peer, &inode);
	endpoint_read(text, &local);
	socket_link_read(exact, size);
	count = cgroup_procs_read(exact, size, pids, 16);
	assert(count <= 16);
	for (unsigned i = 0; i < count; i++)
		assert(pids[i]);
	free(text);
	free(exact);
	return 0;
}
