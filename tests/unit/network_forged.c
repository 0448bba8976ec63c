// SPDX-License-Identifier: Apache-2.0
/*
 * What a zone forges reaches nobody. Zone A's tap is in the test's hands; after each forged frame
 * come honest ones, to a neighbour, to the public and to the host: when those have arrived, all
 * three are looked at for the forged one, and A's tap for an answer of the host's.
 *
 * With NETWORK_FORGED_OPEN in the environment the rules of A's link are taken away first; then most
 * frames must come through, or the test could not see any (unit_network_forged_can_fail).
 */
#include "network_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>

#include "base/io.h"
#include "base/util.h"
#include "network_frames.h"

#define MARK	  "forged"
#define FENCE	  "fence"
#define PORT	  9
#define LL_A	  "fe80::ff:fe00:2"
#define ROUTER	  "fe80::1"
#define ELSEWHERE "198.51.100.7"

UNIT_SUITE(network_forged);

/* Who listens, and how. */
enum ear { AT_B, AT_PUBLIC, AT_HOST_UDP4, AT_HOST_UDP6, AT_HOST_ICMP4, AT_HOST_ICMP6, N_EARS };

static const char *const ear_names[] = {"the neighbour",   "the public",      "the host (udp)",
					"the host (udp6)", "the host (icmp)", "the host (icmp6)"};

struct stage {
	struct world w;
	int ears[N_EARS];
	int sinks[3]; /* bound to PORT, so that nobody says that it is closed */
	const uint8_t *a, *b, *host;
	unsigned n_fences, n_heard, n_frames;
	bool open;
};

static const uint8_t everybody[6] = {255, 255, 255, 255, 255, 255};

