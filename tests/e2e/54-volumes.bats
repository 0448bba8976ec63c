#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Volumes: data outlives workloads, zones and cut power; who has one keeps others out; what is deleted goes back to the host.
#
# CUTS: how often the power of a zone is cut in the middle of synced writes (2; 50 in long runs).

load helpers

readonly store=/var/lib/protect-storage

setup_file() {
	# A file system that knows direct I/O and holes, and can be full; the lab's store lies in memory.
	truncate -s 600M "$BATS_FILE_TMPDIR/disk"
	mkfs.ext4 -q "$BATS_FILE_TMPDIR/disk"
	mount -o loop "$BATS_FILE_TMPDIR/disk" "$store/volumes"
	rmdir "$store/volumes/lost+found"
	chown protect-storage:protect-storage "$store/volumes"
	launch_zone vol
}

teardown_file() {
	local name
	destroy_zones vol vol2
	for name in $(protect volume list -o json | jq -r '.[].name'); do
		protect volume remove "$name" || true
	done
	umount "$store/volumes"
}

volume_field() { # volume_field NAME FIELD
	protect volume list -o json | jq -er --arg n "$1" --arg f "$2" '.[] | select(.name == $n) | .[$f]'
}

volume_is() { # volume_is NAME USE
	[ "$(volume_field "$1" use)" = "$2" ]
}

restart_storage() {
	kill "$(pgrep -xo protect-storage)"
	wait_until 60 protect image list
}

in_box() { # in_box ZONE VOLUME:TARGET[:ro] SCRIPT: attached
	protect workload launch --zone "$1" --attach -v "$2" "$HELLO_IMAGE" -- sh -c "$3"
}

disk_kib() { # disk_kib NAME: what it takes of the host's disk
	echo $(($(volume_field "$1" allocated_bytes) / 1024))
}

@test "data outlives workloads, grows, and gives back what is deleted" {
	local before
	protect volume create data --size 64M
	in_box vol data:/var/lib/data 'echo kept >/var/lib/data/file; stat -c %a:%u /var/lib/data'
	wait_until 60 volume_is data free
	protect volume resize data --size 256M
	run in_box vol data:/data 'cat /data/file; grep " /data " /proc/mounts; df -m /data | tail -n 1'
	echo "$output"
	[ "${lines[0]}" = kept ]
	[[ ${lines[1]} == *nosuid,nodev* ]]
	[ "$(echo "${lines[2]}" | awk '{ print $2 }')" -gt 200 ]
	before=$(disk_kib data)
	in_box vol data:/data 'dd if=/dev/urandom of=/data/big bs=1M count=50 conv=fsync 2>/dev/null'
	wait_until 60 volume_is data free
	[ "$(disk_kib data)" -gt $((before + 50000)) ]
	in_box vol data:/data 'rm /data/big; sync; sleep 2; sync'
	wait_until 60 volume_is data free
	echo "before $before, now $(disk_kib data)"
	[ "$(disk_kib data)" -lt $((before + 20000)) ]
}

@test "one writer, or readers in two zones; a raw one is a device" {
	protect volume create -s 64M shared
	protect volume create -s 16M -f raw raw
	in_box vol shared:/data 'echo for-all >/data/file'
	launch_zone vol2
	protect workload launch --zone vol --name writer --wait -v shared:/data "$HELLO_IMAGE" -- sleep 100000
	fails_with_line "volume 'shared' is in use by workload 'writer' in zone 'vol'" \
		protect workload launch --zone vol2 -v shared:/data "$HELLO_IMAGE"
	fails_with_line "in use by workload 'writer'" protect volume remove shared
	protect workload destroy -W writer
	protect workload launch --zone vol --name r1 --wait -v shared:/data:ro "$HELLO_IMAGE" -- sleep 100000
	[ "$(in_box vol2 shared:/data:ro 'cat /data/file; echo x 2>/dev/null >/data/file || echo denied')" = $'for-all\ndenied' ]
	[ "$(volume_field shared use)" = readers ]
	protect workload destroy -W r1
	[ "$(in_box vol2 raw:/dev/raw 'printf start >/dev/raw; sync; head -c 5 /dev/raw')" = start ]
	wait_until 60 volume_is raw free
	[ "$(in_box vol raw:/dev/raw:ro 'head -c 5 /dev/raw; printf x 2>/dev/null >/dev/raw || echo " denied"')" = "start denied" ]
	protect zone destroy -W vol2
	protect volume remove shared raw
}

