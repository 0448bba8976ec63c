#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Folders of the host in workloads: files as anywhere else, nothing but the folder, and nothing left of it afterwards.

load helpers

readonly owner=12345

setup_file() {
	export SHARED=$BATS_FILE_TMPDIR/shared
	mkdir -p /etc/protect "$SHARED" "$BATS_FILE_TMPDIR/outside"
	chown $owner:$owner "$SHARED"
	echo secret >"$BATS_FILE_TMPDIR/outside/secret"
	printf '[launch]\nshare = %s\n' "$SHARED" >/etc/protect/protect.conf
	restart_launch
	launch_zone folders
}

teardown_file() {
	destroy_zones folders
	rm /etc/protect/protect.conf
	restart_launch
}

restart_launch() {
	kill "$(pgrep -xo protect-launch)"
	wait_until 60 protect host status
}

in_box() { # in_box FOLDER:TARGET[:ro] SCRIPT: attached
	protect workload launch --zone folders --attach -v "$1" "$HELLO_IMAGE" -- sh -c "$2"
}

seen_is() { # seen_is TEXT: by the workload
	[ "$(protect workload exec watcher -- cat /data/seen)" = "$1" ]
}

no_server() {
	! pgrep -x zone-fs
}

@test "files, links, renames, programs, many names; with the folder's owner on the host" {
	echo from-host >"$SHARED/host"
	# shellcheck disable=SC2016 # the zone's shell expands it
	run in_box "$SHARED:/data" '
		set -e
		cd /data
		cat host
		echo one >a; mkdir d; mv a d/b; echo two >>d/b; ln d/b c; ln -s d/b l
		cat l; stat -c %h c
		mv d e; cat e/b | wc -l
		rm e/b; cat c | wc -l
		chmod 600 c; stat -c "%a %u %g" c
		exec 5>held; rm held; echo still >&5; exec 5>&-
		truncate -s 10M big; dd if=/dev/urandom of=big bs=64k count=20 conv=notrunc,fsync 2>/dev/null
		md5sum <big
		mkdir p; cp /bin/busybox p; p/busybox echo runs
		i=0; while [ $i -lt 300 ]; do : >many-$i; i=$((i + 1)); done; ls | grep -c many-
		mkdir x; ! mv x e/../c 2>/dev/null; rmdir x
		! chmod u+s p/busybox 2>/dev/null; ! mknod n c 1 3 2>/dev/null; ! chown 7 c 2>/dev/null
		grep " /data " /proc/mounts'
	echo "$output"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = from-host ]
	[ "${lines[1]} ${lines[2]} ${lines[3]} ${lines[4]} ${lines[5]}" = "one two 2 2 2" ]
	[ "${lines[6]}" = "600 0 0" ]
	[ "${lines[7]}" = "$(md5sum <"$SHARED/big")" ]
	[ "${lines[8]} ${lines[9]}" = "runs 300" ]
	[[ ${lines[10]} == *virtiofs*nosuid,nodev* ]]
	[ "$(stat -c '%u %g %a' "$SHARED/c")" = "$owner $owner 600" ]
	[ "$(find "$SHARED" -perm /6000 | wc -l)" = 0 ]
	wait_until 60 no_server
}

@test "a link that points outside stays in the zone; read-only is read-only; what is not allowed is refused" {
	ln -s "$BATS_FILE_TMPDIR/outside/secret" "$SHARED/out"
	ln -s ../outside "$SHARED/up"
	run in_box "$SHARED:/data" 'cat /data/out /data/up/secret'
	[ "$status" -ne 0 ]
	[[ $output != *secret ]] || [[ $output == *"No such file"* ]]
	run in_box "$SHARED:/data:ro" 'cat /data/host; ! touch /data/host && ! touch /data/new && echo refused'
	echo "$output"
	[[ $output == *refused* ]]
	fails_with_line "may not be shared" protect workload launch --zone folders -v "$BATS_FILE_TMPDIR/outside:/data" "$HELLO_IMAGE"
	mkdir "$SHARED/sub"
	ln -s sub "$SHARED/link"
	fails_with_line "symbolic link" protect workload launch --zone folders -v "$SHARED/link:/data" "$HELLO_IMAGE"
	fails_with_line "No such file" protect workload launch --zone folders -v "$SHARED/none:/data" "$HELLO_IMAGE"
}

@test "the host's changes are seen; a server that is killed is an I/O error; nothing is left of a zone" {
	echo first >"$SHARED/seen"
	protect workload launch --zone folders --name watcher --wait -v "$SHARED:/data" "$HELLO_IMAGE" -- sleep 100000
	[ "$(protect workload exec watcher -- cat /data/seen)" = first ]
	echo second >"$SHARED/new" && mv "$SHARED/new" "$SHARED/seen"
	wait_until 30 seen_is second
	# Another daemon finds it, and it goes on.
	kill "$(pgrep -xo protect-daemon)"
	wait_until 60 protect workload exec watcher -- cat /data/seen
	kill -9 "$(pgrep -xo zone-fs)"
	wait_until 30 no_server
	run protect workload exec watcher -- cat /data/host
	echo "$output"
	[ "$status" -ne 0 ]
	[[ $output == *"Input/output error"* ]]
	zone_is folders ready
	protect workload destroy -W watcher
	protect workload launch --zone folders --name last --wait -v "$SHARED:/data" "$HELLO_IMAGE" -- sleep 100000
	pgrep -x zone-fs
	protect zone destroy -W folders
	wait_until 60 no_server
}
