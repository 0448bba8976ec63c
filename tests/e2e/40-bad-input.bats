#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Bad input: a one-line error that names the thing, a status other than 0, and nothing left behind.

load helpers

setup_file() {
	launch_zone bad
}

teardown_file() {
	destroy_zones bad
}

setup() {
	zones_before=$(protect zone list -o json | jq -cS '[.[].uuid] | sort')
	workloads_before=$(protect workload list -o json | jq -cS '[.[].uuid] | sort')
	runners_before=$(count_runners)
}

teardown() {
	[ "$(protect zone list -o json | jq -cS '[.[].uuid] | sort')" = "$zones_before" ]
	[ "$(protect workload list -o json | jq -cS '[.[].uuid] | sort')" = "$workloads_before" ]
	[ "$(count_runners)" = "$runners_before" ]
}

@test "an unknown zone" {
	fails_with_line nosuchzone protect zone exec nosuchzone -- true
	fails_with_line nosuchzone protect zone logs nosuchzone
	fails_with_line nosuchzone protect zone destroy nosuchzone
	fails_with_line nosuchzone protect zone metrics nosuchzone
	fails_with_line nosuchzone protect workload launch --zone nosuchzone "$HELLO_IMAGE"
}

@test "an unknown workload" {
	fails_with_line nosuchload protect workload exec nosuchload -- true
	fails_with_line nosuchload protect workload stop nosuchload
	fails_with_line nosuchload protect workload destroy nosuchload
}

@test "an unknown image" {
	fails_with_line nosuch protect workload launch --zone bad --wait "oci:/nosuch:latest"
	fails_with_line nosuch protect workload launch --zone bad --wait "oci:$PWD/build/demo/hello:nosuch"
	fails_with_line nosuch protect image remove nosuch:latest
}

@test "an unknown flag, command or missing argument" {
	fails_with_line '--nosuchflag' protect zone launch --nosuchflag
	fails_with_line nosuchcommand protect nosuchcommand
	fails_with_line nosuchcommand protect zone nosuchcommand
	fails_with_line '.' protect zone exec
	fails_with_line '.' protect workload launch
}

@test "numbers that are none" {
	fails_with_line 'twelve' protect zone launch --max-memory twelve
	fails_with_line '-?5' protect zone launch --max-memory=-5
	fails_with_line '99999999999999999999' protect zone launch --max-memory 99999999999999999999
	fails_with_line '.' protect zone launch --max-cpus 0
}

@test "a name that is taken" {
	fails_with_line bad protect zone launch --name bad
	protect workload launch --zone bad --name taken --wait "$HELLO_IMAGE" -- sleep 100000
	fails_with_line taken protect workload launch --zone bad --name taken "$HELLO_IMAGE"
	protect workload destroy -W taken
}

@test "memory that does not fit" {
	fails_with_line '[Mm]emory' protect zone launch --name big --max-memory 1000000
}

@test "processors that do not fit" {
	fails_with_line 'cpu|CPU|processor' protect zone launch --name wide --max-cpus 10000
}

@test "a truncated image" {
	cp -r build/demo/hello "$BATS_TEST_TMPDIR/cut"
	local blob
	blob=$(find "$BATS_TEST_TMPDIR/cut/blobs/sha256" -size +1000k | head -n 1)
	truncate -s 100000 "$blob"
	fails_with_line 'digest|size|trunc|short' protect workload launch --zone bad --wait "oci:$BATS_TEST_TMPDIR/cut:latest"
}

@test "a digest that does not match" {
	cp -r build/demo/hello "$BATS_TEST_TMPDIR/forged"
	local blob
	blob=$(find "$BATS_TEST_TMPDIR/forged/blobs/sha256" -size +1000k | head -n 1)
	printf X | dd of="$blob" bs=1 seek=50000 conv=notrunc status=none
	fails_with_line 'digest' protect workload launch --zone bad --wait "oci:$BATS_TEST_TMPDIR/forged:latest"
}

@test "a truncated kernel" {
	cp -r "$KERNEL_LAYOUT" "$BATS_TEST_TMPDIR/kernel"
	local blob
	blob=$(find "$BATS_TEST_TMPDIR/kernel/blobs/sha256" -size +1000k | head -n 1)
	truncate -s 1000000 "$blob"
	fails_with_line '.' protect zone launch --name cut --wait --kernel "oci:$BATS_TEST_TMPDIR/kernel:default"
}

# kernel_image_of FILE TAG: an OCI image in order in every way, but with FILE as its kernel/image; prints its reference
kernel_image_of() {
	local tree=$BATS_TEST_TMPDIR/tree layout=$BATS_TEST_TMPDIR/made
	# shellcheck source=tools/lib/oci.bash
	. tools/lib/oci.bash
	mkdir -p "$tree/kernel"
	cp "$1" "$tree/kernel/image"
	printf 'KERNEL_ARCH=x86_64\nKERNEL_VERSION=6.1\nKERNEL_UNAME_R=6.1\nKERNEL_FLAVOR=broken\n' >"$tree/kernel/metadata"
	[ -d "$layout" ] || oci_new_layout "$layout"
	oci_add_tar_layer "$layout" "$tree"
	oci_write_image "$layout" "$2" '{}'
	echo "oci:$layout:$2"
}

@test "a kernel image whose kernel is cut short, or none" {
	long_only
	local ref layer
	layer=$(jq -r '.manifests[0].digest' "$KERNEL_LAYOUT/index.json" | cut -d: -f2)
	layer=$(jq -r '.layers[0].digest' "$KERNEL_LAYOUT/blobs/sha256/$layer" | cut -d: -f2)
	tar -xOf "$KERNEL_LAYOUT/blobs/sha256/$layer" kernel/image >"$BATS_TEST_TMPDIR/whole"
	head -c 1000000 "$BATS_TEST_TMPDIR/whole" >"$BATS_TEST_TMPDIR/short"
	ref=$(kernel_image_of "$BATS_TEST_TMPDIR/short" short)
	fails_with_line 'kernel' protect zone launch --name broken --wait --kernel "$ref"
	protect zone destroy -W broken 2>/dev/null || true
	ref=$(kernel_image_of "$PWD/LICENSE" text)
	fails_with_line 'kernel' protect zone launch --name broken --wait --kernel "$ref"
	protect zone destroy -W broken 2>/dev/null || true
}

@test "an image that is no kernel" {
	fails_with_line 'kernel' protect zone launch --name nokernel --wait --kernel "$HELLO_IMAGE"
}

@test "a daemon that does not run" {
	PROTECT_SOCKET=$BATS_TEST_TMPDIR/none.sock fails_with_line 'daemon' protect zone list
}

@test "a user who may not use the socket" {
	fails_with_line 'protect' setpriv --reuid 65534 --regid 65534 --clear-groups protect zone list
}

@test "the service that reads what strangers wrote rules no zone" {
	fails_with_line 'protect' setpriv --reuid protect-storage --regid protect-storage --init-groups protect zone list
}

@test "a program that the image lacks" {
	fails_with_line '/no/such/program' protect workload launch --zone bad --name lacking --wait "$HELLO_IMAGE" -- /no/such/program
	protect workload destroy lacking 2>/dev/null || true
}

@test "no /dev/kvm" {
	mv /dev/kvm /dev/kvm.away
	run fails_with_line '/dev/kvm' protect zone launch --name nokvm --wait
	mv /dev/kvm.away /dev/kvm
	echo "$output"
	[ "$status" -eq 0 ]
}
