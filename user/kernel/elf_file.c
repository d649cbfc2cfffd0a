/* By hand and with <elf.h>, although libelf can read ELF: libelf sizes its tables by what the file says at the
 * moment it looks (a process can change its library between our check and that look: 1 GiB of holes then costs 4 GiB
 * of memory), and it keeps every section it has read until the file is closed. What is wanted of the format is three
 * tables. */
#include "kernel/elf_file.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/why.h"

#if defined(__x86_64__)
#define ELF_FILE_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define ELF_FILE_MACHINE EM_AARCH64
#else
#error "an architecture that has not been thought of"
#endif

#define SEGMENTS_MAX	 128
#define SECTIONS_MAX	 1024	      /* 35 in JDK 25 */
#define NAMES_BYTES_MAX	 (256u << 10) /* of sections */
#define HEADER_NOTES_MAX (64u << 10)  /* a segment of notes, of which one is the build-id */
#define SYMBOLS_AT_ONCE	 1024

struct elf_file {
	int fd;
	__u64 bytes;
	unsigned segments_count, sections_count;
	Elf64_Phdr *segments;
	Elf64_Shdr *sections;
	char *names; /* of sections; ends in NUL */
	size_t names_bytes;
	char build_id[2 * ELF_BUILD_ID_MAX + 1];
};

/* --- reading ------------------------------------------------------------------------------------------------ */

static bool in_file(const struct elf_file *f, __u64 offset, __u64 bytes)
{
	return offset <= f->bytes && bytes <= f->bytes - offset;
}

static int file_read(const struct elf_file *f, __u64 offset, void *ret, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t got = pread(f->fd, (char *)ret + done, bytes - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -EIO : -EBADMSG; /* shorter than it was */
		done += (size_t)got;
	}
	return 0;
}

/* A part of the file in memory of its own (free()), with a NUL after its end. */
static int part_read(const struct elf_file *f, __u64 offset, __u64 bytes, size_t bytes_max, char **ret)
{
	char *part;
	int err;

	if (!in_file(f, offset, bytes))
		return -EBADMSG;
	if (bytes > bytes_max)
		return -EFBIG;
	part = malloc((size_t)bytes + 1);
	if (!part)
		return -ENOMEM;
	err = file_read(f, offset, part, (size_t)bytes);
	if (err) {
		free(part);
		return err;
	}
	part[bytes] = 0;
	*ret = part;
	return 0;
}

static int section_read(const struct elf_file *f, const Elf64_Shdr *section, size_t bytes_max, char **ret)
{
	return part_read(f, section->sh_offset, section->sh_size, bytes_max, ret);
}

static const Elf64_Shdr *section_find(const struct elf_file *f, const char *name, __u32 type)
{
	for (unsigned i = 0; i < f->sections_count; i++) {
		const Elf64_Shdr *section = &f->sections[i];

		if (section->sh_type == type && section->sh_name < f->names_bytes &&
		    !strcmp(f->names + section->sh_name, name))
			return section;
	}
	return NULL;
}

/* --- places ------------------------------------------------------------------------------------------------- */

static const Elf64_Phdr *segment_of(const struct elf_file *f, __u64 address)
{
	for (unsigned i = 0; i < f->segments_count; i++) {
		const Elf64_Phdr *segment = &f->segments[i];

		if (segment->p_type == PT_LOAD && address >= segment->p_vaddr &&
		    address - segment->p_vaddr < segment->p_filesz)
			return segment;
	}
	return NULL;
}

int elf_file_offset(const struct elf_file *f, __u64 address, __u64 *ret_offset)
{
	const Elf64_Phdr *segment = segment_of(f, address);

	if (!segment)
		return -ERANGE;
	*ret_offset = segment->p_offset + (address - segment->p_vaddr);
	return 0;
}

int elf_file_address(const struct elf_file *f, __u64 offset, __u64 *ret_address)
{
	for (unsigned i = 0; i < f->segments_count; i++) {
		const Elf64_Phdr *segment = &f->segments[i];

		if (segment->p_type == PT_LOAD && offset >= segment->p_offset &&
		    offset - segment->p_offset < segment->p_filesz) {
			*ret_address = segment->p_vaddr + (offset - segment->p_offset);
			return 0;
		}
	}
	return -ERANGE;
}

