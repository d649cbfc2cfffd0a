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
own() { # one of the agent's own counters, lost by all reasons together
	awk -v name="weir_signal_$1_total{" 'index($0, name) == 1 && /signal="http"/ { sum += $NF } END { printf "%d\n", sum }' $page
}

# Sum of a metric of TCP (as Prometheus names it) over the series that have all of the labels.
tcp() { # name label...
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
whole_number() { printf '%.0f\n' "$(tcp "$@")"; }
retransmitted() { awk '$1 == "Tcp:" && $13 ~ /^[0-9]/ { print $13 }' /proc/net/snmp; }

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

# TCP: nginx was there before the agent, and so were its listeners.
scrape
check tcp_old_listener "no queue of port 8080" [ "$(whole_number listen_queue_limit 'weir_cgroup="/web"' 'network_local_port="8080"')" -ge 128 ]

# TCP: connections that are refused. Nothing listens on port 9.
refused_are() { scrape; t=$(whole_number connections_total 'weir_cgroup="/client"' 'error_type="refused"'); [ "$t" -ge $((t0 + $1)) ]; }
scrape
t0=$(whole_number connections_total 'weir_cgroup="/client"' 'error_type="refused"')
for i in 1 2 3 4 5 6 7; do client curl -sS -o /dev/null http://127.0.0.1:9/; done
await 50 refused_are 7
check tcp_refused "7 connects, $((t - t0)) counted" [ $((t - t0)) = 7 ]
check tcp_refused_is_no_reset "resets $(tcp resets_total 'weir_cgroup="/client"')" \
	[ "$(whole_number resets_total 'weir_cgroup="/client"')" = 0 ]

# Segments that are lost, and come again. (busybox has a tc of its own and prefers it.)
retransmits_are() { scrape; t=$(whole_number retransmits_total); [ $((t - t0)) = $(($(retransmitted) - r0)) ]; }
scrape
t0=$(whole_number retransmits_total) r0=$(retransmitted)
if /bin/tc qdisc add dev lo root netem loss 5% delay 1ms 2>/tmp/tc.log; then
	expect netem_loss 61 GET 200 curl -sS -o /dev/null "$h/hello?[1-61]"
	client curl -sS -o /dev/null "$h/big?[1-2]"
	/bin/tc qdisc del dev lo root
	check netem_retransmits "nothing retransmitted: the case shows nothing" [ "$(retransmitted)" -gt "$r0" ]
	await 100 retransmits_are
	note "$(($(retransmitted) - r0)) segments retransmitted"
	check tcp_retransmits "the kernel counted $(($(retransmitted) - r0)), weir $((t - t0))" \
		[ $((t - t0)) = $(($(retransmitted) - r0)) ]
	check tcp_peer_retransmits "by address $(tcp peer_retransmits_total)" [ "$(whole_number peer_retransmits_total)" = "$t" ]
	check tcp_recovery "no time was lost" [ "$(whole_number recovery_duration_seconds_count)" -gt 0 ]
else
	not_ok netem_loss "no netem: $(tail -n 1 /tmp/tc.log)"
fi

# Round trips of twice 20 ms: the least one is that, the smoothed ones also have what this slow machine needs to answer.
rtt() { echo $(whole_number rtt_duration_seconds_count "weir_cgroup=\"/$1\"") $(tcp rtt_duration_seconds_sum "weir_cgroup=\"/$1\""); }
mean_ms() { # count sum count sum
	awk -v a="$1" -v b="$2" -v c="$3" -v d="$4" 'BEGIN { printf "%.2f\n", (c > a ? (d - b) / (c - a) * 1000 : 0) }'
}
between() { awk -v v="$1" -v a="$2" -v b="$3" 'BEGIN { exit !(v >= a && v <= b) }'; }
# A queue that is taken away takes what is in it along: whoever is just closing tries again, and ends later.
ended() { scrape; [ "$(whole_number connection_count 'weir_cgroup="/client"') $(whole_number connection_count 'weir_cgroup="/web"')" = "0 0" ]; }
await 100 ended
c0=$(rtt client) s0=$(rtt web)
/bin/tc qdisc add dev lo root netem delay 20ms 2>/tmp/tc.log || not_ok netem_delay "no netem: $(tail -n 1 /tmp/tc.log)"
client curl -sS -o /dev/null "$h/hello?[1-97]"
await 100 ended
/bin/tc qdisc del dev lo root
c=$(mean_ms $c0 $(rtt client)) s=$(mean_ms $s0 $(rtt web))
note "mean round-trip time: client $c ms, server $s ms"
least() { tcp rtt_min_seconds "weir_cgroup=\"/$1\"" | awk '{ printf "%.2f\n", $1 * 1000 }'; }
note "least: client $(least client) ms, server $(least web) ms"
check tcp_rtt_client "$c ms and not 40" between "$c" 40 60
check tcp_rtt_server "$s ms and not 40" between "$s" 40 60
check tcp_rtt_min_client "$(least client) ms and not 40" between "$(least client)" 40 42
check tcp_rtt_min_server "$(least web) ms and not 40" between "$(least web)" 40 42

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
# Bytes and ends: what nginx and curl made of it, both sides alike, is in the cases of HTTP; here they must agree.
await 50 ended
check tcp_all_ended "$(whole_number connection_count 'weir_cgroup="/client"') connections of the client are open" ended
# Where their state is in a hash (5.10), it has gone with them; the agent's own and the page's may be there.
kept=$(bpftool map dump name tcp_conns_hash | grep -c '"*cgroup_id"*:')
check tcp_state_is_gone "$kept connections are kept" [ "$kept" -le 4 ]
made=$(whole_number connections_total 'weir_cgroup="/client"' 'role="client"' 'weir_peer_class="container"')
whole=$(whole_number connection_duration_seconds_count 'weir_cgroup="/client"')
check tcp_made_is_ended "$made connections made, $whole ended" [ "$made" -gt 100 -a "$made" = "$whole" ]
sent=$(whole_number io_bytes_total 'weir_cgroup="/client"' 'network_io_direction="transmit"')
got=$(whole_number io_bytes_total 'weir_cgroup="/web"' 'network_io_direction="receive"' 'weir_peer_class="container"')
check tcp_bytes "the client sent $sent, the server received $got" [ "$sent" -gt 100000 -a "$sent" = "$got" ]
tcp_law() {
	scrape
	awk '/^weir_signal_(seen|delivered|filtered|lost)_total/ && /signal="tcp"/ { n[substr($1, 13, 4)] += $NF }
		END { exit !(n["seen"] > 0 && n["seen"] == n["deli"] + n["filt"] + n["lost"]) }' $page
}
await 50 tcp_law
check tcp_conservation "$(grep -E '^weir_signal_.*signal="tcp"' $page | tr '\n' ' ')" tcp_law

check nothing_lost "lost $((lost - lost0)) of $seen" [ "$lost" = "$lost0" ]

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
