# Measures what weir costs. The same text runs in the instruction-counting machine (busybox sh, as /job/main.sh) and on this
# one (tests/bench/wall); it needs nginx, wrk, curl, bpftool, taskset. Each result is one line
#   R KIND COLUMN NAME=VALUE...
# that tests/bench/report reads. Times are seconds of the machine it runs on, where 1 s may mean 1e9 instructions.
#
# A column is what is attached during the measurement:
#   none     nothing: the noise of the method
#   empty    empty programs on the two hooks: the floor
#   both     weir agent --signals=http          server   the same with --role=server
#   all      weir agent: every signal
# In:  COLUMNS PAIRS SECONDS_EACH (of load) WARM (s), EXTRAS (words: fixed limited programs memory idle profile), DIRECTORY (of this file's
#      companions), RUN (for sockets and logs), PORT, METRICS (port of /metrics)
[ -r /job.env ] && . /job.env
: "${COLUMNS:=none empty both server}" "${PAIRS:=1}" "${SECONDS_EACH:=1}" "${WARM:=5}" "${EXTRAS=fixed limited programs memory idle}"
: "${DIRECTORY:=/job}" "${RUN:=/run}" "${PORT:=9080}" "${METRICS:=9464}"
COLUMNS=$(echo "$COLUMNS" | tr , ' ') EXTRAS=$(echo "$EXTRAS" | tr , ' ')

mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
group=weir-bench-$$
groups=$mount/$group
web= agent=

say() { echo "bench: $*" >&2; }
now() { cut -d' ' -f1 /proc/uptime; }
minus() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f\n", a - b }'; }
wants() { case " $EXTRAS " in *" $1 "*) true ;; *) false ;; esac; }

# Waits until a command succeeds, at most @1 tenths of a second.
await() {
	local tenths=$1
	shift
	while [ "$tenths" -gt 0 ]; do
		"$@" && return 0
		sleep 0.1
		tenths=$((tenths - 1))
	done
	return 1
}

# Runs a command inside one of the bench's cgroups; it is there before it opens its first socket.
inside() {
	local name=$1
	shift
	exec sh -c 'echo $$ >"$0" && exec "$@"' "$groups/$name/cgroup.procs" "$@"
}

