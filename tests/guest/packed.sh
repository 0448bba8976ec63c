#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# packed.sh ZONE_VMM GUEST: boots a guest program from a bzImage, packed in each way that zone-vmm unpacks: by then the
# process is confined, so this also shows that the filters let it. A payload that is garbage is refused with a reason.
set -euo pipefail
vmm=$1 guest=$2
if [ ! -w /dev/kvm ]; then
	echo "SKIP: /dev/kvm is not there or not ours to open"
	exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# octal VALUE: a little-endian u32, for printf.
octal() {
	printf '\\%03o\\%03o\\%03o\\%03o' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255))
}

# put OFFSET OCTAL: writes bytes into the image.
put() {
	printf '%b' "$2" | dd of="$dir/kernel" bs=1 seek="$1" conv=notrunc status=none
}

# bzimage PAYLOAD: wraps it as Documentation/arch/x86/boot.rst says: setup_sects, HdrS, version, payload.
bzimage() {
	truncate -s 1024 "$dir/kernel"
	put $((0x1f1)) '\001'
	put $((0x202)) 'HdrS\017\002'
	put $((0x248)) "$(octal 0)$(octal "$(stat -c %s "$1")")"
	cat "$1" >>"$dir/kernel"
}

# boot EXPECTED: its status.
boot() {
	local status=0
	rm -f "$dir/socket"
	cat >"$dir/spec.json" <<-SPEC
		{"memory_mib": 32, "vcpus": 1, "kernel": {"path": "$dir/kernel"}, "console": {"fd": 1},
		 "exit": {"path": "$dir/exit"}, "socket": {"path": "$dir/socket"}}
	SPEC
	timeout 60 "$vmm" --spec "$dir/spec.json" >"$dir/console" 2>"$dir/log" || status=$?
	[ "$status" = "$1" ] || {
		echo "FAIL: status $status, expected $1"
		cat "$dir/console" "$dir/log"
		exit 1
	}
}

for way in 'lz4 -lc' 'gzip -c' 'xz --check=crc32 -c' 'zstd -qc'; do
	if ! command -v "${way%% *}" >/dev/null; then
		echo "skipped: no ${way%% *}"
		continue
	fi
	$way "$guest" >"$dir/payload"
	printf '%b' "$(octal "$(stat -c %s "$guest")")" >>"$dir/payload"
	rm -f "$dir/kernel"
	bzimage "$dir/payload"
	boot 0
	echo "ok: ${way%% *}"
done
rm -f "$dir/kernel"
echo 'garbage, and more of it' >"$dir/payload"
bzimage "$dir/payload"
boot 1
grep -q '^error .*kernel' "$dir/exit" || {
	echo "FAIL: $(cat "$dir/exit")"
	exit 1
}
echo "ok: $(cat "$dir/exit")"
