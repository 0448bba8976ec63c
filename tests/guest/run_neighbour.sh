#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run_neighbour.sh ZONE_VMM NEIGHBOUR HOSTILE VCPUS MEMORY_MIB: an honest zone works beside a hostile one and beside honest ones like
# itself, as many as the hostile one has vCPUs, by turns: SLICES of each, in which the others are stopped. So whoever else uses the
# machine is heard in both alike. Beside the hostile one
# - it must get LEAST percent of the work done. Not 100: no limits but the kernel's fairness among threads are at work here, and the
#   hostile zone keeps its vCPUs and its loop busy, where an honest one's vCPU and loop wait for each other; and on a machine that
#   others use two such figures differ by some 20 percent with the same neighbours (tried);
# - the loop of its zone-vmm must take MOST_CPU percent at most of the CPU time for the same work, which hardly depends on load;
# - no byte of its may be wrong, and the hostile one's zone-vmm must stay within its memory.
# The best of a few tries counts.
set -euo pipefail
vmm=$1 neighbour=$2 hostile=$3 vcpus=$4 memory_mib=$5
LEAST=75 MOST_CPU=150 TRIES=3 SLICES=10 SLICE_S=0.1 SLACK_KIB=4096 PATIENCE_S=60
export ASAN_OPTIONS="quarantine_size_mb=1:thread_local_quarantine_size_kb=64${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

[ -w /dev/kvm ] || { echo "SKIP: /dev/kvm is not there or not ours to open"; exit 77; }
dir=$(mktemp -d)
honest_pid='' honest_zone='' hostile_pid='' hostile_zone='' held=0 like=()
declare -A work time cpu
# shellcheck disable=SC2317 # by the trap
clean_up() {
	exec 2>/dev/null # the shell would tell of each
	# shellcheck disable=SC2086 # none or one each
	kill -KILL $honest_pid $honest_zone $hostile_pid $hostile_zone "${like[@]}"
	wait 2>/dev/null
	rm -rf "$dir"
}
trap clean_up EXIT

