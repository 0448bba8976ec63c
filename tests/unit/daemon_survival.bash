# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the services live through, or refuse with a word: sourced by daemon_services.sh, on its zones without a hypervisor.
# shellcheck disable=SC2154 # work, bin, daemon, pids are its

survival() {
	mount -t tmpfs -o size=4m state "$work/state"
	start_services
	protect image import "oci:$work/box" >/dev/null
	protect zone launch --name one --max-memory 64 --wait >/dev/null
	protect workload launch --zone one --name w1 --wait "oci:$work/box" -- /bin/sh -c 'echo up; exec sleep 1000' >/dev/null
	a_disk_is_held
	a_disk_is_leaving
	clients_are_told
	a_zone_takes_no_connection
	requests_wait_for_zones
	a_zone_ends_while_its_limits_are_set
	limits_are_set_one_after_the_other
	a_full_state
	no_user_ids
	no_descriptors
	others_without_descriptors
	no_memory
	a_state_that_cannot_be_read
	a_list_as_long_as_can_be
	a_store_that_cannot_be_read
	protect zone destroy -W one
	wait_until nothing_left
}

kill_daemon() {
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null || true
}

# all_is_there: the zone from the beginning, and what runs in it
all_is_there() {
	expect ready zone one state
	expect running workload w1 state
	wait_until protect workload exec w1 -- echo there
	expect up protect workload logs w1
}

# A runner that never answers a detach costs its zone that disk, and nothing else.
a_disk_is_held() {
	local destroying
	protect zone launch --name held --max-memory 128 --max-cpus 3 -c 1 --wait >/dev/null
	protect workload launch --zone held --name h1 --wait "oci:$work/box" -- /bin/sleep 1000 >/dev/null
	protect zone update held -c 3
	timeout 60 "$bin/protect" workload destroy -W h1 &
	destroying=$!
	sleep 0.5
	protect zone update held --target-memory 100
	# One that waits behind it goes on afterwards.
	protect workload launch --zone held --name h2 "oci:$work/box" -- /bin/sleep 1000 >/dev/null
	wait "$destroying" || fail 'a workload could not be destroyed'
	wait_until is running workload h2 state
	expect ready zone held state
	expect there protect workload exec h2 -- echo there
	protect zone destroy -W held
}

# A disk that the guest was asked for in vain may go at any moment: a launch that wants it has it go first.
a_disk_is_leaving() {
	protect zone launch --name slow --max-memory 128 --max-cpus 5 --wait >/dev/null
	protect workload launch --zone slow --name s1 --wait "oci:$work/box" -- /bin/sleep 1000 >/dev/null
	protect workload destroy -W s1
	expect there protect workload launch --zone slow --name s2 --attach "oci:$work/box" -- echo there
	protect zone destroy -W slow
}

# launch_is_late: in place of protect-launch, one that sets limits when $work/go is there and knows of no runner's end.
launch_is_late() {
	mv "$work/launch.sock" "$work/launch.sock.away"
	timeout 60 python3 - "$work" <<-'END' &
		import os, socket, struct, sys, time
		work, update, busy, reply_bytes = sys.argv[1], 5, -16, 560
		server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		server.bind(work + "/launch.sock")
		server.listen(16)
		while True:
		    client = server.accept()[0]
		    version, op = struct.unpack("II", client.recv(4096)[:8])
		    if op == update:
		        open(work + "/asked", "w").close()
		        while not os.path.exists(work + "/go"):
		            time.sleep(0.05)
		    error = 0 if op == update else busy
		    client.send(struct.pack("Ii", version, error).ljust(reply_bytes, b"\0"))
	END
	late=$!
	wait_until test -S "$work/launch.sock"
}

launch_is_back() {
	kill "$late"
	wait "$late" || true
	rm -f "$work/launch.sock" "$work/asked" "$work/go"
	mv "$work/launch.sock.away" "$work/launch.sock"
}

