// SPDX-License-Identifier: Apache-2.0
/* Published ports, services of the host, and limits: real packets (network_world.h). */
#include "network_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "network_frames.h"

UNIT_SUITE(network_publish);

#define LOCALHOST "127.0.0.1"

/* A port that cannot be had is an error with these words, and nothing is left. */
static void expect_refused(struct world *w, struct zone *zone, Protect__Network__Publish *publish,
			   const char *text)
{
	int fds[16];
	_cleanup_(freep) char *error = attach(w, zone, 1, &publish, 1, fds);

	cr_expect(error && strstr(error, text), "'%s' has no '%s'", error, text);
	cr_expect_neq(run_in(w, HOST, "ip link show pz%un0 2>/dev/null", zone->slot), 0);
	cr_expect_neq(run_in(w, HOST, "nft list ruleset | grep pz%un0", zone->slot), 0);
}

Test(network_publish, tcp_and_udp, .timeout = 110)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	static const struct port ports[] = {
		{NULL, 8080, 80, false},    {NULL, 8080, 80, true},    {LOCALHOST, 8081, 80, false},
		{HOST_IPV4, 82, 80, false}, {HOST_IPV6, 82, 80, true}, {GATEWAY_IPV4, 53, 80, true},
	};
	Protect__Network__Publish other;
	struct world w;
	int servers[2], taken;
	char peer[64];

	world_open(&w, "zone-to-zone = deny\n");
	/* The gateway is an address of the host as soon as there is a link. */
	zone_open(&w, &w.b, NULL, 0);
	zone_open(&w, &w.a, ports, ARRAY_SIZE(ports));
	for (unsigned i = 0; i < 2; i++) {
		int type = types[i];

		servers[i] = serve_in(&w, ZONE_A, type, 80);
		cr_assert_geq(servers[i], 0);
		cr_expect(reaches(&w, PUBLIC, HOST_IPV4, 8080, type, servers[i], peer));
		cr_expect_str_eq(peer, "::ffff:" PUBLIC_IPV4);
		cr_expect(reaches(&w, PUBLIC, HOST_IPV6, 8080, type, servers[i], peer));
		cr_expect_str_eq(peer, PUBLIC_IPV6);
		cr_expect(reaches(&w, HOST, HOST_IPV4, 8080, type, servers[i], NULL));
		cr_expect(reaches(&w, HOST, HOST_IPV6, 8080, type, servers[i], NULL));
		cr_expect(reaches(&w, HOST, GATEWAY_IPV4, 8080, type, servers[i], NULL));
		cr_expect(reaches(&w, HOST, LOCALHOST, 8080, type, servers[i], NULL));
		/* Zones too, even by way of themselves; by no other way, here. */
		cr_expect(reaches(&w, ZONE_B, HOST_IPV4, 8080, type, servers[i], NULL));
		cr_expect(reaches(&w, ZONE_B, GATEWAY_IPV6, 8080, type, servers[i], NULL));
		cr_expect(reaches(&w, ZONE_A, HOST_IPV4, 8080, type, servers[i], NULL));
		cr_expect(reaches(&w, ZONE_A, HOST_IPV6, 8080, type, servers[i], NULL));
		cr_expect_not(reaches(&w, ZONE_B, w.a.ipv4, 80, type, servers[i], NULL));
	}
	cr_expect(reaches(&w, HOST, LOCALHOST, 8081, SOCK_STREAM, servers[0], NULL));
	cr_expect_not(reaches(&w, PUBLIC, HOST_IPV4, 8081, SOCK_STREAM, servers[0], NULL));
	cr_expect(reaches(&w, PUBLIC, HOST_IPV4, 82, SOCK_STREAM, servers[0], NULL));
	cr_expect_not(reaches(&w, PUBLIC, HOST_IPV6, 82, SOCK_STREAM, servers[0], NULL));
	cr_expect(reaches(&w, PUBLIC, HOST_IPV6, 82, SOCK_DGRAM, servers[1], NULL));
	cr_expect_not(reaches(&w, PUBLIC, HOST_IPV4, 82, SOCK_DGRAM, servers[1], NULL));
	cr_expect(reaches(&w, ZONE_B, GATEWAY_IPV4, 53, SOCK_DGRAM, servers[1], NULL));
	zone_close(&w, &w.b);

	/* Nobody else may have it. */
	taken = serve_in(&w, HOST, SOCK_STREAM, 8080);
	cr_expect(taken < 0 && errno == EADDRINUSE);
	publish_init(&other, NULL, 8080, 81, false);
	expect_refused(&w, &w.b, &other, "pz2n0 has this published port already");
	publish_init(&other, HOST_IPV4, 8080, 81, true);
	expect_refused(&w, &w.b, &other, "pz2n0 has this published port already");
	taken = serve_in(&w, HOST, SOCK_STREAM, 8090);
	cr_assert_geq(taken, 0);
	publish_init(&other, NULL, 8090, 81, false);
	expect_refused(&w, &w.b, &other, "port 8090/tcp of the host is taken");
	publish_init(&other, "192.0.2.77", 8091, 81, false);
	expect_refused(&w, &w.b, &other, "192.0.2.77 is no address of this host");
	close(taken);

	zone_close(&w, &w.a);
	taken = serve_in(&w, HOST, SOCK_STREAM, 8080);
	cr_expect(taken >= 0, "a port of a zone that has gone is held");
	close(taken);
	close(servers[0]);
	close(servers[1]);
	world_close(&w);
}

