// SPDX-License-Identifier: Apache-2.0
/*
 * The guest of hotplug_host.c: takes each disk and NIC that is plugged into use, and uses it all
 * the time. It tells the console of a disk's first byte and its size when they change, and answers
 * frames. When asked to let go of a disk it starts reads and ejects at once, with them in flight.
 * With "stubborn" on its command line it lets go of nothing, until it finds that the device is not
 * there any more; until then a disk that was revoked answers each request with an error. It also
 * ejects what may not be ejected.
 */
#include "virtio.h"

#define PORT_UP	    0xae00
#define PORT_DOWN   0xae04
#define PORT_EJECT  0xae08
#define PORT_EVENTS 0xae0c
#define SLOTS	    32u
#define REQUESTS    5u
#define VIRTIO_NET  1u
#define NET_HEADER  12u
#define NET_STATUS  6u /* in the configuration */
#define FRAME_MAX   1536u
#define FRAME_LEN   64u
#define ABSENT	    0xffffffffu

static struct queue queue, rx, tx;
static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static volatile uint8_t data[65536], status[REQUESTS];
static volatile uint8_t received[NET_HEADER + FRAME_MAX], sent[NET_HEADER + FRAME_LEN];

static struct device disk, nic;
static unsigned disk_slot, nic_slot; /* 0: none */
static bool link_up;
static uint8_t seen;
static uint32_t sectors;
static bool stubborn, revoked;

static bool is_gone(const struct device *dev)
{
	return read32(dev->config) == ABSENT;
}

static void start_disk(void)
{
	virtio_start(&disk);
	virtio_queue(&disk, &queue, 0);
	virtio_driver_ok(&disk);
	for (uint16_t i = 0; i < REQUESTS; i++) {
		uint16_t head = (uint16_t)(i * 3);

		queue.desc[head] = (struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT,
						 (uint16_t)(head + 1)};
		queue.desc[head + 1] = (struct desc){(uint32_t)data, sizeof(data),
						     DESC_NEXT | DESC_WRITE, (uint16_t)(head + 2)};
		queue.desc[head + 2] = (struct desc){(uint32_t)&status[i], 1, DESC_WRITE, 0};
	}
}

static void start_nic(void)
{
	link_up = true;
	virtio_start(&nic);
	virtio_queue(&nic, &rx, 0);
	virtio_queue(&nic, &tx, 1);
	virtio_driver_ok(&nic);
	rx.desc[0] = (struct desc){(uint32_t)received, sizeof(received), DESC_WRITE, 0};
	tx.desc[0] = (struct desc){(uint32_t)sent, sizeof(sent), 0, 0};
	virtio_submit(&rx, 0);
}

static void plugged(unsigned slot)
{
	if (virtio_at(&disk, slot, VIRTIO_BLK)) {
		disk_slot = slot;
		seen = 0;
		revoked = false;
		sectors = read32(disk.device);
		start_disk();
	} else {
		CHECK(virtio_at(&nic, slot, VIRTIO_NET), slot);
		nic_slot = slot;
		start_nic();
	}
}

static void use_disk(void)
{
	uint32_t len;

	status[0] = 0xff;
	virtio_submit(&queue, 0);
	if (!virtio_wait(&queue, &len)) {
		CHECK(is_gone(&disk), virtio_status(&disk));
		return;
	}
	if (stubborn && status[0] == 1) {
		CHECK(len == 1, len);
		if (!revoked)
			print("REVOKED\n");
		revoked = true;
		return;
	}
	CHECK(status[0] == 0 && len == sizeof(data) + 1 && !revoked, len);
	if (data[0] != seen) {
		seen = data[0];
		print((char[]){'D', 'A', 'T', 'A', ' ', (char)seen, '\n', 0});
	}
	if (read32(disk.device) != sectors && !is_gone(&disk)) {
		sectors = read32(disk.device);
		print("SECTORS ");
		print_hex(sectors);
		print("\n");
	}
}

/* What the configuration says of the cable (§5.1.4). */
static void watch_link(void)
{
	bool up = read16(nic.device + NET_STATUS) & 1;

	if (up == link_up || (!up && is_gone(&nic)))
		return;
	link_up = up;
	print(up ? "LINK UP\n" : "LINK DOWN\n");
}

/* Answers a frame, from the address in the device's configuration. */
static void use_nic(void)
{
	uint32_t len;

	if (rx.used_idx == rx.seen)
		return;
	rx.seen++;
	if (received[NET_HEADER + 12] == 0x88 && received[NET_HEADER + 13] == 0xb5) {
		for (unsigned i = 0; i < 6; i++) {
			sent[NET_HEADER + i] = received[NET_HEADER + 6 + i];
			sent[NET_HEADER + 6 + i] = read8(nic.device + i);
		}
		sent[NET_HEADER + 12] = 0x88;
		sent[NET_HEADER + 13] = 0xb5;
		virtio_submit(&tx, 0);
		if (!virtio_wait(&tx, &len))
			CHECK(is_gone(&nic), virtio_status(&nic));
	}
	virtio_submit(&rx, 0);
}

/* Ejects (also what it was not yet told of) once, and without a look afterwards: the next device
 * may have the slot by then. */
static void let_go(unsigned slot)
{
	if (slot == disk_slot) {
		start_disk();
		for (uint16_t i = 0; i < REQUESTS; i++)
			virtio_submit(&queue, (uint16_t)(i * 3));
		disk_slot = 0;
	} else if (slot == nic_slot) {
		nic_slot = 0;
		print("GONE\n");
	}
	outl(PORT_EJECT, ABSENT);
}

static void asked(unsigned slot)
{
	if (!stubborn) {
		let_go(slot);
		return;
	}
	print("ASKED\n");
	/* Of what was never there, and what may not go. */
	outl(PORT_EJECT, ~(1u << slot));
}

static void look_for_gone(struct device *dev, unsigned *slot)
{
	if (!*slot || !is_gone(dev))
		return;
	*slot = 0;
	print("GONE\n");
}

static void look_at_registers(void)
{
	uint32_t up = inl(PORT_UP), down = inl(PORT_DOWN), events = inl(PORT_EVENTS);

	for (unsigned slot = 0; slot < SLOTS; slot++) {
		if (up & (1u << slot))
			plugged(slot);
		if (down & (1u << slot))
			asked(slot);
	}
	if (events) {
		print("EVENT ");
		print_hex(events);
		print("\n");
	}
}

static bool has_word(const char *text, const char *word)
{
	for (; *text; text++) {
		unsigned i = 0;

		while (word[i] && text[i] == word[i])
			i++;
		if (!word[i])
			return true;
	}
	return false;
}

void guest_main(const struct start_info *info)
{
	struct device rng;

	stubborn = has_word((const char *)(uint32_t)info->cmdline, "stubborn");
	print("PASS\n");
	for (;;) {
		look_for_gone(&disk, &disk_slot);
		look_for_gone(&nic, &nic_slot);
		look_at_registers();
		if (disk_slot)
			use_disk();
		if (nic_slot) {
			watch_link();
			use_nic();
		}
		CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	}
}
