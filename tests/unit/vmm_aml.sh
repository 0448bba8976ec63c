#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vmm_aml.sh DIR: interprets the compiled ACPI tables in DIR as a guest's kernel would, with ACPICA's acpiexec: what the
# event device tells when registers hold these events, and what a processor says of itself.
set -euo pipefail
dir=$1
command -v acpiexec >/dev/null || {
	echo "SKIP: no acpiexec (package acpica-tools)"
	exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/registers" <<'INIT'
\_SB.PCIU 0x20
\_SB.PCID 0x80000000
\_SB.EVNT 0x7
\_SB.CUP0 0x0A
\_SB.CUP1 0x80000000
\_SB.CDN0 0x4
\_SB.CPR0 0x0B
\_SB.CPR1 0x80000000
INIT

evaluate() { acpiexec -b "evaluate $1" -fi "$work/registers" "$dir/dsdt.aml" "$dir/cpus.aml" 2>&1; }
expect() { # WHAT TEXT…
	grep -q -- "$1" "$work/out" || {
		echo "FAIL: no '$1' in:"
		cat "$work/out"
		exit 1
	}
}
notified() { expect "Notify on \[$1\] .* Value 0x$2 "; }

evaluate '\_SB.GED._EVT 5' >"$work/out"
notified S5__ 01
notified S31_ 03
notified C1__ 01
notified C3__ 01
notified C63_ 01
notified C2__ 03
notified PWRB 80
notified VGEN 80
notified PCI0 00
[ "$(grep -c 'Notify on' "$work/out")" = 9 ] || { echo "FAIL: more than that"; cat "$work/out"; exit 1; }

evaluate '\_SB.C0._STA; evaluate \_SB.C2._STA; evaluate \_SB.C63._STA; evaluate \_SB.C3._MAT; evaluate \_SB.C2._MAT;
	evaluate \_SB.VGEN.ADDR' | tr -d '\n' >"$work/out"
returned() { expect "Evaluation of .\\_SB.$1 returned object[^[]*.*$2"; } # in this order
returned C0._STA '= 000000000000000F.*Evaluation of .*C2._STA'
returned C2._STA '= 0000000000000000.*Evaluation of .*C63._STA'
returned C63._STA '= 000000000000000F.*Evaluation of .*C3._MAT'
returned C3._MAT '0000: 00 08 03 03 01 00 00 00.*Evaluation of .*C2._MAT'
returned C2._MAT '0000: 00 08 02 02 00 00 00 00.*Evaluation of .*ADDR'
returned VGEN.ADDR '= 00000000000FF000'
echo ok
