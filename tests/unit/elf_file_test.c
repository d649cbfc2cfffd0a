/* ELF files: one made up, whose places are known by arithmetic, each lie that it can tell, and this program itself, whose
 * places the linker and the loader know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/why.h"
#include "kernel/elf_file.h"
#include "kernel/process_maps.h"

#define TEXT_ADDRESS 0x10000 /* of the file's beginning */
#define DATA_ADDRESS 0x30000 /* of the same, in the segment of data */
#define PRELINK	     0x100   /* how far the file has been moved since its notes were written */

struct usdt_note {
	Elf64_Nhdr header;
	char owner[8];
	__u64 place[3];
	char text[160]; /* provider, name, arguments */
} __attribute__((packed));

enum { NONE, NOTES, BASE, SYMTAB, STRTAB, DYNSYM, DYNSTR, NAMES, SECTIONS };
enum { TEXT, DATA, NOTE, SEGMENTS };

struct image {
	Elf64_Ehdr header;
	Elf64_Phdr segments[SEGMENTS];
	Elf64_Shdr sections[SECTIONS];
	struct {
		Elf64_Nhdr header;
		char owner[4];
		__u8 id[4];
	} build_id;
	struct usdt_note notes[4];
	Elf64_Sym symtab[5];
	char strtab[64];
	Elf64_Sym dynsym[3];
	char dynstr[32];
	char names[80];
	__u8 base[8];
	__u8 code[64];
	__u8 data[32];
};

#define AT(member)     offsetof(struct image, member)
#define SIZE(member)   sizeof(((struct image *)0)->member)
#define TEXT_AT(place) (TEXT_ADDRESS + AT(code) + (place))

#if defined(__x86_64__)
#define MACHINE EM_X86_64
static const __u8 nop[4] = { 0x90, 0x90, 0x90, 0x90 };
#else
#define MACHINE EM_AARCH64
static const __u8 nop[4] = { 0x1f, 0x20, 0x03, 0xd5 };
#endif

static __u32 text_add(char *text, size_t room, const char *name)
{
	__u32 at = 1;

	while (text[at])
		at += (__u32)strlen(text + at) + 1;
	assert_true(at + strlen(name) < room);
	strcpy(text + at, name);
	return at;
}

static void section_make(struct image *i, unsigned index, const char *name, __u32 type, size_t at, size_t bytes)
{
	i->sections[index] = (Elf64_Shdr){
		.sh_name = text_add(i->names, sizeof(i->names), name),
		.sh_type = type,
		.sh_offset = at,
		.sh_size = bytes,
	};
}

static void note_make(struct usdt_note *note, const char *name, __u64 address)
{
	note->header = (Elf64_Nhdr){ 8, sizeof(note->place) + sizeof(note->text), 3 };
	memcpy(note->owner, "stapsdt", 8);
	note->place[0] = address - PRELINK;
	note->place[1] = TEXT_ADDRESS + AT(base) - PRELINK;
	snprintf(note->text, sizeof(note->text), "shop%c%s%c8@%%rax -4@$1", 0, name, 0);
}

static void symbol_make(Elf64_Sym *symbol, __u32 name, unsigned type, __u16 section, __u64 address, __u64 size)
{
	*symbol = (Elf64_Sym){
		.st_name = name,
		.st_info = ELF64_ST_INFO(STB_GLOBAL, type),
		.st_shndx = section,
		.st_value = address,
		.st_size = size,
	};
}

static void symbols_make(struct image *i)
{
	char *text = i->strtab;
	size_t room = sizeof(i->strtab);

	symbol_make(&i->symtab[1], text_add(text, room, "alpha"), STT_FUNC, 1, TEXT_AT(4), 3);
	symbol_make(&i->symtab[2], text_add(text, room, "beta"), STT_OBJECT, 1, DATA_ADDRESS + AT(data) + 8, 8);
	symbol_make(&i->symtab[3], text_add(text, room, "zeroed"), STT_OBJECT, 1, DATA_ADDRESS + AT(data) + 40, 8);
	symbol_make(&i->symtab[4], text_add(text, room, "foreign"), STT_FUNC, SHN_UNDEF, TEXT_AT(0), 0);
	text = i->dynstr;
	room = sizeof(i->dynstr);
	symbol_make(&i->dynsym[1], text_add(text, room, "alpha"), STT_FUNC, 1, TEXT_AT(32), 3);
	symbol_make(&i->dynsym[2], text_add(text, room, "gamma"), STT_FUNC, 1, TEXT_AT(12), 5);
}

