#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# collect.sh COLLECT: what tools/seccomp/collect reads, and what it refuses.
set -euo pipefail
collect=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

fail() {
	echo "FAIL: $*"
	failures=$((failures + 1))
}

# reads COMMENT EXPECTED: the rules, without their places.
reads() {
	local got
	printf '%s\n' "$1" >"$dir/a.c"
	got=$("$collect" "$dir/a.c" | sed "s|\"$dir/a.c:[0-9]*\", ||") || fail "refused: $1"
	[ "$got" = "$2" ] || fail "'$1' gave '$got'"
}

refuses() {
	printf '%s\n' "$1" >"$dir/a.c"
	! "$collect" "$dir/a.c" >/dev/null 2>&1 || fail "accepted: $1"
}

reads '/* #syscalls x: read write */' 'RULE("x", read, 0, 0, NONE)
RULE("x", write, 0, 0, NONE)'
reads '/* #syscalls x: ioctl(_, KVM_RUN) */' 'RULE("x", ioctl, 0, 1, IS(1, KVM_RUN))'
reads '/* #syscalls x: mmap(_, _, !PROT_EXEC, MAP_PRIVATE|MAP_ANONYMOUS) */' \
	'RULE("x", mmap, 0, 2, HAS_NOT(2, PROT_EXEC), IS(3, MAP_PRIVATE|MAP_ANONYMOUS))'
reads '/* #syscalls x: tgkill(SELF, _, 6) */' 'RULE("x", tgkill, 0, 2, IS(0, SELF), IS(2, 6))'
reads '/* #syscalls x: clone3=ENOSYS mmap(_, _, PROT_EXEC)=EACCES */' 'RULE("x", clone3, ENOSYS, 0, NONE)
RULE("x", mmap, EACCES, 1, IS(2, PROT_EXEC))'
# To the end of the paragraph, over lines, and no further.
reads '/*
 * #syscalls x: read
 *	write
 *
 * Prose about open.
 * #filter f: x
 * #syscalls y: close
 */' 'RULE("x", read, 0, 0, NONE)
RULE("x", write, 0, 0, NONE)
FILTER("f")
MEMBER("f", "x")
RULE("y", close, 0, 0, NONE)'
reads 'int nothing;' ''
refuses '/* #syscalls read write */'
refuses '/* text #syscalls x: read */'
refuses '/* #syscalls x: Read */'
refuses '/* #syscalls x: ioctl(_, _) */'
refuses '/* #syscalls x: ioctl(_, lower) */'
refuses '/* #syscalls x: ioctl(_, KVM_RUN */'
refuses '/* #syscalls x: ioctl(_, F(1)) */'
refuses '/* #syscalls x: read=no */'
refuses '/* #syscalls x: read'
[ "$failures" = 0 ] && echo "ok"
