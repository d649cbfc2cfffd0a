# Sourced by the builders of programs that only tests need. Everything chatty goes to standard error; standard output
# is one line, the directory. Built beside the target and renamed, so that an interrupted build leaves nothing half done.

# gobuild_done TARGET PROGRAM...: ends the script when all are there.
gobuild_done() {
	local directory=$1 program
	shift
	for program; do
		[ -x "$directory/$program" ] || return 0
	done
	echo "$directory"
	exit 0
}

gobuild_begin() {
	local have
	have=$(go env GOVERSION 2> /dev/null) || { echo "Go is not installed" >&2; exit 3; }
	have=${have#go}
	if [ "$(printf '%s\n1.25\n' "$have" | sort -V | head -1)" != 1.25 ]; then
		echo "Go $have is too old, 1.25 is needed" >&2
		exit 3
	fi
	mkdir -p "$(dirname "$1")"
	exec 9> "$1.lock"
	flock 9 # two test runs at once: the second finds it done
	if [ -d "$1" ]; then
		echo "$1"
		exit 0
	fi
	work=$(mktemp -d "$1.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	mkdir "$work/done"
	cd "$work"
	exec 8>&1 1>&2
}

# gobuild_command PACKAGE PROGRAM FLAG...
gobuild_command() {
	local package=$1 program=$2
	shift 2
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' "$@" -o "$work/done/$program" "$package"
}

gobuild_end() {
	mv -T "$work/done" "$1"
	echo "$1" >&8
}