served() { curl -s --unix-socket "$RUN/served.sock" http://witness/ | awk 'NR == 3 { print $3 }'; }
web_up() { [ -n "$(served)" ]; }

# Sum of a histogram's counts for one cgroup, exchanges that failed left out.
counted() { # role cgroup
	curl -s "http://127.0.0.1:$METRICS/metrics" | awk -v name="http_$1_request_duration_seconds_count{" -v who="weir_cgroup=\"/$group/$2\"" '
		index($0, name) == 1 && index($0, who) && !/error_type="/ { sum += $NF }
		END { printf "%d\n", sum }'
}
counts_from() { [ "$(counted server web)" -gt 0 ]; }
metrics_up() { curl -s -o /dev/null "http://127.0.0.1:$METRICS/metrics"; }

# CPU time of all threads of the agent, in nanoseconds.
agent_ns() { cat /proc/"$agent"/task/*/schedstat 2>/dev/null | awk '{ sum += $1 } END { printf "%.0f\n", sum }'; }
agent_kb() { awk -v name="$1:" '$1 == name { print $2 }' /proc/"$agent"/status; }

# Load at saturation: sets rate (requests a second) and total (that wrk saw answered).
load() { # seconds
	(inside client taskset 2 wrk -t1 -c16 -d"$1"s "http://127.0.0.1:$PORT/") >"$RUN/wrk.out" 2>&1
	total=$(awk '/requests in/ { print $1 }' "$RUN/wrk.out")
	rate=$(awk '/^Requests.sec/ { print $2 }' "$RUN/wrk.out")
	[ -n "$rate" ] || { say "wrk failed:"; cat "$RUN/wrk.out" >&2; exit 1; }
}

# Waits until weir's count is nginx's, or stands still for a second: whoever reads the numbers sees which it was.
settle() { # expected
	local before=-1 count=0 still=0 turn=0
	while [ $turn -lt 100 ] && [ $still -lt 10 ]; do
		count=$(counted server web)
		[ "$count" = "$1" ] && break
		if [ "$count" = "$before" ]; then still=$((still + 1)); else still=0; fi
		before=$count turn=$((turn + 1))
		sleep 0.1
	done
}

# One piece of work between two readings of nginx and weir: sets work_served, work_server, work_client.
exactly() { # command...
	local s0 v0 c0
	s0=$(served) v0=$(counted server web) c0=$(counted client client)
	"$@"
	work_served=$(($(served) - s0 - 1))
	settle $((v0 + work_served))
	work_server=$(($(counted server web) - v0)) work_client=$(($(counted client client) - c0))
}
counts() { echo "served=$work_served server=$work_server client=$work_client"; }

start_none() { sleep 1000000 & agent=$!; }
stop_none() { kill $agent; wait $agent 2>/dev/null; }

start_empty() {
	bpftool prog loadall "$DIRECTORY/empty.bpf.o" "/sys/fs/bpf/$group" || exit 1
	bpftool cgroup attach "$mount" ingress pinned "/sys/fs/bpf/$group/empty_ingress" multi
	bpftool cgroup attach "$mount" egress pinned "/sys/fs/bpf/$group/empty_egress" multi
	sleep 1000000 & agent=$!
}
stop_empty() {
	bpftool cgroup detach "$mount" ingress pinned "/sys/fs/bpf/$group/empty_ingress"
	bpftool cgroup detach "$mount" egress pinned "/sys/fs/bpf/$group/empty_egress"
	rm -r "/sys/fs/bpf/$group"
	stop_none
}

start_weir() { # argument...
	(inside agent weir agent --prometheus=127.0.0.1:"$METRICS" --socket=off "$@") >"$RUN/agent.log" 2>&1 & agent=$!
}
start_both() { start_weir --signals=http; }
start_server() { start_weir --signals=http --role=server; }
start_all() { start_weir; }
stop_both() {
	kill $agent
	await 100 agent_gone || { say "the agent did not end within 10 s"; kill -9 $agent; }
	wait $agent 2>/dev/null
}
stop_server() { stop_both; }
stop_all() { stop_both; }
agent_gone() { ! kill -0 $agent 2>/dev/null || grep -q "^State:.Z" /proc/$agent/status 2>/dev/null; }

# Whoever else hangs on these hooks makes every packet dearer, before and after.
others() { bpftool cgroup show "$mount" | grep -c cgroup_inet; }

is_weir() { case $column in both | server | all) true ;; *) false ;; esac; }

# From start to the first request that the agent shows: pokes nginx until it does.
poke_until_seen() {
	until poke; do
		[ "$(minus "$(now)" "$1" | cut -d. -f1)" -lt 60 ] || { say "no request seen within 60 s"; cat "$RUN/agent.log" >&2; exit 1; }
		sleep 0.02
	done
	first=$(minus "$(now)" "$1")
}
poke() {
	agent_gone && { say "the agent ended:"; cat "$RUN/agent.log" >&2; exit 1; }
	(inside client curl -s -o /dev/null "http://127.0.0.1:$PORT/")
	counts_from
}

run_fixed() { (inside client ab -q -k -n 20011 -c 16 "http://127.0.0.1:$PORT/") >"$RUN/ab.out" 2>&1; }
run_short() { (inside client ab -q -n 2003 -c 16 "http://127.0.0.1:$PORT/") >"$RUN/ab.out" 2>&1; }

# A fifth of one CPU, a common limit of a DaemonSet, while the load is on.
run_limited() {
	echo 20000 100000 >"$groups/agent/cpu.max"
	load "$SECONDS_EACH"
	echo max 100000 >"$groups/agent/cpu.max"
}

extra_programs() { # what each of its programs costs a run, the clock of the statistics included
	local n ids
	ids=$(cat /proc/$agent/fdinfo/* 2>/dev/null | awk '$1 == "prog_id:" { print $2 }' | tr '\n' ' ')
	echo 1 >/proc/sys/kernel/bpf_stats_enabled
	n=$(served)
	load "$SECONDS_EACH"
	n=$(($(served) - n))
	echo 0 >/proc/sys/kernel/bpf_stats_enabled
	bpftool prog show | awk -v n=$n -v column=$column -v ids="$ids" '
		BEGIN {
			split(ids, list)
			for (i in list)
				ours[list[i] ":"] = 1
		}
		/^[0-9]+: / && (column == "empty" ? / name empty_/ : $1 in ours) {
			name = ""
			for (i = 2; i < NF; i++) {
				if ($i == "name") name = $(i + 1)
				if ($i == "run_time_ns") ns = $(i + 1)
				if ($i == "run_cnt") {
					runs = $(i + 1)
					printf "R program %s name=%s type=%s runs=%d ns=%.0f requests=%d\n", column, name, $2, runs, ns, n
				}
			}
		}'
}

extra_memory() { # containers with one connection each, idle afterwards
	local n crowd
	for n in 0 10 100 1000; do
		if [ $n -gt 0 ]; then
			: >"$RUN/crowd.out"
			"$DIRECTORY/crowd" $n "$mount/kubepods/burstable" >"$RUN/crowd.out" & crowd=$!
			await 600 grep -q ready "$RUN/crowd.out" || { say "no crowd of $n"; return; }
			await 100 crowd_seen $n || say "only $(crowd_size) of $n containers seen"
		fi
		sleep 25 # two exports: what an interval needs is part of it
		metrics_up
		echo "R memory $column containers=$n rss_kb=$(agent_kb VmRSS) peak_kb=$(agent_kb VmHWM) seen=$(crowd_size)"
		[ $n -gt 0 ] && kill $crowd && wait $crowd
	done
}
crowd_size() {
	curl -s "http://127.0.0.1:$METRICS/metrics" | awk '
		index($0, "http_server_request_duration_seconds_count{") == 1 && match($0, /container_id="[^"]*/) {
			seen[substr($0, RSTART, RLENGTH)] = 1
		}
		END { n = 0; for (id in seen) n++; print n }'
}
crowd_seen() { [ "$(crowd_size)" -ge "$1" ]; }

