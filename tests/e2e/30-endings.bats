#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# How zones end, and what is left of them: nothing.

load helpers

teardown() {
	destroy_zones "end-$BATS_TEST_NUMBER"
}

# end_zone COMMAND…: runs it in a new zone, which it ends; its own status cannot be told then
end_zone() {
	launch_zone "end-$BATS_TEST_NUMBER"
	timeout 60 protect zone exec "end-$BATS_TEST_NUMBER" -- "$@" </dev/null || true
}

reason() {
	zone_field "end-$BATS_TEST_NUMBER" reason
}

@test "poweroff -f in a zone is reported as a power-off" {
	end_zone poweroff -f
	wait_until 30 zone_is "end-$BATS_TEST_NUMBER" exited
	[[ $(reason) == *power*off* ]]
}

@test "reboot -f in a zone is reported as a reboot" {
	long_only
	end_zone reboot -f
	wait_until 30 zone_is "end-$BATS_TEST_NUMBER" exited
	[[ $(reason) == *reboot* ]]
}

@test "a kernel panic is reported as a panic" {
	end_zone sh -c 'echo c >/proc/sysrq-trigger'
	wait_until 30 zone_ended "end-$BATS_TEST_NUMBER"
	[[ $(reason) == *panic* ]]
	protect zone logs "end-$BATS_TEST_NUMBER" | grep -q 'Kernel panic'
}

@test "a zone is destroyed while a workload runs, and nothing stays" {
	launch_zone "end-$BATS_TEST_NUMBER"
	protect workload launch --zone "end-$BATS_TEST_NUMBER" --name doomed --wait "$HELLO_IMAGE" -- sleep 100000
	protect zone destroy -W "end-$BATS_TEST_NUMBER"
	run zone_field "end-$BATS_TEST_NUMBER" uuid
	[ "$status" -ne 0 ]
	run workload_field doomed uuid
	[ "$status" -ne 0 ]
	[ "$(count_runners)" -eq 0 ]
	[ -z "$(ls -A /run/protect/zones)" ]
}

@test "a dead runner shows as failed, its control group gone" {
	local uuid
	launch_zone "end-$BATS_TEST_NUMBER"
	uuid=$(zone_field "end-$BATS_TEST_NUMBER" uuid)
	has_control_group "$uuid"
	kill -KILL "$(zone_field "end-$BATS_TEST_NUMBER" pid)"
	wait_until 4 zone_is "end-$BATS_TEST_NUMBER" failed
	wait_until 4 has_no_control_group "$uuid"
}

@test "memory and processors given back can be given again" {
	long_only
	local before
	before=$(protect host status)
	launch_zone "end-$BATS_TEST_NUMBER"
	[ "$(protect host status)" != "$before" ]
	protect zone destroy -W "end-$BATS_TEST_NUMBER"
	[ "$(protect host status | grep -iE 'memory|cpu')" = "$(printf '%s\n' "$before" | grep -iE 'memory|cpu')" ]
}