static void sections_make(struct image *i)
{
	section_make(i, NOTES, ".note.stapsdt", SHT_NOTE, AT(notes), SIZE(notes));
	section_make(i, BASE, ".stapsdt.base", SHT_PROGBITS, AT(base), 1);
	i->sections[BASE].sh_addr = TEXT_ADDRESS + AT(base);
	section_make(i, SYMTAB, ".symtab", SHT_SYMTAB, AT(symtab), SIZE(symtab));
	i->sections[SYMTAB].sh_link = STRTAB;
	section_make(i, STRTAB, ".strtab", SHT_STRTAB, AT(strtab), SIZE(strtab));
	section_make(i, DYNSYM, ".dynsym", SHT_DYNSYM, AT(dynsym), SIZE(dynsym));
	i->sections[DYNSYM].sh_link = DYNSTR;
	section_make(i, DYNSTR, ".dynstr", SHT_STRTAB, AT(dynstr), SIZE(dynstr));
	section_make(i, NAMES, ".names", SHT_STRTAB, AT(names), SIZE(names));
	i->sections[SYMTAB].sh_entsize = i->sections[DYNSYM].sh_entsize = sizeof(Elf64_Sym);
}

static void image_make(struct image *i)
{
	*i = (struct image){
		.header = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_DYN,
			.e_machine = MACHINE,
			.e_version = EV_CURRENT,
			.e_phoff = AT(segments),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = SEGMENTS,
			.e_shoff = AT(sections),
			.e_shentsize = sizeof(Elf64_Shdr),
			.e_shnum = SECTIONS,
			.e_shstrndx = NAMES,
		},
		.segments = {
			[TEXT] = { .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = TEXT_ADDRESS, .p_filesz = AT(data),
				   .p_memsz = AT(data), .p_align = 4096 },
			[DATA] = { .p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_offset = AT(data),
				   .p_vaddr = DATA_ADDRESS + AT(data), .p_filesz = SIZE(data), .p_memsz = 64, .p_align = 4096 },
			[NOTE] = { .p_type = PT_NOTE, .p_offset = AT(build_id), .p_filesz = SIZE(build_id), .p_align = 4 },
		},
		.build_id = { { 4, 4, NT_GNU_BUILD_ID }, "GNU", { 0x00, 0xfe, 0x1a, 0x09 } },
	};
	sections_make(i);
	symbols_make(i);
	note_make(&i->notes[0], "sold", TEXT_AT(0));
	note_make(&i->notes[1], "bought", TEXT_AT(16));
	note_make(&i->notes[2], "sold", TEXT_AT(8));
	note_make(&i->notes[3], "sold", TEXT_AT(0)); /* the same again */
	for (size_t at = 0; at < sizeof(i->code); at += sizeof(nop))
		memcpy(i->code + at, nop, sizeof(nop));
	memcpy(i->data, nop, sizeof(nop)); /* which is no place for code all the same */
}

static int image_fd(const struct image *i, size_t bytes)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(bytes, pwrite(fd, i, bytes, 0));
	return fd;
}

static struct elf_file *image_open(const struct image *i, int *ret_fd)
{
	struct elf_file *f;
	struct why why;

	*ret_fd = image_fd(i, sizeof(*i));
	if (elf_file_open(*ret_fd, &f, &why))
		fail_msg("%s", why.text);
	return f;
}

static int record(void *arg, const char *name, const struct elf_site *site)
{
	char *text = arg;

	sprintf(text + strlen(text), "%s%s", *text ? " " : "", name);
	return 0;
}

