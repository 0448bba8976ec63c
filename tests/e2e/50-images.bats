#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Where images come from: a real registry on this host, archives, layouts; and a store without room.

load helpers

readonly registry=127.0.0.1:5000

setup_file() {
	export IMAGES=$BATS_FILE_TMPDIR
	launch_zone img
	printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n' \
		"$IMAGES/registry" "$registry" >"$IMAGES/registry.yml"
	docker-registry serve "$IMAGES/registry.yml" >"$IMAGES/registry.log" 2>&1 3>&- &
	echo $! >"$IMAGES/registry.pid"
	wait_until 60 skopeo --override-os linux copy --quiet --dest-tls-verify=false "$CUSTOM_IMAGE" "docker://$registry/team/custom:v1"
	skopeo inspect --raw --tls-verify=false "docker://$registry/team/custom:v1" | sha256sum | cut -d' ' -f1 >"$IMAGES/digest"
}

teardown_file() {
	kill "$(cat "$IMAGES/registry.pid")" 2>/dev/null || true
	destroy_zones img
}

setup() {
	digest=sha256:$(cat "$IMAGES/digest")
}

# in_store REF: whether an image has that name or digest
in_store() {
	protect image list -o json | jq -e --arg r "$1" 'any(.name == $r or .digest == $r)'
}

readonly custom_says="uid=1234 gid=4321 cwd=/app color=blue data=/data/new removed=yes"

@test "an image is pulled from a registry by tag and by digest" {
	run protect image pull "$registry/team/custom:v1"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"$digest"* ]]
	in_store "$registry/team/custom:v1"
	protect image pull "$registry/team/custom@$digest"
	protect image remove "$registry/team/custom:v1"
}

@test "a workload's image is pulled when it is not there yet" {
	run protect workload launch --zone img --name pulled --attach "$registry/team/custom:v1"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"$custom_says"* ]]
	protect workload destroy -W pulled
	run protect workload launch --zone img --name pulled --attach "$registry/team/custom@$digest"
	[ "$status" -eq 0 ]
	[[ $output == *"$custom_says"* ]]
	protect workload destroy -W pulled
}

@test "a digest or tag that the registry does not have" {
	local none=sha256:0000000000000000000000000000000000000000000000000000000000000000
	fails_with_line "$registry/team/custom" protect image pull "$registry/team/custom@$none"
	fails_with_line 'nosuchtag' protect image pull "$registry/team/custom:nosuchtag"
	fails_with_line 'team/nosuch' protect image pull "$registry/team/nosuch:v1"
	fails_with_line 'team/nosuch' protect workload launch --zone img --name none "$registry/team/nosuch:v1"
	run workload_field none uuid
	[ "$status" -ne 0 ]
}

@test "a registry that serves other bytes than the digest says" {
	local layer file
	skopeo copy --quiet --dest-tls-verify=false "$HELLO_IMAGE" "docker://$registry/team/forged:v1"
	layer=$(skopeo inspect --raw --tls-verify=false "docker://$registry/team/forged:v1" | jq -r '.layers[0].digest')
	file=$IMAGES/registry/docker/registry/v2/blobs/sha256/$(cut -c8-9 <<<"$layer")/${layer#sha256:}/data
	printf X | dd of="$file" bs=1 seek=3000 conv=notrunc status=none
	fails_with_line 'digest|Digest|SHA|sha256' protect image pull "$registry/team/forged:v1"
	run in_store "$registry/team/forged:v1"
	[ "$status" -ne 0 ]
}

@test "a docker-archive, from a file and from a pipe" {
	skopeo copy --quiet "$HELLO_IMAGE" "docker-archive:$IMAGES/hello.tar:web/hello:2"
	run protect image import "docker-archive:$IMAGES/hello.tar"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *web/hello:2*sha256:* ]]
	run protect workload launch --zone img --name archived --attach "docker-archive:$IMAGES/hello.tar"
	[[ $output == *"hello from process 1"* ]]
	protect workload destroy -W archived
	# shellcheck disable=SC2002 # a pipe is the point
	cat "$IMAGES/hello.tar" | protect image import docker-archive:/dev/stdin --name piped:1
	protect image list | grep -q piped
	protect image remove piped:1
}

