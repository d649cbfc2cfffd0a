#!/bin/sh
# The read-only promise, and the one door for records.
bad=0
refuse() { # PATTERN REASON [FILE THAT MAY]...
	pattern=$1 reason=$2
	shift 2
	hits=$(grep -rnE "$pattern" bpf user --include='*.[ch]')
	for may in "$@"; do hits=$(printf '%s\n' "$hits" | grep -v "^$may:"); done
	[ -z "$hits" ] && return
	printf '%s\n' "$hits" | sed "s|\$|  <- $reason|"
	bad=1
}
refuse 'bpf_probe_write_user|bpf_override_return|bpf_send_signal|bpf_copy_to_user' 'writes to or signals a process'
refuse 'bpf_skb_(store_bytes|adjust_room|change|vlan)|bpf_l[34]_csum_replace|BPF_MAP_TYPE_SOCK(MAP|HASH)|bpf_msg_|bpf_setsockopt' 'changes traffic'
refuse 'SEC\("\??(uretprobe|kretprobe)' 'return probes replace return addresses'
refuse 'bpf_ringbuf_(reserve|submit|output)' 'records go through lib/emit.bpf.h' bpf/lib/emit.bpf.h bpf/probe.bpf.c
refuse '\buname\(|LINUX_VERSION_CODE|KERNEL_VERSION' 'ask struct features, not the version: distributions backport' \
	user/cmd/doctor.c
exit $bad