static void finds_what_is_there(void **state)
{
	struct elf_site sites[4], site;
	struct elf_file *f;
	struct image i;
	char names[200] = "";
	int fd;

	image_make(&i);
	f = image_open(&i, &fd);
	assert_string_equal("00fe1a09", elf_file_build_id(f));
	assert_int_equal(2, elf_file_usdt(f, "shop", "sold", sites, 4));
	assert_int_equal(AT(code), sites[0].offset);
	assert_int_equal(TEXT_AT(0), sites[0].address);
	assert_string_equal("8@%rax -4@$1", sites[0].arguments);
	assert_int_equal(AT(code) + 8, sites[1].offset);
	assert_int_equal(2, elf_file_usdt(f, "shop", "sold", sites, 2));
	assert_int_equal(-E2BIG, elf_file_usdt(f, "shop", "sold", sites, 1));
	assert_int_equal(1, elf_file_usdt(f, "shop", "bought", sites, 1));
	assert_int_equal(AT(code) + 16, sites[0].offset);
	assert_int_equal(0, elf_file_usdt(f, "shop", "stolen", sites, 4));
	assert_int_equal(0, elf_file_usdt(f, "sho", "sold", sites, 4));
	assert_int_equal(0, elf_file_symbol(f, "alpha", &site));
	assert_int_equal(AT(code) + 4, site.offset); /* that of .symtab goes first */
	assert_int_equal(TEXT_AT(4), site.address);
	assert_int_equal(3, site.size);
	assert_string_equal("", site.arguments);
	assert_int_equal(0, elf_file_symbol(f, "beta", &site));
	assert_int_equal(AT(data) + 8, site.offset);
	assert_int_equal(0, elf_file_symbol(f, "zeroed", &site));
	assert_true(site.offset == ELF_NO_OFFSET);
	assert_int_equal(0, elf_file_symbol(f, "gamma", &site));
	assert_int_equal(AT(code) + 12, site.offset);
	assert_int_equal(-ENOENT, elf_file_symbol(f, "foreign", &site));
	assert_int_equal(-ENOENT, elf_file_symbol(f, "alph", &site));
	assert_int_equal(0, elf_file_symbols(f, record, names));
	assert_string_equal("alpha beta zeroed alpha gamma", names);
	elf_file_close(f);
	close(fd);
}

static void converts_between_offsets_and_addresses(void **state)
{
	struct elf_file *f;
	struct image i;
	__u64 got = 77;
	int fd;

	image_make(&i);
	f = image_open(&i, &fd);
	assert_int_equal(0, elf_file_offset(f, TEXT_ADDRESS, &got));
	assert_int_equal(0, got);
	assert_int_equal(0, elf_file_offset(f, DATA_ADDRESS + AT(data) + 31, &got));
	assert_int_equal(AT(data) + 31, got);
	assert_int_equal(-ERANGE, elf_file_offset(f, DATA_ADDRESS + AT(data) + 32, &got));
	assert_int_equal(-ERANGE, elf_file_offset(f, TEXT_ADDRESS - 1, &got));
	assert_int_equal(0, elf_file_address(f, AT(data), &got));
	assert_int_equal(DATA_ADDRESS + AT(data), got);
	assert_int_equal(-ERANGE, elf_file_address(f, sizeof(i), &got));
	assert_int_equal(0, elf_file_bias(f, 0x7f0000010000, 0, &got));
	assert_int_equal(0x7f0000000000, got);
	assert_int_equal(-ERANGE, elf_file_bias(f, 0x7f0000010001, 0, &got));
	assert_int_equal(-ERANGE, elf_file_bias(f, 0x7f0000010000, 0x100000, &got));
	assert_int_equal(0x7f0000000000, got);
	elf_file_close(f);
	close(fd);
}

/* --- lies --------------------------------------------------------------------------------------------------- */