@test "a zone has one itself, which its workloads share; volumes come and go while it runs" {
	local busy
	protect volume create -s 64M own
	protect volume create -s 16M -f raw raw
	protect zone launch --name vol2 --wait -v own:/srv/own
	[ "$(protect zone exec vol2 -- sh -c 'echo zone >/srv/own/file; cat /srv/own/file')" = zone ]
	fails_with_line "volume 'own' is in use by zone 'vol2'" protect workload launch --zone vol -v own:/x "$HELLO_IMAGE"
	fails_with_line "volume 'own' is in use by zone 'vol2'" protect zone launch --name vol3 -v own:/x
	protect workload launch --zone vol2 --name sharer --wait -v own:/own "$HELLO_IMAGE" -- sleep 100000
	[ "$(in_box vol2 own:/own 'echo box >>/own/file; cat /own/file')" = $'zone\nbox' ]
	[ "$(protect workload exec sharer -- cat /own/file)" = $'zone\nbox' ]
	fails_with_line "is shared by workload 'sharer'" protect volume detach --zone vol2 own
	# To a workload that runs, and away from it.
	protect volume attach --workload sharer raw:/dev/raw
	protect workload exec sharer -- sh -c 'printf start >/dev/raw; sync'
	protect volume detach --workload sharer raw
	wait_until 60 volume_is raw free
	protect volume attach --zone vol2 raw:/dev/disk/raw:ro
	[ "$(protect zone exec vol2 -- head -c 5 /dev/disk/raw)" = start ]
	protect workload destroy -W sharer
	# Who works on it keeps it, unless it is taken by force.
	protect zone exec vol2 -- sh -c 'cd /srv/own; echo here; exec sleep 100000' >"$BATS_TEST_TMPDIR/busy" 2>&1 3>&- &
	busy=$!
	wait_until 60 grep -q here "$BATS_TEST_TMPDIR/busy"
	fails_with_line "volume 'own' is busy" protect volume detach --zone vol2 own
	protect volume detach --force --zone vol2 own
	kill "$busy"
	wait "$busy" || true
	wait_until 60 volume_is own free
	[ "$(in_box vol own:/own 'cat /own/file')" = $'zone\nbox' ]
	protect zone destroy -W vol2
	wait_until 60 protect volume remove own raw
}

@test "a device of the host, if the configuration names it and nothing else uses it" {
	long_only
	local device disk=$BATS_TEST_TMPDIR/device
	truncate -s 64M "$disk"
	mkfs.ext4 -q "$disk"
	device=$(losetup -f --show "$disk")
	fails_with_line "device '$device' is not allowed" protect workload launch --zone vol -v "$device:/x" "$HELLO_IMAGE"
	mkdir -p /etc/protect
	printf '[storage]\nblock-device = %s\n' "$device" >/etc/protect/protect.conf
	restart_storage
	fails_with_line "protect-storage may not open '$device'" protect workload launch --zone vol -v "$device:/x" "$HELLO_IMAGE"
	chown protect-storage "$device"
	[ "$(in_box vol "$device:/x" 'echo device >/x/file; cat /x/file')" = device ]
	mkdir "$BATS_TEST_TMPDIR/here"
	wait_until 60 mount "$device" "$BATS_TEST_TMPDIR/here"
	[ "$(cat "$BATS_TEST_TMPDIR/here/file")" = device ]
	fails_with_line "device '$device' is in use: mounted" protect volume attach --zone vol "$device:/srv/device"
	umount "$BATS_TEST_TMPDIR/here"
	[ "$(protect zone list -o json | jq -r '[.[].volumes[]] | length')" = 0 ]
	losetup -d "$device"
	rm /etc/protect/protect.conf
	restart_storage
}

@test "what was synced is there after the zone's power was cut" {
	local cuts=${CUTS:-2} cut client known writer
	! is_long || cuts=${CUTS:-50}
	protect volume create -s 64M cut
	for cut in $(seq "$cuts"); do
		# Each other time the volume is the zone's own.
		writer=(protect workload launch --zone vol --attach -v cut:/data "$HELLO_IMAGE")
		if [ $((cut % 2)) = 0 ]; then
			wait_until 60 volume_is cut free # the last one to look at it has just ended
			protect volume attach --zone vol cut:/data
			writer=(protect zone exec vol)
		fi
		# shellcheck disable=SC2016 # for the shell there
		"${writer[@]}" -- sh -c 'i=0; while i=$((i + 1)); do printf "%08d\n" $i | dd of=/data/log bs=9 seek=$((i - 1)) conv=notrunc,fsync 2>/dev/null && echo $i; done' \
			>"$BATS_TEST_TMPDIR/known" 2>/dev/null &
		client=$!
		wait_until 60 grep -qx 3 "$BATS_TEST_TMPDIR/known"
		sleep "0.$((RANDOM % 10))"
		kill -9 "$(zone_field vol pid)"
		wait "$client" || true
		known=$(tail -n 1 "$BATS_TEST_TMPDIR/known")
		echo "cut $cut: $known records"
		protect zone destroy -W vol
		launch_zone vol
		in_box vol cut:/data "head -c $((known * 9)) /data/log" >"$BATS_TEST_TMPDIR/there"
		seq -f %08g "$known" | cmp - "$BATS_TEST_TMPDIR/there"
		in_box vol cut:/data 'rm /data/log'
	done
	wait_until 60 volume_is cut free
	protect volume remove cut
}

