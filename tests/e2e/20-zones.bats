#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Three zones at once, each with two workloads from different images.

load helpers

setup_file() {
	local zone
	for zone in z1 z2 z3; do
		protect zone launch --name "$zone" --max-memory 192 --max-cpus 1 # all three boot at once
	done
	for zone in z1 z2 z3; do
		wait_until 120 zone_is "$zone" ready || {
			diagnose "$zone"
			return 1
		}
	done
	for zone in z1 z2 z3; do
		protect workload launch --zone "$zone" --name "$zone-a" --wait "$HELLO_IMAGE" -- sleep 100000
		protect workload launch --zone "$zone" --name "$zone-b" --wait "$CUSTOM_IMAGE" -- sleep 100000
	done
}

teardown_file() {
	destroy_zones z1 z2 z3
}

@test "all six workloads run, in their zones" {
	local zone uuid
	for zone in z1 z2 z3; do
		uuid=$(protect zone resolve "$zone" | grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' | head -n 1)
		[ "$(zone_field "$zone" uuid)" = "$uuid" ]
		workload_is "$zone-a" running
		workload_is "$zone-b" running
		[ "$(protect workload list -o json | jq --arg u "$uuid" --arg n "$zone" '[.[] | select(.zone == $u or .zone == $n)] | length')" -eq 2 ]
	done
}

@test "every zone has a kernel and a runner user of its own" {
	local users
	[ "$(count_runners)" -eq 3 ]
	users=$(pgrep -x zone-vmm | xargs -I{} stat -c %u /proc/{} | sort -u)
	[ "$(printf '%s\n' "$users" | wc -l)" -eq 3 ]
	[ "$(printf '%s\n' "$users" | grep -cx 0)" -eq 0 ]
	[ "$(protect zone exec z1 -- cat /proc/sys/kernel/random/boot_id)" != "$(protect zone exec z2 -- cat /proc/sys/kernel/random/boot_id)" ]
	[ "$(protect zone exec z1 -- uname -r)" != "$(uname -r)" ]
}

@test "a workload's output comes through attach" {
	run protect workload launch --zone z1 --name say --attach "$HELLO_IMAGE"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"hello from process 1 on Linux"* ]]
	protect workload destroy -W say
}

@test "the image's user, environment, folder, entrypoint and whiteouts hold" {
	run protect workload launch --zone z2 --name cfg --attach "$CUSTOM_IMAGE"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"uid=1234 gid=4321 cwd=/app color=blue data=/data/new removed=yes"* ]]
	[[ $output == *"custom done"* ]]
	protect workload destroy -W cfg
}

@test "environment and folder given at launch win" {
	run protect workload launch --zone z2 --name env -e COLOR=red -w /tmp --attach "$CUSTOM_IMAGE" -- true
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"cwd=/tmp color=red"* ]]
	protect workload destroy -W env
}

@test "exit statuses: 0 and 7" {
	run protect workload launch --zone z3 --name code0 --attach "$HELLO_IMAGE" -- true
	[ "$status" -eq 0 ]
	run protect workload launch --zone z3 --name code7 --attach "$HELLO_IMAGE" -- sh -c 'exit 7'
	[ "$status" -eq 7 ]
	[ "$(workload_field code0 exit_code)" -eq 0 ]
	[ "$(workload_field code7 exit_code)" -eq 7 ]
	protect workload destroy -W code0
	protect workload destroy -W code7
}

@test "a program killed by signal 9 ends with 137" {
	run protect zone exec z3 -- sh -c 'kill -9 $$'
	[ "$status" -eq 137 ]
	run protect workload exec z3-a -- sh -c 'kill -9 $$'
	[ "$status" -eq 137 ]
	protect workload launch --zone z3 --name victim --wait "$HELLO_IMAGE" -- sleep 77777
	# From the zone's side, where its process is an ordinary one.
	# shellcheck disable=SC2016 # for the shell there
	protect zone exec z3 -- sh -c 'for p in $(pidof sleep); do
		tr "\0" " " </proc/$p/cmdline | grep -qx "sleep 77777 " && kill -9 "$p"; done; true'
	wait_until 20 workload_is victim exited
	[ "$(workload_field victim exit_code)" -eq 137 ]
	protect workload destroy -W victim
}

