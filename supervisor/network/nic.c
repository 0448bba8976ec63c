// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/nic.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/config.h"

int nic_name(uint32_t slot, uint32_t index, char name[IF_NAMESIZE], struct error *err)
{
	if (slot > NIC_SLOT_MAX || index > NIC_INDEX_MAX)
		return error_set(err, -EINVAL, "slot %u and index %u are not up to %u and %u", slot,
				 index, NIC_SLOT_MAX, NIC_INDEX_MAX);
	snprintf(name, IF_NAMESIZE, NIC_NAME_FORMAT, slot, index);
	return 0;
}

bool nic_parse_name(const char *name, uint32_t *slot, uint32_t *index)
{
	char digits[IF_NAMESIZE], made[IF_NAMESIZE];
	const char *n = strchr(name, 'n');

	if (strncmp(name, "pz", 2) != 0 || !n)
		return false;
	snprintf(digits, sizeof(digits), "%.*s", (int)(n - name) - 2, name + 2);
	return config_number(digits, 0, NIC_SLOT_MAX, slot) == 0 &&
	       config_number(n + 1, 0, NIC_INDEX_MAX, index) == 0 &&
	       nic_name(*slot, *index, made, NULL) == 0 && strcmp(made, name) == 0;
}

bool publish_collides(const struct publish *a, const struct publish *b)
{
	return a->udp == b->udp && a->host_port == b->host_port &&
	       (!a->host.family || !b->host.family || address_equal(&a->host, &b->host));
}

static int check_address(const char *text, const struct subnet *subnet, struct address *out,
			 struct error *err)
{
	char room[ADDRESS_TEXT_SIZE];

	*out = (struct address){.family = 0};
	if (!*text)
		return 0;
	if (!subnet->base.family)
		return error_set(err, -EINVAL,
				 "address %.64s: zones have no such addresses on this host", text);
	if (address_parse(text, out) < 0 || out->family != subnet->base.family)
		return error_set(err, -EINVAL, "'%.64s' is not an IPv%d address", text,
				 subnet->base.family == AF_INET ? 4 : 6);
	if (!subnet_contains(subnet, out))
		return error_set(err, -ERANGE, "address %.64s is not in %s", text,
				 subnet_format(subnet, room));
	if (!subnet_has_zone(subnet, out))
		return error_set(err, -EADDRNOTAVAIL,
				 "address %.64s of %s is not for zones: it is the host's, the "
				 "first or the last",
				 text, subnet_format(subnet, room));
	return 0;
}

static int check_publish(const Protect__Network__Publish *request, const struct nic *nic,
			 struct publish *out, struct error *err)
{
	*out = (struct publish){.host_port = (uint16_t)request->host_port,
				.zone_port = (uint16_t)request->zone_port,
				.udp = request->udp};
	if (request->host_port < 1 || request->host_port > UINT16_MAX || request->zone_port < 1 ||
	    request->zone_port > UINT16_MAX)
		return error_set(err, -EINVAL, "published port %u:%u is not from 1 to 65535",
				 request->host_port, request->zone_port);
	if (*request->host_address && address_parse(request->host_address, &out->host) < 0)
		return error_set(err, -EINVAL, "published port %u: '%.64s' is not an address",
				 request->host_port, request->host_address);
	if (out->host.family == AF_INET6 && address_is_loopback(&out->host))
		return error_set(
			err, -EINVAL,
			"published port %u: Linux forwards nothing from ::1; use 127.0.0.1",
			request->host_port);
	if (out->host.family ? (out->host.family == AF_INET ? !nic->ipv4.family : !nic->ipv6.family)
			     : !nic->ipv4.family && !nic->ipv6.family)
		return error_set(err, -EINVAL,
				 "published port %u: the zone has no address of that family",
				 request->host_port);
	for (unsigned i = 0; i < nic->n_publish; i++)
		if (publish_collides(&nic->publish[i], out))
			return error_set(err, -EINVAL, "port %u is published twice",
					 request->host_port);
	return 0;
}

int nic_check(const Protect__Network__Nic *request, const struct settings *settings,
	      struct nic *nic, struct error *err)
{
	*nic = (struct nic){.slot = request->slot,
			    .index = request->index,
			    .mtu = request->mtu ? request->mtu : settings->mtu};
	if (nic_name(request->slot, request->index, nic->name, err) < 0)
		return -EINVAL;
	if (uuid_parse(request->zone_uuid, &nic->zone) < 0)
		return error_set(err, -EINVAL, "%s: '%.64s' is not a zone's UUID", nic->name,
				 request->zone_uuid);
	if (mac_parse(request->mac, nic->mac) < 0)
		return error_set(err, -EINVAL,
				 "%s: '%.64s' is not a MAC address of a zone (02:…, lower case)",
				 nic->name, request->mac);
	if (nic->mtu < 1280 || nic->mtu > 65521)
		return error_set(err, -EINVAL, "%s: mtu %u is not from 1280 to 65521", nic->name,
				 nic->mtu);
	if (check_address(request->ipv4, &settings->ipv4, &nic->ipv4, err) < 0 ||
	    check_address(request->ipv6, &settings->ipv6, &nic->ipv6, err) < 0)
		return err ? err->code : -EINVAL;
	if (request->n_publish > NIC_PUBLISH_MAX)
		return error_set(err, -E2BIG, "%s: more than %u published ports", nic->name,
				 NIC_PUBLISH_MAX);
	for (size_t i = 0; i < request->n_publish; i++) {
		if (check_publish(request->publish[i], nic, &nic->publish[i], err) < 0)
			return -EINVAL;
		nic->n_publish++;
	}
	return 0;
}
