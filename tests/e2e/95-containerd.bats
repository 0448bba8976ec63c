#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Debian's containerd starts containers in zones, through ctr. unit_daemon_services_containerd has more cases, without virtual machines.

load helpers

setup_file() {
	command -v containerd >/dev/null || return 0
	export CT=/tmp/e2e-containerd
	mkdir -p "$CT"
	mountpoint -q "$CT" || mount -t tmpfs none "$CT" # overlay wants a root of its own
	cat >"$CT/config.toml" <<-X
		version = 2
		root = "$CT/root"
		state = "$CT/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		  address = "$CT/ct.sock"
		[ttrpc]
		  address = "$CT/ct.sock.ttrpc"
	X
	containerd --config "$CT/config.toml" >"$CT/log" 2>&1 3>&- &
	echo $! >"$CT/pid"
	wait_until 60 ct version
	tar -C build/demo/hello -cf "$CT/hello.tar" .
	ct images import --base-name hello "$CT/hello.tar"
}

teardown_file() {
	[ -n "${CT:-}" ] || return 0
	kill "$(cat "$CT/pid")"
	sleep 1
	umount -l "$CT"
}

setup() {
	[ -n "${CT:-}" ] || skip "SKIP: no containerd; tools/setup installs it"
}

ct() {
	timeout 120 ctr --address "$CT/ct.sock" "$@"
}

run_in_zone() { # run_in_zone NAME COMMAND…
	ct run --rm --runtime io.containerd.protect.v2 hello:latest "$@"
}

nothing_is_left() {
	[ "$(protect zone list -o json)" = '[]' ] && [ "$(ct task ls | wc -l)" -eq 1 ] && [ -z "$(ls /run/protect-shim)" ] &&
		! pgrep -f "$CT/state" >/dev/null && ! grep -q "$CT/state" /proc/self/mounts && [ "$(count_runners)" -eq 0 ]
}

@test "a container runs on a kernel of its own, and its status is the command's" {
	run run_in_zone first sh -c 'uname -r; id -u; cat /proc/sys/kernel/hostname >&2; exit 3'
	echo "$output"
	[ "$status" -eq 3 ]
	[[ $output != *"$(uname -r)"* ]]
	wait_until 30 nothing_is_left
}

@test "exec, signals, delete; containerd and daemon come back to a task that runs" {
	long_only
	ct run --detach --runtime io.containerd.protect.v2 hello:latest lasting sleep 100000
	run ct task exec --exec-id one lasting sh -c 'echo inside; exit 5'
	echo "$output"
	[ "$status" -eq 5 ]
	[ "$output" = inside ]
	kill -9 "$(cat "$CT/pid")"
	containerd --config "$CT/config.toml" >>"$CT/log" 2>&1 3>&- &
	echo $! >"$CT/pid"
	wait_until 60 ct version
	ct task ls | grep -q 'lasting.*RUNNING'
	pkill -9 -x protect-daemon
	wait_until 60 ct task exec --exec-id two lasting true || wait_until 60 ct task exec --exec-id three lasting true
	ct task kill -s 9 lasting
	wait_until 60 bash -c "ctr --address $CT/ct.sock task ls | grep -q 'lasting.*STOPPED'"
	ct task rm lasting 2>&1 | grep 'code 137'
	ct container rm lasting
	wait_until 30 nothing_is_left
}

@test "a killed shim leaves nothing" {
	ct run --detach --runtime io.containerd.protect.v2 hello:latest orphan sleep 100000
	kill -9 "$(pgrep -f -- '-id orphan')"
	wait_until 60 bash -c "[ \"\$(ctr --address $CT/ct.sock task ls | wc -l)\" -eq 1 ]"
	ct container rm orphan
	wait_until 30 nothing_is_left
}
