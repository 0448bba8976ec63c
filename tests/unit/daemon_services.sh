#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# daemon_services — the three services and `protect`, all real, on zones without a hypervisor (daemon_fake_zones.c).
#
# usage: daemon_services.sh BIN-FOLDER [policies|survival|idm|volumes|networks|containerd|pods]     exits with 77 where it cannot run (needs root, loop devices, busybox, jq)
set -euo pipefail
readonly bin=$1 cases=${2:-all} skip=77
readonly uid_base=$((300000 + $$ % 8192 * 8)) # others may run this at the same time
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/lib/oci.bash
. "$here/../../tools/lib/oci.bash"

[ "$(id -u)" = 0 ] && [ -e /dev/loop-control ] || exit $skip
for tool in busybox jq mksquashfs; do
	command -v "$tool" >/dev/null || exit $skip
done
work=$(mktemp -d /tmp/protect-services.XXXXXX)
chmod 0755 "$work"
mkdir "$work/run" "$work/state" "$work/store"
# Runners have uids of their own, which may not enter every place where a checkout can be.
cp "$bin/daemon_fake_zones" "$work/runner"
cp "$bin/protect" "$work/cli"
export PROTECT_SOCKET=$work/run/daemon.sock
daemon='' storage='' loops=() pids=() lookers=() network=off

