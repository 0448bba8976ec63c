# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For the tests of systemd's units, beside helpers.bash.

need_units() {
	systemctl --quiet is-active protect-daemon.socket 2>/dev/null ||
		skip "the services are not systemd's units here; tools/lab run --systemd -- tests/e2e/run"
}

property() { # property UNIT NAME
	systemctl show --property "$2" --value "$1"
}

is_restarted() { # is_restarted SERVICE FORMER_PID
	local pid
	pid=$(property "$1" MainPID)
	[ "$pid" -ne 0 ] && [ "$pid" -ne "$2" ] && systemctl --quiet is-active "$1"
}
