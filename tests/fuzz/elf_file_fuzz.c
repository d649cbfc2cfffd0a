/* Any bytes as an ELF file. What is found lies in the file, its texts end and can be printed, and what is converted
 * there and back is what it was. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/why.h"
#include "kernel/elf_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SITES_MAX 8

static int symbol_check(void *arg, const char *name, const struct elf_site *site)
{
	const size_t *size = arg;

	assert(*name && strlen(name) <= ELF_NAME_BYTES_MAX);
	assert(site->offset == ELF_NO_OFFSET || site->offset < *size);
	return 0;
}

static void usdt_check(const struct elf_file *f, size_t size)
{
	struct elf_site sites[SITES_MAX];
	int count = elf_file_usdt(f, "shop", "sold", sites, SITES_MAX);

	assert(count <= SITES_MAX);
	for (int i = 0; i < count; i++) {
		__u64 offset;

		assert(sites[i].offset < size);
		assert(!elf_file_offset(f, sites[i].address, &offset) && offset == sites[i].offset);
		assert(strnlen(sites[i].arguments, ELF_ARGUMENTS_ROOM) < ELF_ARGUMENTS_ROOM);
		for (int j = 0; j < i; j++)
			assert(sites[i].offset != sites[j].offset);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct elf_file *f;
	struct elf_site site;
	struct why why;
	__u64 address, bias;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	if (!elf_file_open(fd, &f, &why)) {
		assert(strlen(elf_file_build_id(f)) <= 2 * ELF_BUILD_ID_MAX);
		usdt_check(f, size);
		elf_file_symbols(f, symbol_check, &size);
		elf_file_symbol(f, "alpha", &site);
		for (__u64 offset = 0; offset < size; offset += 97)
			elf_file_address(f, offset, &address);
		if (!elf_file_bias(f, 0x7f0000000000, 0, &bias))
			assert(bias % 4096 == 0);
		elf_file_close(f);
	}
	close(fd);
	return 0;
}
