#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# lab.sh BIN OUT IMAGES DEMO_IMAGE KERNEL_LAYOUT [RUNS] [END]: in the lab, with services: all of its figures into OUT, one JSON object a line, until
# END (seconds since 1970, so that a slow boot of the lab counts). A part that fails or is stopped is named, and leaves the figures it had; the
# status is then 1. The figures of a part under way are in OUT.PART. IMAGES: what guest_image.sh made.
set -uo pipefail
bin=$1 out=$2 images=$3 demo=$4 kernel=$5 runs=${6:-5}
end=${7:-$(($(date +%s) + 440))}
budget=$((end - $(date +%s)))
here=$(dirname "$0") status=0
: >"$out"

# part NAME PERCENT COMMAND…: with that part of the time that is left as its last argument; its figures go to $out. A round that was begun may end.
part() {
	local name=$1 started=$SECONDS left=$((budget - SECONDS)) seconds
	seconds=$((left * $2 / 100))
	shift 2
	if [ "$seconds" -lt 1 ]; then
		echo "lab.sh: no time left for $name" >&2
		status=1
		return
	fi
	if timeout -k 5 $((seconds + (left - seconds) / 3)) "$@" "$seconds" >&2; then
		echo "lab.sh: $name took $((SECONDS - started)) s of $seconds" >&2
	else
		echo "lab.sh: $name failed or was stopped after $((SECONDS - started)) s of $seconds" >&2
		status=1
	fi
	[ ! -f "$out.$name" ] || cat "$out.$name" >>"$out"
	rm -f "$out.$name"
}
part boot 30 "$here/boot.sh" "$bin" "$out.boot" "$runs"
peer_ms=$(jq -s 'map(select(.name == "boot_init")) | last | .peer' "$out")
part guest_io 60 "$here/guest_io.sh" "$images" "$bin" "$out.guest_io" "$runs" 3
part workload 100 "$here/workload.sh" "$bin" "$out.workload" "$demo" "$kernel" "${peer_ms:-null}" "$runs"
exit $status
