#!/bin/sh
# A row of bpf/signals.def has its files: kernel half, user half, shared header, end-to-end test, a fuzzer if it parses.
bad=0
need() {
	# shellcheck disable=SC2086
	ls $2 >/dev/null 2>&1 && return
	echo "signal $1: no $2"
	bad=1
}
rows=$(sed -n 's/^SIGNAL(\([a-z0-9_]*\), *\([0-9]*\), *\([A-Z0-9]*\),.*/\1 \2 \3/p' bpf/signals.def)
[ -n "$rows" ] || { echo "no rows in bpf/signals.def"; exit 1; }
while read -r name id kind; do
	need "$name" "bpf/$name.h"
	need "$name" "user/signal/$name.c"
	need "$name" "tests/e2e/test_$name*.py"
	case $kind in
	HOOK) need "$name" "bpf/$name.bpf.c" ;;
	L7)
		need "$name" "bpf/l7_$name.h"
		need "$name" "bpf/l7.bpf.c"
		need "$name" "tests/fuzz/l7_${name}_fuzz.c"
		need "$name" "tests/fuzz/corpus/l7_$name"
		;;
	*) echo "signal $name: kind $kind is neither HOOK nor L7" && bad=1 ;;
	esac
	grep -q "^const struct signal ${name}_signal = {" "user/signal/$name.c" 2>/dev/null ||
		{ echo "user/signal/$name.c does not define ${name}_signal" && bad=1; }
done <<EOF
$rows
EOF
twice=$(echo "$rows" | cut -d' ' -f2 | sort | uniq -d)
[ -z "$twice" ] || { echo "ids used twice: $twice" && bad=1; }
exit $bad
