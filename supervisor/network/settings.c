// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/config.h"
#include "base/io.h"
#include "base/util.h"

#define RESOLV_BYTES_MAX (64u * 1024)

static int set_subnet(struct subnet *subnet, int family, unsigned longest, const char *value,
		      struct error *err)
{
	if (strcmp(value, "none") == 0) {
		*subnet = (struct subnet){.prefix = 0};
		return 0;
	}
	if (subnet_parse(value, family, subnet) < 0)
		return error_set(err, -EINVAL,
				 "not ADDRESS/PREFIX with the address's other bits zero, or none");
	if (subnet->prefix > longest || subnet->prefix < 8)
		return error_set(err, -EINVAL, "its prefix must be from 8 to %u", longest);
	return 0;
}

static int set_ipv4(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	return set_subnet(&settings->ipv4, AF_INET, 30, value, err);
}

static int set_ipv6(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	return set_subnet(&settings->ipv6, AF_INET6, 120, value, err);
}

static int set_mtu(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	return config_number(value, 1280, 65521, &settings->mtu) == 0
		       ? 0
		       : error_set(err, -EINVAL, "not a number from 1280 to 65521");
}

static int add_nameserver(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	if (settings->n_nameservers == SETTINGS_NAMESERVERS_MAX)
		return error_set(err, -EINVAL, "more than %u of them", SETTINGS_NAMESERVERS_MAX);
	return address_parse(value, &settings->nameservers[settings->n_nameservers++]) == 0
		       ? 0
		       : error_set(err, -EINVAL, "not an address");
}

static int set_zone_to_zone(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	settings->zone_to_zone = strcmp(value, "allow") == 0;
	return settings->zone_to_zone || strcmp(value, "deny") == 0
		       ? 0
		       : error_set(err, -EINVAL, "not allow or deny");
}

/* ping, tcp:PORT or udp:PORT */
static int allow_host(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;
	struct host_service *service = &settings->services[settings->n_services];
	uint32_t port;

	if (strcmp(value, "ping") == 0) {
		settings->allow_ping = true;
		return 0;
	}
	if (settings->n_services == SETTINGS_SERVICES_MAX)
		return error_set(err, -EINVAL, "more than %u of them", SETTINGS_SERVICES_MAX);
	if ((strncmp(value, "tcp:", 4) != 0 && strncmp(value, "udp:", 4) != 0) ||
	    config_number(value + 4, 1, UINT16_MAX, &port) < 0)
		return error_set(err, -EINVAL, "not tcp:PORT, udp:PORT or ping");
	*service = (struct host_service){.protocol = value[0] == 't' ? IPPROTO_TCP : IPPROTO_UDP,
					 .port = (uint16_t)port};
	settings->n_services++;
	return 0;
}

static int set_connections(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	return config_number(value, 16, 1000000, &settings->connections) == 0
		       ? 0
		       : error_set(err, -EINVAL, "not a number from 16 to 1000000");
}

static int set_connections_per_s(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	return config_number(value, 1, 100000, &settings->connections_per_s) == 0
		       ? 0
		       : error_set(err, -EINVAL, "not a number from 1 to 100000");
}

unsigned settings_add_resolvers(struct settings *settings, char *text)
{
	unsigned before = settings->n_nameservers;
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct address address;
		char *word_save = NULL, *word = strtok_r(line, " \t\r", &word_save);

		if (!word || strcmp(word, "nameserver") != 0)
			continue;
		word = strtok_r(NULL, " \t\r", &word_save);
		/* fe80::1%eth0 is no address to us, and nobody's in a zone. */
		if (word && settings->n_nameservers < SETTINGS_NAMESERVERS_MAX &&
		    address_parse(word, &address) == 0 && !address_is_loopback(&address))
			settings->nameservers[settings->n_nameservers++] = address;
	}
	return settings->n_nameservers - before;
}

/* The second is where systemd-resolved keeps what it asks, while the first names itself. */
static void find_resolvers(struct settings *settings)
{
	static const char *const paths[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};

	for (unsigned i = 0; i < ARRAY_SIZE(paths) && !settings->n_nameservers; i++) {
		_cleanup_(freep) char *text = NULL;
		size_t len;

		if (io_read_file(AT_FDCWD, paths[i], RESOLV_BYTES_MAX, &text, &len) == 0)
			settings_add_resolvers(settings, text);
	}
}

int settings_read(struct settings *settings, const char *path, bool required, struct error *err)
{
	static const struct config_key keys[] = {
		{"ipv4-subnet", set_ipv4, false},
		{"ipv6-subnet", set_ipv6, false},
		{"mtu", set_mtu, false},
		{"nameserver", add_nameserver, true},
		{"zone-to-zone", set_zone_to_zone, false},
		{"allow-host", allow_host, true},
		{"max-connections", set_connections, false},
		{"max-new-connections", set_connections_per_s, false},
	};
	int r;

	*settings = (struct settings){
		.mtu = 1500, .zone_to_zone = true, .connections = 8192, .connections_per_s = 1000};
	subnet_parse("10.75.0.0/16", AF_INET, &settings->ipv4);
	subnet_parse("fdd4:1476:6c7e::/48", AF_INET6, &settings->ipv6);
	r = config_read(path, required, "network", keys, ARRAY_SIZE(keys), settings, err);
	if (r < 0)
		return r;
	if (!settings->ipv4.base.family && !settings->ipv6.base.family)
		return error_set(err, -EINVAL, "%s: ipv4-subnet and ipv6-subnet are both none",
				 path);
	if (!settings->n_nameservers)
		find_resolvers(settings);
	return 0;
}
