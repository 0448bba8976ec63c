#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Every thread of a zone's runner is filtered, and the probe (tests/sandbox) finds everything denied on this host too.

load helpers

setup_file() {
	launch_zone filtered
}

teardown_file() {
	destroy_zones filtered
}

runner_pid() {
	pgrep -f 'zone-vmm.* --spec-fd' | head -n 1
}

@test "all threads of a runner have a filter and no new privileges" {
	pid=$(runner_pid)
	[ -n "$pid" ]
	for task in /proc/"$pid"/task/*; do
		cat "$task/comm"
		grep -qE '^Seccomp:[[:space:]]+2$' "$task/status"
		grep -qE '^NoNewPrivs:[[:space:]]+1$' "$task/status"
	done
}

@test "no call of a zone was killed so far" {
	run bash -c 'dmesg | grep "type=1326.*zone-vmm"'
	echo "$output"
	[ "$status" -ne 0 ]
}

@test "every service has its filters, and none was denied a call" {
	for service in protect-daemon protect-launch protect-network protect-storage storage-helper; do
		pid=$(pgrep -ox "$service")
		for task in /proc/"$pid"/task/*; do
			grep -qE '^Seccomp:[[:space:]]+2$' "$task/status"
			grep -qE '^NoNewPrivs:[[:space:]]+1$' "$task/status"
		done
	done
	for folder in protect protect-launch protect-network protect-storage; do
		[ -e "/run/$folder/denied" ]
		[ ! -s "/run/$folder/denied" ] || { echo "$folder: $(cat "/run/$folder/denied")" && return 1; }
	done
	# A runner's: what launch handed on and its own.
	grep -qE '^Seccomp_filters:[[:space:]]+[2-9]' "/proc/$(runner_pid)/status"
}

@test "the probe is denied everything" {
	probe=
	for build in "${SANDBOX_PROBE_BUILD:-build/debug}" build/clang; do
		[ -x "$build/bin/sandbox_probe" ] && probe=$build/bin/sandbox_probe && break
	done
	[ -n "$probe" ] || skip "no sandbox_probe in build/debug or build/clang"
	run "$probe"
	grep -v '^ok' <<<"$output" || true
	[ "$status" -eq 0 ]
	[[ $output =~ ([0-9]+)\ of\ ([0-9]+)\ denied ]]
	[ "${BASH_REMATCH[1]}" -ge 60 ]
	[ "${BASH_REMATCH[1]}" -eq "${BASH_REMATCH[2]}" ]
}
