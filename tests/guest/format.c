// SPDX-License-Identifier: Apache-2.0
/*
 * Headers of image formats written to a raw disk by its guest, which say that it is larger, or lies
 * in another file of the host's (CVE-2026-27211): the disk is as large as it was and holds those
 * very bytes, after a reset of the device and, the second time this boots, with another VMM.
 */
#include "virtio.h"

#define BLK_IN	 0u
#define BLK_OUT	 1u
#define SECTOR	 512u
#define CAPACITY 2048u
#define MARK	 7u /* a sector that tells the second boot from the first: which header lies there */

struct format {
	const char *name;
	uint8_t header[72];
};

static const struct format formats[] = {
	/* Version 3, a backing file named at 0x48 of 12 bytes, 1 TiB. */
	{"qcow2",
	 {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0x48, 0, 0, 0, 12, 0, 0, 0, 16,
	  0,   0,   1,	 0,    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8,    0, 0, 0, 0,  0, 1, 0, 0}},
	{"vmdk", {'K', 'D', 'M', 'V', 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1}},
	{"vmdk descriptor", "# Disk DescriptorFile\nRW 2147483648 FLAT \"/etc/shadow\" 0\n"},
	{"vhdx", "vhdxfile"},
	{"vpc", "conectix"},
	{"vdi", "<<< Oracle VM VirtualBox Disk Image >>>\n"},
	{"qed", {'Q', 'E', 'D', 0, 0, 0, 1, 0}},
	{"luks", {'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1}},
	{"parallels", "WithoutFreeSpace"},
	{"elf", {0x7f, 'E', 'L', 'F', 2, 1, 1}},
};

static struct queue queue;
static struct device disk;
static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static volatile uint8_t status, data[SECTOR];

static void start(void)
{
	virtio_start(&disk);
	virtio_queue(&disk, &queue, 0);
	virtio_driver_ok(&disk);
}

static uint8_t transfer(uint32_t type, uint64_t sector)
{
	uint32_t len;

	header.type = type;
	header.sector = sector;
	status = 0xff;
	queue.desc[0] = (struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT, 1};
	queue.desc[1] = (struct desc){(uint32_t)data, SECTOR,
				      DESC_NEXT | (type == BLK_IN ? DESC_WRITE : 0), 2};
	queue.desc[2] = (struct desc){(uint32_t)&status, 1, DESC_WRITE, 0};
	virtio_submit(&queue, 0);
	CHECK(virtio_wait(&queue, &len), type);
	return status;
}

static void look(const struct format *format)
{
	CHECK(virtio_find(&disk, VIRTIO_BLK), 0);
	start();
	if (read32(disk.device) != CAPACITY || read32(disk.device + 4) != 0)
		fail(format->name, read32(disk.device));
	CHECK(transfer(BLK_IN, 0) == 0, status);
	for (unsigned i = 0; i < SECTOR; i++)
		if (data[i] != (i < sizeof(format->header) ? format->header[i] : 0))
			fail(format->name, i);
	CHECK(transfer(BLK_IN, CAPACITY - 1) == 0, status);
	CHECK(transfer(BLK_IN, CAPACITY) == 1, status);
}

static void put(const struct format *format)
{
	for (unsigned i = 0; i < SECTOR; i++)
		data[i] = i < sizeof(format->header) ? format->header[i] : 0;
	CHECK(transfer(BLK_OUT, 0) == 0, status);
}

static void put_mark(uint8_t mark)
{
	data[0] = mark;
	CHECK(transfer(BLK_OUT, MARK) == 0, status);
}

/* Each boot looks at what the one before it left, tries all, and leaves the next. */
void guest_main(const struct start_info *info)
{
	const unsigned n = sizeof(formats) / sizeof(formats[0]);
	unsigned boot;

	(void)info;
	CHECK(virtio_find(&disk, VIRTIO_BLK), 0);
	start();
	CHECK(transfer(BLK_IN, MARK) == 0, status);
	boot = data[0];
	CHECK(boot < n, boot);
	if (boot > 0)
		look(&formats[boot - 1]);
	for (unsigned i = 0; i < n; i++) {
		put(&formats[i]);
		look(&formats[i]);
	}
	put(&formats[boot]);
	put_mark((uint8_t)(boot + 1));
	print("PASS\n");
}