/* Mappings are of whole pages: the first may begin before its segment does. */
int elf_file_bias(const struct elf_file *f, __u64 start, __u64 offset, __u64 *ret_bias)
{
	__u64 page = (__u64)sysconf(_SC_PAGESIZE), bias;

	for (unsigned i = 0; i < f->segments_count; i++) {
		const Elf64_Phdr *segment = &f->segments[i];

		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X) ||
		    offset < (segment->p_offset & ~(page - 1)) || offset >= segment->p_offset + segment->p_filesz)
			continue;
		bias = start - offset + segment->p_offset - segment->p_vaddr;
		if (bias % page)
			return -ERANGE;
		*ret_bias = bias;
		return 0;
	}
	return -ERANGE;
}

/* --- notes -------------------------------------------------------------------------------------------------- */

struct note {
	const char *owner, *contents;
	size_t owner_bytes, contents_bytes;
	__u32 type;
};

static size_t rounded(size_t bytes, size_t align)
{
	return (bytes + align - 1) & ~(align - 1);
}

/* 1 and the note at *@at, which moves on; 0: no more; -EBADMSG. The padding of the last one may be missing. */
static int note_next(const char *notes, size_t bytes, size_t align, size_t *at, struct note *ret)
{
	size_t left = bytes - *at, contents, end; /* lengths are of 32 bits: no sum of them overflows */
	Elf64_Nhdr header;

	if (left < sizeof(header))
		return 0;
	memcpy(&header, notes + *at, sizeof(header));
	contents = rounded(sizeof(header) + header.n_namesz, align);
	end = contents + header.n_descsz;
	if (end > left)
		return -EBADMSG;
	ret->type = header.n_type;
	ret->owner = notes + *at + sizeof(header);
	ret->owner_bytes = header.n_namesz;
	ret->contents = notes + *at + contents;
	ret->contents_bytes = header.n_descsz;
	end = rounded(end, align);
	*at += end < left ? end : left;
	return 1;
}

static bool note_is(const struct note *note, const char *owner, __u32 type)
{
	size_t bytes = strlen(owner) + 1;

	return note->type == type && note->owner_bytes == bytes && !memcmp(note->owner, owner, bytes);
}

static void build_id_take(struct elf_file *f, const char *notes, size_t bytes, size_t align)
{
	struct note note;
	size_t at = 0;

	while (!f->build_id[0] && note_next(notes, bytes, align, &at, &note) == 1) {
		if (!note_is(&note, ELF_NOTE_GNU, NT_GNU_BUILD_ID) || note.contents_bytes > ELF_BUILD_ID_MAX)
			continue;
		for (size_t i = 0; i < note.contents_bytes; i++)
			snprintf(f->build_id + 2 * i, 3, "%02x", (__u8)note.contents[i]);
	}
}

/* From the segments: what strips sections leaves it. A file whose notes cannot be read has none. */
static void build_id_read(struct elf_file *f)
{
	for (unsigned i = 0; i < f->segments_count && !f->build_id[0]; i++) {
		const Elf64_Phdr *segment = &f->segments[i];
		char *notes;

		if (segment->p_type != PT_NOTE ||
		    part_read(f, segment->p_offset, segment->p_filesz, HEADER_NOTES_MAX, &notes))
			continue;
		build_id_take(f, notes, segment->p_filesz, segment->p_align == 8 ? 8 : 4);
		free(notes);
	}
}

/* --- opening ------------------------------------------------------------------------------------------------ */

static int header_check(const Elf64_Ehdr *header, struct why *why)
{
	const __u8 *ident = header->e_ident;
	const int endian = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;

	if (memcmp(ident, ELFMAG, SELFMAG))
		return why_set(why, -ENOEXEC, "no ELF file");
	if (ident[EI_CLASS] != ELFCLASS64)
		return why_set(why, -ENOEXEC, "no 64-bit ELF file");
	if (ident[EI_DATA] != endian || header->e_machine != ELF_FILE_MACHINE)
		return why_set(why, -ENOEXEC, "an ELF file of another machine (%u)", header->e_machine);
	if (header->e_type != ET_DYN && header->e_type != ET_EXEC)
		return why_set(why, -ENOEXEC, "an ELF file that is no library and no program (type %u)",
			       header->e_type);
	if (!header->e_phnum || header->e_phentsize != sizeof(Elf64_Phdr))
		return why_set(why, -EBADMSG, "the ELF file has no usable program headers");
	if (header->e_shnum && header->e_shentsize != sizeof(Elf64_Shdr))
		return why_set(why, -EBADMSG, "the ELF file has no usable section headers");
	if (header->e_phnum > SEGMENTS_MAX || header->e_shnum > SECTIONS_MAX)
		return why_set(why, -EFBIG, "the ELF file has %u segments and %u sections, at most %d and %d are read",
			       header->e_phnum, header->e_shnum, SEGMENTS_MAX, SECTIONS_MAX);
	return 0;
}

