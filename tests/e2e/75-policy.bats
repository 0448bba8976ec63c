#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Memory that follows what a zone uses, idle memory that a host short of it takes for a while, and /metrics.

load helpers

readonly hog_group=/sys/fs/cgroup/policy-hog

setup_file() {
	launch_zone dyn --max-memory 768 --target-memory 192 --min-memory 128 --resource-adjustment-policy dynamic
	launch_zone sta --max-memory 320
}

teardown_file() {
	end_hog
	destroy_zones dyn sta
}

# metric SERIES…: their values; all lines of the text are checked
metric() {
	curl -sf http://127.0.0.1:3035/metrics | tests/unit/metrics_check.py "$@"
}

metric_is() { # metric_is OPERATOR VALUE SERIES
	local operator=$1 value=$2
	shift 2
	awk -v a="$(metric "$@")" -v b="$value" "BEGIN { exit !(a $operator b) }"
}

field_is() { # field_is ZONE FIELD OPERATOR VALUE
	test "$(zone_field "$1" "$2")" "$3" "$4"
}

# What guest and runner agree on: less the balloon.
has_mib() { # has_mib ZONE OPERATOR MIB
	test $(($(protect host hv-debug-info "$1" | jq '.[0].memory.used_bytes') / 1048576)) "$2" "$3"
}

# use_memory ZONE MIB: fills so much with what cannot be dropped
use_memory() {
	protect zone exec "$1" -- sh -c "mkdir -p /run/use && { grep -q /run/use /proc/mounts || mount -t tmpfs -o size=700m use /run/use; } &&
		dd if=/dev/zero of=/run/use/\$\$ bs=1M count=$2" 2>&1
}

end_use() {
	protect zone exec "$1" -- umount /run/use
}

# A program of the host that waits for memory nearly all the time, and disturbs nobody else.
start_hog() {
	mkdir -p $hog_group
	echo 16M >$hog_group/memory.high
	bash -c "echo \$\$ >$hog_group/cgroup.procs; exec tail -c 500M /dev/zero" 3>&- &
}

end_hog() {
	[ -d $hog_group ] || return 0
	echo 1 >$hog_group/cgroup.kill
	wait_until 30 rmdir $hog_group
}

@test "zones have their policies" {
	[ "$(zone_field dyn policy) $(zone_field dyn min_memory_mib) $(zone_field dyn max_memory_mib)" = "dynamic 128 768" ]
	[ "$(zone_field sta policy) $(zone_field sta target_memory_mib)" = "static 320" ]
	fails_with_line 'policy' protect zone launch --resource-adjustment-policy lazy
	fails_with_line 'min-memory' protect zone launch --target-memory 128 --max-memory 256 --min-memory 200
	fails_with_line 'minimum' protect zone update dyn --min-memory 700
}

@test "/metrics: the host, two zones, the services" {
	local uuid
	uuid=$(zone_field dyn uuid)
	metric >/dev/null # from now on figures are kept fresh
	wait_until 30 metric_is '>' 1000 "protect_zone_vm_exits_total{uuid=\"$uuid\"}"
	wait_until 30 metric_is '>' 0 'protect_zone_vm_exits_total{zone="sta"}'
	wait_until 30 metric_is '==' 1 'protect_service_up{service="launch"}'
	wait_until 30 metric_is '==' 1 'protect_service_up{service="storage"}'
	wait_until 30 metric_is '==' 1 'protect_service_up{service="network"}'
	metric_is '>=' 2 'protect_zones{state="ready"}'
	for zone in dyn sta; do
		metric_is '>' 0.1 "protect_zone_cpu_seconds_total{zone=\"$zone\"}"
		metric_is '>' 20e6 "protect_zone_memory_used_bytes{zone=\"$zone\"}"
		metric_is '>' 20e6 "protect_zone_memory_peak_bytes{zone=\"$zone\"}"
		metric_is '<' 10 "protect_zone_figures_age_seconds{zone=\"$zone\"}"
		metric_is '>' 0 "protect_zone_ready_seconds{zone=\"$zone\"}"
		metric_is '>' 0 "protect_zone_vsock_receive_bytes_total{zone=\"$zone\"}"
		wait_until 30 metric_is '>' 20e6 "protect_zone_guest_memory_available_bytes{zone=\"$zone\"}"
	done
	metric_is '==' $((320 << 20)) 'protect_zone_memory_target_bytes{zone="sta"}'
	metric_is '>=' 2 protect_zone_ready_duration_seconds_count
	metric_is '>' 1e9 protect_host_memory_size_bytes
	metric_is '>' 0 'protect_host_cpu_seconds_total{mode="system"}'
	curl -s http://127.0.0.1:3035/metrics | grep '^protect_zone_.*zone="dyn"'
}

