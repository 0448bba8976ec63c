#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# native.sh BIN OUT IMAGE [RUNS]: on this machine. Figures of the VMM with small guest programs on /dev/kvm, and of single paths driven in one process,
# each beside its peer, taking turns; medians, one JSON object a line into OUT. BIN: where the release build's programs are;
# IMAGE: an OCI layout to be packed.
set -euo pipefail
bin=$(realpath "$1") out=$2 image=$3 runs=${4:-5}
dir=$(mktemp -d "${PROTECT_BENCH_DIR:-/var/tmp}/protect-bench.XXXXXX") # on a disk: tmpfs has no O_DIRECT
trap 'rm -rf "$dir"' EXIT
readonly run_ms=800 file_mib=512

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

figure() { # name unit ours peer peer_name
	jq -cn --arg name "$1" --arg unit "$2" --argjson ours "$3" --argjson peer "$4" --arg peer_name "$5" \
		'{name: $name, unit: $unit, ours: $ours, peer: $peer, peer_name: $peer_name}' >>"$out"
}

# As the two programs of ours: registered file, whole batches, no clock calls beyond need.
run_fio() { # read|write random|sequential depth bytes [direct]
	local rw=$1 name=$dir/fio.json
	[ "$2" = sequential ] || rw=rand$1
	fio --name=bench --filename="$dir/disk" --rw="$rw" --bs="$4" --iodepth="$3" --ioengine=io_uring --registerfiles=1 --size="${file_mib}m" \
		--direct="$([ "${5:-}" = direct ] && echo 1 || echo 0)" --iodepth_batch_submit="$3" --iodepth_batch_complete_min=1 \
		--iodepth_batch_complete_max="$3" --norandommap --random_generator=lfsr --gtod_reduce=1 --invalidate=0 --time_based \
		--runtime="${run_ms}ms" --output-format=json --output="$name" >/dev/null
	jq -c --arg rw "$1" '.jobs[0] | .[$rw] as $r | {iops: $r.iops, cpu_ns_per_op: ((.usr_cpu + .sys_cpu) * 1e7 / $r.iops)}' "$name"
}

# The same job for all three, in turns.
blk() { # name read|write random|sequential depth bytes [direct]
	local name=$1 i
	shift
	[ "${5:-}" = direct ] || cat "$dir/disk" >/dev/null # as O_DIRECT writes drop pages from the cache
	for ((i = 0; i < runs * 3; i++)); do
		# Whoever comes after a large fio finds other caches: the order turns as well.
		case $(((i + i / 3) % 3)) in
		0) "$bin/bench_blk_path" "$dir/disk" "$1" "$2" "$3" "$4" $run_ms "${@:5}" >>"$dir/$name.ours" ;;
		1) "$bin/bench_blk_raw" "$dir/disk" "$1" "$2" "$3" "$4" $run_ms "${@:5}" >>"$dir/$name.raw" ;;
		2) run_fio "$@" >>"$dir/$name.fio" ;;
		esac
	done
	for peer in raw fio; do
		local suffix='' peer_name='raw io_uring loop'
		[ $peer = raw ] || suffix=_fio peer_name='fio, io_uring'
		figure "$name$suffix" IOPS "$(jq .iops "$dir/$name.ours" | median)" "$(jq .iops "$dir/$name.$peer" | median)" "$peer_name"
		figure "${name}_cpu$suffix" "ns/op" "$(jq .cpu_ns_per_op "$dir/$name.ours" | median)" \
			"$(jq .cpu_ns_per_op "$dir/$name.$peer" | median)" "$peer_name"
	done
}

{
	"$bin/bench_vmm_start" "$bin/zone-vmm" "$bin/bench_first.elf" $((runs * 6 + 1)) 200
	"$bin/bench_vmm_exits" "$bin/zone-vmm" "$bin/bench_exits.elf" "$runs"
	"$bin/bench_vmm_vsock" "$bin/zone-vmm" "$bin/bench_echo.elf" "$runs"
	if [ "$(id -u)" -eq 0 ]; then
		"$bin/bench_launch_rate" "$bin/protect-launch" "$bin/zone-vmm" "$bin/bench_poweroff.elf" 200 50
		[ ! -x "$bin/bench_net_path" ] || "$bin/bench_net_path"
		"$(dirname "${BASH_SOURCE[0]}")/pack.sh" "$bin" "$image" 3
	else
		echo "native.sh: launches and tap interfaces need root; their figures are left out" >&2
	fi
} >"$out"

dd if=/dev/urandom of="$dir/disk" bs=1M count=$file_mib status=none
blk blk_randread_qd32 read random 32 4096
blk blk_randread_qd1 read random 1 4096
blk blk_seqread_128k read sequential 8 131072
blk blk_randread_qd32_direct read random 32 4096 direct
blk blk_randread_qd1_direct read random 1 4096 direct
blk blk_randwrite_qd32 write random 32 4096 direct
blk blk_randwrite_qd1 write random 1 4096 direct
blk blk_seqwrite_128k write sequential 8 131072 direct
