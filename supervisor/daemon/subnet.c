// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/subnet.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_GIVEN 2u /* 0 is the subnet, 1 the host */

bool address_parse(const char *text, struct address *out)
{
	bool six = strchr(text, ':');

	*out = (struct address){.len = six ? 16 : 4};
	return inet_pton(six ? AF_INET6 : AF_INET, text, out->bytes) == 1;
}

void address_print(const struct address *address, char out[NETWORK_ADDRESS_SIZE])
{
	inet_ntop(address->len == 16 ? AF_INET6 : AF_INET, address->bytes, out,
		  NETWORK_ADDRESS_SIZE);
}

/* The bits of a byte that belong to the prefix. */
static uint8_t mask_of(unsigned prefix, unsigned byte)
{
	unsigned bits = prefix > byte * 8 ? prefix - byte * 8 : 0;

	return (uint8_t)(bits >= 8 ? 0xff : 0xff00u >> bits);
}

bool subnet_parse(const char *text, struct subnet *out)
{
	char address[NETWORK_ADDRESS_SIZE];
	const char *slash = strchr(text, '/');
	unsigned long prefix;
	char *end;

	*out = (struct subnet){0};
	if (!slash || (size_t)(slash - text) >= sizeof(address) || slash[1] < '0' || slash[1] > '9')
		return false;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	prefix = strtoul(slash + 1, &end, 10);
	if (*end || !address_parse(address, &out->base) || prefix > out->base.len * 8u) {
		out->base.len = 0;
		return false;
	}
	out->prefix = (unsigned)prefix;
	for (unsigned i = 0; i < out->base.len; i++)
		out->base.bytes[i] &= mask_of(out->prefix, i);
	return true;
}

static bool contains(const struct subnet *subnet, const struct address *address)
{
	if (!subnet->base.len || address->len != subnet->base.len)
		return false;
	for (unsigned i = 0; i < address->len; i++)
		if ((address->bytes[i] & mask_of(subnet->prefix, i)) != subnet->base.bytes[i])
			return false;
	return true;
}

/* Moves on by one; returns false when it runs over. */
static bool increment(struct address *address)
{
	for (unsigned i = address->len; i-- > 0;)
		if (++address->bytes[i])
			return true;
	return false;
}

static bool is_last(const struct subnet *subnet, const struct address *address)
{
	struct address next = *address;

	return !increment(&next) || !contains(subnet, &next);
}

bool subnet_gives(const struct subnet *subnet, const struct address *address)
{
	struct address own = subnet->base;

	if (!contains(subnet, address) || is_last(subnet, address))
		return false;
	for (unsigned i = 0; i < FIRST_GIVEN; i++, increment(&own))
		if (memcmp(own.bytes, address->bytes, own.len) == 0)
			return false;
	return true;
}

bool subnet_next(const struct subnet *subnet, struct address *at)
{
	struct address next = *at;

	if (contains(subnet, &next) && increment(&next) && subnet_gives(subnet, &next)) {
		*at = next;
		return true;
	}
	next = subnet->base;
	for (unsigned i = 0; i < FIRST_GIVEN; i++)
		increment(&next);
	if (!subnet_gives(subnet, &next))
		return false;
	*at = next;
	return true;
}
