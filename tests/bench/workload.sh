#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# workload.sh OUT.json IMAGE_LAYOUT [RUNS]: in the lab, with services. Times that a user sees: `zone launch --wait`, then, in the warm zone, from
# `workload launch` of an imported image to the first byte of its output.
set -euo pipefail
out=$1 image=$2 runs=${3:-5}
bin=$(dirname "$0")/../../build/release/bin
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

now_ms() { echo $(($(date +%s%N) / 1000000)); }
median() { sort -n "$1" | sed -n "$(((runs + 1) / 2))p"; }
entry() { # name value
	jq -n --arg name "$1" --argjson ours "$2" \
		'{name: $name, unit: "ms", ours: $ours, peer: null, peer_name: null, ratio: null, goal: null, met: null}'
}

protect image import "oci:$image" --name bench/hello:1 >&2
for ((i = 0; i < runs; i++)); do
	before=$(now_ms)
	protect zone launch -n "bench-$i" --wait >/dev/null
	echo $(($(now_ms) - before)) >>"$dir/zone"
	[ "$i" -eq $((runs - 1)) ] || protect zone destroy -W "bench-$i"
done
zone="bench-$((runs - 1))"
protect workload launch --zone "$zone" --attach bench/hello:1 >/dev/null </dev/null # warms the zone up
for ((i = 0; i < runs; i++)); do
	"$bin/bench_line_time" hello 1048576 protect workload launch --zone "$zone" -n "w-$i" --attach bench/hello:1 </dev/null |
		jq .ms >>"$dir/first"
done
protect zone destroy -W "$zone" >&2
{
	entry zone_launch_ready "$(median "$dir/zone")"
	entry workload_first_output "$(median "$dir/first")"
} | jq -s . >"$out"
cat "$out"
