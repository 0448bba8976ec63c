#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a runner's socket offers beside control and IDM: vsock connections to what listens in the zone; and the agent's words on
# the console. And what of control no command asks for (runner_request.py), as Linux sees it.

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

# What only this socket offers, to a zone with Debian's kernel.

ask() { # ask WHAT [ARGUMENT…]
	python3 tests/e2e/runner_request.py "$socket" "$@"
}

in_zone() { # in_zone SCRIPT
	protect zone exec talk -- sh -c "$1"
}

# disk_of SERIAL: its name in the zone; fails for none
disk_of() {
	in_zone "grep -lx $1 /sys/block/vd*/serial" | cut -d/ -f4 | grep .
}

has_no_disk() { # has_no_disk SERIAL
	in_zone "! grep -lx $1 /sys/block/vd*/serial"
}

# nic_of MAC: its name in the zone; fails for none
nic_of() {
	in_zone "grep -lx $1 /sys/class/net/*/address" | cut -d/ -f5 | grep .
}

zone_prints() { # zone_prints TEXT SCRIPT
	[ "$(in_zone "$2")" = "$1" ]
}

@test "a NIC comes, carries packets, loses its cable, and goes" {
	long_only
	local mac=02:00:00:00:77:01 nic
	ask nic-attach extra0 $mac e2etap
	ip address add 10.77.0.1/24 dev e2etap
	ip link set e2etap up
	wait_until 60 nic_of $mac
	nic=$(nic_of $mac)
	in_zone "ip address add 10.77.0.2/24 dev $nic; ip link set $nic up"
	wait_until 60 in_zone 'ping -c 1 -W 5 10.77.0.1'
	run ask nic-attach extra0 02:00:00:00:77:02 e2etap2
	[ "$status" -ne 0 ] && [[ $output == EEXIST* ]]
	ask nic-link extra0 down
	wait_until 30 zone_prints 0 "cat /sys/class/net/$nic/carrier"
	ask nic-link extra0 up
	wait_until 30 zone_prints 1 "cat /sys/class/net/$nic/carrier"
	ask nic-detach extra0 30000
	in_zone "! grep -lx $mac /sys/class/net/*/address"
	wait_until 30 sh -c '! ip link show e2etap' # nobody holds it any more
	run ask nic-detach extra0 30000
	[ "$status" -ne 0 ] && [[ $output == ENOENT* ]]
}

@test "a disk is swapped and grows under the zone that reads it" {
	local first=$BATS_TEST_TMPDIR/first second=$BATS_TEST_TMPDIR/second disk sum
	head -c 4M /dev/urandom >"$first"
	head -c 8M /dev/urandom >"$second"
	ask disk-attach swapped "$first"
	wait_until 60 disk_of swapped
	disk=$(disk_of swapped)
	zone_prints "$(md5sum <"$first")" "md5sum </dev/$disk"
	ask disk-swap swapped "$second"
	wait_until 30 zone_prints 16384 "cat /sys/block/$disk/size"
	in_zone 'echo 3 >/proc/sys/vm/drop_caches'
	sum=$(md5sum <"$second")
	zone_prints "$sum" "md5sum </dev/$disk"
	in_zone "echo written | dd of=/dev/$disk bs=512 seek=1 conv=notrunc,sync,fsync 2>/dev/null"
	[ "$(dd if="$second" bs=512 skip=1 count=1 status=none | head -n 1)" = written ]
	truncate -s 12M "$second"
	ask disk-resize swapped
	wait_until 30 zone_prints 24576 "cat /sys/block/$disk/size"
	run ask disk-swap swapped "$first" # a smaller one
	[ "$status" -ne 0 ]
	ask disk-detach swapped 30000
	has_no_disk swapped
}

@test "a disk is taken away without the zone's consent, and all else goes on" {
	local file=$BATS_TEST_TMPDIR/file disk
	head -c 4M /dev/urandom >"$file"
	cp "$file" "$file.2"
	ask disk-attach forced "$file"
	wait_until 60 disk_of forced
	disk=$(disk_of forced)
	zone_prints "$(md5sum <"$file")" "md5sum </dev/$disk"
	ask pause
	run ask disk-detach forced 1000 force # a paused zone is only asked
	[ "$status" -ne 0 ] && [[ $output == ETIMEDOUT* ]]
	ask resume
	ask disk-attach forced2 "$file.2"
	wait_until 60 disk_of forced2
	disk=$(disk_of forced2)
	in_zone "(dd if=/dev/zero of=/dev/$disk bs=64k oflag=direct 2>/run/said; echo over >>/run/said) </dev/null >/dev/null 2>&1 &"
	ask disk-detach forced2 1 force # no zone is so fast, and this one writes
	protect host hv-console talk | grep 'device answers with errors'
	wait_until 60 in_zone 'grep over /run/said' # who wrote was told
	in_zone 'grep error /run/said'
	wait_until 60 has_no_disk forced2
	[ "$(echo still | call 6000)" = still ]
	ask disk-attach forced "$file" # its place is free
	wait_until 60 disk_of forced
	ask disk-detach forced 30000
	has_no_disk forced
}
