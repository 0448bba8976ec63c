#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The lab's own promises, and the zone kernel's image. Each test is a boot, or a download on an empty cache.

bats_require_minimum_version 1.5.0

lab() {
	tools/lab run --no-services --timeout 120 "$@"
}

@test "the command's output, status, folder and arguments come through; KVM is there" {
	# shellcheck disable=SC2016 # for the shell there
	run --separate-stderr lab -- bash -c 'echo "$PWD|$1|$(stat -c %F /dev/kvm)"; dmesg | grep -c "Nested Paging enabled"; exit 7' x "a  'b\" \$c"
	# shellcheck disable=SC2154 # set by run
	echo "$output $stderr"
	[ "$status" -eq 7 ]
	[[ ${lines[0]} == "$PWD|a  'b\" \$c|character special file" ]]
	[[ ${lines[1]} == 1 ]]
}

@test "a Xen host: the command runs in dom0, xenstored answers, Xen can make PV and PVH domains" {
	[ "${PROTECT_LONG:-}" = 1 ] || skip "SKIP: with tools/test --long, or PROTECT_LONG=1"
	run --separate-stderr tools/lab run --kind xen --no-services --timeout 400 -- \
		bash -c 'cat /proc/xen/capabilities; xenstore-read /local/domain/0/name; xl info | grep virt_caps; exit 7'
	echo "$output $stderr"
	[ "$status" -eq 7 ]
	[[ ${lines[0]} == control_d ]]
	[[ ${lines[1]} == Domain-0 ]]
	[[ ${lines[2]} == *pv*hvm*hap* ]]
}

@test "a shared folder is writable, everything else stays as it was; not a byte of output is lost" {
	local share=$BATS_TEST_TMPDIR/share before
	mkdir "$share"
	before=$(sha256sum <LICENSE)
	# shellcheck disable=SC2016 # for the shell there
	lab --share "$share" -- bash -c 'echo in >"$1/made" && echo x >>LICENSE && seq 1 1000000' x "$share" \
		>"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err"
	[ "$(<"$share/made")" = in ]
	[ "$(sha256sum <LICENSE)" = "$before" ]
	cmp "$BATS_TEST_TMPDIR/out" <(seq 1 1000000)
	[ ! -s "$BATS_TEST_TMPDIR/err" ]
}

@test "a command that takes too long ends with 124, a lab that dies with 125" {
	run tools/lab run --no-services --timeout 10 -- sleep 1000
	[ "$status" -eq 124 ]
	run lab -- sh -c 'echo c >/proc/sysrq-trigger'
	[ "$status" -eq 125 ]
	[[ $output == *"Kernel panic"* || $output == *sysrq* ]]
}

@test "a terminated lab leaves no QEMU behind" {
	local lab qemu
	tools/lab run --no-services -- sleep 1000 &
	lab=$!
	sleep 3
	qemu=$(pgrep -f "qemu-system-x86_64.*lab.project=$PWD " | head -n 1)
	[ -n "$qemu" ]
	kill -TERM "$lab"
	wait "$lab" || [ $? -eq 143 ]
	[ ! -d "/proc/$qemu" ]
}

@test "zone-kernel: an OCI image with image, addons, metadata and config" {
	local layout=$BATS_TEST_TMPDIR/kernel root=$BATS_TEST_TMPDIR/bundle/rootfs uname_r
	tools/zone-kernel --output "$layout"
	umoci unpack --rootless --image "$layout:default" "$BATS_TEST_TMPDIR/bundle"
	uname_r=$(sed -n 's/^KERNEL_UNAME_R=//p' "$root/kernel/metadata")
	[[ $uname_r == *-cloud-amd64 ]]
	grep -qx KERNEL_ARCH=x86_64 "$root/kernel/metadata"
	grep -q '^KERNEL_VERSION=6\.1\.' "$root/kernel/metadata"
	grep -qx KERNEL_FLAVOR=cloud "$root/kernel/metadata"
	jq -e '.annotations["dev.protect.kernel.variant"] == "cloud"' \
		"$layout/blobs/sha256/$(jq -r '.manifests[0].digest | ltrimstr("sha256:")' "$layout/index.json")"
	[ "$(dd if="$root/kernel/image" bs=1 skip=514 count=4 status=none)" = HdrS ]
	zcat "$root/kernel/config.gz" | grep -qx CONFIG_PVH=y
	unsquashfs -cat "$root/kernel/addons.squashfs" modules/modules.dep | grep -q '^kernel/drivers/virtio/virtio_pci.ko:'
}
