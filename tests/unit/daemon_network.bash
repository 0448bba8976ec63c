# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Networks: sourced by daemon_services.sh, on its zones without a hypervisor and a network that only takes notes
# (daemon_fake_network.c).
# shellcheck disable=SC2154 # work, bin, daemon, pids are daemon_services.sh's

start_network() { # start_network [IPV4-SUBNET [IPV6-SUBNET]]
	"$bin/daemon_fake_network" "$network" "$work/notes" "${1:-10.75.0.0/16}" "${2-fd00:75::/48}" 2>"$work/network.log" &
	network_pid=$!
	pids+=($!)
	wait_until test -S "$network"
}

stop_network() {
	kill -9 "$network_pid"
	wait "$network_pid" 2>/dev/null || true
	rm -f "$network"
}

restart_network() { # restart_network [SUBNETS…]: and the daemon has found it
	local before
	before=$(grep -c '^reconcile' "$work/notes")
	stop_network
	start_network "$@"
	wait_until reconciled_after "$before"
}

reconciled_after() { # reconciled_after COUNT
	[ "$(grep -c '^reconcile' "$work/notes")" -gt "$1" ]
}

kill_daemon() {
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null || true
}

zone_jq() { # zone_jq NAME FILTER: of its network
	protect zone list -o json | jq -er --arg n "$1" "[.[] | select(.name == \$n)][0].network | $2"
}

reservation() { # reservation FILTER: of the list
	protect network reservation list -o json | jq -er "$1"
}

last_note() { # last_note WORD: the last line that begins with it
	grep "^$1" "$work/notes" | tail -n 1
}

noted() { # noted PATTERN
	grep -qE -- "$1" "$work/notes"
}

without_the_service() {
	expect_error 'protect-network does not answer at .*; is it running.*--network-backend none' protect zone launch --name one
	expect_error 'protect-network does not answer' protect network reservation create web
	wait_until nothing_left
	protect zone launch --name none --network-backend none --max-memory 128 --wait >/dev/null
	expect 'none 0' zone_jq none '"\(.backend) \(.links | length)"'
	protect host status | grep -q 'network *DOWN: protect-network does not answer' || fail "$(protect host status)"
	protect zone destroy -W none
}

a_zone_has_addresses() {
	protect zone launch --name one --max-memory 128 --max-cpus 2 -p 8080:80 -p '127.0.0.1:53:5353/udp' --wait >/dev/null
	expect 'default eth0 10.75.0.2/32 fd00:75::2/128 10.75.0.1 fe80::1 1400 192.0.2.53' zone_jq one \
		'"\(.backend) \(.links[0] | [.name] + .addresses + .gateways + [.mtu] | join(" ")) \(.nameservers[0])"'
	expect ':8080:80/tcp 127.0.0.1:53:5353/udp' zone_jq one \
		'[.ports[] | "\(.address):\(.host_port):\(.zone_port)/\(.protocol)"] | join(" ")'
	protect zone list | grep -q 'one .* 10.75.0.2 ' || fail "$(protect zone list)"
	noted "^attach queues=2 [0-9]+/0 $(zone_jq one '.links[0].mac') 10.75.0.2 fd00:75::2 :8080:80 127.0.0.1:53:5353/udp$" ||
		fail "$(cat "$work/notes")"
	expect 'nameserver 192.0.2.53' protect workload launch --zone one --attach localbox -- /bin/cat /etc/resolv.conf
	expect one reservation '.[0].zone'
	expect_error 'in use by zone .one.' protect network reservation destroy 10.75.0.2
}

what_is_wrong_is_said() {
	expect_error "port 8080 is published by zone 'one' already" protect zone launch -p 127.0.0.1:8080:1
	expect_error 'port 9999 of this host is taken' protect zone launch -p 9999:1
	expect_error 'port 7 is published twice' protect zone launch -p 7:1 -p 7:2
	expect_error "'nohost' is no address" protect zone launch -p nohost:7:1
	for port in 80 :80 80: 0:80 80:65536 80:80/sctp; do
		expect_status 2 protect zone launch -p "$port"
	done
	expect_error "no reservation 'nosuch'" protect zone launch --reservation nosuch
	expect_error 'has no ports' protect zone launch --network-backend none -p 80:80
	expect_status 2 protect zone launch --network-backend bridge
	expect_status 2 protect zone launch --network-backend external
	expect_status 2 protect zone launch --tap nosuch --network-backend passthrough
	expect_status 2 protect zone launch --tap fd:9 --network-backend external
	expect_status 2 protect network reservation
	expect_status 2 protect network reservation nosuch
	wait_until is 1 bash -c "'$bin/protect' zone list -o json | jq length"
	expect 1 reservation length
}

