#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The services as units of systemd, zones as its slices and scopes, and zone-vmm as a unit of its own:
# tools/lab run --systemd -- tests/e2e/run

bats_require_minimum_version 1.5.0

readonly services='protect-daemon protect-launch protect-storage'

setup_file() {
	load helpers
	systemctl --quiet is-active protect-daemon.socket 2>/dev/null ||
		skip "the services are not systemd's units here; tools/lab run --systemd -- tests/e2e/run"
	launch_zone unit
}

setup() {
	load helpers
}

teardown_file() {
	load helpers
	destroy_zones unit
}

slice_of() { # slice_of ZONE: its unit
	echo "protect-$(zone_field "$1" uuid | tr -d -).slice"
}

scope_of() {
	echo "zone-$(zone_field "$1" uuid).scope"
}

property() { # property UNIT NAME
	systemctl show --property "$2" --value "$1"
}

is_restarted() { # is_restarted SERVICE FORMER_PID
	local pid
	pid=$(property "$1" MainPID)
	[ "$pid" -ne 0 ] && [ "$pid" -ne "$2" ] && systemctl --quiet is-active "$1"
}

boot_id() {
	protect zone exec "$1" -- cat /proc/sys/kernel/random/boot_id
}

journal_has() { # journal_has UNIT PATTERN
	journalctl --quiet --unit "$1" --output cat | grep -qE "$2"
}

