#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# image_registry_tls — an image by https from Debian's docker-registry, whose authority only the configuration knows. All in a network
# namespace of its own, where an address that is not this machine's loopback can be given to it.
#
# usage: image_registry_tls.sh BIN-FOLDER     exits with 77 where it cannot run (needs root and the tools below)
set -euo pipefail
readonly bin=$1 skip=77 address=198.51.100.7 port=5443
# shellcheck source=tools/lib/oci.bash
. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib/oci.bash"
[ "$(id -u)" = 0 ] || exit $skip
for tool in busybox docker-registry ip mksquashfs openssl skopeo; do
	command -v "$tool" >/dev/null || { echo "SKIP: no $tool" && exit $skip; }
done
[ "${2:-}" = inside ] || exec unshare --net "$0" "$bin" inside
# shellcheck source=tests/unit/registry.bash
. "$(dirname "${BASH_SOURCE[0]}")/registry.bash"

run() { # run NAME COMMAND…: in the background; what it says is NAME.log
	local log=$work/$1.log
	shift
	setpriv --pdeathsig TERM "$@" >"$log" 2>&1 &
	pids+=($!)
}

make_certificates() {
	local new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2)
	openssl req -x509 "${new[@]}" -subj /CN=authority -keyout "$work/ca.key" -out "$work/ca.pem"
	openssl req -x509 "${new[@]}" -subj "/CN=$address" -addext "subjectAltName=IP:$address" -addext basicConstraints=CA:FALSE \
		-CA "$work/ca.pem" -CAkey "$work/ca.key" -keyout "$work/registry.key" -out "$work/registry.pem"
}

start_registry() {
	cat >"$work/registry.yml" <<-END
		version: 0.1
		log: {level: error}
		storage: {filesystem: {rootdirectory: $work/registry}}
		http: {addr: "$address:$port", tls: {certificate: $work/registry.pem, key: $work/registry.key}}
	END
	run registry docker-registry serve "$work/registry.yml"
	wait_until bash -c "exec 3<>/dev/tcp/$address/$port"
}

# pull STORE CONFIGURATION: by services of its own; the status is that of the pull.
pull() {
	local status=0 folder=$work/$1
	mkdir -p "$folder/store" "$folder/state" "$folder/run"
	printf '[storage]\n%s\n' "$2" >"$folder/protect.conf"
	run "$1-storage" "$bin/protect-storage" --store "$folder/store" --socket "$folder/storage.sock" --allow-uid root --config "$folder/protect.conf"
	wait_until test -S "$folder/storage.sock"
	export PROTECT_SOCKET=$folder/daemon.sock
	run "$1-daemon" "$bin/protect-daemon" --socket "$PROTECT_SOCKET" --state "$folder/state" --run "$folder/run" \
		--launch-socket "$folder/launch.sock" --storage-socket "$folder/storage.sock" --uid-count 8 --metrics off
	wait_until "$bin/protect" image list
	"$bin/protect" image pull "$address:$port/box:1" >"$work/output" 2>&1 || status=$?
	"$bin/protect" image list -o json >"$folder/images"
	return $status
}

ip link set lo up
ip address add "$address/32" dev lo
make_certificates 2>"$work/openssl.log"
start_registry
mkdir -p "$work/tree/bin"
cp "$(command -v busybox)" "$work/tree/bin"
oci_new_layout "$work/layout"
oci_add_tar_layer "$work/layout" "$work/tree"
oci_write_image "$work/layout" 1 '{}'
skopeo copy -q --dest-tls-verify=false "oci:$work/layout:1" "docker://$address:$port/box:1" 2>"$work/skopeo.log"

! pull stranger '' || fail 'an authority that nobody knows was believed'
grep -q "is not trusted: .*'ca-bundle' in protect.conf" "$work/output" || fail "$(cat "$work/output")"
pull known "ca-bundle = $work/ca.pem" || fail "$(cat "$work/output")"
grep -q "$address:$port/box:1" "$work/known/images" || fail "$(cat "$work/known/images")"
