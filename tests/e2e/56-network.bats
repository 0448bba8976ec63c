#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Networks: zones reach each other, a "public" network namespace and its name server, and not this host; ports lead into
# them; links come and go and leave nothing behind, whoever is killed.

bats_require_minimum_version 1.5.0
load helpers

readonly public4=203.0.113.2 public6=2001:db8:99::2 host_public=203.0.113.1

setup_file() {
	ip netns add public
	ip link add public0 type veth peer name eth0 netns public
	ip addr add "$host_public/24" dev public0
	ip addr add 2001:db8:99::1/64 dev public0 nodad
	ip link set public0 up
	ip -n public addr add "$public4/24" dev eth0
	ip -n public addr add "$public6/64" dev eth0 nodad
	ip -n public link set eth0 up
	ip -n public link set lo up
	# No route back to zones: what they send must come from an address of this host's.
	ip netns exec public python3 tests/e2e/dns.py "$public4" >/dev/null 2>&1 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/dns"
	mkdir -p /etc/protect
	printf '[network]\nnameserver = %s\n' "$public4" >/etc/protect/protect.conf
	restart_network
	launch_zone n1 -p 8080:80 -p "$host_public:5353:53/udp"
	launch_zone n2
	for zone in n1 n2; do
		protect workload launch --zone $zone --name in-$zone --wait "$HELLO_IMAGE" -- sleep 100000
	done
}

teardown_file() {
	destroy_zones n1 n2 n3
	kill "$(cat "$BATS_FILE_TMPDIR/dns")"
	ip netns del public
	rm -f /etc/protect/protect.conf
	restart_network
}

network_pid() {
	pgrep -xo protect-network
}

restart_network() {
	local pid
	pid=$(network_pid)
	kill -9 "$pid"
	wait_until 30 another_network "$pid"
	wait_until 30 network_is_up
}

another_network() { # another_network OLD-PID
	[ "$(network_pid)" != "$1" ]
}

network_is_up() {
	protect host status | grep -Eq '^network +ok'
}

address_of() { # address_of ZONE INDEX: 0 = IPv4, 1 = IPv6
	protect zone list -o json | jq -er --arg n "$1" --argjson i "$2" '.[] | select(.name == $n).network.links[0].addresses[$i]' | cut -d/ -f1
}

from() { # from ZONE COMMAND…: in its workload
	local zone=$1
	shift
	timeout 60 protect workload exec "in-$zone" -- "$@"
}

@test "zones reach each other, and not this host" {
	[ "$(from n1 ip -4 -o addr show dev eth0 | awk '{ print $4 }')" = "$(address_of n1 0)/32" ]
	from n1 ip -o link show dev eth0 | grep -q "$(protect zone list -o json | jq -r '.[] | select(.name == "n1").network.links[0].mac')"
	from n1 ping -c 2 -W 10 "$(address_of n2 0)"
	from n1 ping -6 -c 2 -W 10 "$(address_of n2 1)"
	from n2 ping -c 1 -W 10 "$(address_of n1 0)"
	timeout 60 busybox nc -l -p 9001 -e echo open 3>&- &
	run from n1 timeout 5 nc -w 3 "$host_public" 9001
	[ "$output" != open ]
	run from n1 ping -c 1 -W 3 "$host_public"
	[ "$status" -ne 0 ]
	[ "$(busybox nc -w 5 "$host_public" 9001)" = open ] # there was somebody
}

@test "zones reach the public network through this host, and names" {
	from n1 ping -c 2 -W 10 "$public4"
	from n1 ping -6 -c 2 -W 10 "$public6"
	[ "$(from n1 cat /etc/resolv.conf)" = "nameserver $public4" ]
	run from n1 nslookup some.name.test
	echo "$output"
	[[ $output == *192.0.2.77* ]]
}

@test "published ports lead into the zone" {
	protect workload exec -d in-n1 -- sh -c 'while :; do nc -l -p 80 -e echo web; done'
	wait_until 30 published_tcp ip netns exec public busybox nc -w 5 "$host_public" 8080
	wait_until 30 published_tcp busybox nc -w 5 127.0.0.1 8080
	wait_until 60 published_udp "$(refused_datagrams)"
}

published_tcp() {
	[ "$("$@" </dev/null)" = web ]
}

# Nobody listens there in the zone, whose kernel counts what it refuses.
refused_datagrams() {
	from n1 cat /proc/net/snmp | awk '$1 == "Udp:" && $3 ~ /[0-9]/ { print $3 }'
}

published_udp() { # published_udp BEFORE
	ip netns exec public python3 -c 'import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"datagram", (sys.argv[1], 5353))' "$host_public"
	[ "$(refused_datagrams)" -gt "$1" ]
}

@test "a zone's own ports are forwarded without a network" {
	launch_zone n3 --network-backend none
	protect workload launch --zone n3 --name in-n3 --wait "$HELLO_IMAGE" -- sh -c 'while :; do nc -l -p 80 -e cat; done'
	[ "$(zone_field n3 network | jq -c .links)" = '[]' ]
	protect zone forward n3 127.0.0.1:8090:80 >"$BATS_TEST_TMPDIR/place" 3>&- &
	wait_until 20 test -s "$BATS_TEST_TMPDIR/place"
	# The server ends its way only after ours has ended.
	[ "$(python3 tests/e2e/half_close.py 127.0.0.1 8090 200000)" = same ]
	kill $!
}

