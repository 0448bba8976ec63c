// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/virtio_net_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_packet.h>
#include <linux/if_tun.h>

#include "base/cleanup.h"

#define DEFAULT_MTU   65000
#define BUFFERS_LEN   (1u << 20)
#define ETHERNET_LEN  14u
#define COMMAND_SPACE 4096u

/* The kernel's own IPv6 frames would come between ours. */
static void disable_ipv6(void)
{
	_cleanup_(close_fdp) int fd =
		open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "1", 1) < 0)
		perror("disable_ipv6");
}

int wire_enter_namespace(void)
{
	if (access("/dev/net/tun", R_OK | W_OK) < 0)
		return -errno;
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	disable_ipv6();
	return 0;
}

int wire_open_tap(const char *name, int flags)
{
	_cleanup_(close_fdp) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags)};

	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return -errno;
	return steal_fd(&fd);
}

int wire_open_packet(const char *name, int mtu, unsigned protocol)
{
	_cleanup_(close_fdp) int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ifreq request = {.ifr_flags = 0};
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons((uint16_t)protocol)};
	int space = 16 << 20;

	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	request.ifr_mtu = mtu;
	if (ioctl(fd, SIOCSIFMTU, &request) < 0)
		return -errno;
	request.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0 || ioctl(fd, SIOCGIFINDEX, &request) < 0)
		return -errno;
	address.sll_ifindex = request.ifr_ifindex;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &space, sizeof(space));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &space, sizeof(space));
	return steal_fd(&fd);
}

int wire_open_taps(struct wire *wire)
{
	unsigned n = wire->config.n_pairs;

	for (unsigned i = 0; i < n; i++) {
		int fd = wire_open_tap("wire0", IFF_VNET_HDR | (n > 1 ? IFF_MULTI_QUEUE : 0));

		if (fd < 0)
			return fd;
		wire->config.taps[i] = fd;
	}
	wire->packet = wire_open_packet("wire0", DEFAULT_MTU, WIRE_PROTOCOL);
	return wire->packet < 0 ? wire->packet : 0;
}

int wire_attach(struct wire *wire, uint64_t features, uint16_t queue_size)
{
	const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 1};
	struct virtio_dev *dev = NULL;
	int r = driver_init(&wire->d);

	memcpy(wire->config.mac, mac, sizeof(mac));
	if (r == 0)
		r = virtio_net_new(&dev, wire->d.loop, &wire->config);
	if (r == 0)
		r = driver_attach(&wire->d, dev);
	if (r < 0)
		return r;
	wire->buffers = wire->next_buffer = driver_alloc(&wire->d, BUFFERS_LEN);
	driver_start(&wire->d, features, queue_size);
	return 0;
}

int wire_open(struct wire *wire, const struct virtio_net_config *config, uint64_t features,
	      uint16_t queue_size)
{
	int r;

	*wire = (struct wire){.config = *config, .packet = -1};
	if (wire->config.n_pairs == 0)
		wire->config.n_pairs = 1;
	r = wire_open_taps(wire);
	if (r == 0)
		r = wire_attach(wire, features, queue_size);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < wire->config.n_pairs; i++)
		close(wire->config.taps[i]);
	return 0;
}

void wire_close(struct wire *wire)
{
	driver_deinit(&wire->d);
	close_fdp(&wire->packet);
}

void wire_make_frame(uint8_t *frame, uint32_t len, uint8_t seed)
{
	memset(frame, 2, 12);
	frame[12] = WIRE_PROTOCOL >> 8;
	frame[13] = WIRE_PROTOCOL & 0xff;
	for (uint32_t i = ETHERNET_LEN; i < len; i++)
		frame[i] = (uint8_t)(seed + i * 7 + (i >> 8));
}

bool wire_is_frame(const uint8_t *frame, uint32_t len, uint8_t seed)
{
	static uint8_t expected[WIRE_FRAME_MAX];

	wire_make_frame(expected, len, seed);
	return memcmp(frame, expected, len) == 0;
}

bool wire_host_send(struct wire *wire, uint32_t len, uint8_t seed)
{
	static uint8_t frame[WIRE_FRAME_MAX];

	wire_make_frame(frame, len, seed);
	return send(wire->packet, frame, len, 0) == (ssize_t)len;
}

uint32_t wire_host_receive(struct wire *wire, uint8_t *frame, unsigned wait_ms)
{
	ssize_t n = -1;

	for (unsigned i = 0; n < 0 && i <= wait_ms; i++) {
		n = recv(wire->packet, frame, WIRE_FRAME_MAX, 0);
		if (n < 0)
			driver_run(&wire->d, 1);
	}
	return n < 0 ? 0 : (uint32_t)n;
}

