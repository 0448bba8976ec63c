#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# workload.sh BIN OUT IMAGE_LAYOUT KERNEL_LAYOUT PEER_MS [RUNS] [BUDGET]: in the lab, with services. Times that a user sees: `zone launch --wait` with the
# stock kernel and, if KERNEL_LAYOUT is a folder, with our own, beside QEMU's time to init (PEER_MS); then, in the warm zone, from `workload
# launch` of an imported image to the first byte of its output, beside crun with the same image, unpacked. One JSON object a line into OUT. Each kind of launch has a part of BUDGET seconds.
set -euo pipefail
bin=$1 out=$2 image=$3 kernel=$4 peer_ms=$5 runs=${6:-5} budget=${7:-3600}
# shellcheck source=tests/bench/rounds.bash
. "$(dirname "$0")/rounds.bash"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
readonly peer_name='qemu microvm to init, stock kernel'

now_ms() { echo $(($(date +%s%N) / 1000000)); }
entry() { # name ours peer peer_name
	jq -cn --arg name "$1" --argjson ours "$2" --argjson peer "$3" --argjson peer_name "$4" \
		'{name: $name, unit: "ms", ours: $ours, peer: $peer, peer_name: $peer_name}' >>"$out"
}

# launches NAME UNTIL [option…]: zones NAME-1 …, of which the last, $zone, stays; their times go to $dir/NAME
launches() {
	local name=$1 until=$2 before
	shift 2
	n_rounds=0 zone=''
	while another_round "$runs" "$until"; do
		[ -z "$zone" ] || protect zone destroy -W "$zone"
		zone=$name-$n_rounds
		before=$(now_ms)
		protect zone launch -n "$zone" --wait "$@" >/dev/null
		echo $(($(now_ms) - before)) >>"$dir/$name"
	done
}

: >"$out"
if [ -d "$kernel" ]; then
	protect image import "oci:$kernel" --name bench/kernel:own >&2
	launches own $((budget * 2 / 5)) --kernel-variant zone
	protect zone destroy -W "$zone"
	entry boot_ready "$(median "$dir/own")" "$peer_ms" "\"$peer_name\""
else
	echo "workload.sh: no kernel of our own in '$kernel'; boot_ready is left out" >&2
fi
launches stock $((budget * 4 / 5))
entry boot_ready_stock "$(median "$dir/stock")" "$peer_ms" "\"$peer_name\""

protect image import "oci:$image" --name bench/hello:1 >&2
protect workload launch --zone "$zone" --attach bench/hello:1 >/dev/null </dev/null # warms the zone up
umoci unpack --image "$image" "$dir/bundle" >&2
jq '.process.terminal = false' "$dir/bundle/config.json" >"$dir/config.json"
cp "$dir/config.json" "$dir/bundle/config.json"
for ((i = 0; i < runs; i++)); do
	"$bin/bench_line_time" hello 1048576 crun --cgroup-manager=cgroupfs --root "$dir/crun" run -b "$dir/bundle" "w-$i" </dev/null |
		jq .ms >>"$dir/crun_first"
	crun --cgroup-manager=cgroupfs --root "$dir/crun" delete -f "w-$i"
	"$bin/bench_line_time" hello 1048576 protect workload launch --zone "$zone" -n "w-$i" --attach bench/hello:1 </dev/null |
		jq .ms >>"$dir/first"
done
protect zone destroy -W "$zone" >&2
entry workload_first_output "$(median "$dir/first")" "$(median "$dir/crun_first")" '"crun run"'