@test "exec exits with the command's status" {
	run protect zone exec z1 -- sh -c 'exit 42'
	[ "$status" -eq 42 ]
	run protect workload exec z1-a -- sh -c 'exit 43'
	[ "$status" -eq 43 ]
	run protect zone exec z1 -- /no/such/program
	[ "$status" -ne 0 ]
}

@test "standard input goes through exec" {
	[ "$(echo "one two" | protect zone exec z1 -- cat)" = "one two" ]
	[ "$(head -c 300000 /dev/zero | protect workload exec z1-a -- wc -c)" -eq 300000 ]
	[ "$(protect zone exec z1 -- wc -c </dev/null)" -eq 0 ]
}

@test "standard error stays apart" {
	[ "$(protect zone exec z1 -- sh -c 'echo out; echo err >&2' 2>/dev/null)" = out ]
	[ "$(protect zone exec z1 -- sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" = err ]
}

@test "10 MiB through standard output arrive unharmed" {
	local there here
	there=$(protect workload exec z2-a -- sh -c 'head -c 10485760 /dev/urandom >/tmp/big; md5sum </tmp/big' | cut -d' ' -f1)
	here=$(protect workload exec z2-a -- cat /tmp/big | md5sum | cut -d' ' -f1)
	[ "$there" = "$here" ]
}

@test "a reader that stops does not hold up other calls" {
	local stuck
	mkfifo "$BATS_TEST_TMPDIR/never-read"
	exec {reader}<>"$BATS_TEST_TMPDIR/never-read"
	protect workload exec z2-a -- yes >"$BATS_TEST_TMPDIR/never-read" &
	stuck=$!
	sleep 2
	[ "$(timeout 30 protect zone exec z2 -- echo alive)" = alive ]
	kill -KILL "$stuck"
	wait "$stuck" || true
	exec {reader}>&-
}

@test "zone logs show the kernel's console" {
	protect zone logs z1 | grep -q 'Linux version'
}

@test "workload logs show what it wrote" {
	protect workload launch --zone z1 --name logs --wait "$HELLO_IMAGE" -- sh -c 'echo to-the-log'
	wait_until 20 workload_is logs exited
	protect workload logs logs | grep -qx to-the-log
	protect workload destroy -W logs
}

@test "zone metrics and resolve answer for names and UUIDs" {
	local uuid
	uuid=$(zone_field z1 uuid)
	protect zone metrics z1 | grep -q memory
	protect zone metrics "$uuid" | grep -q memory
	protect zone resolve "$uuid" | grep -q "$uuid"
}

@test "workloads see only their own processes and files" {
	[ "$(protect workload exec z1-a -- hostname)" = z1-a ]
	run protect workload exec z1-a -- sh -c 'tr "\0" " " </proc/1/cmdline'
	[[ $output == "sleep 100000 "* ]]
	run protect workload exec z1-a -- ls /bin/hello
	[ "$status" -eq 0 ]
	run protect workload exec z1-b -- ls /bin/hello
	[ "$status" -ne 0 ]
	protect workload exec z1-a -- sh -c 'echo x >/only-here'
	run protect workload exec z1-b -- cat /only-here
	[ "$status" -ne 0 ]
}

@test "a workload stops on request and can be destroyed" {
	protect workload launch --zone z1 --name stopper --wait "$HELLO_IMAGE" -- sh -c 'trap "exit 5" TERM; while :; do sleep 1; done'
	protect workload stop stopper
	workload_is stopper exited
	protect workload destroy -W stopper
	run workload_field stopper uuid
	[ "$status" -ne 0 ]
}

@test "the daemon's death ends no zone" {
	local pid
	pid=$(protect zone list -o json | jq '.[] | select(.name == "z1").pid')
	[ -d "/proc/$pid" ]
	kill -KILL "$(pgrep -xo protect-daemon)"
	wait_until 20 protect host status
	wait_until 30 zone_is z1 ready
	[ "$(count_runners)" -eq 3 ]
	[ "$(protect zone list -o json | jq '.[] | select(.name == "z1").pid')" -eq "$pid" ]
	wait_until 30 protect workload exec z1-a -- true
	workload_is z1-a running
}
