#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# guest_io.sh IMAGES BIN OUT [RUNS] [SECONDS] [BUDGET]: in the lab, as root. fio on a virtio disk and iperf3 over a virtio NIC inside a guest of 512
# MiB and one vCPU, zone-vmm beside QEMU's microvm, taking turns: same kernel, initrd, disk and tap; medians, one JSON object a line into OUT,
# all of them anew after each round (the last counts). IMAGES: what guest_image.sh made. After BUDGET seconds no further round begins. A guest
# that stands still is killed after its time, and its rows say so.
set -euo pipefail
images=$1 bin=$2 out=$3 runs=${4:-3} seconds=${5:-4} budget=${6:-3600}
here=$(dirname "$0")
# shellcheck source=tests/bench/rounds.bash
. "$here/rounds.bash"
dir=$(mktemp -d)
trap 'rm -rf "$dir"; [ -z "${server:-}" ] || kill "$server"' EXIT
readonly memory=512 tap=bench0 disk=/dev/nullb0 names=(fio_guest_randread fio_guest_randwrite fio_guest_randread_qd1 fio_guest_seqread iperf3_guest iperf3_guest_rx)
# Of one guest: its boot, and each figure with its start, some of it in a host that others use.
readonly guest_seconds=$((30 + ${#names[@]} * (seconds + 5)))
cmdline="console=hvc0 quiet panic=-1 bench.seconds=$seconds"

# A disk that answers at once, as a fast one does (blk-mq, NOWAIT): then the VMMs are what is measured. A brd or a tmpfs file would be served by
# kernel threads.
modprobe null_blk nr_devices=1 gb=1 queue_mode=2 irqmode=0
ip tuntap add dev $tap mode tap vnet_hdr
ip addr add 192.0.2.1/24 dev $tap
ip link set $tap up
iperf3 -s -B 192.0.2.1 >/dev/null 2>&1 &
server=$!

nic=", \"nics\": [{\"tap\": \"$tap\", \"mac\": \"02:00:5e:10:00:01\"}]" peer_nic=(-netdev "tap,id=n,ifname=$tap,script=no,downscript=no,vhost=off"
	-device "virtio-net-pci,netdev=n,mac=02:00:5e:10:00:01")
cat >"$dir/spec.json" <<SPEC
{"memory_mib": $memory, "vcpus": 1, "cmdline": "$cmdline", "kernel": {"path": "$images/kernel"}, "initrd": {"path": "$images/initrd"},
 "console": {"fd": 1}, "disks": [{"file": {"path": "$images/tools.squashfs"}, "serial": "tools", "readonly": true},
 {"file": {"path": "$disk"}, "serial": "data", "direct": true}]$nic}
SPEC
# shellcheck disable=SC2054 # commas within QEMU's arguments
peer=(qemu-system-x86_64 -M "microvm,accel=kvm,pcie=on,pit=off,pic=off,rtc=off,isa-serial=off" -cpu host -smp 1 -m "$memory"
	-nodefaults -no-user-config -display none -no-reboot -kernel "$images/kernel" -initrd "$images/initrd" -append "$cmdline"
	-device virtio-serial-pci -chardev "stdio,id=c" -device "virtconsole,chardev=c"
	-drive "file=$images/tools.squashfs,if=none,id=t,format=raw,readonly=on" -device virtio-blk-pci,drive=t
	-drive "file=$disk,if=none,id=d,format=raw,aio=io_uring,cache=none" -device virtio-blk-pci,drive=d "${peer_nic[@]}")

# run WHO COMMAND…: adds the guest's figures to $dir/NAME.WHO, and the guest to $dir/lost.WHO if it did not come to its end
run() {
	local who=$1 word name value
	shift
	timeout -k 2 "$guest_seconds" "$@" </dev/null 2>"$dir/log" | tr -d '\r' | tee "$dir/console" | while read -r word name value; do
		[ "$word" = BENCH ] || continue
		[ "$name" != error ] || echo "guest_io.sh: $who: $value" >&2
		echo "$value" >>"$dir/$name.$who"
	done || true
	grep -q '^BENCH end' "$dir/console" || {
		echo x >>"$dir/lost.$who"
		echo "guest_io.sh: $who ended early:" >&2
		tail -n 15 "$dir/console" "$dir/log" >&2
	}
}

# What became of the guests that are missing in a row, or null.
note() { # name
	local who text=''
	for who in ours peer; do
		if [ ! -f "$dir/lost.$who" ] || [ "$(count "$dir/$1.$who")" -ge "$n_rounds" ]; then
			continue
		fi
		text+="${text:+; }$who: $(count "$dir/lost.$who") of $n_rounds guests stood still and were killed after $guest_seconds s"
	done
	jq -cn --arg text "$text" '$text | if . == "" then null else . end'
}

figures() {
	local name unit
	for name in "${names[@]}"; do
		case $name in
		fio*) unit=IOPS ;;
		*) unit=Mbit/s ;;
		esac
		jq -cn --arg name "$name" --arg unit $unit --argjson ours "$(median "$dir/$name.ours")" --argjson peer "$(median "$dir/$name.peer")" \
			--argjson note "$(note "$name")" '{name: $name, unit: $unit, ours: $ours, peer: $peer, peer_name: "qemu microvm", note: $note}'
	done >>"$out"
}

: >"$out"
n_rounds=0
while another_round "$runs" "$budget"; do
	run ours "$bin/zone-vmm" --spec "$dir/spec.json"
	run peer "${peer[@]}"
	figures
done
tail -n ${#names[@]} "$out"
