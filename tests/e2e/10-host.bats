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

@test "services run without privilege, launch and network apart" {
	local service pid
	for service in protect-daemon protect-storage; do
		pid=$(pgrep -xo "$service")
		[ "$(stat -c %u "/proc/$pid")" -ne 0 ]
		grep -E '^Cap(Eff|Prm|Bnd):' "/proc/$pid/status" | awk '{ if ($2 !~ /^0+$/) exit 1 }'
	done
	# NET_ADMIN and NET_BIND_SERVICE.
	pid=$(pgrep -xo protect-network)
	[ "$(stat -c %u "/proc/$pid")" -ne 0 ]
	grep -E '^Cap(Eff|Prm|Bnd):' "/proc/$pid/status" | awk '{ if ($2 != "0000000000001400") exit 1 }'
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

@test "any killed service is back within seconds" {
	local service pid
	for service in protect-storage protect-launch protect-network protect-daemon; do
		pid=$(pgrep -xo "$service")
		kill -KILL "$pid"
		wait_until 15 eval "pid=\$(pgrep -xo $service) && [ \$pid -ne $pid ]"
	done
	wait_until 15 eval 'protect host status | grep -q "^storage *ok" && protect host status | grep -q "^launch *ok"'
}

@test "help at every level, and nothing else on standard error" {
	local group command
	protect --help | grep -q '^usage: protect '
	protect --version | grep -qE '[0-9]+\.[0-9]+'
	for group in host zone workload image completion; do
		protect "$group" -h 2>&1 | grep -q "^usage: protect $group "
		protect "$group" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' >"$BATS_TEST_TMPDIR/commands"
		[ -s "$BATS_TEST_TMPDIR/commands" ]
		while read -r command; do
			protect "$group" "$command" --help 2>&1 | grep -q "^usage: protect $group $command"
		done <"$BATS_TEST_TMPDIR/commands"
	done
}

@test "bash completes commands and options" {
	protect completion bash >"$BATS_TEST_TMPDIR/completion"
	# shellcheck disable=SC2016 # for the shell there
	bash -euc 'source "$1"; COMP_WORDS=(protect zone la) COMP_CWORD=2 COMPREPLY=(); _protect; echo "${COMPREPLY[*]}"' x \
		"$BATS_TEST_TMPDIR/completion" >"$BATS_TEST_TMPDIR/reply"
	grep -qx 'launch *' "$BATS_TEST_TMPDIR/reply"
}
