#!/bin/sh
# Each skeleton is included by exactly one .c file: who owns an object is never in doubt.
bad=0
for src in bpf/*.bpf.c; do
	skel=$(basename "$src" .bpf.c).skel.h
	users=$(grep -rl "include \"$skel\"" user | sort | tr '\n' ' ')
	[ "$(echo "$users" | wc -w)" -eq 1 ] && continue
	echo "$skel is included by: ${users:-nobody}"
	bad=1
done
grep -rn 'skel\.h"' user --include='*.h' && bad=1
exit $bad