/* So that offsets and addresses can be computed with from here on. */
static bool segments_fit(const struct elf_file *f)
{
	for (unsigned i = 0; i < f->segments_count; i++) {
		const Elf64_Phdr *segment = &f->segments[i];

		if (segment->p_type == PT_LOAD && (!in_file(f, segment->p_offset, segment->p_filesz) ||
						   segment->p_vaddr > UINT64_MAX - segment->p_filesz))
			return false;
	}
	return true;
}

static int tables_read(struct elf_file *f, struct why *why)
{
	const size_t segments_max = SEGMENTS_MAX * sizeof(Elf64_Phdr), sections_max = SECTIONS_MAX * sizeof(Elf64_Shdr);
	Elf64_Ehdr header;
	int err;

	err = file_read(f, 0, &header, sizeof(header));
	if (err)
		return why_set(why, err == -EBADMSG ? -ENOEXEC : err, "no ELF file");
	err = header_check(&header, why);
	if (err)
		return err;
	f->segments_count = header.e_phnum;
	err = part_read(f, header.e_phoff, f->segments_count * sizeof(Elf64_Phdr), segments_max, (char **)&f->segments);
	if (err)
		return why_set(why, err, "cannot read the program headers: %s", strerror(-err));
	if (!segments_fit(f))
		return why_set(why, -EBADMSG, "a segment reaches beyond the end of the ELF file");
	if (!header.e_shnum)
		return 0;
	f->sections_count = header.e_shnum;
	err = part_read(f, header.e_shoff, f->sections_count * sizeof(Elf64_Shdr), sections_max, (char **)&f->sections);
	if (err)
		return why_set(why, err, "cannot read the section headers: %s", strerror(-err));
	if (header.e_shstrndx >= f->sections_count)
		return 0; /* sections without names */
	err = section_read(f, &f->sections[header.e_shstrndx], NAMES_BYTES_MAX, &f->names);
	if (err)
		return why_set(why, err, "cannot read the names of the sections: %s", strerror(-err));
	f->names_bytes = (size_t)f->sections[header.e_shstrndx].sh_size;
	return 0;
}

int elf_file_open(int fd, struct elf_file **ret, struct why *why)
{
	struct elf_file *f;
	struct stat st;
	int err;

	if (fstat(fd, &st)) {
		err = -errno;
		return why_set(why, err, "cannot look at the ELF file: %s", strerror(-err));
	}
	if (!S_ISREG(st.st_mode))
		return why_set(why, -ENOEXEC, "no regular file");
	if ((__u64)st.st_size > ELF_FILE_BYTES_MAX)
		return why_set(why, -EFBIG, "the file has %lld bytes, at most %llu are read", (long long)st.st_size,
			       ELF_FILE_BYTES_MAX);
	f = calloc(1, sizeof(*f));
	if (!f)
		return why_set(why, -ENOMEM, "no memory");
	f->fd = fd;
	f->bytes = (__u64)st.st_size;
	err = tables_read(f, why);
	if (err) {
		elf_file_close(f);
		return err;
	}
	build_id_read(f);
	*ret = f;
	return 0;
}

void elf_file_close(struct elf_file *f)
{
	if (!f)
		return;
	free(f->segments);
	free(f->sections);
	free(f->names);
	free(f);
}

const char *elf_file_build_id(const struct elf_file *f)
{
	return f->build_id;
}

bool elf_file_has_section(const struct elf_file *f, const char *name)
{
	return section_find(f, name, SHT_PROGBITS) != NULL;
}

/* --- USDT --------------------------------------------------------------------------------------------------- */

#define USDT_OWNER "stapsdt"
#define USDT_TYPE  3

/* Contents of a note: place, base, semaphore; then provider, name and arguments, each ending in NUL. */
struct usdt {
	__u64 place[3];
	const char *provider, *name, *arguments;
};

static int usdt_read(const struct note *note, struct usdt *ret)
{
	const char *at = note->contents + sizeof(ret->place), *end = note->contents + note->contents_bytes;
	const char *text[3];

	if (note->contents_bytes < sizeof(ret->place))
		return -EBADMSG;
	memcpy(ret->place, note->contents, sizeof(ret->place));
	for (unsigned i = 0; i < 3; i++) {
		const char *nul = memchr(at, 0, (size_t)(end - at));

		if (!nul)
			return -EBADMSG;
		text[i] = at;
		at = nul + 1;
	}
	ret->provider = text[0];
	ret->name = text[1];
	ret->arguments = text[2];
	return 0;
}