fail() {
	echo "FAIL: $*"
	tail -c 500 "$dir"/*.console
	tail -n 20 "$dir"/*.log
	exit 1
}

# start NAME PROGRAM VCPUS MEMORY_MIB: starts a zone; its process is $started
start() {
	local disks='' i
	for ((i = 0; i < $3; i++)); do
		truncate -s 1M "$dir/$1.disk$i"
		disks+="${disks:+, }{\"file\": {\"path\": \"$dir/$1.disk$i\"}, \"serial\": \"scratch$i\"}"
	done
	: >"$dir/$1.console"
	cat >"$dir/$1.json" <<-SPEC
		{"memory_mib": $4, "vcpus": $3, "kernel": {"path": "$2"}, "cmdline": "vcpus=$3", "balloon": true,
		 "disks": [$disks],
		 "console": {"path": "$dir/$1.console"}, "socket": {"path": "$dir/$1.socket"}}
	SPEC
	rm -f "$dir/$1.socket"
	"$vmm" --stop-timeout 0 --spec "$dir/$1.json" >>"$dir/$1.log" 2>&1 &
	started=$!
}

# wait_for NAME PID: until that zone says READY
wait_for() {
	local deadline=$((SECONDS + PATIENCE_S))
	until grep -q '^READY' "$dir/$1.console"; do
		kill -0 "$2" 2>/dev/null || fail "$1 ended before it was ready"
		[ "$SECONDS" -lt "$deadline" ] || fail "$1 is not ready within $PATIENCE_S s"
		sleep 0.02
	done
}

# own_kib ZONE_PID: what it holds beside the guest's memory, which is its mappings of 32 MiB
# and more
own_kib() {
	awk -v guests=$((32 * 1024)) '
		/^Size:/ { size = $2 }
		/^Rss:/ && size < guests { sum += $2 }
		END { print sum + 0 }' "/proc/$1/smaps"
}

dots() { tr -cd . <"$dir/honest.console" | wc -c; }
now_us() { echo "${EPOCHREALTIME/./}"; }
loop_ns() { cut -d ' ' -f 1 "/proc/$honest_zone/task/$honest_zone/schedstat"; }

# slice: what the honest zone gets done in a slice beside whoever runs now: $did dots, in $took us, for $cost ns
slice() {
	local dots_before cpu_before began
	dots_before=$(dots) cpu_before=$(loop_ns) began=$(now_us)
	sleep "$SLICE_S"
	did=$(($(dots) - dots_before)) cost=$(($(loop_ns) - cpu_before)) took=$(($(now_us) - began))
}

# add KIND: that to ${work[KIND]}, ${time[KIND]}, ${cpu[KIND]}
add() {
	work[$1]=$((work[$1] + did)) time[$1]=$((time[$1] + took)) cpu[$1]=$((cpu[$1] + cost))
}

start_hostile() {
	start hostile "$hostile" "$vcpus" "$memory_mib"
	hostile_pid=$started
	wait_for hostile "$hostile_pid"
	hostile_zone=$(pgrep -P "$hostile_pid") # the process that was started only minds it
	held=$(own_kib "$hostile_zone")
}

end_hostile() {
	! grep -q '^FAIL' "$dir/hostile.console" || fail "the hostile zone says so"
	kill -TERM "$hostile_pid"
	wait "$hostile_pid" || true
	hostile_pid='' hostile_zone=''
}

# attack: a slice beside the hostile zone, which is started again whenever it is through. A slice in which it came to its end does
# not count, unless it is through within one.
attack() {
	local now fresh=no
	[ -n "$hostile_pid" ] || { start_hostile && fresh=yes; }
	slice
	kill -0 "$hostile_pid" 2>/dev/null || fail "the hostile zone ended by itself"
	now=$(own_kib "$hostile_zone")
	[ $((now - held)) -le "$SLACK_KIB" ] || fail "the hostile zone's zone-vmm grew by $((now - held)) KiB"
	if ! grep -q '^PASS' "$dir/hostile.console"; then
		add hostile
		kill -STOP "$hostile_zone"
		return
	fi
	end_hostile
	[ "$fresh" = no ] || add hostile
}

# measure: fills work, time and cpu for both kinds
measure() {
	local i
	work=([like]=0 [hostile]=0) time=([like]=0 [hostile]=0) cpu=([like]=0 [hostile]=0)
	for ((i = 0; i < SLICES; i++)); do
		attack
		kill -CONT "${like[@]}"
		slice
		add like
		kill -STOP "${like[@]}"
		[ -z "$hostile_zone" ] || kill -CONT "$hostile_zone"
		kill -0 "$honest_pid" 2>/dev/null || fail "the honest zone ended by itself"
	done
}

start honest "$neighbour" 1 32
honest_pid=$started
wait_for honest "$honest_pid"
honest_zone=$(pgrep -P "$honest_pid")
for i in $(seq "$vcpus"); do
	start "like-$i" "$neighbour" 1 32
	wait_for "like-$i" "$started"
	like+=("$(pgrep -P "$started")")
	kill -STOP "${like[-1]}"
done
share=0 dear=0
for try in $(seq "$TRIES"); do
	measure
	[ "$((work[like] * work[hostile]))" -gt 0 ] || continue
	share=$((work[hostile] * time[like] * 100 / time[hostile] / work[like]))
	per_dot=$((cpu[like] / work[like]))
	dear=$((cpu[hostile] * 100 / work[hostile] / per_dot))
	echo "try $try: ${work[like]} dots beside honest zones, ${work[hostile]} beside the hostile one in the same time: $share %;" \
		"CPU time of its loop for a dot: $dear %"
	! { [ "$share" -ge "$LEAST" ] && [ "$dear" -le "$MOST_CPU" ]; } || break
done
[ "$share" -ge "$LEAST" ] || fail "the honest zone got $share % done of what it should"
[ "$dear" -le "$MOST_CPU" ] || fail "the honest zone's loop took $dear % of the CPU time that it should"
! grep -q '^FAIL' "$dir/honest.console" || fail "the honest zone saw a wrong byte"
! grep -q Sanitizer "$dir"/*.log || fail "a sanitizer's finding"
