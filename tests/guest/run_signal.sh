#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run_signal.sh ZONE_VMM GUEST: what a service manager does to zone-vmm, to the guest of power_button.c. READY=1 comes before the
# signal; one that follows the button ends with 0; one that does not ends with 6 when its time is up, or at the second signal.
set -euo pipefail
vmm=$1 guest=$2
[ -w /dev/kvm ] || { echo "SKIP: /dev/kvm is not there or not ours to open"; exit 77; }
dir=$(mktemp -d)
pid='' listener=''
trap 'kill -KILL $pid $listener 2>/dev/null || true; rm -rf "$dir"' EXIT

fail() {
	echo "FAIL: $*"
	cat "$dir/console" "$dir/log" "$dir/notes"
	exit 1
}

wait_for() { # wait_for FILE TEXT
	local i
	for ((i = 0; i < 400; i++)); do
		! grep -q "$2" "$dir/$1" 2>/dev/null || return 0
		sleep 0.05
	done
	fail "no $2 in $1"
}

start() { # start CMDLINE STOP_TIMEOUT
	printf '{"memory_mib": 16, "kernel": {"path": "%s"}, "cmdline": "%s", "console": {"path": "%s"}, "exit": {"path": "%s"}}' \
		"$guest" "$1" "$dir/console" "$dir/exit" >"$dir/spec.json"
	truncate -s 0 "$dir/console" "$dir/exit" "$dir/notes"
	rm -f "$dir/notify"
	socat -u "UNIX-RECV:$dir/notify" "CREATE:$dir/notes" &
	listener=$!
	while [ ! -S "$dir/notify" ]; do sleep 0.02; done
	NOTIFY_SOCKET=$dir/notify "$vmm" --stop-timeout "$2" --spec "$dir/spec.json" 2>"$dir/log" >&2 &
	pid=$!
	wait_for notes READY=1
	wait_for console PASS
}

ends_with() { # ends_with STATUS RECORD
	local status=0
	wait "$pid" || status=$?
	kill "$listener"
	wait "$listener" || true
	pid='' listener=''
	[ "$status" -eq "$1" ] || fail "status $status, expected $1"
	grep -q "^$2" "$dir/exit" || fail "the record says $(cat "$dir/exit"), expected $2"
}

start hears 60
kill -TERM "$pid"
wait_for notes STOPPING=1
ends_with 0 poweroff
start deaf 1
kill -TERM "$pid"
ends_with 6 'killed Terminated'
grep -q 'did not power off in time' "$dir/log" || fail "it does not say why"
start deaf 60
kill -TERM "$pid"
wait_for notes STOPPING=1
kill -INT "$pid"
ends_with 6 'killed Interrupt'
start deaf 0
kill -TERM "$pid"
ends_with 6 killed
echo ok
