#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# boot.sh OUT.json [RUNS]: in the lab. Start of the process to the first byte of init's line, zone-vmm beside QEMU's microvm with the same kernel,
# initrd, command line and memory, taking turns; and the memory of each beside the guest's.
set -euo pipefail
out=$1 runs=${2:-5}
prefix=${PROTECT_PREFIX:-/opt/protect}
bin=$(dirname "$0")/../../build/release/bin
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
memory=256
cmdline="console=hvc0 quiet panic=-1"

"$prefix/bin/protect-storage" --base-initrd "$prefix/share/protect/zone.initrd" --store "$dir/store" \
	prepare-kernel "oci:$prefix/share/protect/kernel" --output "$dir" >&2
cat >"$dir/spec.json" <<SPEC
{"memory_mib": $memory, "vcpus": 1, "cmdline": "$cmdline", "kernel": {"path": "$dir/kernel"}, "initrd": {"path": "$dir/initrd"},
 "console": {"fd": 1}}
SPEC
ours=("$prefix/bin/zone-vmm" --spec "$dir/spec.json")
# The plainest microvm with a PCI bus, so that both guests load the same drivers; its firmware is qboot.
# shellcheck disable=SC2054 # commas within QEMU's arguments
peer=(qemu-system-x86_64 -M "microvm,accel=kvm,pcie=on,pit=off,pic=off,rtc=off,isa-serial=off" -cpu host -smp 1 -m "$memory"
	-nodefaults -no-user-config -display none -no-reboot -kernel "$dir/kernel" -initrd "$dir/initrd" -append "$cmdline"
	-device virtio-serial-pci -chardev "stdio,id=c" -device "virtconsole,chardev=c")

for ((i = 0; i < runs; i++)); do
	"$bin/bench_line_time" "zone-init: up" $memory "${ours[@]}" 2>/dev/null >>"$dir/ours" </dev/null
	"$bin/bench_line_time" "zone-init: up" $memory "${peer[@]}" 2>"$dir/peer.log" >>"$dir/peer" </dev/null ||
		{ cat "$dir/peer.log" >&2; exit 1; }
done

median() { jq -s "map(.$2) | sort | .[length / 2 | floor]" "$dir/$1"; }
row() { # name unit field goal
	jq -n --arg name "$1" --arg unit "$2" --argjson ours "$(median ours "$3")" --argjson peer "$(median peer "$3")" \
		--arg goal "$4" --arg met "$5" '{name: $name, unit: $unit, ours: $ours, peer: $peer, peer_name: "qemu microvm",
		ratio: ($ours / $peer * 1000 | round / 1000), goal: $goal} | .met = (if $met == "ratio" then .ratio <= 0.6 else .ours <= 4096 end)'
}
{
	row boot_init ms ms "ratio <= 0.6" ratio
	row vmm_pss KiB pss_kib "ours <= 4096" absolute
} | jq -s . >"$out"
cat "$out"
