#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Services that are killed under load: what was asked of them fails with a word or is done; nothing else notices.

load helpers

# No run of it has ended in the emulated host yet: its time was up.
is_wanted() {
	is_long || [ -n "${RESTARTS:-}" ]
}

setup() {
	is_wanted || skip "SKIP: services killed under load: with tools/test --long, or with RESTARTS=1"
}

setup_file() {
	is_wanted || return 0
	launch_zone steady
	protect workload launch --zone steady --name steady --wait "$HELLO_IMAGE" -- /bin/sh -c 'while :; do date; sleep 1; done' >/dev/null
}

teardown_file() {
	is_wanted || return 0
	for zone in $(protect zone list -o json | jq -r '.[].name | select(startswith("load-"))'); do
		destroy_zones "$zone"
	done
	destroy_zones steady
}

# kill_service NAME: and waits until there is another one
kill_service() {
	local pid
	pid=$(pgrep -ox "$1")
	kill -9 "$pid"
	wait_until 30 is_another "$1" "$pid"
}

is_another() {
	local pid
	pid=$(pgrep -ox "$1") && [ "$pid" != "$2" ]
}

# load_until_told N: zones come and go, an image is imported over and over; each says one line or goes well
load_until_told() {
	local n=$1 status
	while [ ! -e "$BATS_FILE_TMPDIR/enough" ]; do
		status=0
		if [ "$n" = image ]; then
			timeout 120 protect image import "$CUSTOM_IMAGE" >/dev/null 2>"$BATS_FILE_TMPDIR/said-$n" || status=$?
		else
			timeout 120 protect zone launch --name "load-$n" --max-memory 192 --max-cpus 1 >/dev/null 2>"$BATS_FILE_TMPDIR/said-$n" || status=$?
			timeout 120 protect zone destroy -W "load-$n" >/dev/null 2>&1 || true
		fi
		[ "$status" -lt 124 ] || echo "$n: status $status" >>"$BATS_FILE_TMPDIR/wrong"
		[ "$(wc -l <"$BATS_FILE_TMPDIR/said-$n")" -le 1 ] || cat "$BATS_FILE_TMPDIR/said-$n" >>"$BATS_FILE_TMPDIR/wrong"
		sleep 0.2
	done
}

@test "protect-launch and protect-storage are killed while zones start and images come in" {
	local pids=() service before after
	for n in 1 2 image; do
		load_until_told "$n" 3>&- &
		pids+=($!)
	done
	before=$(zone_field steady pid)
	for service in protect-launch protect-storage protect-launch protect-storage; do
		sleep 2
		kill_service "$service"
		timeout 60 protect zone exec steady -- true
	done
	touch "$BATS_FILE_TMPDIR/enough"
	wait "${pids[@]}"
	after=$(zone_field steady pid)
	[ "$before" = "$after" ]
	workload_is steady running
	cat "$BATS_FILE_TMPDIR/wrong" 2>/dev/null || true
	[ ! -e "$BATS_FILE_TMPDIR/wrong" ]
}

@test "afterwards zones start, images come in, and nothing is left over" {
	protect image import "$CUSTOM_IMAGE" >/dev/null
	launch_zone load-3
	timeout 60 protect zone exec load-3 -- true
	destroy_zones load-1 load-2 load-3
	wait_until 60 only_steady_is_left
	[ -z "$(pgrep -x mksquashfs)" ]
}

only_steady_is_left() {
	[ "$(protect zone list -o json | jq -c '[.[].name]')" = '["steady"]' ] && [ "$(count_runners)" -eq 1 ] &&
		[ "$(find /run/protect/zones -mindepth 1 -maxdepth 1 | wc -l)" -eq 1 ]
}
