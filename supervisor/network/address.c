// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/config.h"

unsigned address_len(int family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

int address_parse(const char *text, struct address *out)
{
	*out = (struct address){.family = strchr(text, ':') ? AF_INET6 : AF_INET};
	return inet_pton(out->family, text, out->bytes) == 1 ? 0 : -EINVAL;
}

const char *address_format(const struct address *address, char text[ADDRESS_TEXT_SIZE])
{
	if (!address->family ||
	    !inet_ntop(address->family, address->bytes, text, ADDRESS_TEXT_SIZE))
		text[0] = '\0';
	return text;
}

bool address_equal(const struct address *a, const struct address *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, address_len(a->family)) == 0;
}

bool address_is_loopback(const struct address *address)
{
	return address->family == AF_INET
		       ? address->bytes[0] == 127
		       : address->family == AF_INET6 &&
				 memcmp(address->bytes, &in6addr_loopback, 16) == 0;
}

void address_link_local(const uint8_t mac[MAC_BYTES], struct address *out)
{
	*out = (struct address){.family = AF_INET6,
				.bytes = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2u, mac[1], mac[2],
					  0xff, 0xfe, mac[3], mac[4], mac[5]}};
}

/* The first n bits; the rest is zero. */
static struct address mask(const struct address *address, unsigned n)
{
	struct address result = {.family = address->family};
	unsigned whole = n / 8, rest = n % 8;

	memcpy(result.bytes, address->bytes, whole);
	if (rest)
		result.bytes[whole] = (uint8_t)(address->bytes[whole] & (0xff00u >> rest));
	return result;
}

int subnet_parse(const char *text, int family, struct subnet *out)
{
	const char *slash = strchr(text, '/');
	char base[ADDRESS_TEXT_SIZE];
	struct address masked;
	uint32_t prefix;

	if (!slash || (size_t)(slash - text) >= sizeof(base))
		return -EINVAL;
	snprintf(base, sizeof(base), "%.*s", (int)(slash - text), text);
	if (address_parse(base, &out->base) < 0 || out->base.family != family ||
	    config_number(slash + 1, 1, address_len(family) * 8, &prefix) < 0)
		return -EINVAL;
	out->prefix = prefix;
	masked = mask(&out->base, prefix);
	return address_equal(&masked, &out->base) ? 0 : -EINVAL;
}

const char *subnet_format(const struct subnet *subnet, char text[ADDRESS_TEXT_SIZE])
{
	char base[ADDRESS_TEXT_SIZE];

	if (subnet->base.family)
		snprintf(text, ADDRESS_TEXT_SIZE, "%.45s/%u", address_format(&subnet->base, base),
			 subnet->prefix);
	else
		text[0] = '\0';
	return text;
}

bool subnet_contains(const struct subnet *subnet, const struct address *address)
{
	struct address masked = mask(address, subnet->prefix);

	return subnet->base.family && subnet->base.family == address->family &&
	       address_equal(&masked, &subnet->base);
}

bool subnet_overlaps(const struct subnet *a, const struct subnet *b)
{
	return a->prefix <= b->prefix ? subnet_contains(a, &b->base) : subnet_contains(b, &a->base);
}

void subnet_gateway(const struct subnet *subnet, struct address *out)
{
	*out = subnet->base;
	if (out->family)
		out->bytes[address_len(out->family) - 1] |= 1;
}

bool subnet_has_zone(const struct subnet *subnet, const struct address *address)
{
	struct address gateway, last = subnet->base;

	subnet_gateway(subnet, &gateway);
	for (unsigned bit = subnet->prefix; bit < address_len(last.family) * 8; bit++)
		last.bytes[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
	return subnet_contains(subnet, address) && !address_equal(address, &subnet->base) &&
	       !address_equal(address, &gateway) &&
	       (address->family != AF_INET || !address_equal(address, &last));
}

int mac_parse(const char *text, uint8_t mac[MAC_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(text) != MAC_TEXT_SIZE - 1)
		return -EINVAL;
	for (unsigned i = 0; i < MAC_BYTES; i++) {
		const char *high = strchr(digits, text[i * 3]);
		const char *low = strchr(digits, text[i * 3 + 1]);

		if (!high || !low || (i + 1 < MAC_BYTES && text[i * 3 + 2] != ':'))
			return -EINVAL;
		mac[i] = (uint8_t)((high - digits) << 4 | (low - digits));
	}
	return (mac[0] & 3) == 2 ? 0 : -EINVAL;
}

const char *mac_format(const uint8_t mac[MAC_BYTES], char text[MAC_TEXT_SIZE])
{
	snprintf(text, MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	return text;
}
