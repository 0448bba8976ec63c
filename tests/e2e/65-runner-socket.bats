#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a runner's socket offers beside control and IDM: vsock connections to what listens in the zone; and the agent's words on
# the console.

load helpers

# hello PORT: what begins a vsock connection: magic, kind 4, the port (base/runner.h)
hello() {
	# shellcheck disable=SC2059 # the format is the bytes
	printf "$(printf 'URPZ\\x04\\0\\0\\0\\x%02x\\x%02x\\0\\0' $(($1 & 255)) $(($1 >> 8)))"
}

# call PORT: connects standard input and output to the zone's port
call() {
	{
		hello "$1"
		cat
	} | socat -t 60 - "UNIX-CONNECT:$socket"
}

setup_file() {
	gcc -static -O1 -o "$BATS_FILE_TMPDIR/echo" tests/guest/linux_vsock_echo.c
	launch_zone talk --max-cpus 2 --target-cpus 1
	protect zone exec talk -- sh -c 'cat >/tmp/echo && chmod +x /tmp/echo' <"$BATS_FILE_TMPDIR/echo"
	protect zone exec talk -- sh -c '/tmp/echo 6000 >/tmp/out 2>&1 & sleep 0.2; cat /tmp/out' | grep -q listening
}

teardown_file() {
	destroy_zones talk
}

setup() {
	socket=$(find "/run/protect/zones/$(zone_field talk uuid)" -type s | head -n 1)
}

@test "bytes go to a listener in the zone and back, until the host's half ends" {
	[ "$(echo 'hello, zone' | call 6000)" = 'hello, zone' ]
	head -c 1000000 /dev/urandom >"$BATS_TEST_TMPDIR/sent"
	call 6000 <"$BATS_TEST_TMPDIR/sent" >"$BATS_TEST_TMPDIR/got"
	cmp "$BATS_TEST_TMPDIR/sent" "$BATS_TEST_TMPDIR/got"
}

@test "many at once do not mix" {
	local i
	for i in $(seq 10); do
		seq "$i" 1 $((i + 2000)) | call 6000 >"$BATS_TEST_TMPDIR/$i" &
	done
	wait
	for i in $(seq 10); do
		cmp "$BATS_TEST_TMPDIR/$i" <(seq "$i" 1 $((i + 2000)))
	done
}

@test "where nobody listens, the connection is closed without a byte" {
	run call 6001 </dev/null
	[ -z "$output" ]
	[ "$(echo still | call 6000)" = still ]
}

@test "the daemon's own connection goes on meanwhile" {
	[ "$(protect zone exec talk -- echo here)" = here ]
}

@test "what the agent says is on the console, marked, beside the kernel's log" {
	protect zone exec talk -- sh -c 'cat /sys/class/virtio-ports/*/name' | grep -qx agent
	protect zone exec talk -- readlink /proc/1/fd/2 | grep -q '^/dev/vport'
	protect zone logs talk | grep -q '^zone-init: up'
	protect zone logs talk | grep -q 'Linux version'
	protect zone update talk --target-cpus 2 # which it has something to say about
	wait_until 60 sh -c 'protect zone logs talk | grep -q "^agent: info what=hotplug"'
}
