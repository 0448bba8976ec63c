// SPDX-License-Identifier: Apache-2.0
#include "network_frames.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

void frame_add(struct frame *f, const void *data, size_t len)
{
	if (len > sizeof(f->bytes) - f->len)
		__builtin_trap();
	if (len)
		memcpy(f->bytes + f->len, data, len);
	f->len += len;
}

void frame_begin(struct frame *f, const uint8_t to[6], const uint8_t from[6], unsigned type)
{
	uint8_t header[14];

	f->len = 0;
	memcpy(header, to, 6);
	memcpy(header + 6, from, 6);
	put16(header + 12, type);
	frame_add(f, header, sizeof(header));
}

static uint32_t add_up(const uint8_t *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return sum;
}

uint16_t frame_checksum(const void *data, size_t len, uint32_t sum)
{
	sum = add_up(data, len, sum);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void add_ipv4(struct frame *f, const char *from, const char *to, unsigned protocol,
		     size_t len)
{
	uint8_t header[20] = {0x45, 0, 0, 0, 0, 1, 0, 0, 64, (uint8_t)protocol};
	uint16_t sum;

	put16(header + 2, (unsigned)(sizeof(header) + len));
	inet_pton(AF_INET, from, header + 12);
	inet_pton(AF_INET, to, header + 16);
	sum = frame_checksum(header, sizeof(header), 0);
	memcpy(header + 10, &sum, 2);
	frame_add(f, header, sizeof(header));
}

static void add_ipv6(struct frame *f, const char *from, const char *to, unsigned next, size_t len)
{
	uint8_t header[40] = {0x60, [6] = (uint8_t)next, [7] = 255};

	put16(header + 4, (unsigned)len);
	inet_pton(AF_INET6, from, header + 8);
	inet_pton(AF_INET6, to, header + 24);
	frame_add(f, header, sizeof(header));
}

/* The pseudo header that checksums of what is in a packet begin with; addresses from its end. */
static uint32_t pseudo(const uint8_t *addresses, size_t len, unsigned protocol, size_t packet_len)
{
	return add_up(addresses, len, protocol + (uint32_t)packet_len);
}

void frame_udp(struct frame *f, const char *from, unsigned from_port, const char *to,
	       unsigned to_port, const char *payload)
{
	int is_ipv6 = strchr(from, ':') != NULL;
	size_t text = strlen(payload), len = 8 + text, at;
	uint8_t header[8];
	uint16_t sum;

	put16(header, from_port);
	put16(header + 2, to_port);
	put16(header + 4, (unsigned)len);
	put16(header + 6, 0);
	if (is_ipv6)
		add_ipv6(f, from, to, IPPROTO_UDP, len);
	else
		add_ipv4(f, from, to, IPPROTO_UDP, len);
	at = f->len;
	frame_add(f, header, sizeof(header));
	frame_add(f, payload, text);
	sum = frame_checksum(
		f->bytes + at, len,
		pseudo(f->bytes + at - (is_ipv6 ? 32 : 8), is_ipv6 ? 32 : 8, IPPROTO_UDP, len));
	memcpy(f->bytes + at + 6, &sum, 2);
}

void frame_icmp6(struct frame *f, const char *from, const char *to, const void *ext, size_t ext_len,
		 unsigned ext_type, const void *message, size_t len)
{
	uint8_t addresses[32];
	uint16_t sum;
	size_t at;

	add_ipv6(f, from, to, ext_len ? ext_type : (unsigned)IPPROTO_ICMPV6, ext_len + len);
	memcpy(addresses, f->bytes + f->len - 32, 32);
	frame_add(f, ext, ext_len);
	at = f->len;
	frame_add(f, message, len);
	put16(f->bytes + at + 2, 0);
	sum = frame_checksum(f->bytes + at, len, pseudo(addresses, 32, IPPROTO_ICMPV6, len));
	memcpy(f->bytes + at + 2, &sum, 2);
}

void frame_icmp4(struct frame *f, const char *from, const char *to, const void *message, size_t len)
{
	uint16_t sum;
	size_t at;

	add_ipv4(f, from, to, IPPROTO_ICMP, len);
	at = f->len;
	frame_add(f, message, len);
	put16(f->bytes + at + 2, 0);
	sum = frame_checksum(f->bytes + at, len, 0);
	memcpy(f->bytes + at + 2, &sum, 2);
}

void frame_arp(struct frame *f, unsigned op, const uint8_t sender_mac[6], const char *sender,
	       const uint8_t target_mac[6], const char *target)
{
	uint8_t packet[28] = {0, 1, 8, 0, 6, 4, 0, (uint8_t)op};

	memcpy(packet + 8, sender_mac, 6);
	inet_pton(AF_INET, sender, packet + 14);
	memcpy(packet + 18, target_mac, 6);
	inet_pton(AF_INET, target, packet + 24);
	frame_add(f, packet, sizeof(packet));
}
