#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A zone that grows, shrinks, pauses and goes on; what its virtual machine monitor says and knows; kernels by variant.

load helpers

setup_file() {
	launch_zone res --max-memory 512 --target-memory 192 --max-cpus 2 --target-cpus 1
}

teardown_file() {
	destroy_zones res var
}

# What the zone itself sees.
zone_cpus() {
	protect zone exec res -- nproc
}

zone_memory_mib() {
	# shellcheck disable=SC2016 # for the shell there
	protect zone exec res -- awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo
}

has_cpus() { # has_cpus N
	[ "$(zone_cpus)" -eq "$1" ]
}

has_memory() { # has_memory OPERATOR MIB
	test "$(zone_memory_mib)" "$1" "$2"
}

# How far the zone's time is behind this host's, in seconds. A zone that boots under load loses ticks, so it may be some.
time_behind() {
	local before there
	before=$(date +%s)
	there=$(protect zone exec res -- date +%s)
	echo $(((before + $(date +%s)) / 2 - there))
}

@test "a zone starts with its targets" {
	[ "$(zone_field res target_memory_mib) $(zone_field res max_memory_mib)" = "192 512" ]
	[ "$(zone_field res target_cpus) $(zone_field res max_cpus)" = "1 2" ]
	protect zone list | grep -qE '192/512 +1/2'
	has_cpus 1
	has_memory -le 192
}

@test "processors come and go" {
	protect zone update res --target-cpus 2
	[ "$(zone_field res target_cpus)" -eq 2 ]
	wait_until 60 has_cpus 2
	[ "$(protect host hv-debug-info res | jq '[.[0].vcpus[] | select(.state == "running")] | length')" -eq 2 ]
	protect zone update res --target-cpus 1
	wait_until 60 has_cpus 1
}

@test "memory comes and goes" {
	local before
	before=$(zone_memory_mib)
	protect zone update res --target-memory 448
	[ "$(zone_field res target_memory_mib)" -eq 448 ]
	wait_until 60 has_memory -gt $((before + 200))
	protect zone exec res -- dd if=/dev/zero of=/dev/null bs=200M count=1 # one buffer: all of it is written to
	protect zone update res --target-memory 192
	wait_until 60 has_memory -le $((before + 64))
}

@test "targets that cannot be" {
	local before
	before="$(zone_field res target_memory_mib) $(zone_field res target_cpus)"
	fails_with_line 'maximum of 512 MiB' protect zone update res --target-memory 513
	fails_with_line 'maximum of 2' protect zone update res --target-cpus 3
	fails_with_line 'at least' protect zone update res --target-memory 1
	fails_with_line 'target' protect zone update res
	fails_with_line 'nosuch' protect zone update nosuch --target-cpus 1
	fails_with_line 'target-memory' protect zone launch --max-memory 128 --target-memory 256
	[ "$(zone_field res target_memory_mib) $(zone_field res target_cpus)" = "$before" ]
}

@test "a paused zone stands still, and its time is right afterwards" {
	local exec_pid there behind after
	behind=$(time_behind)
	protect zone exec res -- sh -c 'for i in 1 2 3 4 5 6; do echo tick; sleep 1; done' >"$BATS_TEST_TMPDIR/ticks" 3>&- &
	exec_pid=$!
	wait_until 30 grep -q tick "$BATS_TEST_TMPDIR/ticks"
	protect zone pause res
	[ "$(zone_field res paused) $(zone_field res state)" = "true ready" ]
	protect zone list | grep -q ' paused '
	sleep 1 # what was on the way
	there=$(wc -l <"$BATS_TEST_TMPDIR/ticks")
	fails_with_line "is paused; 'protect zone resume res'" protect zone exec res -- true
	fails_with_line 'is paused' protect workload launch --zone res "$HELLO_IMAGE"
	fails_with_line 'is paused' protect zone update res --target-cpus 2
	[ "$(protect host hv-debug-info res | jq -r '.[0].vcpus[0].state')" = paused ]
	sleep 5
	[ "$(wc -l <"$BATS_TEST_TMPDIR/ticks")" -eq "$there" ]
	protect zone resume res
	[ "$(zone_field res paused)" = false ]
	wait "$exec_pid"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/ticks")" -eq 6 ]
	after=$(time_behind)
	echo "behind by $behind s before, by $after s afterwards"
	[ "$behind" -ge -3 ] && [ "$behind" -le 10 ]
	[ $((after - behind)) -ge -3 ] && [ $((after - behind)) -le 3 ]
}

