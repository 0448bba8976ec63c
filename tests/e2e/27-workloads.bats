#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# How workloads are confined, limited, stopped and started again, in one zone.

load helpers

setup_file() {
	launch_zone loads --max-memory 320
}

teardown_file() {
	destroy_zones loads
}

# load_one NAME [OPTION…] -- COMMAND…: started
load_one() {
	local name=$1
	shift
	protect workload launch --zone loads --name "$name" --wait "$@" >/dev/null
}

load_fields() { # load_fields NAME FIELD…: their values in a line
	local name=$1
	shift
	protect workload list -o json | jq -er --arg n "$name" '[.[] | select(.name == $n)][0] as $w | [$ARGS.positional[] | $w[.]] | join(" ")' \
		--args "$@"
}

fields_are() { # fields_are WANTED NAME FIELD…
	local wanted=$1
	shift
	[ "$(load_fields "$@")" = "$wanted" ]
}

@test "limits of memory, processor and tasks; a kill for want of memory is told" {
	# shellcheck disable=SC2016 # for the shell there
	run protect workload launch --zone loads --name limits --attach -m 24m --cpus 0.5 --pids-limit 20 --oom-score-adj 100 "$HELLO_IMAGE" -- \
		sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max /proc/self/oom_score_adj; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do sleep 5 & done; echo all'
	echo "$output"
	[[ $output == *"25165824"*"50000 100000"*"20"*"100"* ]]
	[[ $output != *all* || $output == *"an't fork"* ]]
	protect workload destroy -W limits
	# shellcheck disable=SC2016 # for the shell there
	load_one hungry -m 16m "$HELLO_IMAGE" -- sh -c 'x=0123456789abcdef; while :; do x=$x$x; done'
	wait_until 60 workload_is hungry exited
	fields_are '137 out of memory true' hungry exit_code reason oom_killed
	zone_is loads ready
	protect workload destroy -W hungry
}

@test "a restart policy, a stop, a start: on the files it left" {
	load_one again --restart on-failure:2 "$HELLO_IMAGE" -- sh -c 'echo run >>/runs; wc -l </runs; exit 4'
	wait_until 60 fields_are 'exited 4 2 on-failure:2' again state exit_code restarts restart
	[ "$(protect workload logs again | tr -d ' ' | tr '\n' ' ')" = '1 2 3 ' ]
	protect workload start again
	wait_until 60 bash -c 'protect workload logs again | tail -n 1 | grep -qw 6'
	# The whole group goes with a stop, and the policy rests.
	load_one family --restart always --stop-timeout 1 "$HELLO_IMAGE" -- sh -c 'sleep 100000 & sleep 100000'
	protect workload stop family
	fields_are 'exited 137' family state exit_code
	sleep 1
	workload_is family exited
	protect workload start family
	workload_is family running
	protect workload destroy -W again family
}

@test "logs with times, attach and detach, a detached exec" {
	# shellcheck disable=SC2016 # for the shell there
	load_one talks -t "$HELLO_IMAGE" -- sh -c 'echo ready; while read -r line; do echo "got $line"; [ "$line" != end ] || exit 7; done'
	wait_until 30 bash -c 'protect workload logs -t --tail 1 --since 1h talks | grep -qE "^20[0-9-]+T[0-9:.]+Z ready"'
	run env TYPE_AFTER_3S=$'one\n\035' python3 "$BATS_TEST_DIRNAME/terminal.py" protect workload attach talks
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *ready*"left 'talks', which goes on"* ]]
	workload_is talks running
	protect workload exec -d talks -- sh -c 'sleep 1; echo note >/tmp/note; sleep 100000'
	wait_until 30 protect workload exec -u 1000 talks -- cat /tmp/note
	run env TYPE_AFTER_3S=$'end\n' python3 "$BATS_TEST_DIRNAME/terminal.py" protect workload attach talks
	echo "$output"
	[ "$status" -eq 7 ]
	[[ $output == *"got one"*"got end"* ]]
	protect workload destroy -W talks
}

@test "capabilities, devices, a profile, a read-only root" {
	local out
	# shellcheck disable=SC2016 # for the shell there
	out=$(protect workload launch --zone loads --name tight --attach --read-only --tmpfs /scratch:size=1m --cap-drop ALL --cap-add net_admin \
		--no-new-privileges -u 1000:1000 --hostname other "$HELLO_IMAGE" -- sh -c 'hostname; id -u; touch /x 2>/dev/null || echo ro;
		touch /scratch/x && echo rw; grep -E "^(CapEff|NoNewPrivs|Seccomp:)" /proc/self/status | tr "\n\t" "  "')
	echo "$out"
	[ "$(printf '%s' "$out" | tr '\n' ' ')" = "other 1000 ro rw CapEff: 0000000000001000 NoNewPrivs: 1 Seccomp: 2 " ]
	out=$(protect workload launch --zone loads --name wide --attach --privileged "$HELLO_IMAGE" -- sh -c 'ls /dev/vda /dev/kmsg; mount -t tmpfs none /tmp && echo mounts')
	echo "$out"
	[[ $out == *"/dev/kmsg"*mounts* ]]
	run protect workload launch --zone loads --name plain --attach "$HELLO_IMAGE" -- sh -c 'mount -t tmpfs none /tmp; unshare -m true; dmesg'
	echo "$output"
	[ "$status" -ne 0 ]
	[ "$(printf '%s\n' "$output" | grep -cE 'not permitted|permission denied')" -eq 3 ]
	# shellcheck disable=SC2016 # for the shell there
	out=$(protect workload launch --zone loads --name own --attach --userns "$HELLO_IMAGE" -- sh -c \
		'id -u; set -- $(cat /proc/self/uid_map); echo $3; stat -c %u /bin/busybox; touch /x && stat -c %u /x; chown 7 /x && stat -c %u /x')
	echo "$out"
	[ "$(printf '%s' "$out" | tr '\n' ' ')" = "0 65536 0 0 7" ]
	protect workload destroy -W tight wide plain own
}

@test "50 workloads at once (12 every day), each for itself" {
	local i names=() n=12
	! is_long || n=50
	for i in $(seq $n); do
		names+=("many-$i")
		load_one "many-$i" "$HELLO_IMAGE" -- sh -c "echo I am $i; echo $i >/mine; sleep 100000"
	done
	[ "$(protect workload list -o json | jq '[.[] | select(.state == "running")] | length')" -eq $n ]
	[ "$(protect workload exec many-7 -- cat /mine)" = 7 ]
	[ "$(protect workload exec many-1 -- sh -c 'set -- /proc/[0-9]*; echo $#')" -le 4 ]
	[ "$(protect workload logs many-$n)" = "I am $n" ]
	# They share the image's disk, and nothing of them stays.
	[ "$(protect zone exec loads -- sh -c 'ls -d /sys/block/vd* | wc -l')" -le 2 ]
	protect workload destroy -W "${names[@]}"
	[ "$(protect zone exec loads -- sh -c 'ls /run/scratch /sys/fs/cgroup/workloads | grep -cE "^[0-9a-f]{8}-" || true')" -eq 0 ]
}
