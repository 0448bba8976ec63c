#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run_hostile.sh ZONE_VMM GUEST VCPUS [MEMORY_MIB [TAP_PROGRAM]]: boots a hostile guest program under zone-vmm with every
# device, and a disk for each vCPU, waits for its PASS, and looks at what it cost: zone-vmm's memory beside the guest's and
# its peak since READY, the loop thread's CPU time once the guest is at rest, the log. Then ends it, as whoever runs a zone
# does. TAP_PROGRAM runs zone-vmm with a tap as descriptor 9.
set -euo pipefail
vmm=$1 guest=$2 vcpus=$3 memory_mib=${4:-32} under=${5:-}
SLACK_KIB=4096 IDLE_TICKS=10 PATIENCE_S=60
# What AddressSanitizer keeps of freed memory is not the VMM's.
export ASAN_OPTIONS="quarantine_size_mb=1:thread_local_quarantine_size_kb=64${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

[ -w /dev/kvm ] || { echo "SKIP: /dev/kvm is not there or not ours to open"; exit 77; }
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT

fail() {
	echo "FAIL: $*"
	cat "$dir/console"
	tail -n 40 "$dir/log"
	exit 1
}

# Prints KiB of what process $zone holds beside the guest's memory, which is its one mapping of that size (and what
# sanitizers reserve).
own_kib() {
	awk -v guests="$((memory_mib * 1024))" '
		/^Size:/ { size = $2 }
		/^Rss:/ && size < guests { sum += $2 }
		END { print sum + 0 }' "/proc/$zone/smaps"
}

status_kib() { awk -v name="$1:" '$1 == name { print $2 }' "/proc/$zone/status"; }
loop_ticks() { awk '{ print $14 + $15 }' "/proc/$zone/task/$zone/stat"; }

wait_for() {
	local deadline=$((SECONDS + PATIENCE_S))
	until grep -q "^$1" "$dir/console"; do
		! grep -q '^FAIL' "$dir/console" || fail "the guest says so"
		kill -0 "$pid" 2>/dev/null || fail "zone-vmm ended before the guest's $1"
		[ "$SECONDS" -lt "$deadline" ] || fail "no $1 within $PATIENCE_S s"
		sleep 0.01
	done
}

printf 'initrd' >"$dir/initrd"
disks=
for ((i = 0; i < vcpus; i++)); do
	truncate -s 1M "$dir/disk$i"
	disks+="${disks:+, }{\"file\": {\"path\": \"$dir/disk$i\"}, \"serial\": \"scratch$i\"}"
done
nics=
[ -z "$under" ] || nics='"nics": [{"file": {"fd": 9}, "mac": "02:00:00:00:00:07"}],'
cat >"$dir/spec.json" <<SPEC
{"memory_mib": $memory_mib, "max_memory_mib": $((memory_mib + 128)), "balloon": true, "vcpus": $vcpus,
 "kernel": {"path": "$guest"}, "initrd": {"path": "$dir/initrd"}, "cmdline": "vcpus=$vcpus", $nics
 "disks": [$disks],
 "console": {"path": "$dir/console"}, "exit": {"path": "$dir/exit"}, "socket": {"path": "$dir/socket"}}
SPEC
: >"$dir/console"
${under:+"$under"} "$vmm" --stop-timeout 0 --spec "$dir/spec.json" >"$dir/out" 2>"$dir/log" &
pid=$!
wait_for READY
zone=$(pgrep -P "$pid") # the process that was started only minds it
own_before=$(own_kib)
wait_for PASS
own=$(own_kib) peak=$(status_kib VmHWM) now=$(status_kib VmRSS)
before=$(loop_ticks)
sleep 1
idle=$(($(loop_ticks) - before))
[ $((own - own_before)) -le "$SLACK_KIB" ] || fail "it holds $own KiB of its own, $own_before before"
[ $((peak - now)) -le "$SLACK_KIB" ] || fail "it held $peak KiB at its peak, $now now"
[ "$idle" -le "$IDLE_TICKS" ] || fail "the loop took $idle ticks of a second in which the guest did nothing"
[ "$(wc -c <"$dir/log")" -lt 16384 ] || fail "the log grew to $(wc -c <"$dir/log") bytes"
cpu=$(loop_ticks)
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
pid=
! grep -q Sanitizer "$dir/log" || fail "a sanitizer's finding"
[ -s "$dir/exit" ] || fail "no exit record, status $status"
echo "ok: own memory $own_before to $own KiB, peak $((peak - now)) KiB over the end, loop $cpu ticks in all, $idle at rest," \
	"log $(wc -c <"$dir/log") bytes, $(cat "$dir/exit")"