@test "targets and pause outlive the daemon" {
	local before
	before="$(zone_field res target_memory_mib) $(zone_field res target_cpus)"
	protect zone pause res
	kill -KILL "$(pgrep -xo protect-daemon)"
	wait_until 20 protect host status
	wait_until 20 zone_field res paused
	[ "$(zone_field res target_memory_mib) $(zone_field res target_cpus)" = "$before" ]
	protect zone resume res
	wait_until 30 protect zone exec res -- true
}

@test "hv-console tells of boots, also of zones that ended" {
	protect host hv-console res >"$BATS_TEST_TMPDIR/console"
	cat "$BATS_TEST_TMPDIR/console"
	grep -q boot "$BATS_TEST_TMPDIR/console"
	launch_zone var
	protect host hv-console | grep -q '^res: .*boot'
	protect host hv-console | grep -q '^var: .*boot'
	protect zone exec var -- poweroff -f || true
	wait_until 30 zone_ended var
	protect host hv-console var | grep -q 'reason=poweroff'
	protect zone destroy -W var
	fails_with_line 'var' protect host hv-console var
}

@test "hv-debug-info: every device of every zone" {
	protect host hv-debug-info >"$BATS_TEST_TMPDIR/info"
	jq -c . "$BATS_TEST_TMPDIR/info" | head -c 2000
	jq -e 'type == "array" and any(.zone == "res")' "$BATS_TEST_TMPDIR/info"
	jq -e '.[] | select(.zone == "res") | (.uuid | length == 36) and (.vcpus | length >= 1) and
		(.memory.regions | length >= 1) and ([.devices[].device] | index("vsock") != null) and
		([.devices[] | .queues[]] | all(has("size") and has("next_avail")))' "$BATS_TEST_TMPDIR/info"
	[ "$(protect host hv-debug-info -o jsonl res | wc -l)" -eq 1 ]
	fails_with_line 'nosuch' protect host hv-debug-info nosuch
}

# variant_of LAYOUT TO VARIANT: the same kernel as an image of another variant
variant_of() {
	local tree=$BATS_TEST_TMPDIR/tree blob
	# shellcheck source=tools/lib/oci.bash
	. tools/lib/oci.bash
	blob=$(find "$1/blobs/sha256" -type f -size +1000k | head -n 1)
	mkdir -p "$tree"
	tar -x -C "$tree" -f "$blob"
	sed -i "s/^KERNEL_FLAVOR=.*/KERNEL_FLAVOR=$3/" "$tree/kernel/metadata"
	oci_new_layout "$2"
	oci_add_tar_layer "$2" "$tree"
	oci_write_image "$2" latest '{}'
	rm -rf "$tree"
}

@test "kernels are chosen by their variant" {
	local variant
	variant=$(protect image list -o json | jq -r '.[] | select(.name == "localhost/zone-kernel:default") | .variant')
	echo "the default kernel's variant: $variant"
	[ -n "$variant" ]
	fails_with_line "no kernel of variant 'nosuch' is in the store; there is: .*$variant" \
		protect zone launch --kernel-variant nosuch
	fails_with_line 'exclude' protect zone launch --kernel-variant "$variant" --kernel default
	variant_of "$KERNEL_LAYOUT" "$BATS_TEST_TMPDIR/layout" tested
	protect image import "oci:$BATS_TEST_TMPDIR/layout:latest" --name kernels/tested:1
	rm -rf "$BATS_TEST_TMPDIR/layout"
	protect image list | grep -qE '^kernels/tested:1 .* tested '
	launch_zone var --kernel-variant tested
	[[ $(zone_field var kernel) == kernels/tested:1 ]]
	protect zone exec var -- true
	protect zone pause var # and a paused zone can be destroyed
	protect zone destroy -W var
	protect image remove kernels/tested:1
}
