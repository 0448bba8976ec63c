// SPDX-License-Identifier: Apache-2.0
#include "hostile.h"

#define VIRTIO_MEM	 24u
#define MEM_INACCESSIBLE (1u << 1)
#define SECTOR		 512u
#define PORT_PATIENT	 0x3fdu
#define SLOTS		 32u

static const unsigned hostile_ids[] = {VIRTIO_BLK,  VIRTIO_RNG,	     VIRTIO_CONSOLE, VIRTIO_VSOCK,
				       1 /* net */, 5 /* balloon */, VIRTIO_MEM};

struct device hostile_devices[HOSTILE_DEVICES_MAX], hostile_rng, hostile_blk;
struct device hostile_disks[SECONDARY_MAX];
unsigned hostile_n_devices, hostile_n_vcpus;

static struct queue rng_queue, blk_queue;
static volatile uint8_t random_bytes[64], sector[SECTOR], blk_status;
static volatile struct {
	uint32_t type, reserved;
	uint64_t sector;
} blk_header;
static volatile uint32_t started[SECONDARY_MAX], done[SECONDARY_MAX];

/* "vcpus=N" at the command line's start. */
static unsigned count_vcpus(const struct start_info *info)
{
	const char *cmdline = (const char *)(uint32_t)info->cmdline;
	unsigned n = (unsigned)(cmdline[6] - '0');

	CHECK(cmdline[0] == 'v' && n >= 1 && n <= SECONDARY_MAX, n);
	return n;
}

void hostile_find(const struct start_info *info)
{
	unsigned found = 0;

	hostile_n_vcpus = count_vcpus(info);
	for (unsigned i = 0; i < sizeof(hostile_ids) / sizeof(hostile_ids[0]); i++)
		if (virtio_find(&hostile_devices[hostile_n_devices], hostile_ids[i]))
			hostile_n_devices++;
	CHECK(virtio_find(&hostile_rng, VIRTIO_RNG), 0);
	CHECK(virtio_find(&hostile_blk, VIRTIO_BLK), 0);
	for (unsigned slot = 0; slot < SLOTS && found < hostile_n_vcpus; slot++)
		if (virtio_at(&hostile_disks[found], slot, VIRTIO_BLK))
			found++;
	CHECK(found == hostile_n_vcpus, found);
}

void hostile_start(struct device *dev)
{
	bool is_mem = read32(dev->config) >> 16 == 0x1040u + VIRTIO_MEM;

	virtio_start_with(dev, is_mem ? MEM_INACCESSIBLE : 0, 1);
}

uint32_t hostile_next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

void hostile_write(uint32_t address, unsigned len, uint32_t value)
{
	if (len == 1)
		write8(address, (uint8_t)value);
	else if (len == 2)
		write16(address, (uint16_t)value);
	else
		write32(address, value);
}

uint32_t hostile_read(uint32_t address, unsigned len)
{
	return len == 1 ? read8(address) : len == 2 ? read16(address) : read32(address);
}

void secondary_main(unsigned index)
{
	started[index] = 1;
	hostile_attack(index);
	done[index] = 1;
}

/* As long as it takes: who started the zone knows how long that may be. */
static void wait_for(const volatile uint32_t *flag)
{
	while (!*flag)
		(void)inb(PORT_PATIENT);
}

void hostile_run(void)
{
	unsigned n = hostile_n_vcpus;

	print("READY\n");
	for (unsigned i = 1; i < n; i++) {
		secondary_start(i);
		wait_for(&started[i]);
	}
	hostile_attack(0);
	for (unsigned i = 1; i < n; i++)
		wait_for(&done[i]);
}

void hostile_rng_works(void)
{
	uint32_t len;

	virtio_start(&hostile_rng);
	virtio_queue(&hostile_rng, &rng_queue, 0);
	virtio_driver_ok(&hostile_rng);
	rng_queue.desc[0] =
		(struct desc){(uint32_t)random_bytes, sizeof(random_bytes), DESC_WRITE, 0};
	virtio_submit(&rng_queue, 0);
	CHECK(virtio_wait(&rng_queue, &len), virtio_status(&hostile_rng));
	CHECK(len > 0 && len <= sizeof(random_bytes), len);
}

static void disk_works(struct device *disk)
{
	uint32_t len;

	virtio_start(disk);
	virtio_queue(disk, &blk_queue, 0);
	virtio_driver_ok(disk);
	blk_header.type = 0;
	blk_header.sector = 3;
	blk_status = 0xff;
	blk_queue.desc[0] = (struct desc){(uint32_t)&blk_header, sizeof(blk_header), DESC_NEXT, 1};
	blk_queue.desc[1] = (struct desc){(uint32_t)sector, SECTOR, DESC_NEXT | DESC_WRITE, 2};
	blk_queue.desc[2] = (struct desc){(uint32_t)&blk_status, 1, DESC_WRITE, 0};
	virtio_submit(&blk_queue, 0);
	CHECK(virtio_wait(&blk_queue, &len), virtio_status(disk));
	CHECK(blk_status == 0 && len == SECTOR + 1, blk_status);
}

void hostile_blk_works(void)
{
	disk_works(&hostile_blk);
}

/* None of them keeps the queue, which the next one uses. */
void hostile_disks_work(void)
{
	for (unsigned i = 0; i < SECONDARY_MAX && hostile_disks[i].config; i++) {
		disk_works(&hostile_disks[i]);
		write8(hostile_disks[i].common + COMMON_STATUS, 0);
	}
}

void hostile_reset_all(void)
{
	for (unsigned i = 0; i < hostile_n_devices; i++) {
		write8(hostile_devices[i].common + COMMON_STATUS, 0);
		while (virtio_status(&hostile_devices[i]))
			;
	}
}

void hostile_end(void)
{
	print("PASS\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}
