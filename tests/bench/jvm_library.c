/* A libjvm.so with nothing in it but the four probes that a JVM passes at each safepoint, with their notes, so that weir attaches to
 * it as to a real one. The build-id, if any, is the linker's. */
#define NOTE(provider, name, arguments)                                                                            \
	__asm__ volatile(                                                                                          \
		"990: nop\n"                                                                                       \
		".pushsection .note.stapsdt,\"?\",\"note\"\n"                                                      \
		".balign 4\n.4byte 992f-991f,994f-993f,3\n"                                                        \
		"991: .asciz \"stapsdt\"\n992: .balign 4\n"                                                        \
		"993: .8byte 990b\n.8byte _.stapsdt.base\n.8byte 0\n"                                              \
		".asciz \"" provider "\"\n.asciz \"" name "\"\n.asciz \"" arguments "\"\n994: .balign 4\n"         \
		".popsection\n"                                                                                    \
		".ifndef _.stapsdt.base\n"                                                                         \
		".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                            \
		".weak _.stapsdt.base\n.hidden _.stapsdt.base\n_.stapsdt.base: .space 1\n.size _.stapsdt.base,1\n" \
		".popsection\n.endif\n" ::"r"(text),                                                               \
		"r"(length))

__attribute__((noinline)) void safepoint(const char *name, long size)
{
	register const char *text __asm__("r12") = name;
	register long length __asm__("r13") = size;

	NOTE("hs_private", "safepoint__begin", "");
	NOTE("hotspot", "vmops__begin", "8@%%r12 8@%%r13 -4@$0");
	NOTE("hotspot", "vmops__end", "8@%%r12 8@%%r13 -4@$0");
	NOTE("hs_private", "safepoint__end", "");
}