@test "a dynamic zone that needs memory gets it, and no process is killed for it" {
	long_only
	wait_until 120 has_mib dyn -le 230 # it booted with 384, and the balloon took the rest
	field_is dyn target_memory_mib -le 230
	use_memory dyn 190 # at once, and more than it has: the balloon is there before the policy
	wait_until 120 field_is dyn target_memory_mib -gt 280
	use_memory dyn 100
	wait_until 120 field_is dyn target_memory_mib -gt 384 # more than it booted with
	wait_until 120 has_mib dyn -gt 410 # the headroom is there; a burst above it is a race with the host's plugging
	use_memory dyn 60
	wait_until 120 field_is dyn target_memory_mib -gt 450
	wait_until 120 has_mib dyn -gt 450
	protect zone exec dyn -- sh -c 'grep -E "Mem(Total|Available)" /proc/meminfo; du -m /run/use'
	! protect zone logs dyn | grep -i 'out of memory' || false
}

@test "what it does not use any more it gives back" {
	long_only
	local before
	before=$(zone_field dyn target_memory_mib)
	end_use dyn
	sleep 15
	field_is dyn target_memory_mib -ge "$before" # slowly
	wait_until 240 field_is dyn target_memory_mib -lt 300
	wait_until 60 has_mib dyn -lt 310
	field_is sta target_memory_mib -eq 320
	has_mib sta -eq 320
}

@test "a policy can be changed while the zone runs, and outlives the daemon" {
	long_only
	protect zone update dyn --resource-adjustment-policy static --target-memory 256
	kill -KILL "$(pgrep -xo protect-daemon)"
	wait_until 20 protect host status
	[ "$(zone_field dyn policy) $(zone_field dyn target_memory_mib) $(zone_field dyn min_memory_mib)" = "static 256 128" ]
	use_memory dyn 40
	sleep 10
	field_is dyn target_memory_mib -eq 256
	end_use dyn
	protect zone update dyn --resource-adjustment-policy dynamic --min-memory 200
	[ "$(zone_field dyn policy) $(zone_field dyn min_memory_mib)" = "dynamic 200" ]
}

@test "a host short of memory takes what lies idle, and gives it back" {
	long_only
	[ -w /proc/pressure/memory ] || [ -r /proc/pressure/memory ] || skip "SKIP: this kernel says nothing of memory pressure"
	[ -e /sys/fs/cgroup/cgroup.controllers ] || skip "SKIP: no v2 control groups"
	start_hog
	wait_until 60 metric_is '>=' 0.1 protect_host_memory_pressure_ratio
	[ "$(protect host status -o json | jq .memory_pressure_percent)" -ge 5 ]
	wait_until 60 metric_is '>' 0 'protect_zone_memory_squeezed_bytes{zone="sta"}'
	wait_until 60 has_mib sta -lt 310
	field_is sta target_memory_mib -eq 320 # what somebody set
	protect zone exec sta -- true
	protect zone exec dyn -- true
	end_hog
	wait_until 150 metric_is '==' 0 'protect_zone_memory_squeezed_bytes{zone="sta"}'
	wait_until 60 has_mib sta -eq 320
}
