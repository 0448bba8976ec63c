// SPDX-License-Identifier: Apache-2.0
/* Ethernet frames made by hand, with right checksums where the kernel would look. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FRAME_SIZE 512

struct frame {
	uint8_t bytes[FRAME_SIZE];
	size_t len;
};

/* An Ethernet header; type in host order. */
void frame_begin(struct frame *f, const uint8_t to[6], const uint8_t from[6], unsigned type);

/* Appends. */
void frame_add(struct frame *f, const void *data, size_t len);

/* A UDP packet with its IP header of the family that the addresses' text has. */
void frame_udp(struct frame *f, const char *from, unsigned from_port, const char *to,
	       unsigned to_port, const char *payload);

/* An IPv6 header (hop limit 255), the extension headers in ext whose last one names ICMPv6, and an
 * ICMPv6 message whose checksum is set. */
void frame_icmp6(struct frame *f, const char *from, const char *to, const void *ext, size_t ext_len,
		 unsigned ext_type, const void *message, size_t len);

/* An ICMP message (IPv4). */
void frame_icmp4(struct frame *f, const char *from, const char *to, const void *message,
		 size_t len);

/* Of ARP: op 1 asks, 2 answers. */
void frame_arp(struct frame *f, unsigned op, const uint8_t sender_mac[6], const char *sender,
	       const uint8_t target_mac[6], const char *target);

/* The Internet checksum of bytes, with a sum so far, in network order. */
uint16_t frame_checksum(const void *data, size_t len, uint32_t sum);
