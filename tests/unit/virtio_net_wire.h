// SPDX-License-Identifier: Apache-2.0
/*
 * A tap in a network namespace of this process's own, a packet socket at its other end, and
 * virtio-net between the tap and the driver in this process (virtio_driver.h). Frames carry an
 * experimental EtherType, so that the kernel has no use for them. No assertions of a test
 * framework.
 */
#pragma once

#include "tests/unit/virtio_driver.h"
#include "virtio/net_dev.h"

#define WIRE_PROTOCOL  0x88b5u
#define WIRE_FRAME_MAX 65535u
#define WIRE_RX	       0u /* the first pair's queues */
#define WIRE_TX	       1u
#define WIRE_CTRL      2u /* of a device with one pair */
#define WIRE_BASIC     (DRIVER_COMMON_FEATURES | 1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_STATUS)
#define WIRE_MERGE     (WIRE_BASIC | 1ull << VIRTIO_NET_F_MRG_RXBUF)

struct wire {
	struct driver d;
	struct virtio_net_config config;
	int packet; /* the other end; never blocks */
	gpa_t buffers, next_buffer;
};

/* Moves this process into a network namespace of its own: 0 or a negative errno (then there is
 * nothing to test with). */
int wire_enter_namespace(void);

/* Opens a tap queue (flags besides IFF_TAP | IFF_NO_PI) named name; a descriptor or a negative
 * errno. */
int wire_open_tap(const char *name, int flags);

/* Brings the interface up with an MTU and returns a packet socket on it for one EtherType (0: only
 * to send), or a negative errno. */
int wire_open_packet(const char *name, int mtu, unsigned protocol);

/* Opens as many queues of a tap as config has pairs, and the packet socket. wire_attach() then
 * makes device and driver; both return 0 or a negative errno. */
int wire_open_taps(struct wire *wire);
int wire_attach(struct wire *wire, uint64_t features, uint16_t queue_size);

/* All of it, for config's number of pairs (0: one); its taps are not looked at. Returns 0 or a
 * negative errno. wire_close() ends it. */
int wire_open(struct wire *wire, const struct virtio_net_config *config, uint64_t features,
	      uint16_t queue_size);
void wire_close(struct wire *wire);

/* Fills a frame of len bytes (14 or more) with headers and bytes made from `seed`. */
void wire_make_frame(uint8_t *frame, uint32_t len, uint8_t seed);
bool wire_is_frame(const uint8_t *frame, uint32_t len, uint8_t seed);

/* From the host to the guest: false if it cannot be sent. */
bool wire_host_send(struct wire *wire, uint32_t len, uint8_t seed);
/* The next frame that came from the guest, of at most WIRE_FRAME_MAX bytes: its length, or 0 after
 * wait_ms without one. */
uint32_t wire_host_receive(struct wire *wire, uint8_t *frame, unsigned wait_ms);

/* From the guest: a frame in one segment behind `header`, kicked. Its bytes lie at wire->buffers.
 */
void wire_guest_send(struct wire *wire, const struct virtio_net_hdr_v1 *header, uint32_t len,
		     uint8_t seed);

/* Gives the device n receive buffers of len bytes, and notifies it if `kick` and if it wants that.
 * The buffer of the descriptor d is at the address in it. */
void wire_give_buffers(struct wire *wire, unsigned n, uint32_t len, bool kick);

/*
 * Takes the next frame that the guest has got: its length without the header, 0 if none came within
 * 5 s, UINT32_MAX if its buffers are not as they should be (header, num_buffers, lengths).
 */
uint32_t wire_guest_receive(struct wire *wire, struct virtio_net_hdr_v1 *header, uint8_t *frame);

/* A command with data; the answer (0xff: none came). */
uint8_t wire_command(struct wire *wire, uint8_t class, uint8_t cmd, const void *data, uint32_t len);

/* The counter of this name. */
uint64_t wire_counter(const struct wire *wire, const char *name);
