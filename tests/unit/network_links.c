// SPDX-License-Identifier: Apache-2.0
/* Links come, go, and are found again; what is asked wrongly is refused, and changes nothing. */
#include "network_world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"

UNIT_SUITE(network_links);

#define CYCLES 100u

/* All that a link is made of, as text. */
static char *snapshot(const struct world *w)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "nft -s list ruleset; ip -br link | grep -v down0 | cut -d' ' -f1; ip -4 route; "
		 "ip -6 route | sort; ip neigh show nud permanent; ls %s/run; "
		 "ls /proc/sys/net/ipv4/conf; ls /proc/%d/fd | wc -l; ss -Htuln",
		 w->dir, w->service);
	return output_of(w, HOST, command);
}

static void expect_snapshot(const struct world *w, const char *before)
{
	_cleanup_(freep) char *after = snapshot(w);

	cr_expect_str_eq(after, before);
}

Test(network_links, a_hundred_cycles_leave_nothing, .timeout = 110)
{
	Protect__Network__Publish publish[2], *pointers[] = {&publish[0], &publish[1]};
	_cleanup_(freep) char *before = NULL;
	struct world w;

	world_open(&w, "");
	publish_init(&publish[0], NULL, 8080, 80, false);
	publish_init(&publish[1], HOST_IPV4, 8080, 80, true);
	for (unsigned i = 0; i < CYCLES; i++) {
		int fds[16];
		unsigned queues = 1 + i % 8;
		char *text = attach(&w, &w.a, queues, pointers, 2, fds);

		cr_assert_null(text, "%s", text);
		/* The runner ends first, or the link. */
		for (unsigned k = 0; i % 2 && k < queues; k++)
			close_fdp(&fds[k]);
		text = detach(&w, w.a.slot, 0);
		cr_assert_null(text, "%s", text);
		for (unsigned k = 0; i % 2 == 0 && k < queues; k++)
			close_fdp(&fds[k]);
		if (i == 1)
			before = snapshot(&w);
	}
	expect_snapshot(&w, before);
	world_close(&w);
}

Test(network_links, a_link_is_all_there)
{
	_cleanup_(freep) char *link = NULL, *address = NULL;
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Attach what = PROTECT__NETWORK__ATTACH__INIT;
	Protect__Network__Reply *reply;
	Protect__Network__Nic nic;
	unsigned n_fds = 16;
	struct world w;
	int fds[16];

	world_open(&w, "");
	zone_nic(&w.a, &nic);
	nic.mtu = 1400;
	nic.index = 3;
	what.nic = &nic;
	what.queues = 4;
	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_ATTACH;
	request.attach = &what;
	reply = ask(&w, &request, fds, &n_fds);
	cr_assert(reply && reply->error == 0 && reply->attached);
	cr_expect_eq(n_fds, 4);
	cr_expect_str_eq(reply->attached->ifname, "pz2n3");
	cr_expect_eq(reply->attached->mtu, 1400);
	cr_assert_eq(reply->attached->n_gateways, 2);
	cr_expect_str_eq(reply->attached->gateways[0], GATEWAY_IPV4);
	cr_expect_str_eq(reply->attached->gateways[1], "fe80::1");
	cr_assert_eq(reply->attached->n_nameservers, 1);
	cr_expect_str_eq(reply->attached->nameservers[0], "192.0.2.53");
	link = output_of(&w, HOST, "ip -d link show pz2n3");
	cr_expect(strstr(link, "mtu 1400") && strstr(link, "multi_queue") &&
			  strstr(link, "numqueues 4") && strstr(link, "vnet_hdr on"),
		  "%s", link);
	address = output_of(&w, HOST, "ip -br addr show pz2n3; ip route get 10.75.0.2");
	cr_expect(strstr(address, "10.75.0.1/32 fdd4:1476:6c7e::1/128 fe80::1/64") &&
			  strstr(address, "10.75.0.2 dev pz2n3 src 10.75.0.1"),
		  "%s", address);
	/* However its runner ends, its link does. */
	while (n_fds)
		close(fds[--n_fds]);
	cr_expect_neq(run_in(&w, HOST, "ip link show pz2n3 2>/dev/null"), 0);
	protect__network__reply__free_unpacked(reply, NULL);
	cr_expect_null(detach(&w, w.a.slot, 3));
	cr_expect_null(detach(&w, w.a.slot, 3));
	world_close(&w);
}

