#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The tools on the machine itself: help, bad input, and that what they make is right and the same every time.

list_tools() {
	find tools -maxdepth 1 -type f -executable | sort
}

@test "every tool has help" {
	local tool
	for tool in $(list_tools); do
		echo "$tool"
		"$tool" --help | grep -q "usage: $tool"
	done
}

@test "every tool refuses what it does not know, in one line" {
	local tool text
	for tool in $(list_tools); do
		[ "$tool" != tools/test ] || continue # hands it to CTest
		text=$("$tool" --no-such-flag 2>&1) && false
		echo "$text"
		[ "$(printf '%s\n' "$text" | wc -l)" -eq 1 ]
		[[ $text == *"$tool: error:"* ]]
	done
}

@test "zone-image: a newc archive that cpio reads, with the device nodes, the same every time" {
	tools/zone-image --init /bin/busybox --output "$BATS_TEST_TMPDIR/a"
	tools/zone-image --init /bin/busybox --output "$BATS_TEST_TMPDIR/b"
	cmp "$BATS_TEST_TMPDIR/a" "$BATS_TEST_TMPDIR/b"
	run cpio -tv --quiet <"$BATS_TEST_TMPDIR/a"
	[[ $output == *"crw-------"*"5,   1"*"dev/console"* ]]
	[[ $output == *"bin/sh -> busybox"* ]]
	[ "$(cpio -i --quiet --to-stdout init <"$BATS_TEST_TMPDIR/a" | sha256sum)" = "$(sha256sum </bin/busybox)" ]
	[ $(($(stat -c %s "$BATS_TEST_TMPDIR/a") % 512)) -eq 0 ]
}

@test "zone-image refuses an init that is not static" {
	run tools/zone-image --init /bin/ls --output "$BATS_TEST_TMPDIR/x"
	[ "$status" -ne 0 ]
	[[ $output == *"not statically linked"* ]]
	[ ! -e "$BATS_TEST_TMPDIR/x" ]
}

@test "demo-image: valid images, the same every time" {
	local name
	for name in hello custom; do
		tools/demo-image "$name" "$BATS_TEST_TMPDIR/a:$name"
		tools/demo-image "$name" "$BATS_TEST_TMPDIR/b:$name"
		umoci unpack --rootless --image "$BATS_TEST_TMPDIR/a:$name" "$BATS_TEST_TMPDIR/$name"
		[ -x "$BATS_TEST_TMPDIR/$name/rootfs/bin/sh" ]
	done
	diff -r "$BATS_TEST_TMPDIR/a" "$BATS_TEST_TMPDIR/b"
	[ ! -e "$BATS_TEST_TMPDIR/custom/rootfs/etc/removed" ]
	[ "$(ls "$BATS_TEST_TMPDIR/custom/rootfs/data")" = new ]
}