# Limits that are set at last, when there is no runner any more to be told the rest.
a_zone_ends_while_its_limits_are_set() {
	local late updating
	protect zone launch --name brief --max-memory 128 --wait >/dev/null
	launch_is_late
	timeout 60 "$bin/protect" zone update brief --cpu-weight 200 --target-memory 100 2>"$work/told" &
	updating=$!
	wait_until test -e "$work/asked"
	kill -9 "$(zone brief pid)"
	sleep 1 # the daemon sees it at once, and shows it when it is reaped
	touch "$work/go"
	! wait "$updating" || fail 'it was updated'
	grep -q "'brief' cannot be updated: it has ended" "$work/told" || fail "$(cat "$work/told")"
	kill -0 "$daemon" || fail 'the daemon ended'
	launch_is_back
	wait_until is failed zone brief state
	protect zone destroy -W brief
}

# A full queue at its runner's socket says nothing of the zone: a new daemon waits for it.
a_zone_takes_no_connection() {
	local fake filling
	fake=$(pgrep -P "${pids[2]}" | head -n 1)
	kill_daemon
	kill -STOP "$fake"
	timeout 60 python3 - "$work/run/zones/"*/runner.sock "$work/full" <<-'END' &
		import socket, sys, time
		held = []
		try:
		    while True:
		        s = socket.socket(socket.AF_UNIX)
		        s.setblocking(False)
		        s.connect(sys.argv[1])
		        held.append(s)
		except BlockingIOError:
		    open(sys.argv[2], "w").close()
		time.sleep(60)
	END
	filling=$!
	wait_until test -e "$work/full"
	start_daemon
	sleep 1.5
	expect ready zone one state
	expect_error 'not' protect zone exec one -- true
	kill "$filling"
	wait "$filling" || true
	kill -CONT "$fake"
	wait_until protect zone exec one -- true
	all_is_there
}

# A new daemon has not heard from a zone yet: what is asked of it waits, and is not refused.
requests_wait_for_zones() {
	local fake client clients=()
	fake=$(pgrep -P "${pids[2]}" | head -n 1)
	protect workload launch --zone one --name w2 --wait "oci:$work/box" -- /bin/sleep 1000 >/dev/null
	kill_daemon
	kill -STOP "$fake"
	start_daemon
	for client in 'zone exec one -- echo there' 'workload exec w1 -- echo there' 'workload stop --timeout 1 w2' 'zone metrics one'; do
		# shellcheck disable=SC2086 # words
		timeout 30 "$bin/protect" $client >"$work/told.${#clients[@]}" 2>&1 &
		clients+=($!)
	done
	sleep 1
	for client in "${!clients[@]}"; do
		kill -0 "${clients[client]}" || fail "it did not wait: $(cat "$work/told.$client")"
	done
	kill -CONT "$fake"
	for client in "${!clients[@]}"; do
		wait "${clients[client]}" || fail "$(cat "$work/told.$client")"
	done
	expect there cat "$work/told.0"
	expect there cat "$work/told.1"
	expect exited workload w2 state
	protect workload destroy -W w2
	# For a time only.
	kill_daemon
	kill -STOP "$fake"
	start_daemon
	expect_error "the agent of zone 'one' does not answer; try again" timeout 15 "$bin/protect" zone exec one -- true
	kill -CONT "$fake"
	all_is_there
}

# Two clients that change different limits at once: both changes stay.
limits_are_set_one_after_the_other() {
	local late first second
	protect zone launch --name brief --max-memory 128 --wait >/dev/null
	launch_is_late
	timeout 60 "$bin/protect" zone update brief --cpu-weight 200 &
	first=$!
	wait_until test -e "$work/asked"
	timeout 60 "$bin/protect" zone update brief --io-read-bps 1000000 &
	second=$!
	sleep 1 # for the daemon to have heard it
	touch "$work/go"
	wait "$first" || fail 'the first was refused'
	wait "$second" || fail 'the second was refused'
	launch_is_back
	expect '200 1000000' bash -c "'$bin/protect' zone list -o json | jq -r '.[] | select(.name == \"brief\") | \"\\(.cpu.weight) \\(.io.read_bps)\"'"
	protect zone destroy -W brief
}

