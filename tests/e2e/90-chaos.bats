#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Chaos: five zones under load, random faults, and after each nothing is lost, doubled or left (chaos/chaos.py). A run that broke
# says how to have the same faults again: CHAOS_SEED, CHAOS_ROUNDS, CHAOS_FAULTS.

load helpers

readonly state_folder=/var/lib/protect

readonly store_folder=/var/lib/protect-storage

# It sets clocks, fills disks and kills services: only for who says so.
is_possible() {
	[ -d /run/protect-services ] && { is_long || [ -n "${CHAOS_ROUNDS:-}" ]; }
}

setup() {
	is_possible || skip "SKIP: chaos runs with tools/test --long, or with CHAOS_ROUNDS=1, on the services of tools/services"
}

# The daemon's state on a small disk of its own, which can be full or hang without the rest of the host; a store that is full soon.
setup_file() {
	local disk=$BATS_FILE_TMPDIR/disk
	is_possible || return 0
	# shellcheck disable=SC2119 # it has no arguments
	services stop
	truncate -s 48M "$disk"
	mkfs.ext4 -q -m 0 -O ^has_journal -N 256 "$disk"
	mount -o loop "$disk" "$state_folder"
	install -d -m 0700 -o protect -g protect "$state_folder"
	rmdir "$state_folder/lost+found"
	mount -o "remount,size=$(($(df --output=used -B1M "$store_folder" | tail -n 1) + 96))m" "$store_folder"
	services start
}

teardown_file() {
	local zone
	is_possible || return 0
	for zone in $(protect zone list -o json | jq -r '.[].uuid'); do
		protect zone destroy -W "$zone"
	done
	services stop
	umount "$state_folder"
	mount -o remount,size=75% "$store_folder"
	services start
}

services() {
	tools/services "$@" 3>&-
}

@test "faults one after another, and all invariants hold" {
	: "${CHAOS_ROUNDS:=$(is_long && echo 10 || echo 1)}"
	export CHAOS_ROUNDS
	PYTHONDONTWRITEBYTECODE=1 timeout $((${CHAOS_ROUNDS##*-} * 900)) python3 tests/e2e/chaos/chaos.py "$HELLO_IMAGE" "$CUSTOM_IMAGE" >&3
}