/* One number of the image, and what comes of another value in its place; 1: as without the lie. */
static const struct lie {
	const char *what;
	size_t at, bytes;
	__u64 value;
	int open, usdt, symbol;
} lies[] = {
#define FIELD(member) AT(member), SIZE(member)
	{ "no magic", FIELD(header.e_ident[0]), 0, -ENOEXEC, 0, 0 },
	{ "32 bits", FIELD(header.e_ident[EI_CLASS]), ELFCLASS32, -ENOEXEC, 0, 0 },
	{ "big-endian", FIELD(header.e_ident[EI_DATA]), ELFDATA2MSB, -ENOEXEC, 0, 0 },
	{ "machine", FIELD(header.e_machine), EM_S390, -ENOEXEC, 0, 0 },
	{ "object", FIELD(header.e_type), ET_REL, -ENOEXEC, 0, 0 },
	{ "no segments", FIELD(header.e_phnum), 0, -EBADMSG, 0, 0 },
	{ "size of segments", FIELD(header.e_phentsize), 55, -EBADMSG, 0, 0 },
	{ "size of sections", FIELD(header.e_shentsize), 65, -EBADMSG, 0, 0 },
	{ "many segments", FIELD(header.e_phnum), 129, -EFBIG, 0, 0 },
	{ "many sections", FIELD(header.e_shnum), 1025, -EFBIG, 0, 0 },
	{ "more sections than bytes", FIELD(header.e_shnum), 1000, -EBADMSG, 0, 0 },
	{ "segments elsewhere", FIELD(header.e_phoff), ~0ull - 100, -EBADMSG, 0, 0 },
	{ "sections elsewhere", FIELD(header.e_shoff), ~0ull - 100, -EBADMSG, 0, 0 },
	{ "segment too long", FIELD(segments[TEXT].p_filesz), ~0ull, -EBADMSG, 0, 0 },
	{ "segment beyond", FIELD(segments[TEXT].p_offset), ~0ull, -EBADMSG, 0, 0 },
	{ "segment at the end of memory", FIELD(segments[TEXT].p_vaddr), ~0ull - 9, -EBADMSG, 0, 0 },
	{ "names beyond", FIELD(sections[NAMES].sh_size), 1 << 20, -EBADMSG, 0, 0 },
	{ "names nowhere", FIELD(header.e_shstrndx), 999, 1, 0, 1 },
	{ "no sections", FIELD(header.e_shnum), 0, 1, 0, -ENOENT },
	{ "notes beyond", FIELD(sections[NOTES].sh_offset), ~0ull, 1, -EBADMSG, 1 },
	{ "notes too long", FIELD(sections[NOTES].sh_size), ~0ull, 1, -EBADMSG, 1 },
	{ "name of the notes beyond", FIELD(sections[NOTES].sh_name), ~0u, 1, 0, 1 },
	{ "endless owner", FIELD(notes[0].header.n_namesz), ~0u, 1, -EBADMSG, 1 },
	{ "endless contents", FIELD(notes[0].header.n_descsz), ~0u - 3, 1, -EBADMSG, 1 },
	{ "no contents", FIELD(notes[0].header.n_descsz), 0, 1, -EBADMSG, 1 },
	{ "contents cut in the text", FIELD(notes[0].header.n_descsz), 28, 1, -EBADMSG, 1 },
	{ "site nowhere", FIELD(notes[0].place[0]), ~0ull - 5, 1, -EBADMSG, 1 },
	{ "site in the data", FIELD(notes[0].place[0]), DATA_ADDRESS + AT(data) - PRELINK, 1, -EBADMSG, 1 },
	{ "site is no nop", FIELD(code[0]), 0xcc, 1, -EBADMSG, 1 },
	{ "semaphore", FIELD(notes[0].place[2]), 1, 1, -ENOTSUP, 1 },
	{ "arguments with a bell", FIELD(notes[0].text[12]), 7, 1, -EBADMSG, 1 },
	{ "symbols beyond", FIELD(sections[SYMTAB].sh_offset), ~0ull, 1, 1, 2 },
	{ "symbols of another size", FIELD(sections[SYMTAB].sh_entsize), 23, 1, 1, 2 },
	{ "strings nowhere", FIELD(sections[SYMTAB].sh_link), 99, 1, 1, 2 },
	{ "strings that are none", FIELD(sections[SYMTAB].sh_link), NOTES, 1, 1, 2 },
	{ "strings too long", FIELD(sections[STRTAB].sh_size), ~0ull, 1, 1, 2 },
	{ "name beyond", FIELD(symtab[1].st_name), ~0u, 1, 1, 2 },
#undef FIELD
};

static void each_lie_is_an_error_or_nothing(void **state)
{
	for (size_t l = 0; l < sizeof(lies) / sizeof(lies[0]); l++) {
		const struct lie *lie = &lies[l];
		struct elf_site sites[4] = {}, site = {};
		struct elf_file *f = NULL;
		struct why why = { "" };
		struct image i;
		int fd, got;

		image_make(&i);
		memcpy((char *)&i + lie->at, &lie->value, lie->bytes);
		fd = image_fd(&i, sizeof(i));
		got = elf_file_open(fd, &f, &why);
		if (got != (lie->open == 1 ? 0 : lie->open))
			fail_msg("%s: open: %d %s", lie->what, got, why.text);
		if (got) {
			assert_true(!f && why.text[0]);
			close(fd);
			continue;
		}
		got = elf_file_usdt(f, "shop", "sold", sites, 4);
		if (got != (lie->usdt == 1 ? 2 : lie->usdt))
			fail_msg("%s: usdt: %d", lie->what, got);
		got = elf_file_symbol(f, "alpha", &site);
		/* 2: not from .symtab, but from .dynsym. */
		if (lie->symbol < 0 ? got != lie->symbol
				    : got || site.address != (lie->symbol == 1 ? TEXT_AT(4) : TEXT_AT(32)))
			fail_msg("%s: symbol: %d 0x%llx", lie->what, got, site.address);
		elf_file_close(f);
		close(fd);
	}
}