clients_are_told() {
	local client pid
	for client in 'zone exec one -- sleep 1000' 'workload exec w1 -- sleep 1000' 'workload logs -f w1' 'zone logs -f one' 'host hv-console -f'; do
		# shellcheck disable=SC2086 # words
		"$bin/protect" $client >/dev/null 2>"$work/told" &
		pid=$!
		sleep 0.4
		kill_daemon
		! wait "$pid" || fail "$client ended well without its daemon"
		[ "$(wc -l <"$work/told")" = 1 ] || fail "$client: $(cat "$work/told")"
		grep -q "the daemon at $PROTECT_SOCKET closed the connection" "$work/told" || fail "$client: $(cat "$work/told")"
		start_daemon
		wait_until protect workload exec w1 -- echo there # it has asked the zone what runs
	done
	all_is_there
}

fill() {
	dd if=/dev/zero of="$1/filler" bs=4k 2>/dev/null || true
}

# What is new is refused; what ends is noted when there is room again.
a_full_state() {
	protect zone launch --name ends --max-memory 64 --wait >/dev/null
	protect zone launch --name goes --max-memory 64 --wait >/dev/null
	fill "$work/state"
	refused_for_space
	all_is_there
	kill -9 "$(zone ends pid)"
	wait_until is failed zone ends state
	protect zone destroy -W goes
	expect_error 'no zone' protect zone destroy goes
	rm "$work/state/filler"
	# A daemon that is killed now has had a second to note it.
	wait_until noted
	kill_daemon
	start_daemon
	expect failed zone ends state
	expect_error 'no zone' protect zone destroy goes
	protect zone destroy -W ends
	all_is_there
	protect zone launch --name after --max-memory 64 --wait >/dev/null
	protect zone destroy -W after
}

# The write-ahead log has room for some more, so it takes a few.
refused_for_space() {
	for _ in $(seq 60); do
		if ! protect zone launch --name much --max-memory 64 2>"$work/output" >/dev/null; then
			grep -q 'no space left on the disk of .*daemon.db' "$work/output" || fail "$(cat "$work/output")"
			expect_error 'no zone' protect zone destroy much
			expect_error 'no space left' protect workload launch --zone one "oci:$work/box"
			return
		fi
		protect zone destroy -W much || true
	done
	fail 'a full disk took 60 launches'
}

# noted: whether the file knows that one zone has ended and the other is gone
noted() {
	python3 - "$work/state/daemon.db" <<-'PYTHON'
		import sqlite3, sys
		db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
		rows = dict(db.execute("SELECT name, slot FROM zones"))
		sys.exit(not ("ends" in rows and rows["ends"] is None and "goes" not in rows and "much" not in rows))
	PYTHON
}

no_user_ids() {
	kill_daemon
	start_daemon --uid-count 2
	protect zone launch --name two --max-memory 64 --wait >/dev/null
	expect_error 'all 2 user ids of zones are in use; destroy a zone' protect zone launch --max-memory 64
	expect 2 bash -c "'$bin/protect' zone list -o json | jq length"
	protect zone destroy -W two
	protect zone launch --name two --max-memory 64 --wait >/dev/null
	protect zone destroy -W two
	kill_daemon
	start_daemon
}

descriptors() {
	find "/proc/$1/fd" -mindepth 1 | wc -l
}

