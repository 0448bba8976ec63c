# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the tests with a real registry share: a folder $work and processes $pids that go with the test, and waiting.
work=$(mktemp -d /tmp/protect-registry.XXXXXX)
pids=()

clean_up() {
	local status=$?
	[ $status = 0 ] || tail -n 20 "$work"/*.log
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap clean_up EXIT

fail() {
	echo "line ${BASH_LINENO[0]}: $*"
	exit 1
}

wait_until() { # wait_until COMMAND…: within 20 s
	for _ in $(seq 200); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.1
	done
	fail "in vain: $*"
}