Test(network_publish, services_of_the_host)
{
	struct world w;
	int web, dns, other;

	world_open(&w, "allow-host = tcp:80\nallow-host = udp:53\n");
	zone_open(&w, &w.a, NULL, 0);
	web = serve_in(&w, HOST, SOCK_STREAM, 80);
	dns = serve_in(&w, HOST, SOCK_DGRAM, 53);
	other = serve_in(&w, HOST, SOCK_STREAM, 53);
	cr_expect(reaches(&w, ZONE_A, HOST_IPV4, 80, SOCK_STREAM, web, NULL));
	cr_expect(reaches(&w, ZONE_A, GATEWAY_IPV6, 80, SOCK_STREAM, web, NULL));
	cr_expect(reaches(&w, ZONE_A, GATEWAY_IPV4, 53, SOCK_DGRAM, dns, NULL));
	cr_expect_not(reaches(&w, ZONE_A, GATEWAY_IPV4, 53, SOCK_STREAM, other, NULL));
	cr_expect_not(reaches(&w, ZONE_A, GATEWAY_IPV6, 53, SOCK_STREAM, other, NULL));
	cr_expect(reaches(&w, HOST, GATEWAY_IPV4, 53, SOCK_STREAM, other, NULL));
	close(web);
	close(dns);
	close(other);
	world_close(&w);
}

Test(network_publish, zone_to_public_and_zone)
{
	struct world w;
	int web, dns, neighbour;
	char peer[64];

	world_open(&w, "");
	zone_open(&w, &w.a, NULL, 0);
	zone_open(&w, &w.b, NULL, 0);
	web = serve_in(&w, PUBLIC, SOCK_STREAM, 80);
	dns = serve_in(&w, PUBLIC, SOCK_DGRAM, 53);
	neighbour = serve_in(&w, ZONE_B, SOCK_STREAM, 80);
	cr_expect(reaches(&w, ZONE_A, PUBLIC_IPV4, 80, SOCK_STREAM, web, peer));
	cr_expect_str_eq(peer, "::ffff:" HOST_IPV4);
	cr_expect(reaches(&w, ZONE_A, PUBLIC_IPV6, 80, SOCK_STREAM, web, peer));
	cr_expect_str_eq(peer, HOST_IPV6);
	cr_expect(reaches(&w, ZONE_A, PUBLIC_IPV4, 53, SOCK_DGRAM, dns, NULL));
	cr_expect(reaches(&w, ZONE_A, PUBLIC_IPV6, 53, SOCK_DGRAM, dns, NULL));
	cr_expect(reaches(&w, ZONE_A, w.b.ipv4, 80, SOCK_STREAM, neighbour, peer));
	cr_expect(strstr(peer, w.a.ipv4), "not %s", peer);
	cr_expect(reaches(&w, ZONE_A, w.b.ipv6, 80, SOCK_STREAM, neighbour, peer));
	cr_expect_str_eq(peer, w.a.ipv6);
	close(web);
	close(dns);
	close(neighbour);
	world_close(&w);
}

