// SPDX-License-Identifier: Apache-2.0
/*
 * The life of a function that comes and goes on the PCI bus: plugged, the guest asked to let go of
 * it, ejected by the guest or taken away by force, drained, destroyed. What the function is, its
 * owner (vmm/disks.c, vmm/nics.c) knows; it embeds a struct slot. Loop thread. The guest is not
 * trusted: it may eject unasked, never, or just as time runs out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "virtio/device.h"
#include "vmm/pci_bus.h"

#define SLOT_REVOKED_MS 5000u

struct slots;
struct slot;

typedef void slot_detached_fn(void *user, int error);

enum slot_state {
	SLOT_FREE,
	SLOT_PLUGGED,
	SLOT_ASKING, /* the guest is being asked to let go */
	SLOT_LEAVING /* off the bus; what is under way drains */
};

struct slot {
	struct slots *slots;
	struct slot *next; /* among those that are not free */
	enum slot_state state;
	unsigned number; /* on the bus */
	bool force;	 /* when the time is up it goes all the same */
	bool revoked;	 /* its device answers with errors only */
	bool asked;	 /* the guest was asked once: it may let go at any time */
	bool timing;	 /* timer is under way */
	uint64_t deadline_ns;
	struct virtio_dev *dev; /* the function's */
	struct pci_dev *function;
	struct loop_timer timer;
	void (*gone)(struct slot *slot);
	slot_detached_fn *detached;
	void *detached_user;
};

struct slots {
	struct loop *loop;
	const struct mem *mem;
	struct pci_bus *pci;
	const struct pci_host_ops *host_ops;
	void *host;
	struct slot *first;
	struct virtio_dev *at[PCI_SLOTS]; /* what is on the bus */
	/* Emptied by force: the guest may still believe in what was there, and finds a husk. */
	uint32_t burnt;
	struct pci_dev husks[PCI_SLOTS];
};

/* All borrowed; they outlive it. */
void slots_init(struct slots *slots, struct loop *loop, const struct mem *mem, struct pci_bus *pci,
		const struct pci_host_ops *host_ops, void *host);

/*
 * Makes a function of dev (owned from here on, also on failure) and plugs it into a free place of
 * the bus. slot is free. hot: the guest runs, tell it; only such a function may be detached.
 * gone(slot), when the function is destroyed: the slot is free again. Returns 0, -ENOSPC, or
 * another negative errno: the slot is still free.
 */
int slot_plug(struct slots *slots, struct slot *slot, struct virtio_dev *dev, bool hot,
	      void (*gone)(struct slot *slot));

/* Puts dev at a place of its own, for good. Owned as above. Returns 0 or a negative errno. */
int slots_plug_fixed(struct slots *slots, unsigned number, struct virtio_dev *dev);

/*
 * Asks the guest to let go, again every second until it does or timeout_ms passed. Then, with
 * force, a device that may have requests under way is revoked (virtio_ops.revoke): a driver that
 * waited for one has its answer, and SLOT_REVOKED_MS to let go. At last the function is taken away
 * as if its card was pulled: the guest finds nobody in its configuration space and is told to look;
 * its registers read as zeroes, not as ones, because Linux waits for ever for a status of 0
 * (vp_reset()). Then detached(user, 0 or -ETIMEDOUT), once. Returns 0, -EBUSY (asked already) or
 * -EPERM (not removable).
 */
int slot_detach(struct slot *slot, uint32_t timeout_ms, bool force, slot_detached_fn *detached,
		void *user);

/* Whether it is about to go, or may: it leaves, or the guest was asked to let go of it, even if it
 * did not in time. Then only a detach says for sure. */
bool slot_is_leaving(const struct slot *slot);

/* The guest ejected this function, which is off the bus already. */
void slots_ejected(struct slots *slots, struct pci_dev *function);

/* Memory was unplugged: no function, those that drain included, goes on writing to it
 * (virtio_regs_memory_unplugged()). Returns true while one may: ask again. */
bool slots_memory_unplugged(struct slots *slots);

/* The machine ends: whoever waits for a detach is answered -ECANCELED, and what is on the bus is
 * its owner's to destroy. */
void slots_abandon(struct slots *slots);

/* Whether nothing that left the bus is still draining. */
bool slots_are_settled(const struct slots *slots);
