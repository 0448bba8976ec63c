#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Zones as systemd's slices and scopes, under services that are its units: tools/lab run --systemd -- tests/e2e/run

bats_require_minimum_version 1.5.0

readonly services='protect-daemon protect-launch protect-storage'

setup_file() {
	load helpers
	load systemd
	need_units
	launch_zone unit
}

setup() {
	load helpers
	load systemd
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

zone_has_button() { # its driver comes behind the bootstrap
	protect zone exec "$1" -- test -e /sys/bus/acpi/drivers/button
}

boot_id() {
	protect zone exec "$1" -- cat /proc/sys/kernel/random/boot_id
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
	systemctl daemon-reload
	[ "$(<"$group/$scope/zone/memory.oom.group")" -eq 1 ]
	grep -qx zone-vmm "/proc/$(head -n 1 "$group/$scope/zone/cgroup.procs")/comm"
}

@test "limits of a running zone change" {
	local slice
	slice=$(slice_of unit)
	protect zone update unit --cpu-weight 300 --cpus 1
	# The kernel would take it and mean all.
	run protect zone update unit --cpus 60-63
	echo "$output"
	[ "$status" -ne 0 ]
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

@test "memory that runs out in a zone's group ends the zone, and is told as the reason" {
	local slice group
	launch_zone hog
	slice=$(slice_of hog)
	group=/sys/fs/cgroup/protect.slice/$slice/$(scope_of hog)/zone
	# shellcheck disable=SC2016 # for the shell there
	run bash -c 'echo $$ >"$1/cgroup.procs" && exec tail /dev/zero' hog "$group"
	wait_until 60 zone_is hog failed
	protect zone list -o json | jq -r '.[] | select(.name == "hog")'
	protect zone list -o json | jq -e '.[] | select(.name == "hog") | tostring | test("out of memory")'
	zone_is unit ready
	protect zone destroy -W hog
	[ ! -e "/sys/fs/cgroup/protect.slice/$slice" ]
}

@test "a zone that systemd stops, as when the host goes down, powers itself off" {
	launch_zone stopped
	wait_until 60 zone_has_button stopped
	systemctl stop "$(scope_of stopped)"
	wait_until 60 zone_is stopped exited
	protect zone list -o json | jq -c '.[] | select(.name == "stopped")'
	protect zone logs stopped | grep -q 'what=poweroff'
	protect zone destroy -W stopped
}
