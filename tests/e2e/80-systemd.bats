#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The services as units of systemd, and zone-vmm as a unit of its own: tools/lab run --systemd -- tests/e2e/run
# No zone of this file runs Linux.

bats_require_minimum_version 1.5.0

setup_file() {
	load systemd
	need_units
}

setup() {
	load helpers
	load systemd
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

@test "services start when somebody comes to their sockets, and again when they are killed" {
	local service pid
	for service in protect-daemon protect-launch protect-network protect-storage; do
		systemctl stop "$service.service"
		systemctl --quiet is-active "$service.socket"
	done
	protect image list # asks the daemon, and that the store
	systemctl --quiet is-active protect-daemon.service
	systemctl --quiet is-active protect-storage.service
	systemctl start protect-launch.service protect-network.service
	for service in protect-daemon protect-launch protect-network protect-storage; do
		pid=$(property "$service" MainPID)
		[ "$pid" -ne 0 ]
		kill -KILL "$pid"
		wait_until 60 is_restarted "$service" "$pid"
	done
	wait_until 60 protect image list
}

@test "units, users and folders are without fault" {
	run systemd-analyze verify protect.target protect.slice protect-{daemon,launch,network,storage}.{socket,service}
	echo "$output"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	[ "$(stat -c '%U:%G %a' /run/protect/daemon.sock)" = "protect:protect 660" ]
	systemd-analyze security --no-pager --threshold=15 protect-daemon protect-storage
	systemd-analyze security --no-pager --threshold=60 protect-launch
	systemd-analyze security --no-pager --threshold=30 protect-network
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
	wait_until 60 protect host status
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