/* How many connections the kernel tracks from or to an address. */
static int tracked(const struct world *w, const char *address)
{
	char command[128];
	_cleanup_(freep) char *text = NULL;

	snprintf(command, sizeof(command), "grep -cE '(src|dst)=%s ' /proc/net/nf_conntrack",
		 address);
	text = output_of(w, HOST, command);
	return atoi(text);
}

/* Who gets an address next gets nothing of the one before. */
Test(network_publish, connections_end_with_their_link)
{
	static const char long_ipv6[] = "fdd4:1476:6c7e:0000:0000:0000:0000:0002";
	static const struct port ports[] = {{NULL, 8080, 80, false}, {NULL, 8080, 80, true}};
	struct world w;
	int tcp, udp, web;

	world_open(&w, "");
	if (run_in(&w, HOST, "test -e /proc/net/nf_conntrack") != 0) {
		fprintf(stderr, "SKIP: this kernel has no /proc/net/nf_conntrack to look at\n");
		world_close(&w);
		return;
	}
	zone_open(&w, &w.b, NULL, 0);
	zone_open(&w, &w.a, ports, ARRAY_SIZE(ports));
	tcp = serve_in(&w, ZONE_A, SOCK_STREAM, 80);
	udp = serve_in(&w, ZONE_A, SOCK_DGRAM, 80);
	web = serve_in(&w, PUBLIC, SOCK_STREAM, 80);
	cr_expect(reaches(&w, PUBLIC, HOST_IPV4, 8080, SOCK_STREAM, tcp, NULL));
	cr_expect(reaches(&w, PUBLIC, HOST_IPV4, 8080, SOCK_DGRAM, udp, NULL));
	cr_expect(reaches(&w, PUBLIC, HOST_IPV6, 8080, SOCK_DGRAM, udp, NULL));
	cr_expect(reaches(&w, ZONE_A, PUBLIC_IPV4, 80, SOCK_STREAM, web, NULL));
	cr_expect(reaches(&w, ZONE_B, PUBLIC_IPV4, 80, SOCK_STREAM, web, NULL));
	cr_expect_geq(tracked(&w, w.a.ipv4), 3);
	cr_expect_geq(tracked(&w, long_ipv6), 1);
	zone_close(&w, &w.a);
	cr_expect_eq(tracked(&w, w.a.ipv4), 0);
	cr_expect_eq(tracked(&w, long_ipv6), 0);
	cr_expect_geq(tracked(&w, w.b.ipv4), 1);
	close(tcp);
	close(udp);
	close(web);
	world_close(&w);
}

/* How many of n flows that zone A begins at once come to the public. */
static unsigned flows_that_come(struct world *w, unsigned n)
{
	int server = serve_in(w, PUBLIC, SOCK_DGRAM, 9);
	unsigned came = 0;
	char byte;

	zone_stop_pump(&w->a);
	for (unsigned i = 0; i < n; i++) {
		struct frame f;

		frame_begin(&f, w->a.host_mac, w->a.mac_bytes, 0x0800);
		frame_udp(&f, w->a.ipv4, 1024 + i, PUBLIC_IPV4, 9, "x");
		zone_send(&w->a, f.bytes, f.len);
	}
	usleep(200000);
	while (recv(server, &byte, 1, MSG_DONTWAIT) == 1)
		came++;
	close(server);
	return came;
}

Test(network_publish, connections_are_limited)
{
	struct world w;
	unsigned came;

	world_open(&w, "max-connections = 50\n");
	zone_open(&w, &w.a, NULL, 0);
	zone_open(&w, &w.b, NULL, 0);
	came = flows_that_come(&w, 200);
	cr_expect_eq(came, 50, "%u flows", came);
	cr_expect(ping(&w, ZONE_B, PUBLIC_IPV4));
	world_close(&w);
}

Test(network_publish, new_connections_are_limited)
{
	struct world w;
	unsigned came;

	world_open(&w, "max-new-connections = 10\n");
	zone_open(&w, &w.a, NULL, 0);
	zone_open(&w, &w.b, NULL, 0);
	came = flows_that_come(&w, 200);
	cr_expect(came >= 40 && came <= 50, "%u flows", came);
	cr_expect(ping(&w, ZONE_B, PUBLIC_IPV4));
	world_close(&w);
}
