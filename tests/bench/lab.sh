#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# lab.sh BIN OUT IMAGES DEMO_IMAGE KERNEL_LAYOUT [RUNS]: in the lab, with services: all of its figures into OUT, one JSON object a line. A part that
# fails is named and leaves its figures out; the status is then 1. IMAGES: what guest_image.sh made.
set -uo pipefail
bin=$1 out=$2 images=$3 demo=$4 kernel=$5 runs=${6:-5}
here=$(dirname "$0") status=0
: >"$out"

part() { # name command…: its figures go to $out
	local name=$1 started=$SECONDS
	shift
	if "$@" >&2; then
		cat "$out.$name" >>"$out"
		echo "lab.sh: $name took $((SECONDS - started)) s" >&2
	else
		echo "lab.sh: $name failed" >&2
		status=1
	fi
	rm -f "$out.$name"
}
part boot "$here/boot.sh" "$bin" "$out.boot" "$runs"
peer_ms=$(jq 'select(.name == "boot_init") | .peer' "$out")
part workload "$here/workload.sh" "$bin" "$out.workload" "$demo" "$kernel" "${peer_ms:-null}" "$runs"
part guest_io "$here/guest_io.sh" "$images" "$bin" "$out.guest_io" $(((runs + 1) / 2)) 3
exit $status
