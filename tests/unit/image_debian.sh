#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# image_debian — images of Debian's packages (tools/debian-image), imported through the real daemon and storage: each equals what umoci
# unpacks, entry by entry.
#
# usage: image_debian.sh BIN-FOLDER NAME     exits with 77 where it cannot run: without root and the tools below, and unless PROTECT_LONG=1
set -euo pipefail
readonly bin=$1 image=$2 skip=77
[ "${PROTECT_LONG:-}" = 1 ] || { echo "SKIP: with tools/test --long, or PROTECT_LONG=1" && exit $skip; }
[ "$(id -u)" = 0 ] || exit $skip
for tool in mksquashfs mmdebstrap python3 umoci unsquashfs; do
	command -v "$tool" >/dev/null || { echo "SKIP: no $tool" && exit $skip; }
done
# shellcheck source=tests/unit/registry.bash
. "$(dirname "${BASH_SOURCE[0]}")/registry.bash"
export PROTECT_SOCKET=$work/daemon.sock

"$(dirname "${BASH_SOURCE[0]}")/../../tools/debian-image" "$image" "$work/layout" >"$work/image.log" 2>&1 ||
	{ echo "SKIP: $(tail -n 1 "$work/image.log")" && exit $skip; }
umoci unpack --image "$work/layout:latest" "$work/bundle" >"$work/umoci.log" 2>&1
start_services </dev/null
"$bin/protect" image import "oci:$work/layout:latest" --name "real/$image:1" >"$work/output"
unsquashfs -q -n -d "$work/unpacked" "$work/store/images"/*.squashfs >/dev/null
diff <(tree "$work/bundle/rootfs") <(tree "$work/unpacked") || fail "umoci unpacks something else"
[ "$(tree "$work/unpacked" | wc -l)" -gt 3000 ] || fail "that was no Debian"