void wire_guest_send(struct wire *wire, const struct virtio_net_hdr_v1 *header, uint32_t len,
		     uint8_t seed)
{
	uint8_t *at = driver_at(&wire->d, wire->buffers);
	const struct segment segment = {wire->buffers, NET_HEADER_LEN + len, false};

	memcpy(at, header, sizeof(*header));
	wire_make_frame(at + sizeof(*header), len, seed);
	driver_add(&wire->d, WIRE_TX, &segment, 1);
	driver_kick(&wire->d, WIRE_TX);
}

/* Whether the device asks for a notification of what came after old_idx (§2.7.7, §2.7.10). */
static bool wants_kick(const struct wire *wire, const struct driver_queue *q, uint16_t old_idx)
{
	uint16_t avail_event;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy(&avail_event, &q->used->ring[q->size], sizeof(avail_event));
	if (wire->d.dev->negotiated & DRIVER_EVENT_IDX)
		return vring_need_event(avail_event, q->avail_idx, old_idx);
	return !(q->used->flags & VRING_USED_F_NO_NOTIFY);
}

void wire_give_buffers(struct wire *wire, unsigned n, uint32_t len, bool kick)
{
	const struct driver_queue *q = &wire->d.queues[WIRE_RX];
	uint16_t old_idx = q->avail_idx;

	for (unsigned i = 0; i < n; i++) {
		struct segment segment = {wire->next_buffer, len, true};

		if (segment.gpa + len > wire->buffers + BUFFERS_LEN)
			segment.gpa = wire->buffers;
		wire->next_buffer = segment.gpa + len;
		memset(driver_at(&wire->d, segment.gpa), 0xee, len);
		driver_add(&wire->d, WIRE_RX, &segment, 1);
	}
	if (kick && wants_kick(wire, q, old_idx))
		driver_kick(&wire->d, WIRE_RX);
}

/* The next used receive buffer: where it is. */
static const uint8_t *take_buffer(struct wire *wire, uint32_t *len)
{
	uint32_t id;

	if (!driver_wait_used(&wire->d, WIRE_RX, &id, len) || id >= wire->d.queues[WIRE_RX].size ||
	    *len > wire->d.queues[WIRE_RX].desc[id].len)
		return NULL;
	return driver_at(&wire->d, wire->d.queues[WIRE_RX].desc[id].addr);
}

uint32_t wire_guest_receive(struct wire *wire, struct virtio_net_hdr_v1 *header, uint8_t *frame)
{
	uint32_t len, total = 0;
	const uint8_t *at = take_buffer(wire, &len);

	if (!at)
		return 0;
	if (len < sizeof(*header))
		return UINT32_MAX;
	memcpy(header, at, sizeof(*header));
	at += sizeof(*header);
	len -= NET_HEADER_LEN;
	for (unsigned i = 1;; i++) {
		if (total + len > WIRE_FRAME_MAX)
			return UINT32_MAX;
		memcpy(frame + total, at, len);
		total += len;
		if (i == header->num_buffers)
			return total;
		at = i < header->num_buffers ? take_buffer(wire, &len) : NULL;
		if (!at || len == 0)
			return UINT32_MAX;
	}
}

uint8_t wire_command(struct wire *wire, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	gpa_t at = wire->buffers + BUFFERS_LEN - COMMAND_SPACE;
	unsigned queue = 2 * wire->config.n_pairs;
	const struct segment segments[] = {{at, 2 + len, false}, {at + 2 + len, 1, true}};
	uint8_t *bytes = driver_at(&wire->d, at);

	bytes[0] = class;
	bytes[1] = cmd;
	memcpy(bytes + 2, data, len);
	bytes[2 + len] = 0xff;
	driver_add(&wire->d, queue, segments, 2);
	driver_kick(&wire->d, queue);
	driver_wait_used(&wire->d, queue, NULL, NULL);
	return bytes[2 + len];
}

uint64_t wire_counter(const struct wire *wire, const char *name)
{
	struct virtio_counter counters[VIRTIO_COUNTERS_MAX];
	unsigned n = wire->d.dev->ops->counters(wire->d.dev, counters, VIRTIO_COUNTERS_MAX);

	for (unsigned i = 0; i < n; i++)
		if (strcmp(counters[i].name, name) == 0)
			return counters[i].value;
	return UINT64_MAX;
}
