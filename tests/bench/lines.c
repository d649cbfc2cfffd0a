/* lines: where the loaded BPF programs lie in memory, and which source line each piece of their machine code is:
 *   F ADDRESS BYTES PROGRAM/FUNCTION     (hexadecimal addresses and sizes)
 *   L ADDRESS LINE TEXT */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_program(int fd)
{
	struct bpf_prog_info info = { 0 }, sizes = { 0 };
	__u32 bytes = sizeof(info);
	__u64 *line_addresses, *functions;
	__u32 *function_bytes;
	struct bpf_line_info *lines;
	struct btf *btf;

	if (bpf_obj_get_info_by_fd(fd, &sizes, &bytes))
		return;
	line_addresses = calloc(sizes.nr_jited_line_info + 1, sizeof(*line_addresses));
	functions = calloc(sizes.nr_jited_ksyms + 1, sizeof(*functions));
	function_bytes = calloc(sizes.nr_jited_func_lens + 1, sizeof(*function_bytes));
	lines = calloc(sizes.nr_line_info + 1, sizeof(*lines));
	btf = btf__load_from_kernel_by_id(sizes.btf_id);
	if (!line_addresses || !functions || !function_bytes || !lines || !btf)
		goto out_free; /* no BTF: not one of weir's */
	info.nr_jited_line_info = sizes.nr_jited_line_info;
	info.jited_line_info_rec_size = sizeof(*line_addresses);
	info.jited_line_info = (unsigned long)line_addresses;
	info.nr_line_info = sizes.nr_line_info;
	info.line_info_rec_size = sizeof(*lines);
	info.line_info = (unsigned long)lines;
	info.nr_jited_ksyms = sizes.nr_jited_ksyms;
	info.jited_ksyms = (unsigned long)functions;
	info.nr_jited_func_lens = sizes.nr_jited_func_lens;
	info.jited_func_lens = (unsigned long)function_bytes;
	bytes = sizeof(info);
	if (bpf_obj_get_info_by_fd(fd, &info, &bytes))
		goto out_free;
	for (__u32 i = 0; i < info.nr_jited_func_lens; i++)
		printf("F %llx %x %.16s/%u\n", functions[i], function_bytes[i], info.name, i);
	for (__u32 i = 0; i < info.nr_jited_line_info && i < info.nr_line_info; i++)
		printf("L %llx %u %s\n", line_addresses[i], BPF_LINE_INFO_LINE_NUM(lines[i].line_col),
		       btf__name_by_offset(btf, lines[i].line_off));
out_free:
	btf__free(btf);
	free(lines);
	free(function_bytes);
	free(functions);
	free(line_addresses);
}

int main(void)
{
	__u32 id = 0;

	while (!bpf_prog_get_next_id(id, &id)) {
		int fd = bpf_prog_get_fd_by_id(id);

		if (fd < 0)
			continue;
		print_program(fd);
		close(fd);
	}
	return 0;
}
