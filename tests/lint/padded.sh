#!/bin/sh
# What both halves share has no hidden padding: uninitialised bytes would leave the kernel, keys would not compare.
bad=0
flags="-std=gnu11 -Wall -Wextra -Wpadded -Werror -Ibpf -fsyntax-only -x c"
for header in bpf/*.h; do
	case $header in bpf/l7_*) continue ;; esac
	# shellcheck disable=SC2086
	${CC:-gcc} $flags "$header" || bad=1
	# shellcheck disable=SC2086
	${CLANG:-clang} -target bpf -include linux/bpf.h -idirafter "/usr/include/$(uname -m)-linux-gnu" $flags "$header" || bad=1
done
exit $bad