extra_idle() {
	local t0 n0
	sleep 12
	t0=$(now) n0=$(agent_ns)
	sleep 60
	echo "R idle $column seconds=$(minus "$(now)" "$t0") cpu_ns=$(minus "$(agent_ns)" "$n0") rss_kb=$(agent_kb VmRSS)"
}

extra_profile() { # where things lie, for tests/bench/report profile
	echo "R profiled $column requests=$1"
	lines
	gzip -c /proc/kallsyms | base64 | sed 's/^/K /'
}

measure() { # pair
	local t0 n0 without
	load "$SECONDS_EACH"
	without=$rate
	t0=$(now)
	start_$column
	if ! is_weir; then
		load "$SECONDS_EACH"
		echo "R rate $column pair=$1 without=$without with=$rate"
		wants programs && [ "$1" = 1 ] && [ $column = empty ] && extra_programs
	else
		poke_until_seen "$t0"
		n0=$(agent_ns)
		exactly load "$SECONDS_EACH"
		echo "R rate $column pair=$1 without=$without with=$rate $(counts) wrk=$total agent_ns=$(minus "$(agent_ns)" "$n0") first_s=$first rss_kb=$(agent_kb VmRSS)"
		wants profile && extra_profile "$work_served"
		if [ "$1" = 1 ]; then
			wants fixed && exactly run_fixed && echo "R fixed $column $(counts) sent=20011" &&
				exactly run_short && echo "R short $column $(counts) sent=2003"
			wants limited && exactly run_limited && echo "R limited $column $(counts) rate=$rate"
			wants programs && extra_programs
		fi
		if [ "$1" = 1 ] && [ $column = both ]; then
			wants idle && extra_idle
			wants memory && extra_memory
		fi
		grep -E '^weir|error|warn' "$RUN/agent.log" | sort | uniq -c | sort -rn | head -3 | sed 's/^/# agent: /'
	fi
	stop_$column
}

finish() {
	trap - EXIT INT TERM
	[ -n "$agent" ] && kill -9 $agent 2>/dev/null
	[ -n "$web" ] && kill $web 2>/dev/null && wait $web 2>/dev/null
	[ -d "/sys/fs/bpf/$group" ] && stop_empty 2>/dev/null
	await 50 leave
}
leave() { rmdir "$groups"/*/ "$groups" 2>/dev/null || [ ! -d "$groups" ]; }
trap finish EXIT
trap 'exit 130' INT TERM

mkdir "$groups" || exit 1
echo +cpu >"$mount/cgroup.subtree_control" 2>/dev/null
echo +cpu >"$groups/cgroup.subtree_control" 2>/dev/null
mkdir "$groups/web" "$groups/client" "$groups/agent" || exit 1
[ -w "$groups/agent/cpu.max" ] || EXTRAS=$(echo "$EXTRAS" | sed 's/limited//')
sed "s|RUN|$RUN|; s|PORT|$PORT|" "$DIRECTORY/nginx.conf" >"$RUN/nginx.conf"
(inside web taskset 1 nginx -e stderr -c "$RUN/nginx.conf") >"$RUN/nginx.log" 2>&1 & web=$!
await 100 web_up || { say "nginx does not answer:"; cat "$RUN/nginx.log" >&2; exit 1; }

[ "$(others)" = 0 ] || say "$(others) programs of somebody else are attached to the same hooks: do not believe the figures"
echo "R machine $(uname -r) cpus=$(nproc) clock=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
load "$WARM" # the first seconds of a machine are slow
for pair in $(seq "$PAIRS"); do
	for column in $COLUMNS; do
		measure "$pair"
	done
done
exit 0
