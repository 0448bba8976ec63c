#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# guest_image.sh DIR: makes what both VMMs boot to measure from inside: DIR/kernel (Debian's cloud kernel), DIR/initrd (busybox, virtio modules,
# guest_init.sh) and DIR/tools.squashfs (fio and iperf3 of this machine with their libraries). Does nothing when they are there and current.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
# shellcheck source=tools/lib/common.bash
. "$here/../../tools/lib/common.bash"
to=$1
mkdir -p "$to"

# copy_program PROGRAM ROOT: it and all that its loader will ask for, at their own paths.
copy_program() {
	local file
	{
		command -v "$1"
		ldd "$(command -v "$1")" | awk '$2 == "=>" { print $3; next } /^\t\// { print $1 }'
	} | while read -r file; do
		mkdir -p "$2$(dirname "$file")"
		cp -L "$file" "$2$file"
	done
}

make_tools() {
	local root
	root=$(mktemp -d)
	for program in fio iperf3; do
		need_command $program
		copy_program $program "$root"
	done
	mkdir -p "$root"/{dev,proc,tmp}
	cp -L /etc/protocols "$root/etc/" 2>/dev/null || true
	rm -f "$to/tools.squashfs"
	mksquashfs "$root" "$to/tools.squashfs" -comp lz4 -noappend -all-root -no-xattrs -quiet -no-progress >/dev/null
	rm -rf "$root"
}

make_initrd() {
	local kernel=$1 uname_r list
	uname_r=$(<"$kernel/uname_r") list=$(mktemp)
	for module in virtio_pci virtio_console virtio_blk virtio_net squashfs; do
		/sbin/modprobe -d "$kernel" -S "$uname_r" --show-depends $module
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$list.modules"
	{
		for d in bin dev modules proc sys tmp tools; do echo "dir $d 0755"; done
		echo 'nod dev/console 0600 c 5 1'
		echo "file bin/busybox $(realpath /bin/busybox) 0755"
		echo "file init $here/guest_init.sh 0755"
		sed 's|.*/||' "$list.modules" >"$list.order"
		echo "file modules/order $list.order 0644"
		sed 's|.*/\(.*\)|file modules/\1 & 0644|' "$list.modules"
	} >"$list"
	"$project/tools/lib/newc" <"$list" >"$to/initrd"
	rm -f "$list" "$list.modules" "$list.order"
}

kernel=$(debian_kernel cloud-amd64)
key=$(content_key "$kernel/version" "$0" "$here/guest_init.sh" "$(command -v fio)" "$(command -v iperf3)" /bin/busybox)
[ "$(cat "$to/key" 2>/dev/null)" != "$key" ] || exit 0
make_tools
make_initrd "$kernel"
cp -L "$kernel/boot/vmlinuz" "$to/kernel"
echo "$key" >"$to/key"
