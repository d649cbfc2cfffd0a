# Measures what the signal sched costs. The same text runs in the instruction-counting machine (busybox sh, as /job/main.sh)
# and on this one (tests/bench/sched); it needs perf, bpftool, taskset, weir. Each result is one line
#   R KIND COLUMN NAME=VALUE...
# that tests/bench/sched reads. A column is what is attached: none; empty (programs on the same hooks); weir (agent with
# --signals=sched).
# In:  PAIRS MESSAGING_PAIRS ROUNDS (of a ping-pong) GROUPS_COUNT LOOPS (of perf bench sched messaging), STATS (1: time of the
#      programs' runs), DIRECTORY (of this file's companions), RUN (for sockets and logs)
[ -r /job.env ] && . /job.env
: "${PAIRS:=3}" "${MESSAGING_PAIRS:=20}" "${ROUNDS:=20000}" "${GROUPS_COUNT:=4}" "${LOOPS:=100}" "${STATS:=0}"
: "${DIRECTORY:=/job}" "${RUN:=/run}"
pid= cpu=$(($(nproc) - 1))

say() { echo "bench: $*" >&2; }
await() { # tenths command...
	local left=$1
	shift
	while [ "$left" -gt 0 ]; do
		"$@" && return 0
		sleep 0.1
		left=$((left - 1))
	done
	return 1
}
held() { grep -q ready "$RUN/hold.out" 2>/dev/null; }
agent_up() { grep -q 'ready: signals' "$RUN/agent.log" 2>/dev/null; }

start_none() { :; }
start_empty() {
	: >"$RUN/hold.out"
	hold "$DIRECTORY/sched_empty.bpf.o" >"$RUN/hold.out" & pid=$!
	await 100 held || { say "no empty programs"; exit 1; }
}
start_weir() {
	: >"$RUN/agent.log"
	weir agent --signals=sched --prometheus=off --socket="$RUN/weir.sock" >"$RUN/agent.log" 2>&1 & pid=$!
	await 300 agent_up || { say "no agent:"; cat "$RUN/agent.log" >&2; exit 1; }
}
finish() {
	[ -n "$pid" ] && kill $pid && wait $pid 2>/dev/null
	pid=
}
trap 'trap - EXIT; finish; [ "$STATS" = 1 ] && echo 0 >/proc/sys/kernel/bpf_stats_enabled' EXIT
trap 'exit 130' INT TERM

# On one CPU: else its time is that of where the scheduler happens to put whom.
messaging() { taskset -c $cpu perf bench -f simple sched messaging -g "$GROUPS_COUNT" -l "$LOOPS" 2>/dev/null | tail -n 1; }

echo "R machine $(uname -r) cpus=$(nproc)"
pingpong $cpu "$ROUNDS" 2 >/dev/null # the first seconds of a machine are slow
for pair in $(seq "$PAIRS"); do
	for column in none empty weir; do
		start_$column
		echo "R pingpong $column pair=$pair ns=$(pingpong $cpu "$ROUNDS" 1)"
		finish
	done
done
messaging >/dev/null
for pair in $(seq "$MESSAGING_PAIRS"); do
	for column in none empty weir; do
		start_$column
		echo "R messaging $column pair=$pair s=$(messaging)"
		finish
	done
done
[ "$STATS" = 1 ] || exit 0

# Both at once, so that the clock of the statistics costs both the same.
start_empty
empty=$pid
start_weir
echo 1 >/proc/sys/kernel/bpf_stats_enabled
pingpong $cpu "$ROUNDS" 4 >/dev/null
messaging >/dev/null
echo 0 >/proc/sys/kernel/bpf_stats_enabled
bpftool prog show | awk '/^[0-9]+: tracing  name (empty_)?sched_(switched|woken) / {
	for (i = 1; i < NF; i++) { if ($i == "name") name = $(i + 1); if ($i == "run_time_ns") ns = $(i + 1); if ($i == "run_cnt") runs = $(i + 1) }
	if (runs) printf "R run %s runs=%d ns=%.1f\n", name, runs, ns / runs
}'
finish
pid=$empty
exit 0