@test "an oci-archive, with and without compression" {
	skopeo copy --quiet "$CUSTOM_IMAGE" "oci-archive:$IMAGES/custom.tar:latest"
	protect image import "oci-archive:$IMAGES/custom.tar" --name archive/custom:1
	gzip -k "$IMAGES/custom.tar"
	protect image import "oci-archive:$IMAGES/custom.tar.gz" --name archive/custom:2
	[ "$(protect image list -o json | jq -r '[.[] | select(.name | test("archive/custom")) | .digest] | unique | length')" -eq 1 ]
	run protect workload launch --zone img --name archived2 --attach archive/custom:2
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"$custom_says"* ]]
	protect workload destroy -W archived2
}

@test "an archive that ends early, or is none" {
	[ -f "$IMAGES/hello.tar" ] || skopeo copy --quiet "$HELLO_IMAGE" "docker-archive:$IMAGES/hello.tar:web/hello:2"
	head -c 700000 "$IMAGES/hello.tar" >"$IMAGES/cut.tar"
	fails_with_line '.' protect image import "docker-archive:$IMAGES/cut.tar" --name cut:1
	fails_with_line '.' protect image import "oci-archive:$PWD/LICENSE" --name cut:1
	fails_with_line '/no/such.tar' protect image import oci-archive:/no/such.tar --name cut:1
	run in_store cut:1
	[ "$status" -ne 0 ]
}

@test "an image in use stays; removed by name and by digest" {
	protect image import "$HELLO_IMAGE" --name gone:1
	protect workload launch --zone img --name user --wait gone:1 -- sleep 100000
	run protect image remove gone:1
	echo "$output"
	protect workload exec user -- true
	protect workload destroy -W user
	protect image remove gone:1 2>/dev/null || true
	fails_with_line 'gone' protect image remove gone:1
}

@test "a registry that is down" {
	kill "$(cat "$IMAGES/registry.pid")"
	wait_until 20 eval "! kill -0 $(cat "$IMAGES/registry.pid")"
	fails_with_line "$registry" protect image pull "$registry/team/custom:v9"
}

# store_socket ARGUMENT…: a storage service and a daemon of our own in $IMAGES/own
start_own() {
	own=$IMAGES/own
	mkdir -p "$own/store" "$own/run" "$own/state"
	mount -t tmpfs -o size=1m none "$own/store"
	protect-storage --store "$own/store" --socket "$own/storage.sock" 2>"$own/storage.log" 3>&- &
	storage_pid=$!
	protect-daemon --socket "$own/daemon.sock" --state "$own/state" --run "$own/run" --storage-socket "$own/storage.sock" \
		2>"$own/daemon.log" 3>&- &
	daemon_pid=$!
	PROTECT_SOCKET=$own/daemon.sock wait_until 30 protect image list
}

stop_own() {
	kill "$daemon_pid" "$storage_pid"
	wait "$daemon_pid" "$storage_pid" || true
	umount "$own/store"
}

@test "a full store says so and keeps nothing" {
	start_own
	local failed=0 used
	used=$(df --output=used "$own/store" | tail -n 1)
	PROTECT_SOCKET=$own/daemon.sock fails_with_line 'full|[Nn]o space' protect image import "$HELLO_IMAGE" --name big:1 || failed=1
	[ "$(PROTECT_SOCKET=$own/daemon.sock protect image list -o json)" = "[]" ] || failed=1
	[ "$(df --output=used "$own/store" | tail -n 1)" -le $((used + 64)) ] || failed=1
	stop_own
	[ "$failed" -eq 0 ]
}
