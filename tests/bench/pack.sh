#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# pack.sh — how long it takes to turn an image into a squashfs: `protect image import` through daemon and storage, beside umoci unpack
# and mksquashfs, which end with the same file system. In turns.
#
# usage: pack.sh BIN LAYOUT RUNS     prints {name, unit, ours, peer, peer_name}; needs root
set -euo pipefail
readonly bin=$1 layout=$2 runs=$3
# shellcheck source=tests/unit/registry.bash
. "$(dirname "${BASH_SOURCE[0]}")/../unit/registry.bash"
# shellcheck source=tests/bench/rounds.bash
. "$(dirname "${BASH_SOURCE[0]}")/rounds.bash"
export PROTECT_SOCKET=$work/daemon.sock

ours() {
	"$bin/protect" image import "oci:$layout:latest" --name bench/pack:1
}

forget_ours() {
	"$bin/protect" image remove bench/pack:1
}

peer() {
	umoci unpack --image "$layout:latest" "$work/bundle"
	# As storage packs (supervisor/storage/pack.c).
	mksquashfs "$work/bundle/rootfs" "$work/image.squashfs" -quiet -no-progress -noappend -noI -comp lz4
}

forget_peer() {
	rm -rf "$work/bundle" "$work/image.squashfs"
}

start_services </dev/null
for ((i = 0; i < runs; i++)); do
	for who in ours peer; do
		start=$(date +%s%N)
		$who >"$work/output" 2>&1 || { cat "$work/output" && exit 1; }
		echo $((($(date +%s%N) - start) / 1000000)) >>"$work/$who"
		forget_$who >/dev/null
	done
done
jq -cn --argjson ours "$(median "$work/ours")" --argjson peer "$(median "$work/peer")" \
	'{name: "image_pack", unit: "ms", ours: $ours, peer: $peer, peer_name: "umoci unpack and mksquashfs"}'