@test "a NIC comes and goes in a running zone" {
	protect network reservation create later --ipv4 10.75.77.7
	[ "$(protect network attach n3 --reservation later)" = eth0 ]
	from n3 ping -c 2 -W 10 "$(address_of n1 0)"
	[ "$(from n3 ip -4 -o addr show dev eth0 | awk '{ print $4 }')" = 10.75.77.7/32 ]
	protect network detach n3 eth0
	run from n3 ip link show dev eth0
	[ "$status" -ne 0 ]
	[ "$(protect network attach n3)" = eth0 ]
	from n3 ping -c 2 -W 10 "$(address_of n1 0)"
	[ "$(protect network reservation list -o json | jq -r '.[] | select(.name == "later").zone')" = '' ]
	protect network reservation destroy later
	run protect network detach n1 eth0
	[[ $output == *stays* ]]
}

@test "a tap that somebody prepared in another namespace" {
	ip -n public tuntap add dev tap0 mode tap vnet_hdr
	ip -n public addr add 198.51.100.1/24 dev tap0
	ip -n public link set tap0 up
	protect zone destroy -W n3
	ip netns exec public protect zone launch --name n3 --wait --max-memory 192 --network-backend external --tap tap0 \
		--address 198.51.100.2/24 --gateway 198.51.100.1 --route 192.0.2.0/25,198.51.100.1
	protect workload launch --zone n3 --name in-n3 --wait "$HELLO_IMAGE" -- sleep 100000
	from n3 ping -c 2 -W 10 198.51.100.1
	from n3 ip route | grep -q '^192.0.2.0/25 via 198.51.100.1 dev eth0'
	fails_with_line 'busy|tap0' ip netns exec public protect zone launch --network-backend passthrough --tap tap0
}

# ping_ms ZONE ADDRESS: the average of 20
ping_ms() {
	protect zone exec "$1" -- ping -c 20 -i 0.2 -W 5 -q "$2" | sed -nE 's|.*= [0-9.]+/([0-9.]+)/.*|\1|p'
}

@test "a zone that floods its tap slows another one's ping to 3 times at most" {
	long_only
	local quiet loud
	ping_ms n2 "$public4" >/dev/null # neighbours are known from here on
	quiet=$(ping_ms n2 "$public4")
	# shellcheck disable=SC2016 # for the shell there
	protect zone exec n1 -- sh -c 'for i in 1 2; do (timeout 30 sh -c "while :; do dd if=/dev/zero bs=1400 count=20000 2>/dev/null |
		nc -u -w 1 '"$public4"' 9; done") </dev/null >/dev/null 2>&1 & done'
	sleep 3
	loud=$(ping_ms n2 "$public4")
	echo "# ping: quiet $quiet ms, beside a flood $loud ms" >&3
	protect zone exec n1 -- sh -c 'tail -n +3 /proc/net/dev'
	[ "$(jq -n "$loud <= 3 * $quiet")" = true ]
}

@test "protect-network is killed: zones go on, and their ports come back" {
	restart_network
	from n1 ping -c 1 -W 10 "$(address_of n2 0)"
	from n1 ping -c 1 -W 10 "$public4"
	wait_until 30 published_tcp ip netns exec public busybox nc -w 5 "$host_public" 8080
}

@test "what cannot be is said in one line" {
	fails_with_line "port 8080 is published by zone 'n1' already" protect zone launch -p 8080:1
	timeout 60 busybox nc -l -p 9002 3>&- &
	wait_until 10 listens 9002
	fails_with_line 9002 protect zone launch -p 9002:1
	kill $!
	fails_with_line "no reservation 'nosuch'" protect zone launch --reservation nosuch
	fails_with_line 'belongs to zone' protect network reservation create x --ipv4 "$(address_of n1 0)"
	fails_with_line 'not one that a zone can have' protect network reservation create x --ipv4 192.0.2.1
	[ "$(protect zone list -o json | jq length)" -eq 3 ]
}

@test "zones that come and go leave nothing" {
	local before i
	protect zone destroy -W n3
	before=$(what_is_there)
	for i in 1 2 3 4 5; do
		# What ends in the middle leaves no more than what was ready.
		if [ "$i" -eq 3 ]; then launch_zone n3 -p 9003:1; else protect zone launch --name n3 --max-memory 192 -p 9003:1; fi
		[ "$i" -ne 2 ] || kill -9 "$(zone_field n3 pid)"
		protect zone destroy -W n3
	done
	what_is_there
	wait_until 20 is_there "$before"
	run ! listens 9003
}

listens() { # listens PORT: somebody, on this host
	grep -qi ":$(printf %04X "$1") .* 0A " /proc/net/tcp /proc/net/tcp6
}

what_is_there() {
	ip -o link show | grep -c 'pz[0-9]' || true
	ip route show | grep -c '^10[.]75[.]' || true
	ip -6 route show | grep -c '^fdd4:' || true
	protect network reservation list -o json | jq length
	nft list ruleset | grep -vc elements || true
}

is_there() {
	[ "$(what_is_there)" = "$1" ]
}
