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

restart_network() { # and the daemon has found it
	local before
	before=$(grep -c '^reconcile' "$work/notes")
	stop_network
	start_network
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
	metric >/dev/null
	wait_until is 0 metric 'protect_service_up{service="network"}'
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
	expect_status 2 protect zone launch --tap fd:999 --network-backend external
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

# A descriptor goes with the request; whether it is a tap is the runner's to find out, and these look at none.
prepared_links() {
	local before
	before=$(find "/proc/$daemon/fd" -lname /dev/null | wc -l)
	protect zone launch --name ext --max-memory 128 --network-backend external --tap fd:9,9 --mac 02:00:00:00:00:0e --address 192.0.2.9/24 \
		--gateway 192.0.2.1 --route 198.51.100.0/24,192.0.2.2 --nameserver 192.0.2.54 --mtu 1450 --wait 9</dev/null >/dev/null
	expect 'external 02:00:00:00:00:0e 192.0.2.9/24 192.0.2.1 198.51.100.0/24 192.0.2.2 1450 192.0.2.54' zone_jq ext \
		'"\(.backend) \(.links[0] | [.mac] + .addresses + .gateways + .routes + [.mtu] | join(" ")) \(.nameservers[0])"'
	expect 'nameserver 192.0.2.54' protect workload launch --zone ext --attach localbox -- /bin/cat /etc/resolv.conf
	protect zone destroy -W ext
	protect zone launch --name ext --max-memory 128 --network-backend passthrough --tap fd:9 --wait 9</dev/null >/dev/null
	expect 'passthrough 0' zone_jq ext '"\(.backend) \(.links[0].addresses | length)"'
	protect zone destroy -W ext
	expect_error 'needs the zone.s --address' protect zone launch --network-backend external --tap fd:9 9</dev/null
	expect_error "its own matter" protect zone launch --network-backend passthrough --tap fd:9 --address 192.0.2.9/24 9</dev/null
	expect_error "'192.0.2.9' is not one of addresses" protect zone launch --network-backend external --tap fd:9 --address 192.0.2.9 9</dev/null
	expect_error "'x' is not one of gateways" protect zone launch --network-backend external --tap fd:9 --address 192.0.2.9/24 --gateway x 9</dev/null
	expect_error 'not one of routes' protect zone launch --network-backend external --tap fd:9 --address 192.0.2.9/24 --route 192.0.2.0/33 9</dev/null
	expect_error 'ports and reservations' protect zone launch --network-backend external --tap fd:9 --address 192.0.2.9/24 -p 1:1 9</dev/null
	# None of them stays with the daemon.
	expect "$before" bash -c "find /proc/$daemon/fd -lname /dev/null | wc -l"
	wait_until is 1 bash -c "'$bin/protect' zone list -o json | jq length"
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

# Runs until it is killed: answers with the digest of what came, once the other side has ended.
digest_server() { # digest_server PORT
	exec python3 -c '
import hashlib, socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("up", flush=True)
while True:
    peer, _ = server.accept()
    seen = hashlib.md5()
    while data := peer.recv(65536):
        seen.update(data)
    peer.sendall(seen.hexdigest().encode())
    peer.close()' "$1"
}

# digest_through ADDRESS BYTES [COUNT]: sends, ends its way, and compares the answer; COUNT at the same time
digest_through() {
	python3 -c '
import concurrent.futures, hashlib, os, socket, sys
address, port = sys.argv[1].rsplit(":", 1)
def once(_):
    sent = os.urandom(int(sys.argv[2]))
    with socket.create_connection((address, int(port)), 20) as peer:
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)
        answer = b""
        while data := peer.recv(4096):
            answer += data
    return answer.decode() == hashlib.md5(sent).hexdigest()
count = int(sys.argv[3])
with concurrent.futures.ThreadPoolExecutor(count) as pool:
    sys.exit(0 if all(pool.map(once, range(count))) else 1)' "$1" "$2" "${3:-1}"
}

# The "zone" is a mount namespace of this host: its loopback is ours.
ports_are_forwarded() {
	local port=$((30000 + $$ % 10000)) forwarder place
	protect zone launch --name fwd --network-backend none --max-memory 128 --wait >/dev/null
	digest_server $port >"$work/server" &
	lookers+=($!)
	wait_until grep -q up "$work/server"
	"$bin/protect" zone forward fwd 0:$port >"$work/place" 2>"$work/forward.log" &
	forwarder=$!
	lookers+=("$forwarder")
	wait_until test -s "$work/place"
	place=$(cat "$work/place")
	digest_through "$place" 3000000 || fail 'something else came through'
	digest_through "$place" 0 || fail 'nothing came through'
	digest_through "$place" 100000 70 || fail 'not everybody came through'
	# One that leaves in the middle harms nobody.
	timeout 5 python3 -c '
import socket, sys
address, port = sys.argv[1].rsplit(":", 1)
peer = socket.create_connection((address, int(port)))
peer.sendall(b"x" * 100000)' "$place"
	digest_through "$place" 1000 || fail 'nothing came through any more'
	# One zone has its share of all that can be forwarded, however many ask for it.
	"$bin/protect" zone forward fwd 0:$port >"$work/second" 2>"$work/second.log" &
	lookers+=($!)
	wait_until test -s "$work/second"
	python3 -c '
import socket, sys, time
places = [a.rsplit(":", 1) for a in sys.argv[1:]]
peers = [socket.create_connection((a, int(p))) for a, p in places for _ in range(40)]
time.sleep(1000)' "$place" "$(cat "$work/second")" &
	lookers+=($!)
	wait_until grep -qh "64 connections are forwarded to zone 'fwd' already; end one" "$work/forward.log" "$work/second.log"
	kill "${lookers[-1]}" "${lookers[-2]}"
	kill $forwarder
	wait $forwarder || true
	rm "$work/place" # or the last one's is read
	"$bin/protect" zone forward fwd 0:1 >"$work/place" 2>"$work/forward.log" &
	forwarder=$!
	lookers+=("$forwarder")
	wait_until test -s "$work/place"
	expect 0 bash -c "timeout 10 busybox nc $(tr : ' ' <"$work/place") </dev/null | wc -c"
	wait_until grep -q "zone 'fwd', port 1: no connection in the zone: Connection refused" "$work/forward.log"
	kill $forwarder
	wait $forwarder || true
	expect_status 2 protect zone forward fwd 0
	expect_status 2 protect zone forward fwd 1:0
	expect_status 2 protect zone forward fwd nohost:1:2
	expect_error "no zone 'nosuch'" protect zone forward nosuch 0:1
	expect_error 'cannot listen there' protect zone forward fwd 192.0.2.1:0:1
	protect zone destroy -W fwd
}

a_nic_comes_and_goes() {
	protect zone launch --name nic --network-backend none --max-memory 128 --wait >/dev/null
	expect eth0 protect network attach nic
	expect 'eth0 192.0.2.53' zone_jq nic '"\(.links[0].name) \(.nameservers[0])"'
	protect network reservation create second >/dev/null
	expect eth1 protect network attach nic --reservation second
	noted '^attach queues=1 [0-9]+/1 ' || fail 'no link was made'
	expect second zone_jq nic '.links[1].reservation'
	expect 'nameserver 192.0.2.53' protect workload launch --zone nic --attach localbox -- /bin/cat /etc/resolv.conf
	expect_error "no reservation 'nosuch'" protect network attach nic --reservation nosuch
	expect_error "reservation 'second' is in use" protect network attach nic --reservation second
	expect_error "no link 'eth7'" protect network detach nic eth7
	protect network detach nic eth0
	expect eth1 zone_jq nic '[.links[].name] | join(" ")'
	protect network detach nic eth1
	last_note detach | grep -q '/1$' || fail "$(last_note detach)"
	expect 'second ' reservation '.[] | select(.name == "second") | "\(.name) \(.zone)"'
	protect network reservation destroy second
	protect zone destroy -W nic
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
	prepared_links
	ports_are_forwarded
	a_nic_comes_and_goes
	a_full_subnet
}
