// SPDX-License-Identifier: Apache-2.0
/* The parts of protect-network that need no kernel: addresses, settings, names, the list as a file.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "supervisor/network/links.h"
#include "supervisor/network/state.h"

UNIT_SUITE(network_parts);

static struct subnet subnet(const char *text, int family)
{
	struct subnet result;

	cr_assert_eq(subnet_parse(text, family, &result), 0, "%s", text);
	return result;
}

static struct address address(const char *text)
{
	struct address result;

	cr_assert_eq(address_parse(text, &result), 0, "%s", text);
	return result;
}

Test(network_parts, subnets)
{
	static const char *const bad[] = {"10.75.0.0",	 "10.75.0.1/16", "10.75.0.0/33",
					  "10.75.0.0/0", "fd00::/8",	 "/16",
					  "10.75.0.0/",	 "10.75.0.0/-1", "10.75.0.0/16 "};
	struct subnet s = subnet("10.75.0.0/16", AF_INET), other;
	struct subnet six = subnet("fdd4:1476:6c7e::/48", AF_INET6), odd;
	char text[ADDRESS_TEXT_SIZE];
	struct address gateway;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(subnet_parse(bad[i], AF_INET, &other), -EINVAL, "%s", bad[i]);
	cr_expect_str_eq(subnet_format(&s, text), "10.75.0.0/16");
	subnet_gateway(&six, &gateway);
	cr_expect_str_eq(address_format(&gateway, text), "fdd4:1476:6c7e::1");
	other = subnet("10.0.0.0/8", AF_INET);
	cr_expect(subnet_overlaps(&s, &other) && subnet_overlaps(&other, &s));
	other = subnet("10.75.7.0/24", AF_INET);
	cr_expect(subnet_overlaps(&s, &other) && subnet_overlaps(&other, &s));
	other = subnet("10.76.0.0/16", AF_INET);
	cr_expect_not(subnet_overlaps(&s, &other) || subnet_overlaps(&six, &s));
	/* A prefix within a byte. */
	odd = subnet("10.75.64.0/19", AF_INET);
	cr_expect(subnet_has_zone(&odd, &(struct address){AF_INET, {10, 75, 95, 254}}));
	cr_expect_not(subnet_has_zone(&odd, &(struct address){AF_INET, {10, 75, 95, 255}}));
	cr_expect_not(subnet_has_zone(&odd, &(struct address){AF_INET, {10, 75, 96, 1}}));
	cr_expect_not(subnet_has_zone(&odd, &(struct address){AF_INET, {10, 75, 64, 1}}));
	gateway = address("fdd4:1476:6c7e:ffff:ffff:ffff:ffff:ffff");
	cr_expect(subnet_has_zone(&six, &gateway));
}

Test(network_parts, link_local_and_names)
{
	const uint8_t mac[] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
	char text[ADDRESS_TEXT_SIZE];
	struct address local;
	uint32_t slot, index;

	address_link_local(mac, &local);
	cr_expect_str_eq(address_format(&local, text), "fe80::11:22ff:fe33:4455");
	cr_expect(nic_parse_name("pz12n3", &slot, &index) && slot == 12 && index == 3);
	cr_expect_not(nic_parse_name("pz12n8", &slot, &index));
	cr_expect_not(nic_parse_name("pz012n3", &slot, &index));
	cr_expect_not(nic_parse_name("pz65536n0", &slot, &index));
	cr_expect_not(nic_parse_name("pz1n3x", &slot, &index));
	cr_expect_not(nic_parse_name("pn1", &slot, &index));
	cr_expect_not(nic_parse_name("eth0", &slot, &index));
	cr_expect_not(nic_parse_name("", &slot, &index));
}

static int read_settings(const char *text, struct settings *settings, struct error *err)
{
	char path[] = "/tmp/network_parts.XXXXXX";
	int fd = mkstemp(path), r;

	cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	r = settings_read(settings, path, true, err);
	unlink(path);
	return r;
}

