// SPDX-License-Identifier: Apache-2.0
/*
 * A guest's half of vsock for unit tests: the packets it sends and gets, over the driver of
 * virtio_driver.h, and the host's ends of its connections. Assertions are Criterion's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/virtio_vsock.h>

#include "tests/unit/virtio_driver.h"

#define GUEST_CID  3
#define PORT	   1024u
#define RX	   0u
#define TX	   1u
#define RX_BUFFER  4096u
#define N_RX	   32u
#define HEADER_LEN 44u

struct guest {
	struct driver d;
	gpa_t rx[N_RX];
	gpa_t tx; /* header and payload of the packet being sent */
	struct virtio_vsock_hdr last;
	uint8_t data[RX_BUFFER];
};

/* A device with its driver and n_rx receive buffers; start_driver: again after a reset. */
void guest_start(struct guest *g, unsigned n_rx);
void guest_start_driver(struct guest *g, unsigned n_rx);

/* Makes receive buffer i available. */
void guest_post_rx(struct guest *g, unsigned i);

/* A header from guest_port to PORT. */
struct virtio_vsock_hdr guest_header(uint32_t guest_port, uint16_t op, uint32_t len);

/* Sends a packet as it is and waits until the device gave it back. */
bool guest_send_raw(struct guest *g, const struct virtio_vsock_hdr *header, uint32_t chain_len);
void guest_send_op(struct guest *g, uint32_t guest_port, uint16_t op, uint32_t flags);
void guest_send_data(struct guest *g, uint32_t guest_port, const void *data, uint32_t len);

/* Looks for a packet for some ms (3 s); its header and data are then in g. Returns its operation or
 * 0. */
unsigned guest_receive_within(struct guest *g, unsigned ms);
unsigned guest_receive(struct guest *g);

/* Makes a pair and offers one end at PORT; returns the other, which does not block. */
int guest_offer(struct guest *g);

/* The same, and the guest's connection to it. */
int guest_connect(struct guest *g, uint32_t guest_port);

/* read(2) on the host's end, for 3 s. */
ssize_t guest_read(struct guest *g, int fd, void *buf, size_t len);
