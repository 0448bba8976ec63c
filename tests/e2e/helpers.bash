# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For every end-to-end test. They run as root on a host where the services run (tools/lab), in any order, each file on
# its own zones. Waits are long: time in the lab runs several times slower than real time.

export HELLO_IMAGE=oci:$PWD/build/demo/hello:latest
export CUSTOM_IMAGE=oci:$PWD/build/demo/custom:latest
KERNEL_LAYOUT=$(dirname "$(command -v protect)")/../share/protect/kernel
export KERNEL_LAYOUT

# wait_until SEC COMMAND…: until COMMAND is true; fails, saying what it waited for, when the time is up
wait_until() {
	local until=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $until ]; then
			echo "in vain: $*"
			return 1
		fi
		sleep 0.2
	done
}

is_long() {
	[ "${PROTECT_LONG:-0}" = 1 ]
}

# long_only: for what the everyday run has no time for (45 minutes on two slow cores, for everything)
long_only() {
	is_long || skip "SKIP: with tools/test --long, or PROTECT_LONG=1"
}

# diagnose ZONE: what there is to see of a zone that does not do what it should
diagnose() {
	local uuid pid task
	echo "# zone $1: the list, its runner's log, its console, the services' logs, its threads, its monitor's figures"
	protect zone list -o json | jq . || true
	uuid=$(zone_field "$1" uuid) || uuid=none
	tail -n 30 "/run/protect/zones/$uuid/log" || true
	timeout 10 protect zone logs "$1" | tail -n 30 || true
	tail -n 15 /var/log/protect/*.log || true
	cat "$(find /sys/fs/cgroup -type d -name "*$uuid*" | head -n 1)/cpu.stat" || true
	pid=$(zone_field "$1" pid) || pid=none
	for task in "/proc/$pid/task"/*; do
		echo "thread $(cat "$task/comm") state $(cut -d' ' -f3,14,15 "$task/stat"): $(tr '\n' ' ' <"$task/stack")" || true
	done
	timeout 10 protect host hv-debug-info "$1" || true
	if timeout 10 protect zone pause "$1"; then # registers are there to see
		protect host hv-debug-info "$1" | jq -c '.[0].vcpus' || true
		protect zone resume "$1" || true
	fi
}

# note_if_lost ZONE: whether it stands still, or died of a fault that no test asked for; see tests/e2e/run
note_if_lost() {
	local state
	state=$(zone_field "$1" state) || return 0
	case $state in
	ready | creating) ! timeout 60 protect zone exec "$1" -- true >/dev/null 2>&1 || return 0 ;;
	exited) [ "$(zone_field "$1" reason)" = triple-fault ] || return 0 ;;
	*) return 0 ;;
	esac
	diagnose "$1" 2>&1 | sed 's/^/# /' >&3
	echo "$1" >>"${LOST_ZONES:-/dev/null}"
}

launch_zone() { # launch_zone NAME [OPTION…]
	local name=$1
	shift
	protect zone launch --name "$name" --wait --max-memory 192 --max-cpus 1 "$@" || {
		diagnose "$name"
		return 1
	}
}

# zone_field REF FIELD, workload_field REF FIELD: from the JSON list, by name or UUID; fails for none
zone_field() {
	protect zone list -o json | jq -er --arg r "$1" --arg f "$2" '.[] | select(.name == $r or .uuid == $r) | .[$f]'
}

workload_field() {
	protect workload list -o json | jq -er --arg r "$1" --arg f "$2" '.[] | select(.name == $r or .uuid == $r) | .[$f]'
}

zone_is() { # zone_is REF STATE
	[ "$(zone_field "$1" state)" = "$2" ]
}

zone_ended() { # zone_ended REF
	zone_is "$1" exited || zone_is "$1" failed
}

has_control_group() { # has_control_group ZONE_UUID
	find /sys/fs/cgroup -type d -name "*$1*" | grep -q .
}

has_no_control_group() {
	! has_control_group "$1"
}

workload_is() {
	[ "$(workload_field "$1" state)" = "$2" ]
}

destroy_zones() {
	local zone
	for zone in "$@"; do
		note_if_lost "$zone"
		protect zone destroy -W "$zone" >/dev/null 2>&1 || true
	done
}

# What may be left of zones on this host: runner processes and their control groups.
count_runners() {
	pgrep -xc zone-vmm || true
}

# fails_with_line PATTERN COMMAND…: COMMAND fails with exactly one line on standard error, which matches PATTERN
fails_with_line() {
	local pattern=$1 status=0 text
	shift
	text=$("$@" 2>&1 >/dev/null </dev/null) || status=$?
	echo "status $status: $text"
	[ "$status" -ne 0 ] || return 1
	[ "$status" -lt 126 ] || return 1 # 126 and more: not run, or died by a signal
	[ "$(printf '%s\n' "$text" | wc -l)" -eq 1 ] || return 1
	printf '%s\n' "$text" | grep -qE -- "$pattern"
}