static void arguments_are_whole_or_refused(void **state)
{
	struct elf_site sites[4];
	struct image i;

	for (size_t bytes = 126; bytes < 130; bytes++) {
		struct elf_file *f;
		int fd;

		image_make(&i);
		memset(i.notes[1].text, 0, sizeof(i.notes[1].text));
		memcpy(i.notes[1].text, "shop\0bought", 11);
		memset(i.notes[1].text + 12, 'x', bytes);
		f = image_open(&i, &fd);
		assert_int_equal(bytes < ELF_ARGUMENTS_ROOM ? 1 : -ENAMETOOLONG,
				 elf_file_usdt(f, "shop", "bought", sites, 4));
		if (bytes < ELF_ARGUMENTS_ROOM)
			assert_int_equal(bytes, strlen(sites[0].arguments));
		elf_file_close(f);
		close(fd);
	}
}

static void sections_that_are_huge_are_refused(void **state)
{
	struct elf_site sites[4], site;
	struct elf_file *f;
	struct why why;
	struct image i;
	int fd;

	image_make(&i);
	i.sections[NOTES].sh_size = ELF_NOTES_BYTES_MAX + 1;
	i.sections[SYMTAB].sh_size = (ELF_SYMBOLS_MAX + 1ull) * sizeof(Elf64_Sym);
	i.sections[DYNSTR].sh_size = ELF_STRINGS_BYTES_MAX + 1;
	fd = image_fd(&i, sizeof(i));
	assert_int_equal(0, ftruncate(fd, ELF_FILE_BYTES_MAX)); /* of holes */
	assert_int_equal(0, elf_file_open(fd, &f, &why));
	assert_int_equal(-EFBIG, elf_file_usdt(f, "shop", "sold", sites, 4));
	assert_int_equal(-EFBIG, elf_file_symbol(f, "alpha", &site));
	elf_file_close(f);
	assert_int_equal(0, ftruncate(fd, ELF_FILE_BYTES_MAX + 1));
	assert_int_equal(-EFBIG, elf_file_open(fd, &f, &why));
	assert_non_null(strstr(why.text, "1073741825"));
	close(fd);
}

/* As many symbols as may be, all of one name that does not end where names do: must be over in moments. */
static void endless_names_take_no_time(void **state)
{
	enum { SYMBOLS = 1 << 18, STRINGS = 1 << 20 };
	Elf64_Sym *symbols = calloc(SYMBOLS, sizeof(*symbols));
	char *strings = malloc(STRINGS), names[64] = "";
	struct elf_file *f;
	struct why why;
	struct image i;
	int fd;

	memset(strings, 'a', STRINGS);
	for (unsigned s = 0; s < SYMBOLS; s++)
		symbol_make(&symbols[s], 1, STT_FUNC, 1, TEXT_AT(0), 1);
	image_make(&i);
	i.sections[SYMTAB].sh_offset = sizeof(i);
	i.sections[SYMTAB].sh_size = SYMBOLS * sizeof(*symbols);
	i.sections[STRTAB].sh_offset = sizeof(i) + SYMBOLS * sizeof(*symbols);
	i.sections[STRTAB].sh_size = STRINGS;
	fd = image_fd(&i, sizeof(i));
	assert_int_equal(SYMBOLS * sizeof(*symbols), pwrite(fd, symbols, SYMBOLS * sizeof(*symbols), sizeof(i)));
	assert_int_equal(STRINGS, pwrite(fd, strings, STRINGS, (off_t)i.sections[STRTAB].sh_offset));
	assert_int_equal(0, elf_file_open(fd, &f, &why));
	assert_int_equal(0, elf_file_symbols(f, record, names));
	assert_string_equal("alpha gamma", names); /* of .dynsym only */
	elf_file_close(f);
	close(fd);
	free(symbols);
	free(strings);
}

static void every_cut_is_survived(void **state)
{
	struct elf_site sites[4], site;
	struct elf_file *f;
	struct why why;
	struct image i;
	int fd, got;

	image_make(&i);
	for (size_t bytes = 0; bytes < sizeof(i); bytes++) {
		fd = image_fd(&i, bytes);
		got = elf_file_open(fd, &f, &why);
		assert_int_equal(bytes < sizeof(Elf64_Ehdr) ? -ENOEXEC : -EBADMSG, got);
		close(fd);
	}
	/* After it was opened. */
	for (size_t bytes = 0; bytes < sizeof(i); bytes++) {
		f = image_open(&i, &fd);
		assert_int_equal(0, ftruncate(fd, (off_t)bytes));
		got = elf_file_usdt(f, "shop", "sold", sites, 4);
		assert_int_equal(bytes < AT(code) + 12 ? -EBADMSG : 2, got);
		got = elf_file_symbol(f, "alpha", &site);
		assert_int_equal(bytes < AT(strtab) + SIZE(strtab) ? -EBADMSG : 0, got);
		elf_file_close(f);
		close(fd);
	}
}