Test(network_links, what_is_left_of_a_zone_makes_room)
{
	struct world w;
	int fds[16];
	char *text;

	world_open(&w, "");
	text = attach(&w, &w.a, 1, NULL, 0, fds);
	cr_assert_null(text, "%s", text);
	/* The same again, in its place, though its descriptor is still open. */
	zone_open(&w, &w.a, NULL, 0);
	cr_expect(ping(&w, ZONE_A, PUBLIC_IPV4));
	close(fds[0]);
	/* One that has its addresses must wait until it has gone, and then need not. */
	memcpy(w.b.ipv4, w.a.ipv4, sizeof(w.b.ipv4));
	text = attach(&w, &w.b, 1, NULL, 0, fds);
	cr_expect(text && strstr(text, "pz3n0: pz2n0 has this IPv4 address already"), "%s", text);
	free(text);
	zone_stop_pump(&w.a);
	close_fdp(&w.a.tap);
	text = attach(&w, &w.b, 1, NULL, 0, fds);
	cr_expect_null(text, "%s", text);
	close(fds[0]);
	world_close(&w);
}

static Protect__Network__Reply *reconcile(const struct world *w, Protect__Network__Nic **nics,
					  size_t n)
{
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Reconcile what = PROTECT__NETWORK__RECONCILE__INIT;

	what.nics = nics;
	what.n_nics = n;
	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_RECONCILE;
	request.reconcile = &what;
	return ask(w, &request, NULL, NULL);
}

static void expect_reconciled(const struct world *w, Protect__Network__Nic **nics, size_t n)
{
	Protect__Network__Reply *reply = reconcile(w, nics, n);

	cr_assert_not_null(reply);
	cr_expect_eq(reply->error, 0, "%s", reply->text);
	protect__network__reply__free_unpacked(reply, NULL);
}

static bool is_held(const struct world *w, unsigned port)
{
	int fd = serve_in(w, HOST, SOCK_STREAM, port);

	if (fd >= 0)
		close(fd);
	return fd < 0;
}

Test(network_links, a_killed_service_loses_nothing, .timeout = 110)
{
	_cleanup_(freep) char *before = NULL, *rules = NULL;
	Protect__Network__Publish publish, *pointer = &publish;
	Protect__Network__Nic nics[2], *list[] = {&nics[0], &nics[1]};
	struct world w;
	int server;

	world_open(&w, "");
	publish_init(&publish, NULL, 8080, 80, false);
	zone_open(&w, &w.b, NULL, 0);
	zone_open(&w, &w.a, &(struct port){.host_port = 8080, .zone_port = 80}, 1);
	server = serve_in(&w, ZONE_A, SOCK_STREAM, 80);
	zone_nic(&w.a, &nics[0]);
	nics[0].publish = &pointer;
	nics[0].n_publish = 1;
	zone_nic(&w.b, &nics[1]);
	rules = output_of(&w, HOST, "nft -s list ruleset | sort");

	world_kill_service(&w, SIGKILL);
	cr_expect(ping(&w, ZONE_A, PUBLIC_IPV4));
	cr_expect(reaches(&w, PUBLIC, HOST_IPV4, 8080, SOCK_STREAM, server, NULL));
	cr_expect_not(is_held(&w, 8080));
	/* It takes up again what it had, with nobody's help. */
	world_start_service(&w);
	cr_expect(is_held(&w, 8080));
	before = output_of(&w, HOST, "nft -s list ruleset | sort");
	cr_expect_str_eq(before, rules);
	cr_expect(ping(&w, ZONE_A, w.b.ipv4));
	cr_expect(reaches(&w, PUBLIC, HOST_IPV4, 8080, SOCK_STREAM, server, NULL));

	/* Without its list nothing comes in, until the daemon tells it. */
	world_kill_service(&w, SIGKILL);
	cr_assert_eq(unlink(w.state), 0);
	world_start_service(&w);
	cr_expect_not(ping(&w, ZONE_A, PUBLIC_IPV4));
	expect_reconciled(&w, list, 2);
	cr_expect(ping(&w, ZONE_A, PUBLIC_IPV4));
	cr_expect(ping(&w, ZONE_B, PUBLIC_IPV6));
	cr_expect(is_held(&w, 8080));
	cr_expect(reaches(&w, PUBLIC, HOST_IPV6, 8080, SOCK_STREAM, server, NULL));

	/* All rules are gone, ours too: they are made again. */
	cr_assert_eq(run_in(&w, HOST, "nft flush ruleset"), 0);
	expect_reconciled(&w, list, 2);
	free(before);
	before = output_of(&w, HOST, "nft -s list ruleset | sort");
	cr_expect_str_eq(before, rules);
	cr_assert_eq(run_in(&w, HOST, "nft flush ruleset"), 0);
	cr_expect_null(detach(&w, 77, 0));
	cr_expect_null(detach(&w, w.b.slot, 0));
	cr_expect(ping(&w, ZONE_A, PUBLIC_IPV4));

	/* And whom the daemon does not name is no more. */
	world_kill_service(&w, SIGKILL);
	world_start_service(&w);
	expect_reconciled(&w, NULL, 0);
	cr_expect_neq(run_in(&w, HOST, "ip link show pz2n0 2>/dev/null"), 0);
	cr_expect_neq(run_in(&w, HOST, "nft list ruleset | grep pz.n0"), 0);
	cr_expect_not(is_held(&w, 8080));
	close(server);
	world_close(&w);
}

