# SPDX-License-Identifier: Apache-2.0
# Part of daemon_services.sh: who looks on at IDM, and streams through the daemon that hold up no other.
# shellcheck shell=bash disable=SC2154 # its variables

look_on() { # look_on FILE [OPTION…]: in the background
	local file=$1
	shift
	"$bin/protect" host idm-snoop "$@" >"$file" 2>"$file.errors" &
	lookers+=($!)
}

sees() { # sees FILE FILTER: jq finds a line
	jq -es "any(.[]; $2)" "$1"
}

ends_at_once() { # ends_at_once PID: SIGINT ends it well
	local status=0
	kill -INT "$1"
	wait "$1" || status=$?
	[ $status = 0 ] || fail "it ended with $status"
}

every_packet_is_shown() {
	# Before the zone is there; a name that is none is refused.
	expect_error "neither a zone's name nor a UUID" protect host idm-snoop --zone '../x'
	look_on "$work/lines" -o jsonl --zone seen
	look_on "$work/array" -o json
	look_on "$work/simple"
	wait_until sees "$work/lines" '.note == "waiting for the zone"'
	wait_until grep -q 'looking on' "$work/simple"
	protect zone launch --name other --max-memory 128 --wait >/dev/null
	protect zone launch --name seen --max-memory 128 -e TOKEN=hunter2 --wait >/dev/null
	expect 'a secret' protect zone exec seen -e PASSWORD=hunter3 -- echo a secret
	expect_status 3 protect zone exec seen -- sh -c 'exit 3'
	wait_until sees "$work/lines" '.event == "exited" and .message.exit_code == 3'
	for filter in '.method == "bootstrap" and .direction == "to-zone" and .message.hostname == "seen"' \
		'.method == "bootstrap" and .message.entropy == {"bytes": 64} and .message.env == ["TOKEN=***"]' \
		'.method == "bootstrap" and .form == "response" and .direction == "from-zone" and (.message.agent_version | length) > 0' \
		'.method == "exec" and .message.process.argv == ["echo", "a", "secret"] and .message.process.env == ["PASSWORD=***"]' \
		'.form == "stream-data" and .direction == "from-zone" and .data == {"bytes": 9, "prefix": "a secret\\x0a"}' \
		'.form == "stream-window"' '.form == "stream-close" and .error == 0' '.note == "a session begins"'; do
		sees "$work/lines" "$filter" >/dev/null || fail "nothing like: $filter"
	done
	! grep -qE 'hunter|"other"' "$work/lines" || fail 'what should not be shown'
	protect zone destroy -W seen
	wait_until sees "$work/lines" '.note == "the session has ended"'
	protect zone launch --name seen --max-memory 128 --wait >/dev/null
	wait_until is 2 bash -c "grep -c 'a session begins' '$work/lines'"
	wait_until grep -qE '^[0-9:.]{15} seen -> request #[0-9]+ exec ' "$work/simple"
	for pid in "${lookers[@]}"; do
		ends_at_once "$pid"
	done
	lookers=()
	jq -e 'type == "array" and any(.zone == "other") and any(.zone == "seen")' "$work/array" >/dev/null || fail 'no array'
	! grep -q hunter "$work/array" "$work/simple" || fail 'what should not be shown'
}

who_is_slow_loses_packets() {
	local long words=()
	mkfifo "$work/unread"
	exec 8<>"$work/unread"
	look_on "$work/slow" -o jsonl
	look_on "$work/unread" -o jsonl
	wait_until grep -q 'looking on' "$work/slow"
	kill -STOP "${lookers[0]}"
	# Neither one that is stopped nor one that nobody reads holds up anything.
	long=$(head -c 60000 /dev/zero | tr '\0' a)
	for _ in $(seq 60); do
		words+=("${long:0:250}")
	done
	# More text than the window, and more packets than are held.
	for _ in $(seq 50); do
		protect zone exec seen -- true "${words[@]}" "$long"
	done
	expect 4000000 bash -c "'$bin/protect' zone exec seen -- head -c 4000000 /dev/zero | wc -c"
	kill -CONT "${lookers[0]}"
	wait_until sees "$work/slow" '.dropped > 0'
	ends_at_once "${lookers[0]}"
	ends_at_once "${lookers[1]}"
	lookers=()
	exec 8>&-
}

places_are_few() {
	local pid
	for n in 1 2 3 4 5 6 7 8; do
		look_on "$work/look$n" -o jsonl
	done
	for n in 1 2 3 4 5 6 7 8; do
		wait_until grep -q 'looking on' "$work/look$n"
	done
	expect_error '8 commands look on already' protect host idm-snoop
	for pid in "${lookers[@]}"; do
		kill -9 "$pid"
	done
	lookers=()
	wait_until bash -c "'$bin/protect' host idm-snoop | head -n 1 | grep -q 'looking on'"
}

one_of_twenty_stops() {
	local pids_here=() n
	mkfifo "$work/stopped"
	exec 7<>"$work/stopped"
	"$bin/protect" zone exec seen -- yes >"$work/stopped" &
	lookers+=($!)
	for n in $(seq 19); do
		"$bin/protect" zone exec seen -- head -c 600000 /dev/zero >"$work/stream$n" &
		pids_here+=($!)
	done
	for n in "${pids_here[@]}"; do
		wait "$n" || fail 'a stream failed'
	done
	for n in $(seq 19); do
		expect 600000 stat -c %s "$work/stream$n"
	done
	kill -0 "${lookers[0]}" || fail 'the one that is not read has ended'
	expect alive protect zone exec seen -- echo alive
	kill -9 "${lookers[0]}" # it passes any other signal on, and waits for its reader
	exec 7>&-
	lookers=()
}

figures_are_a_tree() {
	protect zone metrics seen -o tree | grep -qE '^  total_bytes +[0-9.e+]+$' || fail 'no memory in the tree'
	protect zone top -b -n 1 -d 1 -o json | jq -e 'any(.[]; .kind == "zone" and .name == "seen" and .cpu_percent != null and .memory_bytes > 0)' >/dev/null ||
		fail "$(protect zone top -b -n 1 -d 1)"
	protect zone metrics seen -o json | jq -e 'any(.[]; .name == "links.lo.rx_bytes") and any(.[]; .name == "memory.total_bytes")' >/dev/null ||
		fail "$(protect zone metrics seen)"
}

idm() {
	every_packet_is_shown
	who_is_slow_loses_packets
	places_are_few
	one_of_twenty_stops
	figures_are_a_tree
	protect zone destroy -W seen other
	wait_until nothing_left
}