Test(network_parts, settings)
{
	static const struct {
		const char *line, *text;
	} bad[] = {
		{"ipv4-subnet = 10.75.0.1/16", "not ADDRESS/PREFIX"},
		{"ipv4-subnet = 10.75.0.0/31", "its prefix must be from 8 to 30"},
		{"ipv6-subnet = 10.75.0.0/16", "not ADDRESS/PREFIX"},
		{"ipv6-subnet = fd00::/121", "its prefix must be from 8 to 120"},
		{"ipv4-subnet = none\nipv6-subnet = none", "both none"},
		{"mtu = 1279", "not a number from 1280 to 65521"},
		{"nameserver = dns.lan", "not an address"},
		{"zone-to-zone = maybe", "not allow or deny"},
		{"allow-host = tcp", "not tcp:PORT, udp:PORT or ping"},
		{"allow-host = tcp:0", "not tcp:PORT"},
		{"allow-host = sctp:1", "not tcp:PORT"},
		{"max-connections = 0", "not a number from 16"},
		{"bridge = br0", "has no key 'bridge'"},
	};
	struct error err = ERROR_NULL;
	struct settings s;
	char text[256];

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		err = (struct error)ERROR_NULL;
		snprintf(text, sizeof(text), "[network]\n%s\n", bad[i].line);
		cr_expect_eq(read_settings(text, &s, &err), -EINVAL, "%s", bad[i].line);
		cr_expect(strstr(err.text, bad[i].text), "'%s' has no '%s'", err.text, bad[i].text);
	}
	cr_assert_eq(
		read_settings("[network]\nipv6-subnet = none\nmtu = 9000\nallow-host = udp:53\n"
			      "allow-host = ping\nnameserver = 192.0.2.1\n"
			      "nameserver = 2001:db8::1\nzone-to-zone = deny\n",
			      &s, &err),
		0);
	cr_expect(s.ipv6.base.family == 0 && s.ipv4.prefix == 16 && s.mtu == 9000);
	cr_expect(s.allow_ping && s.n_services == 1 && s.services[0].port == 53 && !s.zone_to_zone);
	cr_expect_eq(s.n_nameservers, 2);
}

Test(network_parts, resolvers)
{
	char text[] = "# nameserver 9.9.9.9\nsearch lan\nnameserver 127.0.0.53\nnameserver ::1\n"
		      "nameserver\t192.0.2.1\r\nnameserver fe80::1%eth0\nnameserver 2001:db8::1 x\n"
		      "nameservers 1.1.1.1\nnameserver\n";
	struct settings s = {.mtu = 1500};
	struct address first = address("192.0.2.1"), second = address("2001:db8::1");

	cr_expect_eq(settings_add_resolvers(&s, text), 2);
	cr_expect(address_equal(&s.nameservers[0], &first));
	cr_expect(address_equal(&s.nameservers[1], &second));
}

Test(network_parts, the_list_is_what_it_was)
{
	char path[] = "/tmp/network_parts.XXXXXX";
	struct settings settings = {.ipv4 = subnet("10.75.0.0/16", AF_INET), .mtu = 1500};
	struct link a = {.nic = {.slot = 1, .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500}}, b = a;
	struct nic *nics;
	unsigned n;
	int fd = mkstemp(path);

	close(fd);
	a.next = &b;
	a.nic.ipv4 = address("10.75.0.2");
	a.nic.n_publish = 2;
	a.nic.publish[0] = (struct publish){.host_port = 8080, .zone_port = 80};
	a.nic.publish[1] = (struct publish){
		.host = address("192.0.2.1"), .host_port = 53, .zone_port = 53, .udp = true};
	b.nic.slot = 2;
	b.nic.ipv4 = address("10.76.0.2"); /* of other settings */
	cr_assert_eq(state_save(path, &a), 0);
	cr_assert_eq(state_load(path, &settings, &nics, &n), 0);
	cr_assert_eq(n, 1);
	cr_expect_eq(nics[0].slot, 1);
	cr_expect(address_equal(&nics[0].ipv4, &a.nic.ipv4) && nics[0].n_publish == 2);
	cr_expect(nics[0].publish[1].udp && nics[0].publish[1].host.family == AF_INET);
	free(nics);
	fd = open(path, O_WRONLY | O_TRUNC);
	cr_assert_eq(write(fd, "\xff\xff\xff", 3), 3);
	close(fd);
	cr_expect_eq(state_load(path, &settings, &nics, &n), -EBADMSG);
	unlink(path);
	cr_expect_eq(state_load(path, &settings, &nics, &n), 0);
	cr_expect_eq(n, 0);
}
