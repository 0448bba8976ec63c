// SPDX-License-Identifier: Apache-2.0
#include "vmm/disks.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "virtio/pci.h"
#include "vmm/kvm.h"
#include "vmm/layout.h"

#define ASK_AGAIN_NS NS_PER_S

void disks_init(struct disks *disks, struct loop *loop, const struct mem *mem, struct pci_bus *pci,
		void *pci_host)
{
	memset(disks, 0, sizeof(*disks));
	disks->loop = loop;
	disks->mem = mem;
	disks->pci = pci;
	disks->pci_host = pci_host;
}

static struct disk *find(struct disks *disks, const char *serial)
{
	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (strcmp(disks->disks[i].serial, serial) == 0)
			return &disks->disks[i];
	return NULL;
}

static int plug(struct disks *disks, struct disk *disk, int fd, bool hot)
{
	int slot = pci_bus_free_slot(disks->pci), r;

	if (slot < 0)
		return slot;
	r = virtio_blk_new(&disk->blk, disks->loop, fd, disk->read_only, disk->serial);
	if (r < 0)
		return r;
	r = virtio_pci_new(&disk->function, disk->blk, disks->loop, disks->mem, &kvm_pci_host_ops,
			   disks->pci_host,
			   LAYOUT_PCI_WINDOW + (unsigned)slot * VIRTIO_PCI_BAR_SIZE);
	if (r < 0)
		return r;
	disk->slot = (unsigned)slot;
	pci_bus_plug(disks->pci, disk->slot, disk->function, hot);
	return 0;
}

int disks_attach(struct disks *disks, int fd, bool read_only, const char *serial, bool hot,
		 struct error *err)
{
	struct disk *disk;
	int r;

	if (!spec_is_serial(serial))
		return error_set(err, -EINVAL, "a serial is 1 to %d printable characters",
				 SPEC_SERIAL_MAX);
	if (find(disks, serial))
		return error_set(err, -EEXIST, "a disk '%s' is attached already", serial);
	disk = find(disks, "");
	if (!disk)
		return error_set(err, -ENOSPC, "the zone has no free slot for disk '%s'", serial);
	*disk = (struct disk){.disks = disks, .read_only = read_only};
	memcpy(disk->serial, serial, strlen(serial) + 1);
	r = plug(disks, disk, fd, hot);
	if (r < 0) {
		disk->serial[0] = '\0';
		return error_set_errno(err, r, "cannot attach disk '%s'", serial);
	}
	return 0;
}

static void answer(struct disk *disk, int error)
{
	disk_detached_fn *detached = disk->detached;

	disk->detached = NULL;
	if (detached)
		detached(disk->detached_user, error);
}

/* Free once the function is gone and the timer too. */
static void release(struct disk *disk)
{
	if (disk->asking || disk->function)
		return;
	disk->serial[0] = '\0';
	answer(disk, 0);
}

static void ask(struct disk *disk)
{
	pci_bus_request_eject(disk->disks->pci, disk->slot);
	disk->asking = true;
	if (loop_timer_start(disk->disks->loop, &disk->ask_timer, clock_now_ns() + ASK_AGAIN_NS) <
	    0)
		loop_defer(disk->disks->loop, &disk->ask_timer.op);
}

static void asked_long_enough(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct disk *disk = container_of(op, struct disk, ask_timer.op);

	(void)res;
	(void)cqe_flags;
	disk->asking = false;
	if (!disk->detaching) {
		release(disk);
	} else if (clock_now_ns() < disk->deadline_ns) {
		ask(disk);
	} else {
		disk->detaching = false;
		answer(disk, -ETIMEDOUT);
	}
}

int disks_detach(struct disks *disks, const char *serial, uint32_t timeout_ms,
		 disk_detached_fn *detached, void *user, struct error *err)
{
	struct disk *disk = serial[0] ? find(disks, serial) : NULL;

	if (!disk)
		return error_set(err, -ENOENT, "the zone has no disk '%s'", serial);
	if (disk->detaching || disk->detached || (disk->asking && !disk->leaving))
		return error_set(err, -EBUSY, "disk '%s' is being detached already", serial);
	if (!disk->leaving && !(disks->pci->removable & (1u << disk->slot)))
		return error_set(err, -EPERM, "disk '%s' belongs to the zone's spec and stays",
				 serial);
	disk->detached = detached;
	disk->detached_user = user;
	if (disk->leaving) /* the guest ejected it unasked: release() answers */
		return 0;
	disk->detaching = true;
	disk->deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
	disk->ask_timer.op.done = asked_long_enough;
	ask(disk);
	return 0;
}

static void function_gone(void *user)
{
	struct disk *disk = user;

	disk->function = NULL;
	disk->leaving = false;
	release(disk);
}

void disks_ejected(struct disks *disks, struct pci_dev *function)
{
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		struct disk *disk = &disks->disks[i];

		/* The slot would not do: a disk that still drains may have had the same one. */
		if (disk->function != function)
			continue;
		disk->detaching = false;
		disk->leaving = true;
		if (disk->asking)
			loop_cancel(disks->loop, &disk->ask_timer.op);
		disk->function->ops->destroy(disk->function, function_gone, disk);
		return;
	}
}

void disks_abandon(struct disks *disks)
{
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		disks->disks[i].detaching = false;
		answer(&disks->disks[i], -ECANCELED);
	}
}

bool disks_are_settled(const struct disks *disks)
{
	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (disks->disks[i].leaving)
			return false;
	return true;
}
