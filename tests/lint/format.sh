#!/bin/sh
# clang-format decides; `make fmt` applies it.
command -v clang-format >/dev/null || { echo "clang-format is missing"; exit 77; }
bad=0
for file in $(git ls-files 'bpf/*.[ch]' 'user/*.[ch]' 'vmlinux/*.h' 'tests/*.[ch]'); do
	[ -f "$file" ] || continue
	clang-format --dry-run -Werror "$file" >/dev/null 2>&1 || { echo "$file: make fmt" && bad=1; }
done
exit $bad
