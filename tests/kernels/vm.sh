# Sourced by whoever boots a virtual machine (tests/kernels, tests/bench). A guest is a Debian kernel with an initramfs:
# busybox, some programs of this machine with their shared libraries, and a directory of files that ends up as /job;
# its first process (tests/kernels/init) runs /job/main.sh and the machine goes off.
#
#   vm_pack IMAGE JOB PROGRAM...      makes the initramfs IMAGE with the files of directory JOB and the programs
#   vm_boot SECONDS KERNEL IMAGE ARGUMENT...
#                                     boots it: KERNEL is a name of tests/kernels/list, each ARGUMENT is a word of the kernel
#                                     command line; the guest sees those of the form NAME=VALUE in /job.env. The console is
#                                     stdout; the status is main.sh's, 124 when the machine did not end within SECONDS,
#                                     125 when it ended without saying one
#   VM_ACCEL VM_CPU VM_SMP VM_MEM VM_APPEND     how qemu runs it; the defaults suit a functional test
vm_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

vm_die() { echo "vm: $*" >&2; exit 1; }

# Copies a program and the shared libraries it needs; below @root the paths are those of this machine.
vm_add() { # root program
	local root=$1 program lib
	program=$(command -v "$2") || vm_die "no program '$2' on this machine (make deps)"
	rm -f "$root/bin/$(basename "$2")" # busybox may have one of that name
	cp -L "$program" "$root/bin/$(basename "$2")"
	for lib in $( (ldd "$program" 2>/dev/null || true) | awk '{ for (i = 1; i <= NF; i++) if ($i ~ /^\//) print $i }'); do
		[ -e "$root$lib" ] && continue
		mkdir -p "$root$(dirname "$lib")"
		cp -L "$lib" "$root$lib"
	done
}

vm_pack() { # image job program...
	local image=$1 job=$2 root applet program
	shift 2
	root=$(mktemp -d "$(dirname "$image")/root.XXXXXX")
	mkdir -p "$root"/{bin,dev,etc,job,lib,lib64,proc,root,run,sbin,sys,tmp,usr/lib,var/lib/nginx,var/log/nginx}
	cp "$(command -v busybox)" "$root/bin/busybox" || vm_die "no busybox (make deps)"
	for applet in $(busybox --list); do
		[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
	done
	for program in "$@"; do
		vm_add "$root" "$program"
	done
	cp -L "$vm_here/init" "$root/init"
	cp -rL "$job/." "$root/job/"
	echo 'root:x:0:0::/root:/bin/sh' >"$root/etc/passwd"
	echo 'root:x:0:' >"$root/etc/group"
	printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
	(cd "$root" && find . | cpio -o -H newc --quiet) >"$image"
	rm -rf "$root"
}

vm_boot() { # seconds kernel image argument...
	local seconds=$1 kernel=$2 image=$3 dir cpu
	shift 3
	cpu=$(awk -v n="$kernel" '$1 == n { print $2 }' "$vm_here/list")
	dir=$("$vm_here/fetch" "$kernel") || return 1
	cat "$image" "$dir/modules.cpio" >"$image.$kernel" 2>/dev/null || cp "$image" "$image.$kernel"
	timeout --kill-after=5 "$seconds" qemu-system-x86_64 ${VM_ACCEL:--accel tcg} -cpu "${VM_CPU:-$cpu}" \
		-smp "${VM_SMP:-1}" -m "${VM_MEM:-1G}" -display none -serial stdio -monitor none -no-reboot -nic none \
		-kernel "$dir/vmlinuz" -initrd "$image.$kernel" \
		-append "console=ttyS0 quiet panic=-1 ${VM_APPEND:-} -- $*" </dev/null |
		{
			status=125
			while IFS= read -r line; do
				line=${line%$'\r'}
				case $line in
				VM-EXIT\ *) status=${line#VM-EXIT } ;;
				*) printf '%s\n' "$line" ;;
				esac
			done
			exit "$status"
		}
	set -- "${PIPESTATUS[@]}"
	rm -f "$image.$kernel"
	[ "$1" != 124 ] && return "$2"
	return 124
}
