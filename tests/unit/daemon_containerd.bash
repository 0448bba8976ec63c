# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Debian's containerd with our shim, through ctr: sourced by daemon_services.sh, on its zones without a hypervisor.
# shellcheck disable=SC2154 # work, bin, daemon, pids, skip are its

start_containerd() {
	cat >"$work/containerd.toml" <<-X
		version = 2
		root = "$work/ct/root"
		state = "$work/ct/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		  address = "$work/ct.sock"
		[ttrpc]
		  address = "$work/ct.sock.ttrpc"
	X
	PATH=$bin:$PATH containerd --config "$work/containerd.toml" >>"$work/containerd.log" 2>&1 &
	containerd=$!
	wait_until ctr version
}

ctr() {
	timeout 40 ctr --address "$work/ct.sock" --namespace "protect-$services" "$@"
}

# one NAME [OPTION…] -- COMMAND…: runs to its end
one() {
	local name=$1 options=()
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	ctr run --rm --runtime io.containerd.protect.v2 "${options[@]}" box:latest "$name" "$@"
}

# started NAME COMMAND…: detached
started() {
	local name=$1
	shift
	ctr run --detach --runtime io.containerd.protect.v2 box:latest "$name" "$@"
}

export services=$$
tasks() { # their names and states, in a line
	ctr task ls | awk 'NR > 1 { printf "%s %s ", $1, $3 }'
}

no_task_is_left() {
	[ -z "$(tasks)" ] && nothing_left && [ -z "$(ls "$work/ct/state/io.containerd.runtime.v2.task/protect-$services")" ] &&
		[ -z "$(find /run/protect-shim -name 'c*-*' -newer "$work/containerd.toml")" ] && ! grep -q "$work/ct/state" /proc/self/mounts &&
		! pgrep -f "$work/ct/state" >/dev/null
}

end_task() { # end_task NAME…
	local name
	for name; do
		ctr task kill -s 9 "$name" || true
		wait_until is "$name STOPPED " bash -c "tasks | grep -o '$name STOPPED '"
		ctr task rm "$name"
		ctr container rm "$name"
	done
}

what_it_is() {
	expect 'io.containerd.protect.v2' bash -c "'$bin/containerd-shim-protect-v2' -info | tr -cd 'a-z0-9.\n' | grep -o 'io.containerd.protect.v2'"
	"$bin/containerd-shim-protect-v2" -v | grep -q Version || fail 'no version'
	expect_status 1 "$bin/containerd-shim-protect-v2"
	expect_status 1 "$bin/containerd-shim-protect-v2" -namespace x -id ../y start
	# A container that never was: nothing to end, and 137 all the same.
	expect_status 0 "$bin/containerd-shim-protect-v2" -namespace x -id never -bundle / delete
	expect '10 89 01' bash -c "od -An -tx1 -N 3 '$work/output' | xargs"
}

runs_and_their_ends() {
	expect hello one first -- /bin/echo hello
	expect_status 3 one second -- /bin/sh -c 'exit 3'
	expect '/ b err' bash -c "one third --env A=b -- /bin/sh -c 'echo \$A; echo err >&2; pwd' 2>&1 | sort | xargs"
	# ctr tells of the end of its input only when the task is there already.
	expect through bash -c '{ sleep 2; echo through; } | one pipes -- /bin/cat'
	expect 1000000 bash -c "one much -- /bin/head -c 1000000 /dev/zero | wc -c"
	wait_until no_task_is_left
}

execs_and_signals() {
	started lasting /bin/sh -c 'trap "exit 9" TERM; echo up; while :; do sleep 0.2; done'
	expect 'lasting RUNNING ' tasks
	expect in ctr task exec --exec-id e1 lasting /bin/echo in
	expect_status 5 ctr task exec --exec-id e2 lasting /bin/sh -c 'exit 5'
	expect through bash -c '{ sleep 1; echo through; } | ctr task exec --exec-id e3 lasting /bin/cat'
	expect_status 127 ctr task exec --exec-id e4 lasting /bin/nosuch
	grep -q nosuch "$work/output" || fail "no word on why: $(cat "$work/output")"
	expect_error 'already' started lasting /bin/echo
	ctr task kill -s 15 lasting
	wait_until is 'lasting STOPPED ' tasks
	expect_error 'not found\|no such' ctr task kill lasting
	expect 'code 9' bash -c "ctr task rm lasting 2>&1 | grep -o 'code [0-9]*'"
	ctr container rm lasting
	wait_until no_task_is_left
}

