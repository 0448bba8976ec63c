# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the tests with a real registry share: a folder $work and processes $pids that go with the test, and waiting.
work=$(mktemp -d /tmp/protect-registry.XXXXXX)
pids=()

clean_up() {
	local status=$?
	[ $status = 0 ] || tail -n 20 "$work"/*.log
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap clean_up EXIT

fail() {
	echo "line ${BASH_LINENO[0]}: $*"
	exit 1
}

wait_until() { # wait_until COMMAND…: within 20 s
	for _ in $(seq 200); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.1
	done
	fail "in vain: $*"
}

# shellcheck disable=SC2154 # bin is the test's
# start_services <CONFIGURATION: storage and a daemon of programs in $bin, in $work
start_services() {
	mkdir "$work/state" "$work/run" "$work/store"
	cat >"$work/protect.conf"
	"$bin/protect-storage" --store "$work/store" --socket "$work/storage.sock" --allow-uid root \
		--config "$work/protect.conf" 2>"$work/storage.log" &
	pids+=($!)
	wait_until test -S "$work/storage.sock"
	"$bin/protect-daemon" --socket "$PROTECT_SOCKET" --state "$work/state" --run "$work/run" \
		--launch-socket "$work/launch.sock" --storage-socket "$work/storage.sock" --uid-count 8 2>"$work/daemon.log" &
	pids+=($!)
	wait_until "$bin/protect" image list
}

# tree FOLDER: an entry a line: type, mode, owner, size, link target, device, time, links, content, capabilities
tree() {
	python3 - "$1" <<-'END'
		import hashlib, os, stat, sys
		root = sys.argv[1]
		names = {"."}
		for folder, folders, files in os.walk(root):
		    names |= {os.path.relpath(os.path.join(folder, name), root) for name in folders + files}
		inodes = {}
		for name in sorted(names):
		    path = os.path.join(root, name)
		    st = os.lstat(path)
		    content = "-"
		    if stat.S_ISREG(st.st_mode):
		        content = hashlib.sha256(open(path, "rb").read()).hexdigest()
		    if stat.S_ISLNK(st.st_mode):
		        content = os.readlink(path)
		    attributes = [(a, os.getxattr(path, a, follow_symlinks=False)) for a in sorted(os.listxattr(path, follow_symlinks=False))]
		    time = "-" if name == "." else int(st.st_mtime)
		    print(name, oct(st.st_mode), st.st_uid, st.st_gid, st.st_rdev, time, content, attributes,
		          inodes.setdefault(st.st_ino, name))
	END
}