# start_alone CMDLINE [OPTION…]: a zone as a unit by itself, of a guest that follows its power button, or not ("deaf")
start_alone() {
	local cmdline=$1 guest
	shift
	guest=$(find "$PWD"/build/*/tests/guest/power_button.elf 2>/dev/null | head -n 1)
	[ -n "$guest" ] || skip "no power_button.elf; tools/build makes it"
	printf '{"memory_mib": 32, "kernel": {"path": "%s"}, "cmdline": "%s"}' "$guest" "$cmdline" >"$BATS_TEST_TMPDIR/spec.json"
	systemd-run --quiet --unit=zone-alone -p Type=notify -p MemoryMax=100M "$(command -v zone-vmm)" "$@" \
		--spec "$BATS_TEST_TMPDIR/spec.json"
}

@test "units, users and folders are without fault" {
	run systemd-analyze verify protect.target protect.slice protect-{daemon,launch,storage}.{socket,service}
	echo "$output"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	[ "$(stat -c '%U:%G %a' /run/protect/daemon.sock)" = "protect:protect 660" ]
	systemd-analyze security --no-pager --threshold=15 protect-daemon protect-storage
	systemd-analyze security --no-pager --threshold=60 protect-launch
}

@test "services start when somebody comes to their sockets" {
	local service
	# shellcheck disable=SC2086 # a list of words
	systemctl stop $services
	for service in $services; do
		run ! systemctl --quiet is-active "$service.service"
		systemctl --quiet is-active "$service.socket"
	done
	zone_is unit ready # asks the daemon, which asks the others when it needs them
	systemctl --quiet is-active protect-daemon.service
	wait_until 60 protect zone exec unit -- true
}

@test "a zone is a slice with its limits and a scope with its process" {
	local slice scope group
	slice=$(slice_of unit) scope=$(scope_of unit)
	group=/sys/fs/cgroup$(property "$slice" ControlGroup)
	systemctl status --no-pager "$slice" "$scope"
	[ "$(property "$scope" Slice)" = "$slice" ]
	[ "$(property "$slice" Slice)" = protect.slice ]
	[ "$(property "$slice" MemoryMax)" = "$(<"$group/memory.max")" ]
	[ "$(property "$slice" MemoryMax)" -gt $((192 << 20)) ]
	[ "$(property "$slice" MemorySwapMax)" -eq 0 ]
	[ "$(property "$slice" TasksMax)" -eq 1024 ]
	[ "$(<"$group/memory.oom.group")" -eq 1 ]
	grep -qx zone-vmm "/proc/$(head -n 1 "$group/$scope/cgroup.procs")/comm"
	systemctl daemon-reload
	[ "$(<"$group/memory.oom.group")" -eq 1 ]
}

@test "limits of a running zone change" {
	local slice
	slice=$(slice_of unit)
	protect zone update unit --cpu-weight 300 --cpus 1
	[ "$(property "$slice" CPUWeight)" -eq 300 ]
	[ "$(property "$slice" AllowedCPUs)" = 1 ]
	protect zone update unit --cpu-weight 100 --cpus all
	[ "$(property "$slice" CPUWeight)" -eq 100 ]
}

@test "a workload runs, and its output is kept" {
	protect workload launch --zone unit --name says --wait "$HELLO_IMAGE"
	wait_until 60 workload_is says exited
	[ -n "$(protect workload logs says)" ]
	protect workload destroy -W says
}

@test "a service that is killed is there again, and the zone has not noticed" {
	local service pid before
	before=$(boot_id unit)
	for service in $services; do
		pid=$(property "$service" MainPID)
		[ "$pid" -ne 0 ] || systemctl start "$service"
		pid=$(property "$service" MainPID)
		kill -KILL "$pid"
		wait_until 60 is_restarted "$service" "$pid"
	done
	wait_until 60 protect zone exec unit -- true
	[ "$(boot_id unit)" = "$before" ]
}

@test "services are restarted and the zone lives on; the new launcher ends it" {
	local before slice scope
	launch_zone ends
	before=$(boot_id ends) slice=$(slice_of ends) scope=$(scope_of ends)
	# shellcheck disable=SC2086 # a list of words
	systemctl restart $services
	wait_until 60 protect zone exec ends -- true
	[ "$(boot_id ends)" = "$before" ]
	protect zone destroy -W ends
	run ! systemctl --quiet is-active "$scope"
	run ! systemctl --quiet is-active "$slice"
	[ -z "$(systemctl list-units --all --no-legend --plain "$scope" "$slice")" ]
	[ ! -e "/sys/fs/cgroup/protect.slice/$slice" ]
}

@test "a daemon that hangs is ended by the watchdog and started again" {
	local pid
	mkdir -p /run/systemd/system/protect-daemon.service.d
	printf '[Service]\nWatchdogSec=10s\n' >/run/systemd/system/protect-daemon.service.d/watchdog.conf
	systemctl daemon-reload
	systemctl restart protect-daemon
	pid=$(property protect-daemon MainPID)
	sleep 12
	[ "$(property protect-daemon MainPID)" -eq "$pid" ] # one that does not hang is left alone
	kill -STOP "$pid"
	wait_until 60 is_restarted protect-daemon "$pid"
	journal_has protect-daemon 'Watchdog timeout'
	rm -r /run/systemd/system/protect-daemon.service.d
	systemctl daemon-reload
	systemctl restart protect-daemon
	wait_until 60 zone_is unit ready
}

@test "memory that runs out in a zone's group ends the zone, and is told as the reason" {
	local slice
	launch_zone hog
	slice=$(slice_of hog)
	systemd-run --quiet --scope --slice="$slice" tail /dev/zero || true
	wait_until 60 zone_is hog failed
	protect zone list -o json | jq -r '.[] | select(.name == "hog")'
	protect zone list -o json | jq -e '.[] | select(.name == "hog") | tostring | test("out of memory")'
	zone_is unit ready
	protect zone destroy -W hog
	[ ! -e "/sys/fs/cgroup/protect.slice/$slice" ]
}

@test "zone-vmm as a unit by itself: ready, in the journal, its guest powers off when it is stopped" {
	start_alone hears
	[ "$(property zone-alone ActiveState)" = active ]
	[ "$(property zone-alone MemoryMax)" -eq $((100 << 20)) ]
	systemctl stop zone-alone
	journal_has zone-alone 'zone boots'
	journal_has zone-alone 'asked to power off'
	journal_has zone-alone 'zone ended.*reason=poweroff'
	run ! systemctl --quiet is-failed zone-alone
}

@test "zone-vmm as a unit by itself: a guest that does not follow is ended, with the status that says so" {
	start_alone deaf --stop-timeout 2
	systemctl stop zone-alone
	[ "$(property zone-alone ExecMainStatus)" -eq 6 ]
	[ "$(property zone-alone Result)" = exit-code ]
	systemctl reset-failed zone-alone
}

@test "zone-vmm as a unit by itself: what cannot start fails at once, with its reason" {
	run systemd-run --unit=zone-none -p Type=notify "$(command -v zone-vmm)" --spec /nowhere
	[ "$status" -ne 0 ]
	[ "$(property zone-none ExecMainStatus)" -eq 1 ]
	journal_has zone-none "cannot read the spec '/nowhere'"
	systemctl reset-failed zone-none
}