/* A site is an instruction that does nothing. What is not one has been moved by a tool that left the notes behind,
 * and a breakpoint in the middle of another instruction kills the process. */
static bool is_nop(const struct elf_file *f, __u64 offset)
{
	static const struct {
		__u8 bytes[4];
		__u8 count;
	} nops[] = {
#if defined(__x86_64__)
		{ { 0x90 }, 1 },
		{ { 0x66, 0x90 }, 2 },
		{ { 0x0f, 0x1f }, 2 }, /* of three to eight bytes */
		{ { 0x66, 0x0f, 0x1f }, 3 },
#else
		{ { 0x1f, 0x20, 0x03, 0xd5 }, 4 },
#endif
	};
	__u8 code[4];

	if (!in_file(f, offset, sizeof(code)) || file_read(f, offset, code, sizeof(code)))
		return false;
	for (size_t i = 0; i < sizeof(nops) / sizeof(nops[0]); i++)
		if (!memcmp(code, nops[i].bytes, nops[i].count))
			return true;
	return false;
}

static int arguments_take(const char *text, char ret[ELF_ARGUMENTS_ROOM])
{
	size_t bytes = strnlen(text, ELF_ARGUMENTS_ROOM);

	if (bytes == ELF_ARGUMENTS_ROOM)
		return -ENAMETOOLONG;
	for (size_t i = 0; i < bytes; i++)
		if (text[i] < ' ' || text[i] > '~')
			return -EBADMSG;
	memcpy(ret, text, bytes + 1);
	return 0;
}

static int usdt_site(const struct elf_file *f, const struct usdt *usdt, struct elf_site *ret)
{
	const Elf64_Shdr *base = section_find(f, ".stapsdt.base", SHT_PROGBITS);
	/* What moves a library to another address (prelink) moves the section, and does not know the notes. */
	__u64 address = usdt->place[0] + (base ? base->sh_addr - usdt->place[1] : 0);
	const Elf64_Phdr *segment = segment_of(f, address);

	if (usdt->place[2])
		return -ENOTSUP;
	if (!segment || !(segment->p_flags & PF_X))
		return -EBADMSG;
	*ret = (struct elf_site){ .address = address, .offset = segment->p_offset + (address - segment->p_vaddr) };
	if (!is_nop(f, ret->offset))
		return -EBADMSG;
	return arguments_take(usdt->arguments, ret->arguments);
}

static bool is_among(const struct elf_site *sites, unsigned count, __u64 offset)
{
	for (unsigned i = 0; i < count; i++)
		if (sites[i].offset == offset)
			return true;
	return false;
}

static int usdt_find(const struct elf_file *f, const char *notes, size_t bytes, const char *provider, const char *name,
		     struct elf_site *ret, unsigned room)
{
	struct elf_site site;
	unsigned count = 0;
	struct note note;
	struct usdt usdt;
	size_t at = 0;
	int got, err;

	while ((got = note_next(notes, bytes, 4, &at, &note)) == 1) {
		if (!note_is(&note, USDT_OWNER, USDT_TYPE))
			continue;
		err = usdt_read(&note, &usdt);
		if (err)
			return err;
		if (strcmp(usdt.provider, provider) != 0 || strcmp(usdt.name, name) != 0)
			continue;
		err = usdt_site(f, &usdt, &site);
		if (err)
			return err;
		if (is_among(ret, count, site.offset))
			continue;
		if (count == room)
			return -E2BIG;
		ret[count++] = site;
	}
	return got ? got : (int)count;
}

int elf_file_usdt(const struct elf_file *f, const char *provider, const char *name, struct elf_site *ret, unsigned room)
{
	const Elf64_Shdr *section = section_find(f, ".note.stapsdt", SHT_NOTE);
	char *notes;
	int err;

	if (!section)
		return 0;
	err = section_read(f, section, ELF_NOTES_BYTES_MAX, &notes);
	if (err)
		return err;
	err = usdt_find(f, notes, (size_t)section->sh_size, provider, name, ret, room);
	free(notes);
	return err;
}

/* --- symbols ------------------------------------------------------------------------------------------------ */

struct symbols {
	const struct elf_file *f;
	char *strings; /* ends in NUL */
	size_t strings_bytes;
	int (*visit)(void *arg, const char *name, const struct elf_site *site);
	void *arg;
};