# Whoever finds no place waits; nobody is turned away, nothing breaks off.
no_descriptors() {
	local client clients=() left
	for left in 0 1 2 3 4 6 8; do
		prlimit --pid "$daemon" --nofile="$(($(descriptors "$daemon") + left)):"
		clients=()
		for client in 'zone exec one -- true' "workload launch --zone one --name extra oci:$work/box" \
			'zone launch --name extra --max-memory 64' 'workload logs w1'; do
			# shellcheck disable=SC2086 # words
			timeout 30 "$bin/protect" $client >/dev/null 2>>"$work/refused" &
			clients+=($!)
		done
		sleep 1
		prlimit --pid "$daemon" --nofile="$(ulimit -Hn):"
		for client in "${clients[@]}"; do
			status=0
			wait "$client" || status=$?
			[ "$status" -lt 124 ] || [ "$status" = 125 ] || fail "a client ended with $status: $(cat "$work/refused")"
		done
		undo_extra
		all_is_there
	done
	! grep -qv '^protect: ' "$work/refused" || fail "$(cat "$work/refused")"
}

# The lowest number that is free: with a limit of that, nothing more can be opened.
first_free_descriptor() {
	local number=0
	while [ -e "/proc/$1/fd/$number" ]; do
		number=$((number + 1))
	done
	echo $number
}

# protect-storage and protect-launch do not let the daemon wait until they have some again: they refuse at once. And they do not spin.
others_without_descriptors() {
	local pid left service
	for pid in "${pids[0]}" "${pids[1]}"; do
		for left in 0 1 2 3 4 6; do
			prlimit --pid "$pid" --nofile="$(($(first_free_descriptor "$pid") + left)):"
			if ! protect zone launch --name extra --max-memory 64 2>"$work/output" >/dev/null; then
				[ "$(wc -l <"$work/output")" = 1 ] || fail "$left left: $(cat "$work/output")"
				cat "$work/output" >>"$work/refused"
			fi
			kill -0 "$pid" || fail 'a service ended without descriptors'
			prlimit --pid "$pid" --nofile="$(ulimit -Hn):"
			undo_extra
			all_is_there
		done
	done
	for service in protect-launch protect-storage; do
		grep -q "$service has no descriptor left" "$work/refused" || fail "$service never refused: $(cat "$work/refused")"
	done
}

undo_extra() {
	protect workload destroy -W extra 2>/dev/null || true
	protect zone destroy -W extra 2>/dev/null || true
	expect_error 'no zone' protect zone destroy extra
	expect_error 'no workload' protect workload destroy extra
}

# The address space of the daemon as it is, and not a page more. Sanitizers need more than they have.
no_memory() {
	local room vm_kib
	! grep -q __asan_init "$bin/protect-daemon" || return 0
	for room in 0 64 256 512 1024 1536 2048 3072; do
		vm_kib=$(awk '/^VmSize/ { print $2 }' "/proc/$daemon/status")
		prlimit --pid "$daemon" --as="$(((vm_kib + room) * 1024)):"
		for client in 'zone exec one -- true' "workload launch --zone one --name extra oci:$work/box" \
			'zone launch --name extra --max-memory 64' 'workload logs w1'; do
			# shellcheck disable=SC2086 # words
			timeout 30 "$bin/protect" $client >/dev/null 2>"$work/output" || [ "$(wc -l <"$work/output")" = 1 ] ||
				fail "$client: $(cat "$work/output")"
		done
		kill -0 "$daemon" || fail 'the daemon ended without memory'
		prlimit --pid "$daemon" --as=unlimited:
		undo_extra
		all_is_there
	done
}

# refuses_to_start PATTERN COMMAND…
refuses_to_start() {
	local pattern=$1 status=0
	shift
	timeout 20 "$@" >"$work/output" 2>&1 || status=$?
	[ $status = 1 ] || fail "$* ended with $status: $(cat "$work/output")"
	grep -q -- "$pattern" "$work/output" || fail "$*: $(cat "$work/output")"
}

refuses_state() { # refuses_state PATTERN
	refuses_to_start "$1" "$bin/protect-daemon" --socket "$PROTECT_SOCKET" --state "$work/state" --run "$work/run" \
		--launch-socket "$work/launch.sock" --storage-socket "$work/storage.sock" --metrics off
	kill -0 "$runner" || fail 'the zone ended'
}