static int listen_to_device(const struct world *w, enum place place, const char *device)
{
	int fd = socket_in(w, place, AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	struct sockaddr_ll name = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct ifreq request = {.ifr_flags = 0};

	snprintf(request.ifr_name, IF_NAMESIZE, "%s", device);
	cr_assert_eq(ioctl(fd, SIOCGIFINDEX, &request), 0);
	name.sll_ifindex = request.ifr_ifindex;
	cr_assert_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	cr_assert_eq(io_set_nonblock(fd, 1), 0);
	return fd;
}

static int sink(const struct world *w, enum place place)
{
	struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
	int fd = socket_in(w, place, AF_INET6, SOCK_DGRAM, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	return fd;
}

static void stage_open(struct stage *s, bool chain_alone)
{
	struct world *w = &s->w;

	*s = (struct stage){.open = getenv("NETWORK_FORGED_OPEN") != NULL};
	world_open(w, "allow-host = udp:9\nallow-host = udp:68\nallow-host = ping\n");
	zone_open(w, &w->a, NULL, 0);
	zone_open(w, &w->b, NULL, 0);
	zone_stop_pump(&w->a);
	s->a = w->a.mac_bytes;
	s->b = w->b.mac_bytes;
	s->host = w->a.host_mac;
	s->ears[AT_B] = listen_to_device(w, ZONE_B, "eth0");
	s->ears[AT_PUBLIC] = listen_to_device(w, PUBLIC, "down0");
	s->ears[AT_HOST_UDP4] = socket_in(w, HOST, AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_UDP);
	s->ears[AT_HOST_UDP6] = socket_in(w, HOST, AF_INET6, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_UDP);
	s->ears[AT_HOST_ICMP4] =
		socket_in(w, HOST, AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMP);
	s->ears[AT_HOST_ICMP6] =
		socket_in(w, HOST, AF_INET6, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMPV6);
	s->sinks[0] = sink(w, HOST);
	s->sinks[1] = sink(w, PUBLIC);
	s->sinks[2] = sink(w, ZONE_B);
	if (s->open)
		run_in(w, HOST, "nft delete chain netdev protect pz2n0");
	/* What the rules behind it and the link's settings would hold back is not the matter here.
	 */
	if (s->open || chain_alone)
		run_in(w, HOST,
		       "nft flush chain inet protect to_host; "
		       "nft flush chain inet protect from_zone; "
		       "cd /proc/sys/net/ipv4/conf/pz2n0; echo 0 >rp_filter; echo 0 >arp_ignore; "
		       "echo 1 >route_localnet; echo 1 >accept_local");
}

static void stage_close(struct stage *s)
{
	for (unsigned i = 0; i < N_EARS; i++)
		close(s->ears[i]);
	for (unsigned i = 0; i < 3; i++)
		close(s->sinks[i]);
	world_close(&s->w);
}

/* Whether bytes come at an ear; what is not them is thrown away. */
static bool hears(int fd, const char *what, int timeout_ms)
{
	uint8_t packet[4096];

	for (;;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		ssize_t n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);

		if (n > 0 && memmem(packet, (size_t)n, what, strlen(what)))
			return true;
		if (n <= 0 && (timeout_ms == 0 || poll(&ready, 1, timeout_ms) <= 0))
			return false;
	}
}

/* Whether the host has answered: with an address of the link, or with a packet that bears the mark.
 */
static bool host_answered(const struct stage *s)
{
	uint8_t frame[2048];
	bool answered = false;
	ssize_t n;

	while ((n = read(s->w.a.tap, frame, sizeof(frame))) > 0) {
		const uint8_t *type = frame + 10 + 12;

		answered |= n >= 10 + 42 && type[0] == 8 && type[1] == 6 && frame[10 + 21] == 2;
		answered |= n >= 10 + 55 && type[0] == 0x86 && frame[10 + 14 + 6] == 58 &&
			    frame[10 + 14 + 40] == 136;
		answered |= memmem(frame, (size_t)n, MARK, strlen(MARK)) != NULL;
	}
	return answered;
}

static void send_udp(const struct stage *s, const uint8_t to[6], const uint8_t from[6],
		     const char *from_ip, unsigned from_port, const char *to_ip, unsigned to_port,
		     const char *payload)
{
	struct frame f;

	frame_begin(&f, to, from, strchr(from_ip, ':') ? ETH_P_IPV6 : ETH_P_IP);
	frame_udp(&f, from_ip, from_port, to_ip, to_port, payload);
	zone_send(&s->w.a, f.bytes, f.len);
}

/* Honest packets, which everybody must hear: what was sent before has then been where it goes. */
static void fence(struct stage *s)
{
	char text[32];

	snprintf(text, sizeof(text), FENCE "%06u", ++s->n_fences);
	send_udp(s, s->host, s->a, s->w.a.ipv4, PORT, s->w.b.ipv4, PORT, text);
	send_udp(s, s->host, s->a, s->w.a.ipv4, PORT, PUBLIC_IPV4, PORT, text);
	send_udp(s, s->host, s->a, s->w.a.ipv4, PORT, GATEWAY_IPV4, PORT, text);
	send_udp(s, s->host, s->a, s->w.a.ipv6, PORT, GATEWAY_IPV6, PORT, text);
	usleep(3000);
}

/* What was sent before, called this, must not have been heard. */
static void expect_unheard(struct stage *s, const char *what)
{
	bool heard = false;

	fence(s);
	for (enum ear ear = 0; ear < N_EARS; ear++)
		if (hears(s->ears[ear], MARK, 0)) {
			heard = true;
			if (!s->open)
				cr_expect(false, "%s reached %s", what, ear_names[ear]);
		}
	if (host_answered(s)) {
		heard = true;
		if (!s->open)
			cr_expect(false, "%s was answered by the host", what);
	}
	s->n_frames++;
	s->n_heard += heard;
	if (s->open)
		fprintf(stderr, "%s: %s\n", heard ? "came through" : "held back all the same",
			what);
}

/* The ears are good ears: honest packets come to each. */
static void expect_heard(struct stage *s)
{
	static const enum ear ears[] = {AT_B, AT_PUBLIC, AT_HOST_UDP4, AT_HOST_UDP6};
	uint8_t echo4[16] = {8, 0, 0, 0, 0, 7, 0, 1, 'f', 'e', 'n', 'c', 'e', '9'};
	uint8_t echo6[16] = {128, 0, 0, 0, 0, 7, 0, 1, 'f', 'e', 'n', 'c', 'e', '9'};
	struct frame f;

	fence(s);
	for (unsigned i = 0; i < ARRAY_SIZE(ears); i++)
		cr_expect(hears(s->ears[ears[i]], FENCE, 1000), "%s hears nothing",
			  ear_names[ears[i]]);
	frame_begin(&f, s->host, s->a, ETH_P_IP);
	frame_icmp4(&f, s->w.a.ipv4, GATEWAY_IPV4, echo4, sizeof(echo4));
	zone_send(&s->w.a, f.bytes, f.len);
	frame_begin(&f, s->host, s->a, ETH_P_IPV6);
	frame_icmp6(&f, s->w.a.ipv6, GATEWAY_IPV6, NULL, 0, 0, echo6, sizeof(echo6));
	zone_send(&s->w.a, f.bytes, f.len);
	cr_expect(hears(s->ears[AT_HOST_ICMP4], "fence9", 1000), "the host hears no ICMP");
	cr_expect(hears(s->ears[AT_HOST_ICMP6], "fence9", 1000), "the host hears no ICMPv6");
	/* Who asks for the gateway is told. */
	host_answered(s);
	frame_begin(&f, everybody, s->a, ETH_P_ARP);
	frame_arp(&f, 1, s->a, s->w.a.ipv4, (uint8_t[6]){0}, GATEWAY_IPV4);
	zone_send(&s->w.a, f.bytes, f.len);
	usleep(3000);
	cr_expect(host_answered(s), "the host does not answer for its gateway");
}

static void forge_addresses(struct stage *s)
{
	const char *const sources4[] = {s->w.b.ipv4, GATEWAY_IPV4, HOST_IPV4,
					ELSEWHERE,   "10.75.0.99", "0.0.0.0",
					"127.0.0.1", "224.0.0.1",  "255.255.255.255"};
	const char *const sources6[] = {s->w.b.ipv6, GATEWAY_IPV6, HOST_IPV6, "2001:db8:9::7",
					ROUTER,	     LL_A,	   "::",      "::1",
					"ff02::1"};
	const char *const targets4[] = {s->w.b.ipv4, PUBLIC_IPV4, GATEWAY_IPV4};
	const char *const targets6[] = {s->w.b.ipv6, PUBLIC_IPV6, GATEWAY_IPV6};
	char what[128];

	for (unsigned i = 0; i < ARRAY_SIZE(sources4); i++)
		for (unsigned k = 0; k < ARRAY_SIZE(targets4); k++) {
			send_udp(s, s->host, s->a, sources4[i], PORT, targets4[k], PORT, MARK);
			snprintf(what, sizeof(what), "source %s to %s", sources4[i], targets4[k]);
			expect_unheard(s, what);
		}
	for (unsigned i = 0; i < ARRAY_SIZE(sources6); i++)
		for (unsigned k = 0; k < ARRAY_SIZE(targets6); k++) {
			send_udp(s, s->host, s->a, sources6[i], PORT, targets6[k], PORT, MARK);
			snprintf(what, sizeof(what), "source %s to %s", sources6[i], targets6[k]);
			expect_unheard(s, what);
		}
}

static void forge_macs(struct stage *s)
{
	static const uint8_t stranger[6] = {2, 9, 9, 9, 9, 9};
	const uint8_t *const sources[] = {s->b, s->host, stranger};
	static const char *const names[] = {"the neighbour's", "the host's", "a stranger's"};
	char what[64];

	for (unsigned i = 0; i < ARRAY_SIZE(sources); i++) {
		snprintf(what, sizeof(what), "source MAC: %s", names[i]);
		send_udp(s, s->host, sources[i], s->w.a.ipv4, PORT, s->w.b.ipv4, PORT, MARK);
		expect_unheard(s, what);
		send_udp(s, s->host, sources[i], s->w.a.ipv6, PORT, PUBLIC_IPV6, PORT, MARK);
		expect_unheard(s, what);
	}
}

static void forge_targets(struct stage *s)
{
	static const uint8_t multicast[6] = {1, 0, 0x5e, 0, 0, 0xfb};
	static const uint8_t multicast6[6] = {0x33, 0x33, 0, 0, 0, 1};

	send_udp(s, s->host, s->a, s->w.a.ipv4, PORT, "127.0.0.1", PORT, MARK);
	expect_unheard(s, "to the host's 127.0.0.1");
	send_udp(s, s->host, s->a, s->w.a.ipv6, PORT, "::1", PORT, MARK);
	expect_unheard(s, "to the host's ::1");
	send_udp(s, s->host, s->a, s->w.a.ipv6, PORT, ROUTER, PORT, MARK);
	expect_unheard(s, "to the host's link-local address");
	send_udp(s, everybody, s->a, s->w.a.ipv4, PORT, "255.255.255.255", PORT, MARK);
	expect_unheard(s, "broadcast");
	send_udp(s, everybody, s->a, s->w.a.ipv4, PORT, s->w.b.ipv4, PORT, MARK);
	expect_unheard(s, "a broadcast frame to the neighbour");
	send_udp(s, everybody, s->a, s->w.a.ipv4, PORT, GATEWAY_IPV4, PORT, MARK);
	expect_unheard(s, "a broadcast frame to the host");
	send_udp(s, everybody, s->a, s->w.a.ipv6, PORT, GATEWAY_IPV6, PORT, MARK);
	expect_unheard(s, "a broadcast frame to the host's IPv6 address");
	send_udp(s, multicast, s->a, s->w.a.ipv4, PORT, "224.0.0.251", PORT, MARK);
	expect_unheard(s, "multicast");
	send_udp(s, multicast6, s->a, s->w.a.ipv6, PORT, "ff02::1", PORT, MARK);
	expect_unheard(s, "IPv6 multicast");
}

static void send_arp(struct stage *s, const uint8_t to[6], unsigned op, const uint8_t mac[6],
		     const char *sender, const char *target, const char *what)
{
	struct frame f;

	frame_begin(&f, to, s->a, ETH_P_ARP);
	frame_arp(&f, op, mac, sender, (uint8_t[6]){0}, target);
	zone_send(&s->w.a, f.bytes, f.len);
	expect_unheard(s, what);
}

/* The host answers for nobody but its gateway, and to nobody but the zone. */
static void forge_arp(struct stage *s)
{
	send_arp(s, everybody, 1, s->a, s->w.b.ipv4, GATEWAY_IPV4,
		 "ARP by the neighbour's address");
	send_arp(s, everybody, 1, s->a, "10.75.0.99", GATEWAY_IPV4, "ARP by nobody's address");
	send_arp(s, everybody, 1, s->b, s->w.a.ipv4, GATEWAY_IPV4, "ARP for another MAC");
	send_arp(s, everybody, 1, s->a, s->w.a.ipv4, HOST_IPV4, "ARP for the host's other address");
	send_arp(s, everybody, 1, s->a, s->w.a.ipv4, s->w.b.ipv4, "ARP for the neighbour");
	send_arp(s, everybody, 1, s->a, "0.0.0.0", GATEWAY_IPV4, "ARP probe for the gateway");
	send_arp(s, everybody, 1, s->a, GATEWAY_IPV4, GATEWAY_IPV4, "ARP as the gateway");
	send_arp(s, s->host, 2, s->a, s->w.b.ipv4, GATEWAY_IPV4, "ARP answer as the neighbour");
	send_arp(s, s->host, 2, s->b, s->w.a.ipv4, GATEWAY_IPV4, "ARP answer with another MAC");
}

static void send_nd(struct stage *s, unsigned type, const char *from, const char *to,
		    const char *target, const char *what)
{
	uint8_t message[40] = {(uint8_t)type, 0, 0, 0, 0xe0};

	inet_pton(AF_INET6, target, message + 8);
	message[24] = type == 135 ? 1 : 2;
	message[25] = 1;
	memcpy(message + 26, s->a, 6);
	message[32] = 14; /* a nonce: room for the mark */
	message[33] = 1;
	memcpy(message + 34, MARK, 6);
	struct frame f;

	frame_begin(&f, s->host, s->a, ETH_P_IPV6);
	frame_icmp6(&f, from, to, NULL, 0, 0, message, sizeof(message));
	zone_send(&s->w.a, f.bytes, f.len);
	expect_unheard(s, what);
}

static void forge_nd(struct stage *s)
{
	send_nd(s, 135, s->w.b.ipv6, ROUTER, ROUTER, "ND question by the neighbour's address");
	send_nd(s, 135, "fe80::99", ROUTER, ROUTER, "ND question by another link-local address");
	send_nd(s, 135, "::", ROUTER, ROUTER, "ND question by no address");
	send_nd(s, 135, s->w.a.ipv6, ROUTER, GATEWAY_IPV6, "ND question for the host's address");
	send_nd(s, 135, s->w.a.ipv6, ROUTER, s->w.b.ipv6, "ND question for the neighbour");
	send_nd(s, 135, s->w.a.ipv6, s->w.b.ipv6, s->w.b.ipv6, "ND question to the neighbour");
	send_nd(s, 136, s->w.a.ipv6, GATEWAY_IPV6, s->w.b.ipv6, "ND answer for the neighbour");
	send_nd(s, 136, s->w.b.ipv6, GATEWAY_IPV6, s->w.b.ipv6, "ND answer as the neighbour");
	send_nd(s, 136, LL_A, ROUTER, LL_A, "ND answer for itself");
	send_nd(s, 136, ROUTER, "ff02::1", ROUTER, "ND answer as the router");
	send_nd(s, 136, s->w.a.ipv6, ROUTER, ROUTER, "ND answer for the router");
	send_nd(s, 137, s->w.a.ipv6, ROUTER, ROUTER, "IPv6 redirect to the host");
	send_nd(s, 137, ROUTER, s->w.b.ipv6, s->w.b.ipv6, "IPv6 redirect as the router");
	send_nd(s, 137, s->w.a.ipv6, s->w.b.ipv6, s->w.b.ipv6, "IPv6 redirect");
}

static void send_ra(struct stage *s, const char *from, const char *to, const void *ext,
		    size_t ext_len, unsigned ext_type, const char *what)
{
	/* A prefix 2001:db8:bad::/64, and the mark where its reserved bytes are. */
	uint8_t message[48] = {134, 0,	  0, 0, 64,   0,    0x07, 0x08, [16] = 3, 4,
			       64,  0xc0, 0, 0, 0x0e, 0x10, 0,	  0,	0x0e,	  0x10};
	struct frame f;

	memcpy(message + 28, "\0\0\0\0", 4);
	inet_pton(AF_INET6, "2001:db8:bad::", message + 32);
	memcpy(message + 42, MARK, 6);
	frame_begin(&f, s->host, s->a, ETH_P_IPV6);
	frame_icmp6(&f, from, to, ext, ext_len, ext_type, message, sizeof(message));
	zone_send(&s->w.a, f.bytes, f.len);
	expect_unheard(s, what);
}

/* Who says that he is a router or gives addresses. */
static void forge_configuration(struct stage *s)
{
	static const uint8_t options[8] = {58, 0, 1, 4};
	static const uint8_t fragment[8] = {58, 0, 0, 0, 0, 0, 0, 9};

	send_ra(s, LL_A, "ff02::1", NULL, 0, 0, "router advertisement");
	send_ra(s, ROUTER, "ff02::1", NULL, 0, 0, "router advertisement as the host");
	send_ra(s, s->w.a.ipv6, GATEWAY_IPV6, NULL, 0, 0, "router advertisement to the host");
	send_ra(s, s->w.a.ipv6, s->w.b.ipv6, NULL, 0, 0, "router advertisement to the neighbour");
	send_ra(s, s->w.a.ipv6, s->w.b.ipv6, options, sizeof(options), 60,
		"router advertisement behind options");
	send_ra(s, s->w.a.ipv6, s->w.b.ipv6, fragment, sizeof(fragment), 44,
		"router advertisement in a fragment");
	send_udp(s, s->host, s->a, s->w.a.ipv4, 67, s->w.b.ipv4, 68, MARK);
	expect_unheard(s, "DHCP answer to the neighbour");
	send_udp(s, everybody, s->a, s->w.a.ipv4, 67, "255.255.255.255", 68, MARK);
	expect_unheard(s, "DHCP answer to everybody");
	send_udp(s, s->host, s->a, s->w.a.ipv4, 67, GATEWAY_IPV4, 68, MARK);
	expect_unheard(s, "DHCP answer to the host");
	send_udp(s, s->host, s->a, s->w.a.ipv6, 547, s->w.b.ipv6, 546, MARK);
	expect_unheard(s, "DHCPv6 answer to the neighbour");
}

static void forge_icmp(struct stage *s)
{
	/* Of a packet that the neighbour might have sent, in a connection that there is: fence().
	 */
	uint8_t redirect[48] = {5, 1, 0, 0, 10, 75, 0, 2, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17};
	uint16_t sum;
	struct frame f;

	inet_pton(AF_INET, s->w.b.ipv4, redirect + 20);
	inet_pton(AF_INET, s->w.a.ipv4, redirect + 24);
	sum = frame_checksum(redirect + 8, 20, 0);
	memcpy(redirect + 18, &sum, 2);
	redirect[29] = redirect[31] = PORT;
	redirect[33] = 8;
	memcpy(redirect + 36, MARK, 6);
	frame_begin(&f, s->host, s->a, ETH_P_IP);
	frame_icmp4(&f, s->w.a.ipv4, s->w.b.ipv4, redirect, sizeof(redirect));
	zone_send(&s->w.a, f.bytes, f.len);
	expect_unheard(s, "ICMP redirect to the neighbour");
	frame_begin(&f, s->host, s->a, ETH_P_IP);
	frame_icmp4(&f, s->w.a.ipv4, GATEWAY_IPV4, redirect, sizeof(redirect));
	zone_send(&s->w.a, f.bytes, f.len);
	expect_unheard(s, "ICMP redirect to the host");
}

/* An honest packet behind tags, or under another type. */
static void send_tagged(struct stage *s, const void *tags, size_t len, const char *what)
{
	struct frame plain, f;

	frame_begin(&plain, s->host, s->a, ETH_P_IP);
	frame_udp(&plain, s->w.a.ipv4, PORT, s->w.b.ipv4, PORT, MARK);
	f.len = 0;
	frame_add(&f, plain.bytes, 12);
	frame_add(&f, tags, len);
	frame_add(&f, plain.bytes + 14, plain.len - 14);
	zone_send(&s->w.a, f.bytes, f.len);
	expect_unheard(s, what);
}

static void forge_types(struct stage *s)
{
	send_tagged(s, "\x81\x00\x00\x05\x08\x00", 6, "VLAN 5");
	send_tagged(s, "\x81\x00\x00\x00\x08\x00", 6, "VLAN 0");
	send_tagged(s, "\x81\x00\xe0\x00\x08\x00", 6, "VLAN 0 with priority");
	send_tagged(s, "\x88\xa8\x00\x00\x08\x00", 6, "802.1ad 0");
	send_tagged(s, "\x81\x00\x00\x00\x81\x00\x00\x00\x08\x00", 10, "VLAN 0 twice");
	send_tagged(s, "\x88\xa8\x00\x00\x81\x00\x00\x00\x08\x00", 10, "VLAN 0 in 802.1ad 0");
	send_tagged(s, "\x88\xcc", 2, "LLDP");
	send_tagged(s, "\x88\x63", 2, "PPPoE");
	send_tagged(s, "\x88\x47\x00\x00\x11\x40", 6, "MPLS");
	send_tagged(s, "\x00\x2a\x42\x42\x03", 5, "STP");
	send_tagged(s, "\x88\xb5", 2, "an experimental type");
	send_tagged(s, "\x86\xdd", 2, "IPv4 that says IPv6");
}

/* Headers that do not add up, which the kernel would drop later. */
static void forge_headers(struct stage *s)
{
	struct frame f;

	frame_begin(&f, s->host, s->a, ETH_P_IP);
	frame_udp(&f, s->w.a.ipv4, PORT, s->w.b.ipv4, PORT, MARK);
	f.bytes[14] = 0x44;
	zone_send(&s->w.a, f.bytes, f.len);
	expect_unheard(s, "a header of 16 bytes");
	frame_begin(&f, s->host, s->a, ETH_P_IP);
	frame_udp(&f, s->w.a.ipv4, PORT, s->w.b.ipv4, PORT, MARK);
	f.bytes[16] = 0x7f;
	zone_send(&s->w.a, f.bytes, f.len);
	expect_unheard(s, "a packet longer than its frame");
	for (size_t len = 14; len < 34; len++) {
		frame_begin(&f, s->host, s->a, ETH_P_IP);
		frame_udp(&f, s->w.a.ipv4, PORT, s->w.b.ipv4, PORT, MARK);
		zone_send(&s->w.a, f.bytes, len);
	}
	expect_unheard(s, "frames that end early");
}

static void forge_all(bool chain_alone)
{
	static const char look[] = "ip neigh show nud all | grep 'dev pz' | grep -v '^ff' | sort; "
				   "ip -6 route | sort; ip route; "
				   "ip addr show dev pz2n0";
	struct stage s;
	char *before, *after;

	stage_open(&s, chain_alone);
	expect_heard(&s);
	before = output_of(&s.w, HOST, look);
	forge_macs(&s);
	forge_addresses(&s);
	forge_targets(&s);
	forge_arp(&s);
	forge_nd(&s);
	forge_configuration(&s);
	forge_icmp(&s);
	forge_types(&s);
	forge_headers(&s);
	after = output_of(&s.w, HOST, look);
	if (s.open)
		fprintf(stderr, "%u of %u forged frames came through\n", s.n_heard, s.n_frames);
	else
		cr_expect_str_eq(before, after);
	cr_expect_eq(s.n_heard, 0, "%u of %u forged frames came through", s.n_heard, s.n_frames);
	expect_heard(&s);
	free(before);
	free(after);
	stage_close(&s);
}

Test(network_forged, reaches_nobody, .timeout = 110)
{
	forge_all(false);
}

/* The chain of a link needs no help of what comes behind it. */
Test(network_forged, passes_no_chain_of_a_link, .timeout = 110)
{
	forge_all(true);
}