Test(network_links, a_port_that_was_taken_costs_no_network)
{
	struct world w;
	int thief;

	world_open(&w, "");
	zone_open(&w, &w.a, &(struct port){.host_port = 8080, .zone_port = 80}, 1);
	world_kill_service(&w, SIGKILL);
	thief = serve_in(&w, HOST, SOCK_STREAM, 8080);
	cr_assert_geq(thief, 0);
	world_start_service(&w);
	cr_expect(world_log_has(&w, "port 8080/tcp of the host is taken"));
	cr_expect(ping(&w, ZONE_A, PUBLIC_IPV4));
	cr_expect(reaches(&w, PUBLIC, HOST_IPV4, 8080, SOCK_STREAM, thief, NULL));
	close(thief);
	world_close(&w);
}

/* A NIC with one thing wrong is refused with these words. */
static void expect_bad(struct world *w, const Protect__Network__Nic *nic, unsigned queues,
		       const char *text)
{
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Attach what = PROTECT__NETWORK__ATTACH__INIT;
	Protect__Network__Reply *reply;

	what.nic = (Protect__Network__Nic *)(uintptr_t)nic;
	what.queues = queues;
	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_ATTACH;
	request.attach = &what;
	reply = ask(w, &request, NULL, NULL);
	cr_assert_not_null(reply);
	cr_expect(reply->error && strstr(reply->text, text), "'%s' has no '%s'", reply->text, text);
	cr_expect_null(strchr(reply->text, '\n'));
	protect__network__reply__free_unpacked(reply, NULL);
}