clean_up() {
	local status=$?
	[ $status = 0 ] || tail -n 20 "$work"/*.log
	[ -z "$daemon" ] || end_zones
	[ ${#lookers[@]} = 0 ] || kill -9 "${lookers[@]}" 2>/dev/null || true
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
	wait
	umount "$work/state" 2>/dev/null || true
	umount "$work/mnt" 2>/dev/null || true
	[ ${#loops[@]} = 0 ] || losetup -d "${loops[@]}" 2>/dev/null || true
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' TERM INT

# Runners outlive the services: only their zones' end ends them.
end_zones() {
	local name
	for name in $(protect zone list -o json | jq -r '.[].name'); do
		protect zone destroy -W "$name" || true
	done
}

fail() {
	echo "line ${BASH_LINENO[0]}: $*"
	exit 1
}

# wait_until COMMAND…: within 20 s
wait_until() {
	for _ in $(seq 200); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.1
	done
	fail "in vain: $*$(what_is_left "$@")"
}

# what_is_left nothing_left: for who has to find out why there is something
what_is_left() {
	[ "$1" != nothing_left ] || {
		echo
		protect zone list
		protect workload list
		find "$work/run/zones" "$work/state/logs" -mindepth 1
	}
}

expect() { # expect WANTED COMMAND…: what it prints
	local wanted=$1 got
	shift
	got=$("$@") || fail "$* ended with $?: $got"
	[ "$got" = "$wanted" ] || fail "$*: '$got', not '$wanted'"
}

expect_status() { # expect_status WANTED COMMAND…
	local wanted=$1 status=0
	shift
	"$@" >"$work/output" 2>&1 || status=$?
	[ $status = "$wanted" ] || fail "$* ended with $status, not $wanted: $(cat "$work/output")"
}

protect() {
	timeout 20 "$bin/protect" "$@"
}

zone() { # zone NAME FIELD
	protect zone list -o json | jq -er --arg n "$1" --arg f "$2" '.[] | select(.name == $n) | .[$f]'
}

zone_fields() { # zone_fields NAME FIELD…: their values in a line
	local name=$1
	shift
	protect zone list -o json | jq -er --arg n "$name" '[.[] | select(.name == $n)][0] as $z | [$ARGS.positional[] | $z[.]] | join(" ")' \
		--args "$@"
}

debug_fields() { # debug_fields NAME FIELD…: of what its runner knows
	local name=$1
	shift
	protect host hv-debug-info "$name" | jq -er '.[0] as $z | [$ARGS.positional[] | $z[.]] | join(" ")' --args "$@"
}

expect_error() { # expect_error PATTERN COMMAND…: it fails, and says that
	local pattern=$1 status=0
	shift
	"$@" >"$work/output" 2>&1 || status=$?
	[ $status != 0 ] || fail "$* went well"
	grep -q -- "$pattern" "$work/output" || fail "$*: $(cat "$work/output")"
}

workload() { # workload NAME FIELD
	protect workload list -o json | jq -er --arg n "$1" --arg f "$2" '.[] | select(.name == $n) | .[$f]'
}

is() { # is WANTED COMMAND…
	local wanted=$1
	shift
	[ "$("$@")" = "$wanted" ]
}

make_image() { # make_image LAYOUT TREE CONFIG
	oci_new_layout "$1"
	oci_add_tar_layer "$1" "$2"
	oci_write_image "$1" latest "$3"
}

make_images() {
	mkdir -p "$work/kernel-tree/kernel" "$work/tree/bin"
	echo 'no kernel: nothing boots here' >"$work/kernel-tree/kernel/image"
	make_image "$work/kernel" "$work/kernel-tree" '{}'
	jq -c '.manifests[0].annotations["org.opencontainers.image.ref.name"] = "default"' "$work/kernel/index.json" \
		>"$work/index"
	mv "$work/index" "$work/kernel/index.json"
	cp "$(command -v busybox)" "$work/tree/bin/busybox"
	for name in sh echo cat sleep head yes touch mkdir; do
		ln -s busybox "$work/tree/bin/$name"
	done
	make_image "$work/box" "$work/tree" '{"Env": ["PATH=/bin"], "Cmd": ["/bin/echo", "hello"]}'
	head -c 512 /dev/zero >"$work/initrd"
}

start_daemon() { # start_daemon [OPTION…]
	"$bin/protect-daemon" --socket "$PROTECT_SOCKET" --state "$work/state" --run "$work/run" \
		--launch-socket "$work/launch.sock" --storage-socket "$work/storage.sock" --network-socket "$network" --uid-count 8 \
		--memory-budget 1024 --vcpu-budget 8 --metrics "$metrics" --pressure-file "$work/pressure" "$@" 2>>"$work/daemon.log" &
	daemon=$!
	wait_until protect host status
}

start_storage() { # start_storage [OPTION…]
	"$bin/protect-storage" --store "$work/store" --socket "$work/storage.sock" --allow-uid root \
		--kernel-layout "$work/kernel" --base-initrd "$work/initrd" "$@" 2>"$work/storage.log" &
	pids+=($!)
	storage=$!
}

start_services() {
	start_storage
	"$bin/protect-launch" --socket "$work/launch.sock" --runner "$work/runner" --kvm /dev/null \
		--cgroup-root "$work/none/protect" --uid-base "$uid_base" --uid-count 8 2>"$work/launch.log" &
	pids+=($!)
	"$work/runner" 2>"$work/zones.log" &
	pids+=($!)
	wait_until test -S "$work/storage.sock" -a -S "$work/launch.sock"
	start_daemon
}

no_services_yet() {
	start_daemon
	protect host status | grep -q 'storage *DOWN: protect-storage does not answer at .*; is it running' || fail "$(protect host status)"
	protect host status | grep -q 'launch *DOWN: protect-launch does not answer at .*; is it running' || fail "$(protect host status)"
	expect_error 'protect-storage does not answer at .*; is it running' protect zone launch --wait
	expect_error 'protect-storage does not answer' protect image list
	wait_until nothing_left
	kill "$daemon"
	wait "$daemon" || fail "the daemon ended with $?"
}

nothing_left() {
	[ "$(protect zone list -o json)" = '[]' ] && [ "$(protect workload list -o json)" = '[]' ] &&
		[ -z "$(find "$work/run/zones" "$work/state/logs" -mindepth 1)" ]
}

a_zone_and_its_workloads() {
	protect image import "oci:$work/box" >/dev/null
	protect zone launch --name one --max-memory 128 --wait >/dev/null
	expect ready zone one state
	expect_status 1 protect zone launch --name one
	expect_status 1 protect zone launch --max-memory 4096
	expect hi protect zone exec one -- echo hi
	expect_status 7 protect zone exec one -- sh -c 'exit 7'
	expect 'through' protect zone exec one -- cat <<<through
	expect hello protect workload launch --zone one --name w1 --attach "oci:$work/box"
	wait_until is exited workload w1 state
	expect hello protect workload logs w1
	expect 3000000 bash -c "'$bin/protect' zone exec one -- head -c 3000000 /dev/zero | wc -c"
	protect workload launch --zone one --name w2 --wait "oci:$work/box" -- /bin/sh -c 'echo up; exec sleep 1000' >/dev/null
	expect in protect workload exec w2 -- echo in
}

workload_fields() { # workload_fields NAME FIELD…: their values in a line
	local name=$1
	shift
	protect workload list -o json | jq -er --arg n "$name" '[.[] | select(.name == $n)][0] as $z | [$ARGS.positional[] | $z[.]] | join(" ")' \
		--args "$@"
}

has_restarted() { # has_restarted NAME TIMES
	[ "$(workload "$1" restarts)" -ge "$2" ]
}

# box NAME [OPTION…] -- COMMAND…: a workload of the zone one
box() {
	local name=$1
	shift
	protect workload launch --zone one --name "$name" --wait "$@" >/dev/null
}

runs_of_a_workload() {
	local before
	# By request, on the files it left, with its log going on.
	box again "oci:$work/box" -- /bin/sh -c 'echo run >>/runs; cat /runs; exit 3'
	wait_until is 'exited 3' workload_fields again state exit_code
	expect_error 'has not ended' protect workload start w2
	protect workload start again
	wait_until is 3 bash -c "'$bin/protect' workload logs again | wc -l"
	wait_until is exited workload again state
	expect 'no 0' workload_fields again restart restarts
	protect workload destroy -W again
	expect_error 'no workload' protect workload start again
	# By policy: with a limit, and without one until somebody stops it.
	box fails --restart on-failure:2 "oci:$work/box" -- /bin/sh -c 'echo try; exit 5'
	box ends --restart on-failure "oci:$work/box" -- /bin/sh -c 'exit 0'
	box forever --restart always "oci:$work/box" -- /bin/sh -c 'echo once; exit 0'
	expect_status 2 protect workload launch --zone one --restart sometimes "oci:$work/box"
	wait_until is 'exited 5 2 on-failure:2' workload_fields fails state exit_code restarts restart
	expect 3 bash -c "'$bin/protect' workload logs fails | wc -l"
	wait_until is 'exited 0 0' workload_fields ends state exit_code restarts
	wait_until has_restarted forever 3
	# A daemon that comes later goes on with it.
	kill -9 "$daemon"
	wait "$daemon" || true
	start_daemon
	before=$(workload forever restarts)
	wait_until has_restarted forever $((before + 1))
	protect workload stop forever
	expect exited workload forever state
	protect workload start forever
	wait_until has_restarted forever 1
	wait_until is restarting workload forever state
	protect workload stop forever
	sleep 1
	expect exited workload forever state
	protect workload destroy -W fails ends forever
}

what_options_say() {
	local settings
	printf '# comment\nFROM_FILE=1\nBOTH=file\n' >"$work/env"
	# shellcheck disable=SC2016 # for the shell there
	expect '1 given host 77 ro' protect workload launch --zone one --name o1 --attach --env-file "$work/env" -e BOTH=given \
		--hostname host --ulimit nofile=77:88 --read-only --entrypoint /bin/sh "oci:$work/box" -- \
		-c 'touch /x 2>/dev/null || ro=ro; echo $FROM_FILE $BOTH $HOSTNAME $(ulimit -n) $ro'
	protect workload destroy -W o1
	echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "nosuchcall"], "action": "SCMP_ACT_ERRNO", "errnoRet": 33}]}' \
		>"$work/profile"
	expect refused protect workload launch --zone one --name o2 --attach --security-opt seccomp="$work/profile" "oci:$work/box" -- \
		/bin/sh -c 'mkdir /x 2>/dev/null || echo refused'
	protect workload destroy -W o2
	echo '{"defaultAction": "SCMP_ACT_MAYBE"}' >"$work/profile"
	for settings in "--security-opt seccomp=$work/profile" --security-opt=seccomp=/nowhere --cap-add=NOTHING --tmpfs=relative \
		--tmpfs=/x:odd --ulimit=nofile=9:8 --memory=lots --cpus=-1 --oom-score-adj=2000 --sysctl=none --env-file=/nowhere; do
		# shellcheck disable=SC2086 # words
		expect_error '^protect: ' protect workload launch --zone one --name o3 $settings "oci:$work/box"
	done
	expect_error "is the zone's, not a workload's" protect workload launch --zone one --name o3 --wait --sysctl net.core.somaxconn=1 "oci:$work/box"
	# What is not there in this zone cannot be limited.
	expect_error 'limit what the workload may use' protect workload launch --zone one --name o3 --wait --memory 10m "oci:$work/box"
	expect_error 'is no signal' protect workload launch --zone one --name o3 --stop-signal SIGNOTHING "oci:$work/box"
	# shellcheck disable=SC2016 # for the shell there
	box o4 --stop-signal USR1 "oci:$work/box" -- /bin/sh -c 'trap "echo told; exit 9" USR1; echo up; while :; do sleep 0.1; done'
	wait_until is up protect workload logs o4
	protect workload stop o4
	expect 'exited 9' workload_fields o4 state exit_code
	protect workload destroy -W o4
}

# What the daemon has written to files, in MiB.
written_mib() {
	awk '/^wchar/ { print int($2 / 1048576) }' "/proc/$daemon/io"
}

# 16 MiB a second are a zone's (output_pace.h); without a bound it would be hundreds.
output_is_paced() {
	local before after
	protect workload launch --zone one --name flood "oci:$work/box" -- /bin/sh -c 'exec yes a line of some length that is written again and again' >/dev/null
	protect workload launch --zone one --name quiet "oci:$work/box" -- /bin/sh -c 'sleep 1; echo heard; sleep 100' >/dev/null
	before=$(written_mib)
	sleep 3
	after=$(written_mib)
	[ $((after - before)) -le 100 ] || fail "$((after - before)) MiB in 3 s"
	[ $((after - before)) -ge 5 ] || fail "only $((after - before)) MiB in 3 s"
	wait_until bash -c "'$bin/protect' workload logs quiet | grep -q heard"
	protect workload destroy -W flood quiet
}

logs_as_asked() {
	box l1 "oci:$work/box" -- /bin/sh -c 'echo one; echo two; echo bad >&2; printf three; sleep 2; echo " and more"; echo four; sleep 1000'
	wait_until bash -c "'$bin/protect' workload logs l1 2>/dev/null | grep -q three"
	expect 'two' bash -c "'$bin/protect' workload logs -n 3 l1 2>/dev/null | head -n 1"
	expect '' protect workload logs --tail 0 l1
	wait_until bash -c "'$bin/protect' workload logs l1 2>/dev/null | grep -qx four"
	expect four bash -c "'$bin/protect' workload logs --tail 1 l1 2>/dev/null"
	# A line has the time at which it began, once.
	protect workload logs -t l1 >"$work/out" 2>"$work/err"
	expect 4 grep -cE '^20[0-9-]{8}T[0-9:]{8}\.[0-9]{3}Z (one|two|three and more|four)$' "$work/out"
	expect 1 grep -cE 'Z bad$' "$work/err"
	expect '' protect workload logs --since 2099-01-01 l1
	expect 4 bash -c "'$bin/protect' workload logs --since 1h l1 2>/dev/null | wc -l"
	expect_error 'is no time' protect workload logs --since yesterday l1
	expect_error 'is no number' protect workload logs -n x l1
	expect 4 bash -c "timeout 5 '$bin/protect' workload logs -ft l1 2>/dev/null | wc -l"
	protect workload destroy -W l1
}

attached_later() {
	local follower=$work/follower
	# Input that stays open for who comes later, whose end is passed on.
	# shellcheck disable=SC2016 # for the shell there
	box a1 -i "oci:$work/box" -- /bin/sh -c 'echo before; while read -r line; do echo "got $line"; done; echo end; exit 6'
	wait_until is before protect workload logs a1
	mkfifo "$work/in"
	"$bin/protect" workload attach a1 <"$work/in" >"$follower" 2>&1 &
	pid=$!
	exec 8>"$work/in"
	wait_until grep -qx before "$follower"
	echo hello >&8
	wait_until grep -qx 'got hello' "$follower"
	expect_status 125 protect workload attach a1 </dev/null
	grep -q 'somebody is attached' "$work/output" || fail "$(cat "$work/output")"
	# Who is killed leaves it running.
	kill -9 $pid
	wait $pid || true
	exec 8>&-
	expect running workload a1 state
	# A signal would be passed on; without input none is ended.
	expect_status 137 timeout -s KILL 2 "$bin/protect" workload attach --no-replay --no-stdin a1
	expect_status 6 protect workload attach a1 <<<more
	expect $'before\ngot hello\ngot more\nend' cat "$work/output"
	expect_status 125 protect workload attach a1
	grep -q 'does not run' "$work/output" || fail "$(cat "$work/output")"
	expect_status 6 protect workload start -a a1 <<<once
	expect $'before\nend' cat <(grep -v '^got' "$work/output")
	protect workload destroy -W a1
	# On a terminal: Ctrl-] leaves.
	# shellcheck disable=SC2016 # for the shell there
	box a2 -t "oci:$work/box" -- /bin/sh -c 'echo up; read -r line; echo "line $line"; exit 4'
	expect_status 0 env TYPE_AFTER_3S=$'\035' python3 "$here/../e2e/terminal.py" "$bin/protect" workload attach a2
	grep -q "left 'a2', which goes on" "$work/output" || fail "$(cat "$work/output")"
	expect running workload a2 state
	expect_status 4 env TYPE_AFTER_3S=$'word\n' python3 "$here/../e2e/terminal.py" "$bin/protect" workload attach a2
	grep -q 'line word' "$work/output" || fail "$(cat "$work/output")"
	protect workload destroy -W a2
}

execs_that_are_left_alone() {
	expect '' protect workload exec -d w2 -- /bin/sh -c 'sleep 0.5; echo here >/note; sleep 1000'
	wait_until protect workload exec w2 -- cat /note
	expect_status 125 protect workload exec -d w2 -- /bin/nothing
}

what_a_zone_is_told() {
	protect zone launch --name grows --max-memory 256 --target-memory 128 --max-cpus 4 -c 2 --wait >/dev/null
	expect '128 256 2 4 false' zone_fields grows target_memory_mib max_memory_mib target_cpus max_cpus paused
	protect zone list | grep -q '128/256 *2/4' || fail 'the table shows no targets'
	protect zone update grows --target-memory 200
	protect zone update grows --target-cpus 1
	expect '200 256 1 4 false' zone_fields grows target_memory_mib max_memory_mib target_cpus max_cpus paused
	expect '209715200 1 false' debug_fields grows memory_bytes vcpus paused
	expect_status 2 protect zone update grows
	expect_error 'above the zone.s maximum of 256 MiB' protect zone update grows --target-memory 257
	expect_error 'above the zone.s maximum of 4' protect zone update grows -c 5
	expect_error 'at least 64 MiB' protect zone update grows --target-memory 63
	expect_error 'no zone' protect zone update nosuch -c 1
	expect_error 'above' protect zone launch --target-memory 1024
	expect_error 'exclude' protect zone launch --kernel a --kernel-variant b
	expect_error 'no kernel in the store has a variant' protect zone launch --kernel-variant b
	expect_error 'cannot be the variant' protect zone launch --kernel-variant '../b'
}

a_pause() {
	protect zone pause grows
	expect true zone_fields grows paused
	expect ready zone grows state
	protect zone list | grep -q ' paused ' || fail 'the table shows no pause'
	expect true debug_fields grows paused
	expect_error "is paused; 'protect zone resume grows'" protect zone update grows -c 2
	expect_error 'is paused' protect workload launch --zone grows "oci:$work/box"
	expect_status 125 protect zone exec grows -- echo
	grep -q 'is paused' "$work/output" || fail "$(cat "$work/output")"
	# A daemon that comes later knows it from the runner, and targets that an earlier one could not note.
	kill "$daemon"
	wait "$daemon" || true
	python3 -c 'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute("UPDATE zones SET target_memory_mib = 190, target_vcpus = 2"); c.commit()' "$work/state/daemon.db"
	start_daemon
	wait_until is true zone_fields grows paused
	expect '200 1' zone_fields grows target_memory_mib target_cpus
	protect zone pause grows
	protect zone resume grows
	expect false zone_fields grows paused
	wait_until protect zone exec grows -- true
	protect zone destroy -W grows
	expect_error 'no zone' protect zone pause grows
}

what_runners_say() {
	local follower
	protect zone launch --name said --wait >/dev/null
	protect host hv-console said >"$work/said"
	printf 'info event=boot\nwarning evil=\\x1b[2J\\xff\nlast\n' | cmp - "$work/said" || fail "$(cat "$work/said")"
	protect host hv-console | grep -qx 'said: info event=boot' || fail 'no name in front'
	"$bin/protect" host hv-console -f >"$work/said" &
	follower=$!
	printf ' word\nmore\npart' >>"$work/run/zones/$(zone said uuid)/log"
	wait_until grep -qx 'said: last word' "$work/said"
	wait_until grep -qx 'said: more' "$work/said"
	! grep -q part "$work/said" || fail 'a line that has no end yet'
	kill "$follower"
	# A log of a megabyte, with lines that have no end.
	head -c 1000000 /dev/zero | tr '\0' a >>"$work/run/zones/$(zone said uuid)/log"
	expect 1000004 bash -c "'$bin/protect' host hv-console said | tail -n +5 | tr -d '\n' | wc -c"
	# Of one zone that ends, the reader ends as well.
	"$bin/protect" host hv-console -f said >/dev/null &
	follower=$!
	protect zone destroy -W said
	wait "$follower"
	expect_error 'no zone' protect host hv-console said
}

what_runners_know() {
	local started=$SECONDS
	protect zone launch --name knows --max-memory 128 --wait >/dev/null
	protect zone launch --name hangs --max-memory 128 --max-cpus 3 --wait >/dev/null
	protect zone update hangs -c 3
	protect zone update knows --target-memory 100
	protect host hv-debug-info >"$work/known"
	[ $((SECONDS - started)) -lt 12 ] || fail 'it took too long'
	jq -e 'type == "array" and ([.[] | select(.zone == "knows" and .memory_bytes == 104857600)] | length) == 1 and
		([.[] | select(.zone == "hangs" and (.error | test("within 5 s")))] | length) == 1 and
		all(.uuid | length == 36) and all(.zone != "forged")' "$work/known" >/dev/null || fail "$(cat "$work/known")"
	expect 1 bash -c "'$bin/protect' host hv-debug-info -o jsonl knows | wc -l"
	# The one that hangs is asked nothing else by it: the zone goes on.
	expect alive protect zone exec hangs -- echo alive
	expect_error 'no zone' protect host hv-debug-info nosuch
	protect zone destroy -W knows hangs
}

clients_vanish() {
	local pid before
	mkfifo "$work/never"
	exec 9<>"$work/never"
	# One that waits, one that reads nothing of endless output, one in the middle of a launch.
	for command in "workload launch --zone one --attach oci:$work/box -- /bin/sleep 1000" 'zone exec one -- yes' \
		'zone logs -f one' 'zone launch --name gone --wait'; do
		# shellcheck disable=SC2086 # words
		"$bin/protect" $command >"$work/never" 2>/dev/null &
		pid=$!
		sleep 0.4
		kill -9 "$pid" 2>/dev/null || true
	done
	wait_until is ready zone gone state
	expect still protect zone exec one -- echo still
	protect zone destroy -W gone
	before=$(find "/proc/$daemon/fd" -mindepth 1 | wc -l)
	for _ in $(seq 20); do
		timeout -s KILL 0.2 "$bin/protect" zone logs -f one >/dev/null || true
	done
	[ "$(find "/proc/$daemon/fd" -mindepth 1 | wc -l)" -le $((before + 2)) ] || fail 'descriptors leak'
}

a_user_has_half_the_places() {
	local pid followers=() alive=0
	for _ in $(seq 40); do
		setpriv --reuid 65534 --regid "$(stat -c %g "$PROTECT_SOCKET")" --clear-groups "$work/cli" zone logs -f one >/dev/null 2>&1 &
		followers+=($!)
	done
	for _ in $(seq 50); do
		sleep 0.2
		alive=0
		for pid in "${followers[@]}"; do
			! kill -0 "$pid" 2>/dev/null || alive=$((alive + 1))
		done
		[ $alive -gt 32 ] || break
	done
	[ $alive = 32 ] || fail "$alive connections of one user"
	protect host status >/dev/null
	kill "${followers[@]}" 2>/dev/null || true
}

# as_user GROUPS COMMAND…: as a stranger with this group besides its own
as_user() {
	local groups=$1
	shift
	setpriv --reuid 65534 --regid 65534 "$groups" "$work/cli" "$@"
}

# Whatever the mode of the socket says.
only_the_group_may_enter() {
	local gid
	gid=$(stat -c %g "$PROTECT_SOCKET")
	chmod 0666 "$PROTECT_SOCKET"
	chgrp 54321 "$PROTECT_SOCKET" # counts when the daemon starts
	expect_status 1 as_user --clear-groups host status
	[ "$gid" != 0 ] || as_user --groups=1234,0 host status >/dev/null
	chgrp "$gid" "$PROTECT_SOCKET"
	chmod 0660 "$PROTECT_SOCKET"
}

the_daemon_is_killed() {
	local status=0 attached
	"$bin/protect" zone exec one -- sleep 1000 >/dev/null 2>&1 &
	attached=$!
	sleep 0.3
	kill -9 "$daemon"
	wait "$daemon" || true
	wait "$attached" || status=$?
	[ $status != 0 ] || fail 'an exec ended well without its daemon'
	start_daemon
	expect ready zone one state
	expect running workload w2 state
	wait_until protect workload exec w2 -- echo again
	expect hello protect workload logs w1
	protect workload destroy -W w2
}

zones_end() {
	protect zone launch --name two --max-memory 128 --wait >/dev/null
	protect zone logs two | grep -q 'Linux version' || fail 'no console'
	protect zone destroy -W two
	protect zone destroy -W one
	wait_until nothing_left
	# The whole budget is there again.
	protect zone launch --name all --max-memory 960 --max-cpus 8 --wait >/dev/null
	protect zone destroy -W all
}

# metric SERIES…: their values, from text that is right in all of its lines
metric() {
	curl -sf --max-time 20 "http://$metrics/metrics" | "$here/metrics_check.py" "$@"
}

is_near() { # is_near WANTED COMMAND…
	local wanted=$1 got
	shift
	got=$("$@")
	[ "$got" -ge $((wanted - 4)) ] && [ "$got" -le $((wanted + 4)) ]
}

uses() { # uses USED CACHE: what each guest says from now on, in MiB
	echo "$1 $2" >"$work/runner.use.new"
	mv "$work/runner.use.new" "$work/runner.use"
}

pressure_is() {
	echo "some avg10=$1 avg60=0.00 avg300=0.00 total=1" >"$work/pressure.new"
	mv "$work/pressure.new" "$work/pressure"
}

a_dynamic_zone_follows() {
	uses 100 0
	expect_status 2 protect zone launch --resource-adjustment-policy lazy
	expect_error 'minimum of 100 MiB is above' protect zone launch --min-memory 100 --max-memory 90
	expect_error 'at least 64 MiB' protect zone launch --min-memory 10
	protect zone launch --name follows --max-memory 512 --target-memory 160 --min-memory 96 \
		--resource-adjustment-policy dynamic --wait >/dev/null
	expect '160 512 96 dynamic' zone_fields follows target_memory_mib max_memory_mib min_memory_mib policy
	wait_until is_near 160 runner_mib follows # it booted with more
	uses 400 0
	wait_until is 512 zone follows target_memory_mib
	wait_until is_near 512 runner_mib follows
	uses 1000000 0 # lies do not help
	sleep 2
	expect 512 zone follows target_memory_mib
	protect zone update follows --resource-adjustment-policy static --target-memory 200 -c 1
	expect '200 static' zone_fields follows target_memory_mib policy
	sleep 2
	expect 200 zone follows target_memory_mib
	expect_error 'minimum of 300 MiB is above' protect zone update follows --min-memory 300
	protect zone update follows --min-memory 128 --resource-adjustment-policy dynamic
	wait_until is 512 zone follows target_memory_mib
	# A later daemon knows it all, and goes on.
	kill -9 "$daemon"
	wait "$daemon" || true
	uses 60 0
	start_daemon
	expect '512 128 dynamic' zone_fields follows target_memory_mib min_memory_mib policy
	protect zone update follows --target-memory 256
	uses 250 0
	wait_until is 384 zone follows target_memory_mib
}

runner_mib() {
	echo $(($(protect host hv-debug-info "$1" | jq '.[0].memory_bytes') / 1048576))
}

figures_are_to_be_read() {
	local uuid
	uuid=$(zone follows uuid)
	metric >/dev/null
	wait_until metric "protect_zone_vm_exits_total{uuid=\"$uuid\"}"
	expect 12345 metric "protect_zone_vm_exits_total{uuid=\"$uuid\"}"
	expect $((384 << 20)) metric 'protect_zone_memory_target_bytes{zone="follows"}'
	# The guest's and the runner's names and numbers end no line, and two of one name are one.
	expect 512 metric 'protect_zone_disk_read_bytes_total{disk="a\"b\\c?# d?{}=1"'
	expect 1 metric 'protect_zones{state="ready"}'
	expect 1 metric 'protect_service_up{service="daemon"}'
	wait_until is 1 metric 'protect_service_up{service="launch"}'
	wait_until is 1 metric 'protect_service_up{service="storage"}'
	expect 0.05 metric protect_host_memory_pressure_ratio
	# What the services of this test, which have one folder, would leave there.
	printf '41\n41\nx\n99999\n' >"$work/denied"
	sleep 1.1
	expect 2 metric 'protect_service_denied_calls_total{service="launch",call="41"}'
	expect 0 bash -c "curl -sf 'http://$metrics/metrics' | grep -c 'service=\"daemon\",call=' || true"
	rm "$work/denied"
	! command -v promtool >/dev/null || curl -sf "http://$metrics/metrics" | promtool check metrics || fail 'Prometheus thinks so'
	expect 405 curl -s -o /dev/null -w '%{http_code}' -X POST -d x "http://$metrics/metrics"
	expect 404 curl -s -o /dev/null -w '%{http_code}' "http://$metrics/"
	# Readers that say nothing, and more than there are places for, keep nobody out for long.
	for _ in $(seq 20); do
		timeout 12 bash -c "exec 3<>/dev/tcp/${metrics%:*}/${metrics#*:}; sleep 12" &
	done
	sleep 0.5
	expect alive protect zone exec follows -- echo alive
	wait_until metric protect_host_cpus
}

pressure_takes_and_gives_back() {
	uses 100 20
	protect zone launch --name idle --max-memory 256 --wait >/dev/null
	protect zone update idle --target-memory 250
	uses 40 20
	pressure_is 40.00
	wait_until is 40 host memory_pressure_percent
	# All that is idle but 32 MiB goes, a fourth at a time: 250 - 62, then to 92 in steps.
	wait_until is_near 92 runner_mib idle
	expect '250 static' zone_fields idle target_memory_mib policy
	is_near $(((250 - 92) << 20)) metric 'protect_zone_memory_squeezed_bytes{zone="idle"}' ||
		[ "$(metric 'protect_zone_memory_squeezed_bytes{zone="idle"}')" -gt 150000000 ] || fail 'nothing is said of it'
	# What it needs it gets back at once, and what was taken is not forgotten with the daemon.
	uses 85 0
	wait_until is 250 runner_mib idle
	uses 40 20
	wait_until is_near 92 runner_mib idle
	kill -9 "$daemon"
	wait "$daemon" || true
	pressure_is 0.00
	start_daemon
	expect '250 static' zone_fields idle target_memory_mib policy
	sleep 30 # of calm, before anything is given back
	wait_until is 250 runner_mib idle
	expect 0 metric 'protect_zone_memory_squeezed_bytes{zone="idle"}'
	protect zone destroy -W idle
}

host() { # host FIELD
	protect host status -o json | jq ".$1"
}

# What runs, or may run again, keeps its image, and so does the default kernel.
images_are_pruned() {
	local pruned="$work/pruned"
	make_image "$work/spare" "$work/tree" '{"Cmd": ["/bin/echo", "spare"]}'
	make_image "$work/other" "$work/kernel-tree" '{"Cmd": ["other"]}'
	for name in spare:1 spare:2; do
		protect image import --name $name "oci:$work/spare" >/dev/null
	done
	protect image import --name other:1 "oci:$work/other" >/dev/null
	protect image import --name used:1 "oci:$work/box" >/dev/null
	protect zone launch --name prunes --max-memory 128 --wait >/dev/null
	protect workload launch --zone prunes --name ended --attach used:1 >/dev/null
	protect image prune --dry-run -o json >"$pruned"
	jq -e 'length == 1 and .[0].names == ["spare:1", "spare:2"] and .[0].size_bytes > 0 and (.[0].kernel | not)' "$pruned" >/dev/null ||
		fail "$(cat "$pruned")"
	expect 'spare:1 spare:2' bash -c "'$bin/protect' image prune --dry-run -a -o json | jq -r '[.[] | select(.kernel | not)][0].names | join(\" \")'"
	protect image prune | grep -Eq '^spare:1[, ]+spare:2 +sha256:[0-9a-f]{64} +[0-9]+$' || fail 'no table'
	expect '[]' bash -c "'$bin/protect' image prune -o json | jq -c ."
	expect_error "image 'spare:1' is not in the store" protect image remove spare:1
	expect other:1 bash -c "'$bin/protect' image prune --all -o jsonl | jq -r '.names[]'"
	protect workload destroy -W ended
	expect used:1 bash -c "'$bin/protect' image prune -o json | jq -r '.[].names | map(select(startswith(\"used\")))[]'"
	expect localhost/zone-kernel:default bash -c "'$bin/protect' image list -o json | jq -r '.[].name'"
	protect zone destroy -W prunes
}

metrics=127.0.0.1:$((20000 + $$ % 10000))
pressure_is 5.00
make_images
if [ "$cases" = policies ]; then
	start_services
	a_dynamic_zone_follows
	figures_are_to_be_read
	protect zone destroy -W follows
	pressure_takes_and_gives_back
elif [ "$cases" = survival ]; then
	# shellcheck source=tests/unit/daemon_survival.bash
	. "$here/daemon_survival.bash"
	survival
elif [ "$cases" = volumes ]; then
	# shellcheck source=tests/unit/daemon_volumes.bash
	. "$here/daemon_volumes.bash"
	volumes
elif [ "$cases" = networks ]; then
	# shellcheck source=tests/unit/daemon_network.bash
	. "$here/daemon_network.bash"
	networks
elif [ "$cases" = containerd ]; then
	# shellcheck source=tests/unit/daemon_containerd.bash
	. "$here/daemon_containerd.bash"
	containerd_runs_zones
elif [ "$cases" = pods ]; then
	# shellcheck source=tests/unit/daemon_cri.bash
	. "$here/daemon_cri.bash"
	containerd_runs_pods
elif [ "$cases" = idm ]; then
	# shellcheck source=tests/unit/daemon_idm.bash
	. "$here/daemon_idm.bash"
	start_services
	idm
	images_are_pruned
else
	no_services_yet
	start_services
	a_zone_and_its_workloads
	runs_of_a_workload
	what_options_say
	logs_as_asked
	output_is_paced
	attached_later
	execs_that_are_left_alone
	what_a_zone_is_told
	a_pause
	what_runners_say
	what_runners_know
	clients_vanish
	a_user_has_half_the_places
	only_the_group_may_enter
	the_daemon_is_killed
	zones_end
fi
[ "$cases" = survival ] || ! grep -q 'disk=i-.* not detached' "$work/daemon.log" || fail 'a disk stayed in its zone'
kill "$daemon"
status=0
wait "$daemon" || status=$?
daemon=''
[ $status = 0 ] || fail "the daemon ended with $status"
echo 'all as it should be'
