# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

setup_suite() {
	local name
	command -v protect >/dev/null || {
		echo "no protect on PATH: run these with tools/lab run -- tests/e2e/run"
		return 1
	}
	for name in hello custom; do
		[ -f "build/demo/$name/index.json" ] || {
			echo "no build/demo/$name: make it with tools/demo-image $name build/demo/$name"
			return 1
		}
	done
}

teardown_suite() {
	# One test's leavings must not pass for another's success.
	protect zone list -o json | jq -r '.[].uuid' | while read -r zone; do
		echo "# left behind: zone $zone" >&3
		protect zone destroy -W "$zone"
	done
}