static int symbol_show(const struct symbols *s, const Elf64_Sym *symbol)
{
	struct elf_site site = { .address = symbol->st_value, .size = symbol->st_size };
	unsigned type = ELF64_ST_TYPE(symbol->st_info);
	const char *name;

	if (symbol->st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_OBJECT) || !symbol->st_name ||
	    symbol->st_name >= s->strings_bytes)
		return 0;
	name = s->strings + symbol->st_name;
	/* Else a table of one endless name, a million times, takes hours. */
	if (!*name || strnlen(name, ELF_NAME_BYTES_MAX + 1) > ELF_NAME_BYTES_MAX)
		return 0;
	if (elf_file_offset(s->f, site.address, &site.offset))
		site.offset = ELF_NO_OFFSET;
	return s->visit(s->arg, name, &site);
}

static void strings_free(struct symbols *s)
{
	munmap(s->strings, s->strings_bytes + 1);
}

static int table_show(const struct symbols *s, const Elf64_Shdr *table)
{
	__u64 left = table->sh_size / sizeof(Elf64_Sym), offset = table->sh_offset;
	int err = 0;

	while (left && !err) {
		__u64 count = left < SYMBOLS_AT_ONCE ? left : SYMBOLS_AT_ONCE, bytes = count * sizeof(Elf64_Sym);
		char *part;

		err = part_read(s->f, offset, bytes, bytes, &part);
		if (err)
			return err;
		for (__u64 i = 0; i < count && !err; i++)
			err = symbol_show(s, (Elf64_Sym *)part + i);
		free(part);
		offset += bytes;
		left -= count;
	}
	return err;
}

/* Not by malloc(): that keeps what it has once given (3.3 MB for JDK 25), for good. Ends in NUL. */
static int strings_read(struct symbols *s, const Elf64_Shdr *section)
{
	size_t bytes = (size_t)section->sh_size;
	int err;

	if (!in_file(s->f, section->sh_offset, section->sh_size))
		return -EBADMSG;
	if (section->sh_size > ELF_STRINGS_BYTES_MAX)
		return -EFBIG;
	s->strings = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->strings == MAP_FAILED)
		return -ENOMEM;
	s->strings_bytes = bytes;
	err = file_read(s->f, section->sh_offset, s->strings, bytes);
	if (err)
		strings_free(s);
	return err;
}

/* *ret_read: the table could be opened: what is returned is what the visitor says. */
static int table_visit(struct symbols *s, const Elf64_Shdr *table, bool *ret_read)
{
	const struct elf_file *f = s->f;
	const Elf64_Shdr *strings;
	int err;

	if (table->sh_entsize != sizeof(Elf64_Sym) || table->sh_link >= f->sections_count ||
	    !in_file(f, table->sh_offset, table->sh_size))
		return -EBADMSG;
	if (table->sh_size / sizeof(Elf64_Sym) > ELF_SYMBOLS_MAX)
		return -EFBIG;
	strings = &f->sections[table->sh_link];
	if (strings->sh_type != SHT_STRTAB)
		return -EBADMSG;
	err = strings_read(s, strings);
	if (err)
		return err;
	*ret_read = true;
	err = table_show(s, table);
	strings_free(s);
	return err;
}

int elf_file_symbols(const struct elf_file *f, int (*visit)(void *arg, const char *name, const struct elf_site *site),
		     void *arg)
{
	static const __u32 types[] = { SHT_SYMTAB, SHT_DYNSYM };
	struct symbols s = { .f = f, .visit = visit, .arg = arg };
	bool read = false;
	int err, failed = 0;

	for (unsigned t = 0; t < 2; t++) {
		bool visited = false;
		unsigned i = 0;

		while (i < f->sections_count && f->sections[i].sh_type != types[t])
			i++;
		if (i == f->sections_count)
			continue;
		err = table_visit(&s, &f->sections[i], &visited);
		if (err && visited)
			return err;
		failed = err ? err : failed;
		read |= visited;
	}
	return read ? 0 : failed ? failed : -ENOENT;
}

struct wanted {
	const char *name;
	struct elf_site *ret;
};

static int wanted_visit(void *arg, const char *name, const struct elf_site *site)
{
	struct wanted *w = arg;

	if (strcmp(name, w->name) != 0)
		return 0;
	*w->ret = *site;
	return 1;
}

int elf_file_symbol(const struct elf_file *f, const char *name, struct elf_site *ret)
{
	struct wanted w = { .name = name, .ret = ret };
	int got = elf_file_symbols(f, wanted_visit, &w);

	return got == 1 ? 0 : got ? got : -ENOENT;
}
