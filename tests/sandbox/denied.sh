#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# denied.sh SANDBOX_SERVICES: what is said, and kept, of a call that a service's filter denies.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0
ulimit -c 0

"$1" --die "$dir/socket" 2>"$dir/said" || status=$?
[ "$status" -eq 159 ] || { echo "ended with $status, not by SIGSYS" && exit 1; }
grep -qx 'error service=probe syscall=169 err="its filter denies this call; the process is killed"' "$dir/said" ||
	{ echo "said: $(cat "$dir/said")" && exit 1; }
[ "$(cat "$dir/denied")" = 169 ] || { echo "kept: $(cat "$dir/denied")" && exit 1; }
# A second one is added; one that has grown long begins anew.
"$1" --die "$dir/socket" 2>/dev/null || true
[ "$(cat "$dir/denied")" = 169$'\n'169 ] || { echo "kept: $(cat "$dir/denied")" && exit 1; }
yes 41 | head -n 2000 >"$dir/denied" || true
"$1" --die "$dir/socket" 2>/dev/null || true
[ "$(cat "$dir/denied")" = 169 ] || { echo "a long file stayed" && exit 1; }
echo ok