Test(network_links, bad_requests_are_refused)
{
	Protect__Network__Publish publish[80], *pointers[80];
	Protect__Network__Nic good, bad;
	_cleanup_(freep) char *before = NULL;
	char hostile[] = "02:00:00:00:00:02 accept; flush ruleset";
	struct world w;

	world_open(&w, "");
	before = snapshot(&w);
	zone_nic(&w.a, &good);
#define BAD(field, value, text)                                                                    \
	do {                                                                                       \
		bad = good;                                                                        \
		bad.field = (value);                                                               \
		expect_bad(&w, &bad, 1, text);                                                     \
	} while (0)
	BAD(slot, 65536, "slot 65536 and index 0 are not up to 65535 and 7");
	BAD(index, 8, "slot 2 and index 8 are not up to");
	BAD(zone_uuid, (char *)"a", "'a' is not a zone's UUID");
	BAD(mac, (char *)"", "is not a MAC address");
	BAD(mac, hostile, "is not a MAC address");
	BAD(mac, (char *)"03:00:00:00:00:01", "is not a MAC address");
	BAD(mac, (char *)"00:00:00:00:00:01", "is not a MAC address");
	BAD(mac, (char *)"02:00:00:00:00:0G", "is not a MAC address");
	BAD(ipv4, (char *)"10.76.0.2", "10.76.0.2 is not in 10.75.0.0/16");
	BAD(ipv4, (char *)"10.75.0.0", "is not for zones");
	BAD(ipv4, (char *)"10.75.0.1", "is not for zones");
	BAD(ipv4, (char *)"10.75.255.255", "is not for zones");
	BAD(ipv4, (char *)"10.75.0.2; flush ruleset", "is not an IPv4 address");
	BAD(ipv4, (char *)"fdd4:1476:6c7e::2", "is not an IPv4 address");
	BAD(ipv6, (char *)"10.75.0.2", "is not an IPv6 address");
	BAD(ipv6, (char *)"fdd4:1476:6c7f::2", "is not in fdd4:1476:6c7e::/48");
	BAD(ipv6, (char *)"fdd4:1476:6c7e::1", "is not for zones");
	BAD(ipv6, (char *)"fdd4:1476:6c7e::", "is not for zones");
	BAD(mtu, 1279, "mtu 1279 is not from 1280 to 65521");
	BAD(mtu, 65522, "mtu 65522 is not from");
	expect_bad(&w, &good, 0, "0 queues are not from 1 to 8");
	expect_bad(&w, &good, 9, "9 queues are not from 1 to 8");
	expect_bad(&w, NULL, 1, "a link without a NIC");

	for (unsigned i = 0; i < 80; i++) {
		publish_init(&publish[i], NULL, 8000 + i, 80, false);
		pointers[i] = &publish[i];
	}
	bad = good;
	bad.publish = pointers;
	bad.n_publish = 80;
	expect_bad(&w, &bad, 1, "more than 64 published ports");
	bad.n_publish = 2;
#define BAD_PORT(host, host_port, zone_port, text)                                                 \
	do {                                                                                       \
		publish_init(&publish[1], host, host_port, zone_port, false);                      \
		expect_bad(&w, &bad, 1, text);                                                     \
	} while (0)
	BAD_PORT(NULL, 0, 80, "published port 0:80 is not from 1 to 65535");
	BAD_PORT(NULL, 65536, 80, "published port 65536:80 is not from");
	BAD_PORT(NULL, 80, 0, "published port 80:0 is not from");
	BAD_PORT(NULL, 80, 65536, "published port 80:65536 is not from");
	BAD_PORT("here", 80, 80, "published port 80: 'here' is not an address");
	BAD_PORT("::1", 80, 80, "published port 80: Linux forwards nothing from ::1");
	BAD_PORT(NULL, 8000, 80, "port 8000 is published twice");
	BAD_PORT("127.0.0.1", 8000, 80, "port 8000 is published twice");
	bad.ipv6 = (char *)"";
	BAD_PORT("2001:db8::1", 80, 80, "the zone has no address of that family");
	expect_snapshot(&w, before);
	world_close(&w);
}

Test(network_links, strangers_bytes_are_refused)
{
	static const struct {
		const char *bytes;
		size_t len;
	} packets[] = {{"\xff\xff\xff\xff", 4},
		       {"\x0a\x7f", 2},
		       {"\x0a\x00", 2},
		       {"", 1},
		       {"\x1a\x02\x08\x01", 4}};
	Protect__Network__Nic nic, *twice[] = {&nic, &nic};
	Protect__Network__Reply *reply;
	struct world w;
	int fds[16];
	char *text;

	world_open(&w, "");
	for (unsigned i = 0; i < ARRAY_SIZE(packets); i++) {
		_cleanup_(close_fdp) int fd = io_unix_connect(w.socket, SOCK_SEQPACKET);
		char answer[600];

		cr_assert_geq(fd, 0);
		send(fd, packets[i].bytes, packets[i].len, MSG_NOSIGNAL);
		cr_expect_gt(recv(fd, answer, sizeof(answer), 0), 0, "packet %u", i);
	}
	zone_nic(&w.a, &nic);
	reply = reconcile(&w, twice, 2);
	cr_assert_not_null(reply);
	cr_expect(reply->error && strstr(reply->text, "pz2n0 and pz2n0 of the list"), "%s",
		  reply->text);
	protect__network__reply__free_unpacked(reply, NULL);
	/* A link of that name that is somebody else's is left alone. */
	cr_assert_eq(run_in(&w, HOST, "ip link add pz2n0 type veth"), 0);
	text = attach(&w, &w.a, 1, NULL, 0, fds);
	cr_expect(text && strstr(text, "the link pz2n0 is not ours and in the way"), "%s", text);
	free(text);
	cr_assert_eq(run_in(&w, HOST, "ip link del pz2n0"), 0);
	world_close(&w);
}

