#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A zone with the kernel of our own (tools/zone-kernel --from-source, in build/zone-kernel-own): what zones do with Debian's they do
# with it.

load helpers

readonly layout=build/zone-kernel-own

setup() {
	long_only
}

setup_file() {
	is_long || return 0
	protect image import "oci:$layout:default" --name kernels/own:1
	launch_zone own --kernel-variant zone --max-memory 512 --target-memory 192 --max-cpus 2 --target-cpus 1
}

teardown_file() {
	is_long || return 0
	destroy_zones own
	protect image remove kernels/own:1
}

zone_says() { # zone_says TEXT COMMAND…
	local text=$1
	shift
	[ "$(protect zone exec own -- "$@")" = "$text" ]
}

memory_mib() {
	# shellcheck disable=SC2016 # for the shell there
	protect zone exec own -- awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo
}

has_memory() { # has_memory OPERATOR MIB
	test "$(memory_mib)" "$1" "$2"
}

@test "its kernel is the one of the variant" {
	local blob release
	protect image list | grep -qE '^kernels/own:1 .* zone '
	blob=$(find "$layout/blobs/sha256" -type f -size +1000k | head -n 1)
	release=$(tar -xOf "$blob" kernel/metadata | sed -n 's/^KERNEL_UNAME_R=//p')
	echo "$release"
	[ -n "$release" ]
	zone_says "$release" uname -r
	[[ $(zone_field own kernel) == kernels/own:1 ]]
}

@test "a workload runs in it, and finds what it wrote when it is started again" {
	protect workload launch --zone own --attach "$HELLO_IMAGE" -- uname -r | grep -q '^[0-9]'
	protect workload launch --zone own --name box --wait -m 32m "$HELLO_IMAGE" -- sleep 1000
	[ "$(protect workload exec box -- sh -c 'echo kept >/file; cat /file')" = kept ]
	protect workload stop box
	protect workload start box
	[ "$(protect workload exec box -- cat /file)" = kept ]
	protect workload stop box
}

@test "processors and memory come and go" {
	local before
	protect zone update own --target-cpus 2
	wait_until 60 zone_says 2 nproc
	protect zone update own --target-cpus 1
	wait_until 60 zone_says 1 nproc
	before=$(memory_mib)
	protect zone update own --target-memory 448
	wait_until 60 has_memory -gt $((before + 200))
	protect zone update own --target-memory 192
	wait_until 60 has_memory -le $((before + 64))
}

@test "it pauses and goes on; disks and NICs come and go" {
	local socket file=$BATS_TEST_TMPDIR/disk
	protect zone pause own
	protect zone resume own
	socket=$(find "/run/protect/zones/$(zone_field own uuid)" -type s | head -n 1)
	truncate -s 8M "$file"
	python3 tests/e2e/runner_request.py "$socket" disk-attach owndisk "$file"
	wait_until 60 protect zone exec own -- sh -c "grep -lx owndisk /sys/block/vd*/serial"
	python3 tests/e2e/runner_request.py "$socket" disk-detach owndisk 30000
	protect zone exec own -- sh -c '! grep -lx owndisk /sys/block/vd*/serial'
	python3 tests/e2e/runner_request.py "$socket" nic-attach extra0 02:00:00:00:77:01 owntap
	wait_until 60 protect zone exec own -- sh -c 'grep -lx 02:00:00:00:77:01 /sys/class/net/*/address'
	python3 tests/e2e/runner_request.py "$socket" nic-detach extra0 30000
	protect zone exec own -- sh -c '! grep -lx 02:00:00:00:77:01 /sys/class/net/*/address'
}
