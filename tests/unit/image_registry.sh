#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# image_registry — `protect image pull` from Debian's docker-registry with htpasswd, through the real daemon and storage;
# what is pulled equals what umoci unpacks, entry by entry.
#
# usage: image_registry.sh BIN-FOLDER     exits with 77 where it cannot run (needs root and the tools below)
set -euo pipefail
readonly bin=$1 skip=77 password=open-sesame-5-times
[ "$(id -u)" = 0 ] || exit $skip
for tool in busybox docker-registry jq mksquashfs python3 setcap skopeo umoci unsquashfs; do
	command -v "$tool" >/dev/null || { echo "SKIP: no $tool" && exit $skip; }
done
# shellcheck source=tests/unit/registry.bash
. "$(dirname "${BASH_SOURCE[0]}")/registry.bash"
export PROTECT_SOCKET=$work/daemon.sock HOME=$work/home

expect_error() { # expect_error PATTERN COMMAND…: it fails, and says that
	local pattern=$1
	shift
	! "$@" >"$work/output" 2>&1 </dev/null || fail "$* went well"
	grep -q -- "$pattern" "$work/output" || fail "$*: $(cat "$work/output")"
}

# The registry takes bcrypt only, which Debian's crypt(3) makes.
start_registry() {
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	python3 -W ignore -c 'import crypt; print("user:" + crypt.crypt("'$password'", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))' \
		>"$work/htpasswd"
	cat >"$work/registry.yml" <<-END
		version: 0.1
		log: {level: error}
		storage: {filesystem: {rootdirectory: $work/registry}}
		http: {addr: "127.0.0.1:$port"}
		auth: {htpasswd: {realm: test, path: $work/htpasswd}}
	END
	setpriv --pdeathsig KILL docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
	pids+=($!)
	wait_until python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))"
}

# layer TREE-CHANGE: unpacks the image, changes its tree by the function of that name, and adds a layer.
layer() {
	rm -rf "$work/bundle"
	umoci unpack --image "$work/layout:test" "$work/bundle" >"$work/umoci.log" 2>&1
	(cd "$work/bundle/rootfs" && "$1")
	umoci repack --image "$work/layout:test" "$work/bundle" >>"$work/umoci.log" 2>&1
}

first() {
	mkdir -p bin etc usr/lib/deep/er opt/gone var/data
	cp "$(command -v busybox)" bin/busybox
	ln bin/busybox bin/sh
	ln -s ../usr/lib/deep var/link
	setcap cap_net_raw+ep bin/busybox
	echo one >etc/one && echo two >usr/lib/deep/two && echo x >opt/gone/x
	mknod var/pipe p && mknod var/null c 1 3
	truncate -s 8M var/data/sparse && printf end | dd of=var/data/sparse bs=1 seek=8M status=none
	chown 12:34 etc/one && chmod 4755 usr/lib/deep/two
}
second() { # whiteouts; a folder becomes a file, a file a link
	rm -r opt/gone && rm usr/lib/deep/two
	rm -r usr/lib/deep && echo file >usr/lib/deep
	rm etc/one && ln -s /etc/passwd etc/one
}
third() {
	mkdir -p opt/gone && echo new >opt/gone/y
	chmod 0700 var/data
	mkdir -p "$(printf 'a%.0s' {1..200})/$(printf 'b%.0s' {1..200})" && touch "$(printf 'a%.0s' {1..200})/$(printf 'b%.0s' {1..200})/$(printf 'c%.0s' {1..250})"
}
fourth() {
	rm bin/sh && cp bin/busybox bin/sh2 && touch -d @1000000000 etc
}

start_registry
mkdir "$HOME"
start_services <<<$'[storage]\nparallel-layers = 3'
umoci init --layout "$work/layout" && umoci new --image "$work/layout:test"
for change in first second third fourth; do
	layer "$change"
done
# Its layer ends with the last byte of the last file.
echo inserted >"$work/file"
umoci insert --image "$work/layout:test" "$work/file" /opt/inserted >>"$work/umoci.log" 2>&1
rm -rf "$work/bundle"
umoci unpack --image "$work/layout:test" "$work/bundle" >"$work/umoci.log" 2>&1
for kind in oci v2s2; do
	skopeo copy -q --format $kind --dest-tls-verify=false --dest-creds "user:$password" "oci:$work/layout:test" \
		"docker://127.0.0.1:$port/$kind:1" 2>"$work/skopeo.log"
done

readonly ref=127.0.0.1:$port/oci:1
expect_error 'a private image needs a login' "$bin/protect" image pull "$ref"
echo wrong >"$work/wrong"
"$bin/protect" image pull -u user --password-stdin "$ref" <"$work/wrong" >"$work/output" 2>&1 && fail "a wrong password is right"
grep -q 'is the login right' "$work/output" || fail "$(cat "$work/output")"
echo "$password" | "$bin/protect" image pull -u user --password-stdin -o jsonl "$ref" >"$work/output"
[ "$(jq -r 'select(.event == "image").name' "$work/output")" = "$ref" ] || fail "$(cat "$work/output")"
[ "$(jq -r 'select(.text == "pulled").number' "$work/output" | sort -u | wc -l)" = 5 ] || fail "$(cat "$work/output")"

mkdir "$HOME/.docker"
jq -n --arg host "127.0.0.1:$port" --arg auth "$(printf %s "user:$password" | base64)" '{auths: {($host): {auth: $auth}}}' \
	>"$HOME/.docker/config.json"
"$bin/protect" image pull "127.0.0.1:$port/v2s2:1" >"$work/output" 2>"$work/lines"
[ "$(grep -c '^layer . of 5 .* pulled, ' "$work/lines")" = 5 ] || fail "$(cat "$work/lines")"
! grep -rqF -e "$password" -e "$(printf %s "user:$password" | base64)" "$work/store" "$work/state" "$work"/{storage,daemon}.log || fail "the login was kept"

for image in "$work/store/images"/*.squashfs; do
	rm -rf "$work/unpacked"
	unsquashfs -q -n -d "$work/unpacked" "$image" >/dev/null
	diff <(tree "$work/bundle/rootfs") <(tree "$work/unpacked") || fail "umoci unpacks something else"
done