reservations_are_made() {
	expect '10.75.9.9 fd00:75::5 02:00:00:00:00:09' bash -c \
		"'$bin/protect' network reservation create web --ipv4 10.75.9.9 --ipv6 fd00:75:0::5 --mac 02:00:00:00:00:09 -o json | jq -r '\"\(.ipv4) \(.ipv6) \(.mac)\"'"
	expect_error "a reservation 'web' exists" protect network reservation create web
	expect_error "10.75.9.9 belongs to reservation 'web'" protect network reservation create x --ipv4 10.75.9.9
	expect_error "belongs to reservation 'web'" protect network reservation create x --mac 02:00:00:00:00:09
	expect_error "10.75.0.2 belongs to zone 'one'" protect network reservation create x --ipv4 10.75.0.2
	expect_error 'not one that a zone can have' protect network reservation create x --ipv4 10.75.0.1
	expect_error 'not one that a zone can have' protect network reservation create x --ipv4 10.75.255.255
	expect_error 'not one that a zone can have' protect network reservation create x --ipv4 192.0.2.1
	expect_error 'no address' protect network reservation create x --ipv4 10.75.0.256
	expect_error 'no IPv4' protect network reservation create x --ipv4 fd00:75::7
	expect_error 'no address of a NIC' protect network reservation create x --mac 03:00:00:00:00:01
	expect_error 'cannot name a reservation' protect network reservation create 10.75.0.7
	expect 2 reservation length
	protect zone launch --name two --max-memory 128 --reservation web --wait >/dev/null
	expect '10.75.9.9/32 02:00:00:00:00:09 web' zone_jq two '.links[0] | "\(.addresses[0]) \(.mac) \(.reservation)"'
	expect_error "reservation 'web' is in use" protect zone launch --reservation web
	expect_error "web is in use by zone 'two'" protect network reservation destroy web
}

# What is given back goes to nobody else at once; a name keeps what it has.
addresses_come_back() {
	local mac
	protect zone destroy -W two
	expect 'web 10.75.9.9  ' reservation '.[] | select(.name == "web") | "\(.name) \(.ipv4) \(.zone) \(.link)"'
	noted '^detach [0-9]+/0$' || fail 'no link was taken away'
	protect zone launch --name two --max-memory 128 --wait >/dev/null
	expect 10.75.9.10/32 zone_jq two '.links[0].addresses[0]'
	protect zone destroy -W two
	protect zone launch --name two --max-memory 128 --wait >/dev/null
	expect 10.75.9.11/32 zone_jq two '.links[0].addresses[0]'
	mac=$(zone_jq two '.links[0].mac')
	kill_daemon
	start_daemon
	expect "10.75.9.11/32 $mac" zone_jq two '.links[0] | "\(.addresses[0]) \(.mac)"'
	expect '8080 53' zone_jq one '[.ports[].host_port] | join(" ")'
	protect zone destroy -W two
	expect '' protect network reservation destroy web
	expect 1 reservation length
}

# Whoever was killed: the links of those that are there, and no others, are asked for again.
what_a_restart_asks() {
	local before pid
	restart_network
	last_note reconcile | grep -Eq '^reconcile [0-9]+/0 02:[0-9a-f:]+ 10.75.0.2 fd00:75::2 :8080:80 127.0.0.1:53:5353/udp$' ||
		fail "$(last_note reconcile)"
	expect 0 bash -c "grep -c '^attach' <(tail -n 1 '$work/notes') || true"
	# A zone that ends while nobody holds its link.
	protect zone launch --name three --max-memory 128 --wait >/dev/null
	stop_network
	protect zone destroy -W three
	before=$(grep -c '^reconcile' "$work/notes")
	start_network
	wait_until reconciled_after "$before"
	last_note reconcile | grep -q '10.75.0.2 ' || fail "$(last_note reconcile)"
	! last_note reconcile | grep -q '10.75.9' || fail "$(last_note reconcile)"
	# One that ended while no daemon was there.
	protect zone launch --name three --max-memory 128 --wait >/dev/null
	pid=$(zone three pid)
	kill_daemon
	kill -9 "$pid"
	start_daemon
	wait_until is failed zone three state
	expect 1 reservation length
	protect zone destroy -W three
}

a_full_subnet() {
	protect zone destroy -W one
	# Nobody has a link: who asks next hears of the new subnets.
	stop_network
	start_network 10.75.0.0/29 ''
	for i in 2 3 4 5 6; do
		protect network reservation create "r$i" >/dev/null
	done
	expect '10.75.0.2 10.75.0.3 10.75.0.4 10.75.0.5 10.75.0.6' reservation '[.[].ipv4] | sort | join(" ")'
	expect_error 'no address of 10.75.0.0/29 is free' protect network reservation create r7
	expect_error 'no address of 10.75.0.0/29 is free' protect zone launch
	wait_until nothing_left
	stop_network
	start_network 192.0.2.0/24 ''
	expect_error "reservation 'r2' has 10.75.0..*not of the subnet" protect zone launch --reservation r2
	wait_until nothing_left
	protect network reservation destroy r2 r3 r4 r5 r6
	expect 0 reservation length
}

networks() {
	network=$work/network.sock
	start_services
	protect image import --name localbox "oci:$work/box" >/dev/null
	without_the_service
	start_network
	a_zone_has_addresses
	what_is_wrong_is_said
	reservations_are_made
	addresses_come_back
	what_a_restart_asks
	a_full_subnet
}
