# Runs inside a test machine: real traffic between nginx and curl, each in a cgroup of its own, and what weir makes of it.
# A case prints "ok NAME" or "not ok NAME: reason"; tests/kernels/run counts them. Other lines are notes.
page=/tmp/metrics

note() { echo "# $*"; }
ok() { echo "ok $1"; }
not_ok() { echo "not ok $1: $2"; }
check() { # name reason command...
	local name=$1 reason=$2
	shift 2
	if "$@"; then ok "$name"; else not_ok "$name" "$reason"; fi
}

await() { # tenths command...
	local left=$1
	shift
	while [ "$left" -gt 0 ]; do
		"$@" && return 0
		usleep 100000
		left=$((left - 1))
	done
	return 1
}

inside() { # cgroup command...: it is there before it opens its first socket
	local group=$1
	shift
	exec sh -c 'echo $$ >/sys/fs/cgroup/$0/cgroup.procs && exec "$@"' "$group" "$@"
}
client() { (inside client "$@") >/tmp/client.out 2>&1; }
served() { curl -s --unix-socket /run/served.sock http://witness/ | awk 'NR == 3 { print $3 }'; }
web_up() { [ -n "$(served)" ]; }
scrape() { wget -q -O $page http://127.0.0.1:9464/metrics 2>/dev/null; }
alive() { kill -0 "$agent" 2>/dev/null && ! grep -q "^State:.Z" /proc/"$agent"/status 2>/dev/null; }
ready() { ! alive || { scrape && grep -q '^weir_signal_seen_total' $page; }; }

# Sum of the counts of one role in one cgroup whose series has all of the labels.
sum() { # role cgroup label...
	local role=$1 group=$2
	shift 2
	awk -v name="http_${role}_request_duration_seconds_count{" -v group="weir_cgroup=\"/$group\"" -v labels="$*" '
		BEGIN { n = split(labels, label, " ") }
		index($0, name) == 1 && index($0, group) {
			for (i = 1; i <= n; i++)
				if (!index($0, label[i]))
					next
			sum += $NF
		}
		END { printf "%d\n", sum }' $page
}
# seen = delivered + filtered + lost of a signal, in one page.
law_of() {
	awk -v signal="signal=\"$1\"" '
		index($0, "weir_signal_seen_total{") == 1 && index($0, signal) { seen = $NF }
		/^weir_signal_(delivered|filtered|lost)_total[{]/ && index($0, signal) { sum += $NF }
		END { exit !(seen > 0 && seen == sum) }' $page
}
own() { # one of the agent's own counters, lost by all reasons together
	awk -v name="weir_signal_$1_total{" 'index($0, name) == 1 && /signal="http"/ { sum += $NF } END { printf "%d\n", sum }' $page
}

# Every request is counted, once, for both sides, with the labels; and nothing else is.
both_are() { # expected of server, of client, of all of the server, label...
	scrape
	s=$(sum server web "$4" "$5") c=$(sum client client "$4" "$5") all=$(sum server web)
	[ "$s" -ge "$1" ] && [ "$c" -ge "$2" ] && [ "$all" -ge "$3" ]
}
expect() { # name count method status command...: the command makes exactly that many requests
	local name=$1 count=$2 method="http_request_method=\"$3\"" status="http_response_status_code=\"$4\"" s0 c0 a0
	shift 4
	scrape
	s0=$(sum server web $method $status) c0=$(sum client client $method $status) a0=$(sum server web)
	client "$@" || { not_ok "$name" "the client failed with $?: $(tail -n 1 /tmp/client.out)"; return; }
	await 50 both_are $((s0 + count)) $((c0 + count)) $((a0 + count)) $method $status
	check "$name" "$count requests, server counted $((s - s0)), client $((c - c0)), server with any label $((all - a0))" \
		[ "$((s - s0)) $((c - c0)) $((all - a0))" = "$count $count $count" ]
}

programs() { bpftool prog show | grep -cE '^[0-9]+: (cgroup_skb|tracing)'; }
no_programs() { [ "$(programs)" = 0 ]; }
trace_lines() { grep -c '"signal"' /tmp/trace; }

: >$page
mkdir -p /tmp/web /sys/fs/cgroup/web /sys/fs/cgroup/client /sys/fs/cgroup/agent
head -c 1000003 /dev/zero | tr '\0' x >/tmp/web/big
head -c 100003 /dev/zero | tr '\0' y >/tmp/body
(inside web nginx -e stderr -c /job/nginx.conf) >/tmp/nginx.log 2>&1 & web=$!
await 100 web_up || { not_ok setup "nginx does not answer: $(tail -n 1 /tmp/nginx.log)"; exit 1; }

weir doctor >/tmp/doctor 2>&1
status=$?
check doctor "exit status $status: $(tail -n 3 /tmp/doctor | tr '\n' ' ')" [ $status = 0 ]

start=$(cut -d' ' -f1 /proc/uptime)
(inside agent weir agent --interval=1s --prometheus=127.0.0.1:9464 --socket=/run/weir.sock) >/tmp/agent.log 2>&1 & agent=$!
if ! await 300 ready || ! alive; then
	not_ok agent "it ended, or shows no metrics after 30 s"
	sed 's/^/# agent: /' /tmp/agent.log
	exit 1
fi
note "agent ready $(cut -d' ' -f1 /proc/uptime | awk -v a="$start" '{ printf "%.1f\n", $1 - a }') s after its start"
load --running | sed 's/^/# /'

h=http://127.0.0.1:8080
expect keepalive_v4 101 GET 200 curl -sS -o /dev/null "$h/hello?[1-101]"
# The connection that asked whether the agent is ready is older than the agent: its answer has no request.
lost0=$(own lost)
expect short_v4 53 GET 200 curl -sS -o /dev/null -H 'Connection: close' "$h/hello?[1-53]"
expect http_1_0 19 GET 200 curl -sS -0 -o /dev/null "$h/hello?[1-19]"
expect keepalive_v6 97 GET 200 curl -sS -g -o /dev/null --globoff $(awk 'BEGIN { for (i = 0; i < 97; i++) print "-o /dev/null http://[::1]:8080/hello" }')
expect short_v6 31 GET 200 curl -sS -o /dev/null -H 'Connection: close' --globoff $(awk 'BEGIN { for (i = 0; i < 31; i++) print "-o /dev/null http://[::1]:8080/hello" }')
expect v4_mapped 29 GET 200 curl -sS -o /dev/null "http://127.0.0.1:8081/hello?[1-29]"
expect deferred_accept 23 GET 200 curl -sS -o /dev/null -H 'Connection: close' "http://127.0.0.1:8082/hello?[1-23]"
expect status_404 13 GET 404 curl -sS -o /dev/null "$h/none?[1-13]"
expect status_500 7 GET 500 curl -sS -o /dev/null "$h/broken?[1-7]"
expect status_204 11 GET 204 curl -sS -o /dev/null "$h/nothing?[1-11]"
expect head 17 HEAD 200 curl -sS -I -o /dev/null "$h/hello?[1-17]"
expect chunked_response 37 GET 200 curl -sS -o /dev/null -H 'Accept-Encoding: gzip' "$h/chunked?[1-37]"
expect post_body 5 POST 201 curl -sS -o /dev/null -H 'Expect:' --data-binary @/tmp/body "$h/upload?[1-5]"
expect post_continue 3 POST 201 curl -sS -o /dev/null -H 'Expect: 100-continue' --data-binary @/tmp/body "$h/upload?[1-3]"
expect chunked_request 3 POST 201 curl -sS -o /dev/null -H 'Expect:' -H 'Transfer-Encoding: chunked' --data-binary @/tmp/body "$h/upload?[1-3]"
expect sendfile 7 GET 200 curl -sS -o /dev/null "$h/big?[1-7]"

# Segments that are lost, and come again: what weir counts of all is what the kernel does. (busybox has a tc of its own and
# prefers it.)
snmp() { awk '$1 == "Tcp:" && $13 ~ /^[0-9]/ { print $13 }' /proc/net/snmp; }
tcp_sum() { # metric label...: over all that have the labels
	local name=$1
	shift
	awk -v name="weir_tcp_$name{" -v labels="$*" '
		BEGIN { n = split(labels, label, " ") }
		index($0, name) == 1 {
			for (i = 1; i <= n; i++)
				if (!index($0, label[i]))
					next
			sum += $NF
		}
		END { printf "%.6f\n", sum }' $page
}
again() { tcp_sum retransmits_total | cut -d. -f1; }
same_again() {
	scrape
	kernel=$(($(snmp) - snmp0)) counted=$(($(again) - again0))
	[ $counted = $kernel ]
}
scrape
snmp0=$(snmp) again0=$(again)
if /bin/tc qdisc add dev lo root netem loss 5% delay 1ms 2>/tmp/tc.log; then
	expect netem_loss 61 GET 200 curl -sS -o /dev/null "$h/hello?[1-61]"
	client curl -sS -o /dev/null "$h/big"
	check netem_retransmits "no segment retransmitted: the case shows nothing" [ $(($(snmp) - snmp0)) -gt 0 ]
	/bin/tc qdisc del dev lo root
	await 100 same_again
	check tcp_retransmits "the kernel $kernel, weir $counted" [ "$kernel" = "$counted" ]

	# A round trip is twice the delay: each way passes the interface once.
	/bin/tc qdisc add dev lo root netem delay 50ms
	scrape
	n0=$(tcp_sum rtt_duration_seconds_count '"/client"') s0=$(tcp_sum rtt_duration_seconds_sum '"/client"')
	expect netem_delay 7 GET 200 curl -sS -o /dev/null -H 'Connection: close' "$h/hello?[1-7]"
	/bin/tc qdisc del dev lo root
	sampled() {
		scrape
		n1=$(tcp_sum rtt_duration_seconds_count '"/client"') s1=$(tcp_sum rtt_duration_seconds_sum '"/client"')
		[ $((${n1%.*} - ${n0%.*})) -ge 7 ]
	}
	await 100 sampled
	mean_us=$(awk -v n=$((${n1%.*} - ${n0%.*})) -v s0="$s0" -v s1="$s1" 'BEGIN { printf "%d", n ? (s1 - s0) / n * 1e6 : 0 }')
	note "round trips of 100 ms: mean $mean_us us"
	check tcp_rtt "delayed by 100 ms, weir $mean_us us" [ "$mean_us" -ge 95000 -a "$mean_us" -le 105000 ]
else
	not_ok netem_loss "no netem: $(tail -n 1 /tmp/tc.log)"
fi

# A port where nobody listens: both ends of the connection are told of once, as the client's failure.
refused() { scrape; [ "$(tcp_sum connections_total '"/client"' 'error_type="refused"')" = 5.000000 ]; }
for i in 1 2 3 4 5; do client curl -s -o /dev/null http://127.0.0.1:9; done
await 100 refused
check tcp_refused "$(grep 'weir_tcp_connections_total.*error' $page | tr '\n' ' ')" refused
check tcp_conservation "$(grep '^weir_signal.*signal="tcp"' $page | tr '\n' ' ')" law_of tcp

# Saturation: nginx is the witness of what it served. wrk cuts its connections off at the end, which is not a served request.
whole() { echo $(($(sum "$1" "$2") - $(sum "$1" "$2" error_type=\"connection))); }
saturated() {
	scrape
	s=$(whole server web) c=$(whole client client)
	[ "$s" -ge "$((s0 + n))" ]
}
scrape
s0=$(whole server web) c0=$(whole client client) n=$(served)
client wrk -t1 -c8 -d3s $h/hello
n=$(($(served) - n - 1))
await 50 saturated
made=$(awk '/requests in/ { print $1 }' /tmp/client.out)
note "wrk: $made requests, nginx served $n, weir counted $((s - s0)) served, $((c - c0)) made"
check saturation_server "nginx served $n, weir counted $((s - s0))" [ $((s - s0)) = "$n" ]
check saturation_client "wrk saw $made answers, nginx served $n, weir counted $((c - c0))" \
	[ $((c - c0)) -ge "$made" -a $((c - c0)) -le "$n" ]

seen=$(own seen) delivered=$(own delivered) filtered=$(own filtered) lost=$(own lost)
check conservation "seen $seen, delivered $delivered, filtered $filtered, lost $lost" \
	[ "$seen" -gt 0 -a "$seen" = $((delivered + filtered + lost)) ]
check nothing_lost "lost $((lost - lost0)) of $seen" [ "$lost" = "$lost0" ]

# Waits for a CPU against /proc/PID/schedstat: two hogs and a victim share the CPU; the victim works while it is told to and
# stands still while both are read.
wait_count() { awk 'index($0, "weir_sched_run_queue_duration_seconds_count{") == 1 && /weir_cgroup="\/victim"/ { n = $NF } END { print n + 0 }' $page; }
wait_us() { awk 'index($0, "weir_sched_run_queue_duration_seconds_sum{") == 1 && /weir_cgroup="\/victim"/ { n = $NF } END { printf "%d\n", n * 1e6 }' $page; }
behind_us() { # cgroup: how long the victim stood behind it
	awk -v name="weir_neighbour_name=\"$1\"" 'index($0, "weir_sched_neighbour_time_seconds_total{") == 1 && /weir_cgroup="\/victim"/ && index($0, name) { n += $NF } END { printf "%d\n", n * 1e6 }' $page
}
delays() { awk '{ print $3, int($2 / 1000) }' /proc/$victim/schedstat; }
stands() { grep -q '^State:.S' /proc/$victim/status; }
said() { [ "$(wc -l </tmp/victim.out)" = "$1" ] && stands; }
mkdir -p /sys/fs/cgroup/hog1 /sys/fs/cgroup/hog2 /sys/fs/cgroup/victim
mkfifo /tmp/victim.in
victim_waits() { # name command...: which runs while the victim works
	local name=$1 d0 t0 c0 u0 count us
	shift
	(inside hog1 sh -c 'while :; do :; done') & hog1=$!
	(inside hog2 sh -c 'while :; do :; done') & hog2=$!
	: >/tmp/victim.out
	(inside victim sh -c 'exec 3<>/tmp/victim.in; while echo up && read -r n <&3; do while [ $n -gt 0 ]; do n=$((n - 1)); done; done') >/tmp/victim.out 2>&1 & victim=$!
	if await 300 said 1; then
		scrape
		set -- "$(delays)" "$@"
		d0=${1% *} t0=${1#* } c0=$(wait_count) u0=$(wait_us)
		shift
		echo 100000 >/tmp/victim.in
		"$@"
		await 600 said 2
		set -- $(delays)
		waits_are() { scrape; [ $(($(wait_count) - c0)) = "$1" ]; }
		await 50 waits_are $(($1 - d0))
		count=$(($(wait_count) - c0)) us=$(($(wait_us) - u0))
		note "schedstat $(($1 - d0)) waits $(($2 - t0)) us, weir $count waits $us us; behind hog1 $(behind_us hog1), hog2 $(behind_us hog2)"
		check ${name}_count "schedstat $(($1 - d0)) waits, weir $count" [ "$count" = $(($1 - d0)) -a "$count" -gt 10 ]
		check ${name}_time "schedstat $(($2 - t0)) us, weir $us" \
			[ $((us * 50)) -ge $((($2 - t0) * 49)) -a $((us * 50)) -le $((($2 - t0) * 51 + 500 * count)) ]
		check ${name}_neighbours "$us us, behind hog1 $(behind_us hog1), hog2 $(behind_us hog2)" \
			[ $((($(behind_us hog1) + $(behind_us hog2)) * 2)) -gt $us ]
	else
		not_ok $name "the victim does not stand still: $(cat /tmp/victim.out)"
	fi
	kill $hog1 $hog2 $victim
	wait $hog1 $hog2 $victim 2>/dev/null
}
victim_waits sched :

# A second CPU goes and comes back, again and again, while threads wait for it and requests are made.
second=/sys/devices/system/cpu/cpu1/online
unplug() {
	local n
	for n in 1 2 3 4 5; do
		echo 0 >$second && client curl -s -o /dev/null "$h/hello?[1-7]" && echo 1 >$second &&
			client curl -s -o /dev/null "$h/hello?[1-7]" || return
	done
	touch /tmp/unplugged
}
if [ -w $second ]; then
	scrape
	s0=$(sum server web) c0=$(sum client client)
	victim_waits hotplug unplug
	check hotplug "$(cat $second): $(tail -n 1 /tmp/client.out)" [ -e /tmp/unplugged ]
	requests() { scrape; [ "$(($(sum server web) - s0)) $(($(sum client client) - c0))" = "70 70" ]; }
	await 50 requests
	check hotplug_requests "70, server counted $(($(sum server web) - s0)), client $(($(sum client client) - c0))" requests
fi
lawful() { scrape; law_of sched; }
await 50 lawful
check sched_conservation "$(grep '^weir_signal.*signal="sched"' $page | tr '\n' ' ')" law_of sched

# A quota of 20 %, by the controller of v2: throttling is what cpu.stat says, to the microsecond.
stat_of() { awk -v name="$1" '$1 == name { print $2 }' /sys/fs/cgroup/limited/cpu.stat; }
shown() { # metric: of the limited cgroup, in millionths
	awk -v name="weir_container_cpu_$1{" 'index($0, name) == 1 && /weir_cgroup="\/limited"/ { n = $NF } END { printf "%.0f\n", n * 1e6 }' $page
}
throttled() { [ "$(stat_of nr_throttled)" -ge 11 ]; }
same_throttling() {
	scrape
	periods=$(shown throttled_periods_total) time=$(shown throttled_time_seconds_total)
	[ "$periods" = $(($(stat_of nr_throttled) * 1000000)) ] && [ "$time" = "$(stat_of throttled_usec)" ]
}
mkdir /sys/fs/cgroup/limited
if echo +cpu >/sys/fs/cgroup/cgroup.subtree_control && echo '20000 100000' >/sys/fs/cgroup/limited/cpu.max; then
	(inside limited sh -c 'while :; do :; done') & hog=$!
	await 200 throttled
	kill $hog
	wait $hog 2>/dev/null
	await 100 same_throttling
	check throttling "cpu.stat $(stat_of nr_throttled) periods $(stat_of throttled_usec) us, weir $periods / 10^6, $time us" same_throttling
else
	not_ok throttling "no cpu controller in v2"
fi

# trace through the agent's socket
weir trace http --count=5 --role=server -o json >/tmp/trace 2>/tmp/trace.log & trace=$!
poke() { client curl -sS -o /dev/null $h/hello; ! kill -0 $trace 2>/dev/null; }
await 100 poke
kill $trace 2>/dev/null
wait $trace
check trace_of_agent "$(trace_lines) lines: $(tail -n 1 /tmp/trace.log)" [ "$(trace_lines)" = 5 ]

loaded=$(programs)
kill -9 $agent
wait $agent 2>/dev/null
await 50 no_programs
check kill_leaves_nothing "$loaded programs before, $(programs) afterwards" [ "$loaded" -ge 2 -a "$(programs)" = 0 ]

# and alone
weir trace http --count=5 --role=client -o json >/tmp/trace 2>/tmp/trace.log & trace=$!
await 200 poke
kill $trace 2>/dev/null
wait $trace
check trace_alone "$(trace_lines) lines: $(tail -n 1 /tmp/trace.log)" [ "$(trace_lines)" = 5 ]
await 50 no_programs
check trace_leaves_nothing "$(programs) programs are still there" no_programs

# A bug of a kernel or ours that the log shows.
dmesg | grep -iE 'BUG:|WARNING:|Oops|stall|lockup' >/tmp/dmesg
check kernel_log "$(head -n 1 /tmp/dmesg)" [ ! -s /tmp/dmesg ]
grep -iE 'error|warn' /tmp/agent.log | head -n 5 | sed 's/^/# agent: /'
exit 0
