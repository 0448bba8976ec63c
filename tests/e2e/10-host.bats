#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The host's own commands, and services that come back.

load helpers

@test "host status names the version and the services" {
	run protect host status
	[ "$status" -eq 0 ]
	[[ $output == *storage* ]]
	[[ $output == *launch* ]]
}

@test "host check passes here" {
	run protect host check
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "host cpu-topology shows every processor" {
	run protect host cpu-topology
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$(printf '%s\n' "$output" | wc -l)" -ge "$(nproc)" ]
}

@test "the default kernel is an image of the store" {
	run protect image list -o json
	[ "$status" -eq 0 ]
	jq -e 'type == "array"' <<<"$output"
}

@test "services run without privilege, launch apart" {
	local service pid
	for service in protect-daemon protect-storage; do
		pid=$(pgrep -xo "$service")
		[ "$(stat -c %u "/proc/$pid")" -ne 0 ]
		grep -E '^Cap(Eff|Prm|Bnd):' "/proc/$pid/status" | awk '{ if ($2 !~ /^0+$/) exit 1 }'
	done
}

@test "a killed daemon answers again within seconds" {
	local pid
	pid=$(pgrep -xo protect-daemon)
	kill -KILL "$pid"
	wait_until 15 protect host status
	[ "$(pgrep -xo protect-daemon)" -ne "$pid" ]
}

@test "lists print arrays, lines and tables" {
	[ "$(protect zone list -o json | jq -r type)" = array ]
	[ "$(protect workload list -o json | jq -r type)" = array ]
	protect zone list -o jsonl
	protect zone list -o table
}
