#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The command line against one zone: terminals, logs as they come, names and UUIDs, the fields of lists, waiting.

load helpers

setup_file() {
	launch_zone use -e ZONEVAR=from-the-zone --module 'dummy numdummies=2' --sysctl vm.swappiness=7 \
		--sysctl net/ipv4/conf/dummy1/forwarding=1 --kernel-option protect.word=here
	protect workload launch --zone use --name long --wait "$HELLO_IMAGE" -- sleep 100000
}

teardown_file() {
	destroy_zones use
}

# on_terminal COMMAND…: runs it on a terminal of 33 rows and 111 columns, which it resizes to 44 and 122 after 3 s; prints what the
# terminal shows and ends with its status
on_terminal() {
	python3 "$BATS_TEST_DIRNAME/terminal.py" "$@" | tr -d '\r'
	return "${PIPESTATUS[0]}"
}

@test "terminals: exec in the zone, exec in a workload, an attached workload" {
	run on_terminal protect zone exec -t use -- sh -c 'test -t 0 && test -t 1 && echo is-a-tty; stty size; exit 9'
	echo "$output"
	[ "$status" -eq 9 ]
	[[ $output == *is-a-tty*"33 111"* ]]
	run on_terminal protect workload exec -t long -- sh -c 'test -t 0 && test -t 1 && echo is-a-tty; stty size; exit 3'
	echo "$output"
	[ "$status" -eq 3 ]
	[[ $output == *is-a-tty*"33 111"* ]]
	run on_terminal protect workload launch --zone use --name tty -a -t "$HELLO_IMAGE" -- sh -c 'tty; stty size; exit 4'
	echo "$output"
	[ "$status" -eq 4 ]
	[[ $output == */dev/*"33 111"* ]]
	protect workload destroy -W tty
}

@test "a terminal that is resized, and control-C" {
	long_only
	# shellcheck disable=SC2016 # for the shell there
	run on_terminal protect zone exec -t use -- sh -c 'trap "stty size; exit 5" WINCH; i=0; while [ $i -lt 100 ]; do sleep 0.2; i=$((i+1)); done'
	echo "$output"
	[ "$status" -eq 5 ]
	[[ $output == *"44 122"* ]]
	run env TYPE_AFTER_3S=$'\003' python3 "$BATS_TEST_DIRNAME/terminal.py" protect workload exec -t long -- sleep 50
	[ "$status" -eq 130 ]
}

@test "standard input reaches a program on a terminal" {
	# shellcheck disable=SC2016 # for the shell there
	run env TYPE_AFTER_3S=$'typed words\n' python3 "$BATS_TEST_DIRNAME/terminal.py" protect workload exec -t long -- \
		sh -c 'read -r line; echo "got: $line"'
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"got: typed words"* ]]
}

@test "input and 10 MiB of output (1 MiB every day) through an attached workload" {
	local sum bytes=1048576
	! is_long || bytes=10485760
	[ "$(echo "in and out" | protect workload launch --zone use --name cat --attach "$HELLO_IMAGE" -- cat)" = "in and out" ]
	protect workload destroy -W cat
	sum=$(protect workload launch --zone use --name much --attach "$HELLO_IMAGE" -- sh -c "yes 0123456789abcde | head -c $bytes" | md5sum)
	[ "$sum" = "$(yes 0123456789abcde | head -c $bytes | md5sum)" ]
	protect workload destroy -W much
}

@test "workload logs -f shows what comes, and ends with the workload" {
	# shellcheck disable=SC2016 # for the shell there
	protect workload launch --zone use --name ticks --wait "$HELLO_IMAGE" -- \
		sh -c 'for i in 1 2 3 4 5 6; do echo tick $i; sleep 1; done; echo to-stderr >&2'
	timeout 60 protect workload logs -f ticks >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err"
	[ "$(grep -c '^tick' "$BATS_TEST_TMPDIR/out")" -eq 6 ]
	grep -qx to-stderr "$BATS_TEST_TMPDIR/err"
	protect workload destroy -W ticks
}

@test "zone logs -f shows what the console gets" {
	protect zone logs -f use >"$BATS_TEST_TMPDIR/console" 3>&- &
	local follower=$!
	protect zone exec use -- sh -c 'echo marker-in-the-log >/dev/kmsg'
	wait_until 30 grep -q marker-in-the-log "$BATS_TEST_TMPDIR/console"
	kill "$follower"
	wait "$follower" || true
}

@test "names or UUIDs anywhere" {
	long_only
	local zone load
	zone=$(zone_field use uuid)
	load=$(workload_field long uuid)
	[ "$(protect zone resolve use)" = "$zone" ]
	[ "$(protect zone resolve "$zone")" = "$zone" ]
	[ "$(protect zone exec "$zone" -- echo by-uuid)" = by-uuid ]
	protect zone logs "$zone" | grep -q 'Linux version'
	protect zone metrics "$zone" | grep -q .
	[ "$(protect workload exec "$load" -- echo by-uuid)" = by-uuid ]
	protect workload logs "$load"
	load=$(protect workload launch --zone "$zone" --wait "$HELLO_IMAGE" -- sleep 100000)
	[[ $load =~ ^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$ ]]
	protect workload stop "$load" --timeout 1
	[ "$(workload_field "$load" exit_code)" -eq 137 ] # PID 1 without a handler: the kernel drops SIGTERM
	protect workload destroy -W "$load"
}

@test "the fields of lists" {
	long_only
	protect zone list -o json | jq -e 'type == "array" and all(has("uuid") and has("name") and (.state |
		IN("creating", "ready", "exited", "destroying", "failed")))'
	protect workload list -o json | jq -e 'type == "array" and length > 0 and all(has("uuid") and has("name") and has("zone") and
		has("exit_code") and (.state | type == "string"))'
	[ "$(protect workload list -o json | jq -r '.[] | select(.name == "long") | [.zone, .state, (.exit_code | type)] | join(" ")')" = \
		"$(zone_field use uuid) running null" ]
	protect zone list -o jsonl | head -n 1 | jq -e 'type == "object"'
	protect image list -o json | jq -e 'type == "array" and all(has("name") and has("digest"))'
	protect zone metrics use -o json | jq -e 'length > 5'
}

@test "environment: of the zone, of the command; folders" {
	# shellcheck disable=SC2016 # for the shell there
	[ "$(protect zone exec use -- sh -c 'echo $ZONEVAR')" = from-the-zone ]
	# shellcheck disable=SC2016 # for the shell there
	[ "$(protect zone exec -e A=b -w /etc use -- sh -c 'echo $A $(pwd)')" = "b /etc" ]
	# shellcheck disable=SC2016 # for the shell there
	[ "$(protect workload exec -e A=b -w /bin long -- sh -c 'echo $A $(pwd)')" = "b /bin" ]
	run protect workload exec -w /no/such long -- true
	[ "$status" -ne 0 ]
	[[ $output == *"/no/such"* ]]
}

@test "a zone's kernel: its modules, sysctls, words of its command line" {
	protect zone exec use -- grep -w 'protect.word=here' /proc/cmdline
	[ "$(protect zone exec use -- cat /proc/sys/vm/swappiness /proc/sys/net/ipv4/conf/dummy1/forwarding | xargs)" = "7 1" ]
	run protect zone launch --name odd --max-memory 192 --wait --sysctl no.such.thing=1
	[ "$status" -ne 0 ]
	[[ $output == *"no sysctl 'no.such.thing'"* ]]
	protect zone destroy odd
	fails_with_line "two words" protect zone launch --name odd --kernel-option "two words"
}

@test "launch without --wait returns early, with it only when ready" {
	long_only
	local uuid
	uuid=$(protect zone launch --name early --max-memory 192)
	[[ $uuid =~ ^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$ ]]
	zone_is early creating
	# A workload in a zone that still boots waits for it.
	protect workload launch --zone early --name eager --wait "$HELLO_IMAGE" -- sleep 100000
	zone_is early ready
	workload_is eager running
	protect zone destroy -W early
	run workload_field eager uuid
	[ "$status" -ne 0 ]
}

@test "nothing but what is promised is added to an image's tree" {
	run protect workload exec long -- sh -c 'ls -A /; ls -A /etc'
	echo "$output"
	[ "$(printf '%s\n' "$output" | sort | tr '\n' ' ')" = "bin dev etc group hostname hosts passwd proc resolv.conf root sys tmp " ]
	run protect workload exec long -- sh -c 'cat /etc/hostname; grep localhost /etc/hosts'
	[[ ${lines[0]} == long ]]
}

@test "an ended command passes signals on" {
	local caller status=0
	protect zone exec use -- sh -c 'trap "exit 44" TERM; while :; do sleep 0.2; done' 3>&- &
	caller=$!
	sleep 4
	kill -TERM "$caller"
	wait "$caller" || status=$?
	[ "$status" -eq 44 ]
}

@test "output into a pipe that closes ends the command without a word" {
	run bash -c 'set -o pipefail; protect zone exec use -- yes 2>&1 | head -n 1'
	echo "$output"
	[ "${lines[0]}" = y ]
	[ "${#lines[@]}" -eq 1 ]
}
