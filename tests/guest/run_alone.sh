#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run_alone.sh ZONE_VMM GUEST: starts zone-vmm alone, as root and as a plain user, with a guest that halts, and looks at both of its
# processes from outside: namespaces, ids, capabilities, descriptors, root; then how they end. With ZONE_SANITIZED=1 (a build
# with sanitizers, which need the host's /proc) there is no pid namespace and no empty root to look for.
set -euo pipefail
vmm=$1 guest=$2 sanitized=${ZONE_SANITIZED:-0}
export ASAN_OPTIONS="detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}" # of two processes that are killed

[ -w /dev/kvm ] || { echo "SKIP: /dev/kvm is not there or not ours to open"; exit 77; }
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT

fail() {
	echo "FAIL: $*"
	tail -n 20 "$dir/log" "$dir/console"
	exit 1
}

wait_for() { # wait_for WHAT COMMAND…
	local what=$1 deadline=$((SECONDS + 30))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || fail "no $what within 30 s"
		sleep 0.02
	done
}

field() { awk -v name="$2:" '$1 == name { $1 = ""; print substr($0, 2) }' "/proc/$1/status"; }
expect() { [ "$2" = "$3" ] || fail "$1: $2, expected $3"; }
is_gone() { [ ! -d "/proc/$1" ]; }

start() { # start [OPTION…]
	printf '{"memory_mib": 32, "kernel": {"path": "%s"}, "console": {"path": "%s"}, "exit": {"path": "%s"}, "socket": {"path": "%s"}}' \
		"$guest" "$dir/console" "$dir/exit" "$dir/socket" >"$dir/spec.json"
	truncate -s 0 "$dir/console" "$dir/exit"
	"${run_as[@]}" "$vmm" "$@" --stop-timeout 0 --spec "$dir/spec.json" 2>"$dir/log" 9>"$dir/leak" &
	pid=$!
	wait_for "guest" grep -q . "$dir/console"
	zone=$(pgrep -P "$pid")
}

# look UID GID: at both processes.
look() {
	local p ns
	for p in "$pid" "$zone"; do
		expect "uids of $p" "$(field "$p" Uid)" "$1 $1 $1 $1"
		expect "gids of $p" "$(field "$p" Gid)" "$2 $2 $2 $2"
		for set in CapInh CapPrm CapEff CapBnd CapAmb; do
			expect "$set of $p" "$(field "$p" $set)" 0000000000000000
		done
		expect "no_new_privs of $p" "$(field "$p" NoNewPrivs)" 1
		for ns in user mnt net ipc uts cgroup; do
			[ "$(readlink "/proc/$p/ns/$ns")" != "$(readlink "/proc/self/ns/$ns")" ] || fail "$p shares the $ns namespace"
		done
		[ -z "$(find "/proc/$p/fd" -lname "$dir/leak")" ] || fail "$p has a descriptor that nobody named"
		grep -q '^Max core file size  *0  *0' "/proc/$p/limits" || fail "$p may dump core"
		[ "$sanitized" = 1 ] || expect "root of $p" "$(ls -A "/proc/$p/root/")" ''
	done
	expect "stdin of the zone" "$(readlink "/proc/$zone/fd/0")" /dev/null
	[ "$sanitized" = 1 ] || expect "PID of the zone" "$(field "$zone" NSpid)" "$zone 1"
	expect "descriptors of the one outside" "$(find "/proc/$pid/fd" -mindepth 1 | wc -l)" 5
}

ends_with() { # ends_with STATUS: of the process that was started
	local status=0
	wait "$pid" || status=$?
	expect status "$status" "$1"
	wait_for "end of the zone" is_gone "$zone"
	pid=
}

as_root() {
	start
	expect "default id" "$(field "$pid" Uid | cut -d " " -f 1)" $((0x70000000 + pid))
	look $((0x70000000 + pid)) $((0x70000000 + pid))
	kill -TERM "$pid"
	ends_with 6
	grep -q '^killed' "$dir/exit" || fail "the record says $(cat "$dir/exit")"
	start --user 12345:12346
	look 12345 12346
	kill -KILL "$zone"
	ends_with 137
	start
	kill -KILL "$pid"
	ends_with 137
	! "$vmm" --user 0 --spec "$dir/spec.json" 2>/dev/null || fail "it stays root"
}

as_user() {
	chmod 0777 "$dir"
	rm -f "$dir/console" "$dir/exit" "$dir/socket"
	run_as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
	"${run_as[@]}" test -r "$vmm" -a -r "$guest" || { echo "nobody may not read the programs; as a user: left out"; return; }
	exec 3<>/dev/kvm
	"${run_as[@]}" touch "$dir/console" "$dir/exit"
	start --kvm-fd 3
	look 65534 65534
	kill -TERM "$pid"
	ends_with 6
}

run_as=()
if [ "$(id -u)" -eq 0 ]; then
	as_root
	as_user
else
	start
	look "$(id -u)" "$(id -g)"
	kill -TERM "$pid"
	ends_with 6
fi
echo ok
