#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The services on this machine itself, in a folder of their own: what needs no zone, and a KVM that cannot boot one.

setup_file() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	export dir=$BATS_FILE_TMPDIR bin=${PROTECT_BIN:-$PWD/build/stage/bin} share=$PWD/build/stage/share/protect
	export PROTECT_SOCKET=$dir/daemon.sock
	mkdir "$dir/run" "$dir/state"
	"$bin/protect-storage" --store "$dir/store" --socket "$dir/storage.sock" --allow-uid 0 \
		--kernel-layout "$share/kernel" --base-initrd "$share/zone.initrd" 2>"$dir/storage.log" 3>&- &
	echo $! >"$dir/pids"
	"$bin/protect-launch" --socket "$dir/launch.sock" --runner "$bin/zone-vmm" --allow-uid 0 2>"$dir/launch.log" 3>&- &
	echo $! >>"$dir/pids"
	"$bin/protect-daemon" --socket "$dir/daemon.sock" --run "$dir/run" --state "$dir/state" --launch-socket "$dir/launch.sock" \
		--storage-socket "$dir/storage.sock" --network-socket off 2>"$dir/daemon.log" 3>&- &
	echo $! >>"$dir/pids"
	for ((i = 0; i < 300; i++)); do
		"$bin/protect" image list 2>/dev/null | grep -q zone-kernel && return
		sleep 0.1
	done
	cat "$dir"/*.log
	return 1
}

teardown_file() {
	local pid
	while read -r pid; do kill -TERM "$pid"; done <"$dir/pids"
}

setup() {
	export PATH=$bin:$PATH
}

@test "a zone is refused at once where KVM cannot boot Linux" {
	! grep -qwE 'vmx|svm' /proc/cpuinfo || skip "this machine's KVM boots Linux"
	run protect zone launch --name refused --wait
	echo "$output"
	[ "$status" -eq 1 ]
	[ "${#lines[@]}" -eq 1 ]
	if [ -c /dev/kvm ]; then [[ $output == *"/dev/kvm cannot boot Linux"*"host check"* ]]; else [[ $output == *"/dev/kvm"* ]]; fi
	[ "$(protect zone list -o json)" = "[]" ]
	[ -z "$(ls -A "$dir/run/zones")" ]
	protect zone launch --name refused 2>&1 | grep -q refused # the name was not taken
}

@test "host check says so, with status 1" {
	! grep -qwE 'vmx|svm' /proc/cpuinfo || skip "this machine's KVM boots Linux"
	run protect host check
	echo "$output"
	[ "$status" -eq 1 ]
	[[ $output == *"FAIL"*"KVM here cannot boot Linux"* ]]
	[ "$(protect host check -o json | jq -r type)" = array ]
}

@test "no permission for the KVM device" {
	local launch daemon own=$dir/no-permission status=0
	mkdir -p "$own/run" "$own/state"
	mknod -m 0600 "$own/kvm" c 10 232
	chmod 0755 "$BATS_RUN_TMPDIR" "$dir" # for the user below
	chown 65534 "$own"
	setpriv --reuid 65534 --regid 65534 --clear-groups "$bin/protect-launch" --no-uid --socket "$own/launch.sock" --runner "$bin/zone-vmm" \
		--kvm "$own/kvm" 2>"$own/launch.log" 3>&- &
	launch=$!
	"$bin/protect-daemon" --socket "$own/daemon.sock" --run "$own/run" --state "$own/state" --launch-socket "$own/launch.sock" \
		--storage-socket "$dir/storage.sock" --network-socket off 2>"$own/daemon.log" 3>&- &
	daemon=$!
	for ((i = 0; i < 100; i++)); do
		PROTECT_SOCKET=$own/daemon.sock protect host status 2>/dev/null | grep -q '^launch *ok' && break
		sleep 0.1
	done
	PROTECT_SOCKET=$own/daemon.sock run protect zone launch --name denied
	kill "$launch" "$daemon"
	wait "$launch" "$daemon" || true
	echo "$output" "$(cat "$own/launch.log")"
	[ "$status" -eq 1 ]
	[[ $output == *"no permission for $own/kvm"* ]]
	[ "${#lines[@]}" -eq 1 ]
}