Test(network_links, only_the_daemon_is_heard)
{
	struct world w;
	int status = 0;
	pid_t pid;

	world_open(&w, "");
	pid = fork();
	if (pid == 0) {
		Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;

		if (setresuid(391001, 391001, 391001) < 0)
			_exit(2);
		_exit(ask(&w, &request, NULL, NULL) != NULL);
	}
	waitpid(pid, &status, 0);
	cr_expect_eq(status, 0);
	cr_expect(world_log_has(&w, "uid=391001 msg=\"refused a connection\""));
	world_close(&w);
}

/* The warnings of STATUS, a line each; to be freed. */
static char *warnings(const struct world *w)
{
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Status status = PROTECT__NETWORK__STATUS__INIT;
	Protect__Network__Reply *reply;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_STATUS;
	request.status = &status;
	reply = ask(w, &request, NULL, NULL);
	cr_assert(reply && reply->status);
	for (size_t i = 0; i < reply->status->n_warnings; i++)
		fprintf(out, "%s\n", reply->status->warnings[i]);
	fclose(out);
	protect__network__reply__free_unpacked(reply, NULL);
	return text;
}

static void expect_warning(const struct world *w, const char *text)
{
	_cleanup_(freep) char *said = warnings(w);

	cr_expect(strstr(said, text), "'%s' has no '%s'", said, text);
}

static void expect_no_warning(const struct world *w)
{
	_cleanup_(freep) char *said = warnings(w);

	cr_expect_str_eq(said, "");
}

static void expect_refuses(struct world *w, const char *make, const char *unmake, const char *text)
{
	cr_assert_eq(run_in(w, HOST, "%s", make), 0, "%s", make);
	cr_expect(world_service_refuses(w, text), "no '%s'", text);
	cr_assert_eq(run_in(w, HOST, "%s", unmake), 0);
}

Test(network_links, conflicts_are_found_at_the_start)
{
	struct world w;

	world_open(&w, "");
	/* Beside others' rules it starts, and leaves them as they are. */
	world_kill_service(&w, SIGTERM);
	cr_assert_eq(run_in(&w, HOST, "nft add table inet other && nft add chain inet other c"), 0);
	world_start_service(&w);
	cr_expect_eq(run_in(&w, HOST, "nft list chain inet other c >/dev/null"), 0);
	expect_no_warning(&w);
	cr_assert_eq(run_in(&w, HOST,
			    "nft add table ip filter && nft add chain ip filter FORWARD "
			    "'{ type filter hook forward priority 0; policy drop; }'"),
		     0);
	expect_warning(&w, "the table 'ip filter' of nftables drops forwarded packets");
	world_kill_service(&w, SIGTERM);

	expect_refuses(&w, "ip addr add 10.75.3.1/24 dev up0", "ip addr del 10.75.3.1/24 dev up0",
		       "the subnet 10.75.0.0/16 of zones is in use on this host (10.75.3.");
	expect_refuses(&w, "ip route add 10.0.0.0/8 via " PUBLIC_IPV4, "ip route del 10.0.0.0/8",
		       "in use on this host (10.0.0.0/8, link up0)");
	expect_refuses(&w, "ip -6 route add fdd4:1476:6c7e:5::/64 dev up0",
		       "ip -6 route del fdd4:1476:6c7e:5::/64 dev up0",
		       "the subnet fdd4:1476:6c7e::/48 of zones is in use");
	expect_refuses(&w, "nft delete table inet protect; nft add table inet protect",
		       "nft delete table inet protect",
		       "there is a table 'inet protect' of nftables that is not ours");
	expect_refuses(&w, "nft delete table netdev protect; nft add table netdev protect",
		       "nft delete table netdev protect",
		       "there is a table 'netdev protect' of nftables that is not ours");
	expect_refuses(&w, "chmod 600 /dev/net/tun", "chmod 666 /dev/net/tun",
		       "this user may not open /dev/net/tun");
	world_start_service(&w);
	world_close(&w);
}
