// SPDX-License-Identifier: Apache-2.0
/* Who reaches whom: real packets between zones, the host and the public (network_world.h). */
#include "network_world.h"

UNIT_SUITE(network_reach);

Test(network_reach, zones_reach_the_public_and_each_other_but_not_the_host)
{
	struct world w;

	world_open(&w, "");
	zone_open(&w, &w.a, NULL, 0);
	zone_open(&w, &w.b, NULL, 0);
	cr_expect(ping(&w, ZONE_A, PUBLIC_IPV4));
	cr_expect(ping(&w, ZONE_A, PUBLIC_IPV6));
	cr_expect(ping(&w, ZONE_A, w.b.ipv4));
	cr_expect(ping(&w, ZONE_A, w.b.ipv6));
	cr_expect(ping(&w, HOST, w.a.ipv4));
	cr_expect(ping(&w, HOST, w.a.ipv6));
	cr_expect_not(ping(&w, ZONE_A, GATEWAY_IPV4));
	cr_expect_not(ping(&w, ZONE_A, GATEWAY_IPV6));
	cr_expect_not(ping(&w, ZONE_A, HOST_IPV4));
	cr_expect_not(ping(&w, ZONE_A, HOST_IPV6));
	/* The public knows no way to zones; if it did, they would not be there. */
	run_in(&w, PUBLIC, "ip route add 10.75.0.0/16 via " HOST_IPV4);
	run_in(&w, PUBLIC, "ip -6 route add fdd4:1476:6c7e::/48 via " HOST_IPV6);
	cr_expect_not(ping(&w, PUBLIC, w.a.ipv4));
	cr_expect_not(ping(&w, PUBLIC, w.a.ipv6));
	world_close(&w);
}

Test(network_reach, as_configured)
{
	struct world w;

	world_open(&w, "zone-to-zone = deny\nallow-host = ping\n");
	zone_open(&w, &w.a, NULL, 0);
	zone_open(&w, &w.b, NULL, 0);
	cr_expect(ping(&w, ZONE_A, GATEWAY_IPV4));
	cr_expect(ping(&w, ZONE_A, GATEWAY_IPV6));
	cr_expect(ping(&w, ZONE_A, HOST_IPV4));
	cr_expect(ping(&w, ZONE_A, HOST_IPV6));
	cr_expect(ping(&w, ZONE_A, PUBLIC_IPV4));
	cr_expect_not(ping(&w, ZONE_A, w.b.ipv4));
	cr_expect_not(ping(&w, ZONE_A, w.b.ipv6));
	world_close(&w);
}