refusals() {
	expect_error hostNetwork one host --net-host -- /bin/echo
	expect_error 'nosuch' one lost -- /bin/nosuch
	expect_error 'no FIFO' one uri --log-uri "file://$work/some.log" -- /bin/echo
	wait_until no_task_is_left
}

mounts_into_it() {
	mkdir -p "$work/config/..data"
	echo value >"$work/config/..data/key"
	ln -s ..data/key "$work/config/key"
	echo '10.0.0.1 me' >"$work/list"
	expect 'value 10.0.0.1 me' bash -c "one files --mount type=bind,src=$work/config,dst=/etc/config,options=rbind:ro \
		--mount type=bind,src=$work/list,dst=/etc/list,options=rbind:ro -- /bin/sh -c 'cat /etc/config/key; cat /etc/list' | xargs"
	wait_until no_task_is_left
	expect 1 bash -c "'$bin/protect' image list -o json | jq '[.[] | select(.name | startswith(\"containerd-\"))] | length'"
}

measured_limited_paused() {
	local listener usage
	timeout 40 ctr --address "$work/ct.sock" events >"$work/events" &
	listener=$!
	# shellcheck disable=SC2016 # the container's shell expands it
	started lasting /bin/sh -c 'i=0; while :; do i=$((i + 1)); done'
	# Zones without a hypervisor have no cgroups: these are the figures of the whole zone.
	usage=$(ctr task metrics --format json lasting | jq .memory.usage)
	[ "$usage" -gt 1000000 ] || fail "memory.usage=$usage"
	expect 'true true' bash -c "ctr task metrics --format json lasting | jq -r '[.cpu.usage_usec > 0, .pids.current > 0] | join(\" \")'"
	ctr task pause lasting
	expect 'lasting PAUSED ' tasks
	expect true zone "$(protect zone list -o json | jq -r '.[0].name')" paused
	expect_error 'paused' ctr task exec --exec-id e1 lasting /bin/echo in
	ctr task resume lasting
	expect 'lasting RUNNING ' tasks
	expect in ctr task exec --exec-id e2 lasting /bin/echo in
	# One that is killed while it is paused ends.
	ctr task pause lasting
	end_task lasting
	expect_error 'not found' ctr task metrics lasting
	kill "$listener"
	wait "$listener" || true
	expect '/tasks/paused /tasks/resumed /tasks/paused' bash -c "grep -o ' /tasks/\(paused\|resumed\) ' '$work/events' | xargs"
	wait_until no_task_is_left
}

what_crashes_leave() {
	local pid
	# containerd goes: the shim and its task stay, and are found again.
	started stays /bin/sleep 1000
	kill -9 "$containerd"
	wait "$containerd" || true
	start_containerd
	wait_until is 'stays RUNNING ' tasks
	expect in ctr task exec --exec-id e1 stays /bin/echo in
	# The daemon goes: the task runs on, and can be ended by the next one.
	kill -9 "$daemon"
	wait "$daemon" || true
	start_daemon
	wait_until ctr task exec --exec-id "e$RANDOM" stays /bin/echo in
	end_task stays
	wait_until no_task_is_left
	# The zone goes: its task was killed.
	started gone /bin/sleep 1000
	protect zone destroy -W "$(protect zone list -o json | jq -r '.[0].name')"
	wait_until is 'gone STOPPED ' tasks
	expect 'code 137' bash -c "ctr task rm gone 2>&1 | grep -o 'code [0-9]*'"
	ctr container rm gone
	wait_until no_task_is_left
	# The shim goes: containerd has `delete` end what is left.
	started orphan /bin/sleep 1000
	pid=$(pgrep -f -- "-id orphan" | head -n 1)
	kill -9 "$pid"
	wait_until is '' tasks
	ctr container rm orphan
	wait_until no_task_is_left
}

containerd_runs_zones() {
	command -v containerd >/dev/null || exit "$skip"
	export -f ctr one tasks
	export work
	start_services
	start_containerd
	trap 'keep=$?; [ $keep = 0 ] || tail -n 60 "$work/containerd.log"; kill "$containerd" || true; clean_up; exit $keep' EXIT
	tar -C "$work/box" -cf "$work/box.tar" .
	ctr images import --base-name box "$work/box.tar" >/dev/null
	what_it_is
	runs_and_their_ends
	execs_and_signals
	refusals
	mounts_into_it
	measured_limited_paused
	what_crashes_leave
}