static void what_is_no_file_is_refused(void **state)
{
	int ends[2], fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct elf_file *f;
	struct why why;

	assert_int_equal(-ENOEXEC, elf_file_open(fd, &f, &why));
	close(fd);
	assert_int_equal(0, pipe2(ends, O_CLOEXEC));
	assert_int_equal(-ENOEXEC, elf_file_open(ends[0], &f, &why));
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(-EBADF, elf_file_open(-1, &f, &why));
	elf_file_close(NULL);
}

/* --- this program ------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
/* What <sys/sdt.h> makes of a probe with one argument, with the site's address taken by the way. */
#define PROBE(ret_address)                                                       \
	asm volatile("lea 1f(%%rip), %0\n"                                       \
		     "1: nop\n"                                                  \
		     ".pushsection .note.stapsdt, \"\", \"note\"\n"              \
		     ".balign 4\n"                                               \
		     ".4byte 8, 3f - 2f, 3\n"                                    \
		     ".asciz \"stapsdt\"\n"                                      \
		     "2: .8byte 1b, 0, 0\n"                                      \
		     ".asciz \"weirtest\"\n.asciz \"own\"\n.asciz \"4@%%eax\"\n" \
		     "3: .balign 4\n"                                            \
		     ".popsection\n"                                             \
		     : "=r"(ret_address))

static __attribute__((noinline)) void own_sites(__u64 ret[2])
{
	PROBE(ret[0]);
	PROBE(ret[1]);
}
#endif

static int loaded_at(struct dl_phdr_info *info, size_t bytes, void *ret)
{
	*(struct dl_phdr_info *)ret = *info; /* the program comes first */
	return 1;
}

static bool is_own(const char *path)
{
	char own[PROCESS_MAP_PATH_ROOM] = "";

	return readlink("/proc/self/exe", own, sizeof(own) - 1) > 0 && !strcmp(path, own);
}

static void knows_this_program_as_the_loader_does(void **state)
{
	struct process_map maps[16];
	struct dl_phdr_info loaded;
	struct elf_site sites[4];
	struct elf_file *f;
	struct why why;
	__u64 bias;
	int count, fd;

	dl_iterate_phdr(loaded_at, &loaded);
	count = process_maps_find("/proc", (__u32)getpid(), is_own, maps, 16);
	assert_true(count > 0);
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (elf_file_open(fd, &f, &why))
		fail_msg("%s", why.text);
	for (int m = 0; m < count; m++)
		if (maps[m].executable) {
			assert_int_equal(0, elf_file_bias(f, maps[m].start, maps[m].offset, &bias));
			assert_int_equal(loaded.dlpi_addr, bias);
		}
	assert_int_equal(0, elf_file_symbol(f, "knows_this_program_as_the_loader_does", &sites[0]));
	assert_int_equal((uintptr_t)knows_this_program_as_the_loader_does, loaded.dlpi_addr + sites[0].address);
	assert_int_equal(40, strlen(elf_file_build_id(f)));
#if defined(__x86_64__)
	__u64 own[2] = {};

	own_sites(own);
	assert_int_equal(2, elf_file_usdt(f, "weirtest", "own", sites, 4));
	assert_int_equal(own[0], loaded.dlpi_addr + sites[0].address);
	assert_int_equal(own[1], loaded.dlpi_addr + sites[1].address);
	assert_string_equal("4@%eax", sites[0].arguments);
#endif
	elf_file_close(f);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_is_there),
		cmocka_unit_test(converts_between_offsets_and_addresses),
		cmocka_unit_test(each_lie_is_an_error_or_nothing),
		cmocka_unit_test(arguments_are_whole_or_refused),
		cmocka_unit_test(sections_that_are_huge_are_refused),
		cmocka_unit_test(endless_names_take_no_time),
		cmocka_unit_test(every_cut_is_survived),
		cmocka_unit_test(what_is_no_file_is_refused),
		cmocka_unit_test(knows_this_program_as_the_loader_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
