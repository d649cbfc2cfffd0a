/* What a tracer needs to know of an ELF file: its build-id, its USDT notes, the places of its functions. Of native
 * 64-bit files only.
 *
 * The file belongs to a watched process, which may have made it up and may change it at any moment: headers are
 * copied at opening and checked there; contents are read by pread(), one section at a time, and are freed before the
 * call returns; all numbers, sizes and lengths have a maximum. Nothing is mapped: a file that is cut while it is
 * mapped kills the reader. A file that lies gives an error or wrong offsets inside the file, never more.
 *
 * "offset" is a place in the file, what uprobes take. "address" is what the file says of itself; at run time it lies
 * at bias + address, see elf_file_bias(). */
#ifndef WEIR_KERNEL_ELF_FILE_H
#define WEIR_KERNEL_ELF_FILE_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

struct elf_file;
struct why;

#define ELF_FILE_BYTES_MAX    (1ull << 30)
#define ELF_BUILD_ID_MAX      64	  /* bytes; 20 are usual */
#define ELF_NOTES_BYTES_MAX   (4u << 20)  /* of USDT; 56 KB in JDK 25 */
#define ELF_SYMBOLS_MAX	      (1u << 20)  /* of one table; 70,228 in JDK 25 */
#define ELF_STRINGS_BYTES_MAX (16u << 20) /* their names; 3.3 MB in JDK 25 */
#define ELF_NAME_BYTES_MAX    1024	  /* symbols with longer names are passed over */
#define ELF_ARGUMENTS_ROOM    128

/* A place in a file. */
struct elf_site {
	__u64 offset;			    /* in the file; of a symbol without contents (.bss): ELF_NO_OFFSET */
	__u64 address;			    /* virtual, before the load bias */
	__u64 size;			    /* of a symbol; 0: not said */
	char arguments[ELF_ARGUMENTS_ROOM]; /* of a USDT note: "8@%rax -4@$1"; printable; else "" */
};
#define ELF_NO_OFFSET (~0ull)

/* @fd stays yours and must outlive the elf_file. 0; -ENOEXEC: no ELF file of this machine; -EFBIG; -EBADMSG: it
 * contradicts itself; -EIO. */
int elf_file_open(int fd, struct elf_file **ret, struct why *why);
void elf_file_close(struct elf_file *f); /* NULL is fine */
/* Lower-case hexadecimal; "" when it has none. Lives as long as @f. */
const char *elf_file_build_id(const struct elf_file *f);

/* Has it a section of that name, with contents? */
bool elf_file_has_section(const struct elf_file *f, const char *name);

/* --- sites ---------------------------------------------------------------------------------------------------- */

/* Every site of a USDT probe, each once: a compiler that copies a function copies its probes, and an event passes
 * only one of them. How many (0: none of that name), or a negative errno: -E2BIG: more than @room; -ENOTSUP: one of
 * them is guarded by a semaphore, which is not ours to write; -EBADMSG: the notes contradict the file, for example a
 * site that is no "nop"; -EFBIG, -ENAMETOOLONG, -EIO, -ENOMEM: they cannot be read. */
int elf_file_usdt(const struct elf_file *f, const char *provider, const char *name, struct elf_site *ret,
		  unsigned room);
/* A defined function or object by its exact (mangled) name, from .symtab, else from .dynsym. 0, or a negative errno:
 * -ENOENT: there is none; else the table cannot be read. Reads the table each time: for several names see below. */
int elf_file_symbol(const struct elf_file *f, const char *name, struct elf_site *ret);
/* Shows all defined functions and objects, of .symtab and then of .dynsym (so that most exported ones come twice),
 * until @visit returns something else than 0: that is returned. 0: all were shown, of the tables that could be read;
 * a negative errno: none could, -ENOENT: it has none. @name lives as long as the call. */
int elf_file_symbols(const struct elf_file *f, int (*visit)(void *arg, const char *name, const struct elf_site *site),
		     void *arg);

/* --- places --------------------------------------------------------------------------------------------------- */

/* Between addresses and places in the file, by the program headers. 0 or -ERANGE (not part of the file). */
int elf_file_offset(const struct elf_file *f, __u64 address, __u64 *ret_offset);
int elf_file_address(const struct elf_file *f, __u64 offset, __u64 *ret_address);
/* What to add to an address of the file to find it at run time: from an executable mapping that begins at @start and
 * shows the file from @offset on (struct process_map). 0 or -ERANGE: no mapping of executable contents of this file. */
int elf_file_bias(const struct elf_file *f, __u64 start, __u64 offset, __u64 *ret_bias);

#endif
