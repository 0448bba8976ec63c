#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run_neighbour.sh ZONE_VMM NEIGHBOUR HOSTILE VCPUS MEMORY_MIB: an honest zone works beside a hostile one, each under a zone-vmm of
# its own. It must get LEAST percent or more of what it gets done beside honest zones like itself, as many as the hostile one has
# vCPUs, without one wrong byte; and the hostile one's zone-vmm must stay within its memory meanwhile. No limits but the kernel's
# fairness are at work here. Whoever shares the machine is heard in such figures: the best of a few tries counts.
set -euo pipefail
vmm=$1 neighbour=$2 hostile=$3 vcpus=$4 memory_mib=$5
LEAST=40 TRIES=4 SECONDS_EACH=2 SLACK_KIB=4096 PATIENCE_S=60
export ASAN_OPTIONS="quarantine_size_mb=1:thread_local_quarantine_size_kb=64${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

[ -w /dev/kvm ] || { echo "SKIP: /dev/kvm is not there or not ours to open"; exit 77; }
dir=$(mktemp -d)
honest_pid='' beside=()
# shellcheck disable=SC2317 # by the trap
clean_up() {
	local pid
	for pid in $honest_pid "${beside[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
	done
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

# own_kib PID: what its zone holds (its child: it only minds that one) beside the guest's memory, which is its mappings of 32 MiB
# and more
own_kib() {
	awk -v guests=$((32 * 1024)) '
		/^Size:/ { size = $2 }
		/^Rss:/ && size < guests { sum += $2 }
		END { print sum + 0 }' "/proc/$(pgrep -P "$1")/smaps"
}

dots() { tr -cd . <"$dir/honest.console" | wc -c; }
now_us() { echo "${EPOCHREALTIME/./}"; }

# measure NAME: $rate is the dots per 1000 s that the honest zone makes beside those that were started, until the zone NAME says
# PASS, but for SECONDS_EACH at most; $grown what the first of them grew by, in KiB. Ends them.
measure() {
	local before began now held until pid
	held=$(own_kib "${beside[0]}") grown=0
	before=$(dots) began=$(now_us) until=$(($(now_us) + SECONDS_EACH * 1000000))
	while [ "$(now_us)" -lt "$until" ] && ! grep -q '^PASS' "$dir/$1.console"; do
		for pid in $honest_pid "${beside[@]}"; do
			kill -0 "$pid" 2>/dev/null || fail "a zone ended by itself"
		done
		sleep 0.1
		now=$(own_kib "${beside[0]}")
		[ $((now - held)) -le "$grown" ] || grown=$((now - held))
	done
	rate=$((($(dots) - before) * 1000000000 / ($(now_us) - began)))
	! grep -q '^FAIL' "$dir/$1.console" || fail "the zone beside it says so"
	kill -TERM "${beside[@]}"
	for pid in "${beside[@]}"; do
		wait "$pid" || true
	done
	beside=()
}

start honest "$neighbour" 1 32
honest_pid=$started
wait_for honest "$honest_pid"
share=0
for try in $(seq "$TRIES"); do
	for i in $(seq "$vcpus"); do
		start "like-$i" "$neighbour" 1 32
		beside+=("$started")
		wait_for "like-$i" "$started"
	done
	measure like-1
	beside_honest=$rate
	start hostile "$hostile" "$vcpus" "$memory_mib"
	beside+=("$started")
	wait_for hostile "$started"
	measure hostile
	[ "$grown" -le "$SLACK_KIB" ] || fail "the hostile zone's zone-vmm grew by $grown KiB"
	[ "$beside_honest" -gt 0 ] || continue
	share=$((rate * 100 / beside_honest))
	echo "try $try: $beside_honest dots in 1000 s beside honest zones, $rate beside the hostile one: $share %; it grew by $grown KiB"
	[ "$share" -lt "$LEAST" ] || break
done
[ "$share" -ge "$LEAST" ] || fail "the honest zone got $share % done of what it should"
! grep -q '^FAIL' "$dir/honest.console" || fail "the honest zone saw a wrong byte"
! grep -q Sanitizer "$dir"/*.log || fail "a sanitizer's finding"