@test "what is wrong is one line, and nothing is changed" {
	protect volume create -s 16M -f raw raw
	fails_with_line "no volume 'nosuch'" protect workload launch --zone vol -v nosuch:/x "$HELLO_IMAGE"
	fails_with_line "that is the kernel's" protect workload launch --zone vol -v data:/proc/x "$HELLO_IMAGE"
	fails_with_line 'its place is below /dev' protect workload launch --zone vol -v raw:/raw "$HELLO_IMAGE"
	fails_with_line 'no place for a volume' protect workload launch --zone vol -v data:/x/../y "$HELLO_IMAGE"
	fails_with_line 'cannot become smaller' protect volume resize data -s 64M
	fails_with_line 'exists already' protect volume create data -s 64M
	fails_with_line 'cannot name a volume' protect volume create ../data -s 64M
	# A disk that is full.
	fallocate -l "$(($(df --output=avail -B1 "$store/volumes" | tail -n 1) - 1048576))" "$store/volumes/fill"
	fails_with_line 'is full' protect volume create -s 4G full
	rm "$store/volumes/fill"
	[ "$(protect volume list -o json | jq -r '[.[].name] | join(" ")')" = 'data raw' ]
	[ "$(find "$store/volumes" -type f | wc -l)" -eq 2 ]
	protect volume remove raw
}

# shellcheck disable=SC2016 # for the shell there
count_volume_disks() {
	protect zone exec vol -- sh -c 'for f in /sys/block/vd*/serial; do cat $f; echo; done' | grep -c '^v-' || true
}

has_run_twice() {
	[ "$(protect workload exec scratched -- cat /runs | wc -l)" = 2 ]
}

@test "what a workload writes lies on a scratch disk, which goes with it" {
	protect workload launch --zone vol --name scratched --wait --scratch-size 64M "$HELLO_IMAGE" -- sh -c 'echo run >>/runs; exec sleep 100000'
	# Not more: the lab's store lies on a loop device over memory, which is charged to the zone that writes.
	protect workload exec scratched -- sh -c 'dd if=/dev/zero of=/big bs=1M count=30 conv=fsync && rm /big'
	protect workload stop --timeout 1 scratched
	protect workload start scratched
	wait_until 60 has_run_twice
	[ "$(count_volume_disks)" -eq 1 ]
	protect workload destroy -W scratched
	[ "$(count_volume_disks)" -eq 0 ]
	wait_until 60 bash -c '! ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q "volumes/.*deleted"'
}

# What a host has for its zones: links, routes, rules of ours, files, locks, devices.
things_of_zones() {
	ip -o link | grep -c 'tun\|tap' || true
	{ ip route && ip -6 route && ip neigh show proxy; } | sort
	nft list ruleset
	find /run/protect/zones "$store/volumes" /var/lib/protect/logs | sort
	grep -c OFDLCK /proc/locks || true
	find /sys/fs/cgroup -name '*-*-*-*-*' | wc -l
}

@test "zones with a network and a volume come and go and leave nothing" {
	local cycles=${CYCLES:-2}
	! is_long || cycles=${CYCLES:-100}
	protect volume create -s 16M cycle
	protect zone launch --name cycle --wait -v cycle:/srv/cycle
	protect zone destroy -W cycle
	wait_until 60 volume_is cycle free
	things_of_zones >"$BATS_TEST_TMPDIR/before"
	for _ in $(seq "$cycles"); do
		protect zone launch --name cycle --wait -v cycle:/srv/cycle
		protect zone exec cycle -- sh -c 'echo x >>/srv/cycle/file; sync' # the end of a zone is like a power cut
		protect zone destroy -W cycle
	done
	wait_until 60 volume_is cycle free
	things_of_zones >"$BATS_TEST_TMPDIR/after"
	diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
	[ "$(in_box vol cycle:/x 'grep -c x /x/file')" = "$cycles" ]
	wait_until 60 volume_is cycle free
	protect volume remove cycle
}

@test "ten volumes come and go and leave nothing" {
	long_only
	for _ in $(seq 10); do
		protect volume create -s 16M cycle
		protect workload launch --zone vol --name cycle --wait -v cycle:/data "$HELLO_IMAGE" -- sleep 100000
		protect workload destroy -W cycle
		protect volume remove cycle
	done
	[ "$(find "$store/volumes" -type f | wc -l)" -eq 1 ]
	[ "$(count_volume_disks)" -eq 0 ]
	[ "$(grep -c OFDLCK /proc/locks)" -eq 0 ]
}