set_version() { # set_version DATABASE VERSION
	python3 -c 'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(f"PRAGMA user_version = {sys.argv[2]}"); c.commit()' "$@"
}

# damage FILE: bytes of it that matter, turned round
damage() {
	printf '\377\377\377\377\377\377\377\377' | dd of="$1" bs=1 seek=4096 conv=notrunc 2>/dev/null
}

# Zones go on while no daemon takes them up; with the good copy back, all is there.
a_state_that_cannot_be_read() {
	local runner db=$work/state/daemon.db
	runner=$(zone one pid)
	kill "$daemon"
	wait "$daemon" || true
	cp "$db" "$work/good.db"
	damage "$db"
	refuses_state "$db is damaged (.*) and was left as it is"
	head -c 10000 "$work/good.db" >"$db"
	refuses_state "$db is damaged"
	echo 'no database at all' >"$db"
	refuses_state "$db is damaged"
	: >"$db"
	refuses_state "$db has gone or is empty, but there are zones"
	rm "$db"
	refuses_state "$db has gone or is empty, but there are zones"
	cp "$work/good.db" "$db"
	set_version "$db" 999
	refuses_state "$db was written by a newer protect-daemon"
	cp "$work/good.db" "$db"
	rm -f "$db"-*
	start_daemon
	all_is_there
}

# More than one packet holds: copies of the zone, ended, that an earlier daemon left in the list.
a_list_as_long_as_can_be() {
	kill "$daemon"
	wait "$daemon" || true
	python3 - "$work/state/daemon.db" <<-'EOF'
		import sqlite3, sys, uuid
		db = sqlite3.connect(sys.argv[1])
		columns = [c[1] for c in db.execute("PRAGMA table_info(zones)")]
		one = dict(zip(columns, db.execute("SELECT * FROM zones WHERE name = 'one'").fetchone()))
		for i in range(1500):
		    row = {**one, "uuid": str(uuid.uuid4()), "name": f"old-{i}", "state": 3, "slot": None, "reason": "poweroff"}
		    db.execute(f"INSERT INTO zones ({','.join(row)}) VALUES ({','.join('?' * len(row))})", list(row.values()))
		db.commit()
	EOF
	start_daemon
	expect 1501 bash -c "'$bin/protect' zone list -o json | jq length"
	expect 'poweroff' zone old-1499 reason
	protect zone destroy -W old-1499
	expect 1500 bash -c "'$bin/protect' zone list -o json | jq length"
	kill "$daemon"
	wait "$daemon" || true
	python3 -c 'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute("DELETE FROM zones WHERE name LIKE \"old-%\""); c.commit()' "$work/state/daemon.db"
	start_daemon
	all_is_there
}

stop_storage() {
	kill "${pids[0]}"
	wait "${pids[0]}" || true
}

refuses_store() { # refuses_store PATTERN
	refuses_to_start "$1" "$bin/protect-storage" --store "$work/store" --socket "$work/storage.sock" --allow-uid root
	[ "$(find "$work/store/images" "$work/store/kernels" -type f | sort | xargs sha256sum)" = "$images" ] || fail 'images were touched'
}

a_store_that_cannot_be_read() {
	local images db=$work/store/store.db
	images=$(find "$work/store/images" "$work/store/kernels" -type f | sort | xargs sha256sum)
	stop_storage
	cp "$db" "$work/good.db"
	damage "$db"
	refuses_store "its database is damaged (.*) and was left as it is"
	: >"$db"
	refuses_store "its database is damaged (it is empty, but there are images)"
	rm "$db"
	refuses_store "it is empty, but there are images"
	cp "$work/good.db" "$db"
	set_version "$db" 999
	refuses_store "was written by a newer protect-storage"
	all_is_there # without its storage
	cp "$work/good.db" "$db"
	rm -f "$db"-*
	start_storage
	pids[0]=${pids[-1]}
	unset 'pids[-1]'
	wait_until protect image list
	expect hello protect workload launch --zone one --name again --attach "oci:$work/box"
	protect workload destroy -W again
}
