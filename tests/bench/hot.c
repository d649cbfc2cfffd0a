/* A qemu plugin that counts how often each instruction of the guest's kernel ran, BPF programs included: exact, where a
 * sampling profiler in a guest would see interrupts. Written to out=FILE at the end, one line a block:
 *   RUNS ADDRESS...
 * The declarations are those parts of qemu's plugin interface (version 1, QEMU 4.2 and later) that are used here; Debian
 * packages no header of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info_t;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   void (*translated)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, enum qemu_plugin_op op, void *counter,
					      uint64_t add);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*ended)(qemu_plugin_id_t, void *), void *arg);

#define EXPORT	     __attribute__((visibility("default")))
#define KERNEL_FIRST 0xffff800000000000ull

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv);

/* One translated block; the same code translated twice has two, the reader adds them up. Never freed: qemu keeps a
 * pointer to runs. */
struct block {
	struct block *next;
	uint64_t runs;
	size_t count;
	uint64_t addresses[];
};

/* qemu hands no argument to the callbacks; one plugin a process. */
static struct block *blocks;
static const char *out = "hot.out";

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb);
	struct block *block;

	(void)id;
	if (qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0)) < KERNEL_FIRST)
		return;
	block = calloc(1, sizeof(*block) + count * sizeof(block->addresses[0]));
	if (!block)
		abort();
	block->count = count;
	for (size_t i = 0; i < count; i++)
		block->addresses[i] = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i));
	block->next = blocks;
	blocks = block;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &block->runs, 1);
}

static void ended(qemu_plugin_id_t id, void *arg)
{
	FILE *file = fopen(out, "w");

	(void)id;
	(void)arg;
	if (!file) {
		perror(out);
		return;
	}
	for (struct block *block = blocks; block; block = block->next) {
		if (!block->runs)
			continue;
		fprintf(file, "%" PRIu64, block->runs);
		for (size_t i = 0; i < block->count; i++)
			fprintf(file, " %" PRIx64, block->addresses[i]);
		fputc('\n', file);
	}
	fclose(file);
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = strdup(argv[i] + 4);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
