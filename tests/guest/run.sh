#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh ZONE_VMM GUEST STATUS [VCPUS]: boots one guest program under zone-vmm and checks that it prints PASS and ends with STATUS.
# RUN_UNDER: a program that runs zone-vmm. DISK_MEMBERS: more of its disk's spec. EXPECT: a pattern that its console must show as well.
# BOOTS: how often, with one disk.
set -euo pipefail
vmm=$1 guest=$2 expected=$3 vcpus=${4:-1}
if [ ! -w /dev/kvm ]; then
	echo "SKIP: /dev/kvm is not there or not ours to open"
	exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
printf 'initrd' >"$dir/initrd"
truncate -s 1M "$dir/disk"
cat >"$dir/spec.json" <<SPEC
{"memory_mib": 32, "vcpus": $vcpus, "kernel": {"path": "$guest"}, "initrd": {"path": "$dir/initrd"}, "cmdline": "one two=3",
 "disks": [{"file": {"path": "$dir/disk"}, "serial": "scratch0"${DISK_MEMBERS:-}}],
 "console": {"fd": 1}, "exit": {"path": "$dir/exit"}, "socket": {"path": "$dir/socket"}}
SPEC
for ((boot = 0; boot < ${BOOTS:-1}; boot++)); do
	status=0
	timeout 60 ${RUN_UNDER:+"$RUN_UNDER"} "$vmm" --spec "$dir/spec.json" >"$dir/console" 2>"$dir/log" || status=$?
	if [ "$status" != "$expected" ] || ! grep -q '^PASS' "$dir/console" || ! grep -q "${EXPECT:-}" "$dir/console"; then
		echo "FAIL: status $status, expected $expected, boot $boot"
		cat "$dir/console" "$dir/log"
		exit 1
	fi
	rm -f "$dir/socket"
done
# A guest may make its device speak, but not fill the log.
[ "$(wc -c <"$dir/log")" -lt 65536 ] || { echo "FAIL: the log grew to $(wc -c <"$dir/log") bytes"; exit 1; }
echo "ok: $(cat "$dir/exit")"
