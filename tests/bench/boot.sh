#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# boot.sh BIN OUT [RUNS] [BUDGET]: in the lab, as root. Start of the process to the last byte of init's line, zone-vmm beside QEMU's microvm with the same
# kernel, initrd, command line, memory, disk and tap, taking turns; and what each holds beside the guest's memory then, ours with 8 vCPUs
# too. One JSON object a line into OUT, all of them anew after each round (the last counts). After BUDGET seconds no further round begins.
set -euo pipefail
bin=$1 out=$2 runs=${3:-5} budget=${4:-3600}
# shellcheck source=tests/bench/rounds.bash
. "$(dirname "$0")/rounds.bash"
prefix=${PROTECT_PREFIX:-/opt/protect}
dir=$(mktemp -d)
readonly memory=256 tap=bench1
trap 'rm -rf "$dir"; ip link delete $tap' EXIT
cmdline="console=hvc0 quiet panic=-1"

"$prefix/bin/protect-storage" --base-initrd "$prefix/share/protect/zone.initrd" --store "$dir/store" \
	prepare-kernel "oci:$prefix/share/protect/kernel" --output "$dir" >&2
ip tuntap add dev $tap mode tap vnet_hdr
truncate -s 64M "$dir/disk"

spec() { # vcpus
	cat <<-SPEC
		{"memory_mib": $memory, "vcpus": $1, "cmdline": "$cmdline", "kernel": {"path": "$dir/kernel"}, "initrd": {"path": "$dir/initrd"},
		 "console": {"fd": 1}, "socket": {"path": "$dir/socket"}, "disks": [{"file": {"path": "$dir/disk"}, "serial": "bench"}],
		 "nics": [{"tap": "$tap", "mac": "02:00:5e:10:00:01"}]}
	SPEC
}
spec 1 >"$dir/spec.json"
spec 8 >"$dir/spec8.json"
# The plainest microvm with a PCI bus, so that both guests load the same drivers; its firmware is qboot.
# shellcheck disable=SC2054 # commas within QEMU's arguments
peer=(qemu-system-x86_64 -M "microvm,accel=kvm,pcie=on,pit=off,pic=off,rtc=off,isa-serial=off" -cpu host -smp 1 -m "$memory"
	-nodefaults -no-user-config -display none -no-reboot -kernel "$dir/kernel" -initrd "$dir/initrd" -append "$cmdline"
	-device virtio-serial-pci -chardev "stdio,id=c" -device "virtconsole,chardev=c"
	-drive "file=$dir/disk,if=none,id=d,format=raw,aio=io_uring" -device virtio-blk-pci,drive=d
	-netdev "tap,id=n,ifname=$tap,script=no,downscript=no,vhost=off" -device virtio-net-pci,netdev=n)

# one WHO COMMAND…: one start; its figures go to $dir/WHO. A guest that the emulated host loses is started once more.
one() {
	local who=$1 try
	shift
	for try in 1 2; do
		! timeout -k 2 60 "$bin/bench_line_time" "zone-init: up" $memory "$@" 2>"$dir/log" >>"$dir/$who" </dev/null || return 0
		echo "boot.sh: $who, try $try: $(tail -n 5 "$dir/log")" >&2
	done
	return 1
}

field() { jq ".$2" "$dir/$1" 2>/dev/null >"$dir/field" || true; }
row() { # name unit field ours_file peer_file
	local ours peer note=null
	field "$4" "$3" && ours=$(median "$dir/field")
	field "$5" "$3" && peer=$(median "$dir/field")
	[ -n "${peer#null}" ] || note='"qemu never came to init"'
	jq -cn --arg name "$1" --arg unit "$2" --argjson ours "$ours" --argjson peer "$peer" --argjson note "$note" \
		'{name: $name, unit: $unit, ours: $ours, peer: $peer, peer_name: "qemu microvm", note: $note} | select(.ours)'
}
figures() {
	row boot_init ms ms ours peer
	row boot_init_8vcpu ms ms ours8 peer8
	row vmm_pss KiB pss_kib ours peer
	row vmm_pss_8vcpu KiB pss_kib ours8 peer8
}

: >"$out"
status=0
while another_round "$runs" "$budget"; do
	one ours "$bin/zone-vmm" --spec "$dir/spec.json" || status=1
	one peer "${peer[@]}" || status=1
	if [ $((n_rounds % 2)) -eq 1 ]; then
		one ours8 "$bin/zone-vmm" --spec "$dir/spec8.json" || status=1
		one peer8 "${peer[@]}" -smp 8 || status=1
	fi
	figures >>"$out"
done
exit $status
