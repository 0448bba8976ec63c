// SPDX-License-Identifier: Apache-2.0
#include "vmm/slots.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "virtio/pci.h"
#include "virtio/regs.h"
#include "vmm/layout.h"

#define ASK_AGAIN_NS NS_PER_S

void slots_init(struct slots *slots, struct loop *loop, const struct mem *mem, struct pci_bus *pci,
		const struct pci_host_ops *host_ops, void *host)
{
	*slots = (struct slots){
		.loop = loop, .mem = mem, .pci = pci, .host_ops = host_ops, .host = host};
}

static uint32_t husk_config_read(struct pci_dev *husk, unsigned off, unsigned len)
{
	(void)husk, (void)off, (void)len;
	return UINT32_MAX;
}

static void husk_config_write(struct pci_dev *husk, unsigned off, unsigned len, uint32_t value)
{
	(void)husk, (void)off, (void)len, (void)value;
}

static void husk_bar_read(struct pci_dev *husk, unsigned bar, uint64_t off, void *data,
			  unsigned len)
{
	(void)husk, (void)bar, (void)off;
	memset(data, 0, len);
}

static void husk_bar_write(struct pci_dev *husk, unsigned bar, uint64_t off, const void *data,
			   unsigned len)
{
	(void)husk, (void)bar, (void)off, (void)data, (void)len;
}

static void husk_destroy(struct pci_dev *husk, void (*gone)(void *user), void *user)
{
	(void)husk;
	gone(user);
}

static const struct pci_dev_ops husk_ops = {
	.config_read = husk_config_read,
	.config_write = husk_config_write,
	.bar_read = husk_bar_read,
	.bar_write = husk_bar_write,
	.destroy = husk_destroy,
};

/* What is left of a function that was pulled: all its registers are 0. */
static void leave_husk(struct slots *slots, const struct slot *slot)
{
	struct pci_dev *husk = &slots->husks[slot->number];

	*husk = *slot->function;
	husk->ops = &husk_ops;
	slots->burnt |= 1u << slot->number;
	pci_bus_leave_husk(slots->pci, slot->number, husk);
}

static void remove_husk(struct slots *slots, unsigned number)
{
	if (slots->burnt & (1u << number))
		pci_bus_leave_husk(slots->pci, number, NULL);
	slots->burnt &= ~(1u << number);
}

/* One that was emptied by force is taken last: a guest that did not notice would drive the new
 * function as the old one. */
static int free_number(const struct slots *slots)
{
	int burnt = -ENOSPC;

	for (unsigned number = 1; number < PCI_SLOTS; number++) {
		if (slots->burnt & (1u << number))
			burnt = burnt < 0 ? (int)number : burnt;
		else if (!slots->pci->slots[number])
			return (int)number;
	}
	return burnt;
}

static int make_function(const struct slots *slots, unsigned number, struct virtio_dev *dev,
			 struct pci_dev **function)
{
	return virtio_pci_new(function, dev, slots->loop, slots->mem, slots->host_ops, slots->host,
			      LAYOUT_PCI_WINDOW + number * VIRTIO_PCI_BAR_SIZE);
}

int slots_plug_fixed(struct slots *slots, unsigned number, struct virtio_dev *dev)
{
	struct pci_dev *function;
	int r = make_function(slots, number, dev, &function);

	if (r < 0)
		return r;
	slots->at[number] = dev;
	pci_bus_plug(slots->pci, number, function, false);
	return 0;
}

int slot_plug(struct slots *slots, struct slot *slot, struct virtio_dev *dev, bool hot,
	      void (*gone)(struct slot *slot))
{
	int number = free_number(slots), r;

	assert(slot->state == SLOT_FREE);
	if (number < 0) {
		dev->ops->destroy(dev);
		return number;
	}
	*slot = (struct slot){.slots = slots, .number = (unsigned)number, .dev = dev, .gone = gone};
	r = make_function(slots, slot->number, dev, &slot->function);
	if (r < 0) {
		*slot = (struct slot){.slots = slots};
		return r;
	}
	slot->state = SLOT_PLUGGED;
	slot->next = slots->first;
	slots->first = slot;
	remove_husk(slots, slot->number);
	slots->at[slot->number] = dev;
	pci_bus_plug(slots->pci, slot->number, slot->function, hot);
	if (hot)
		log_info("msg=\"device plugged\" dev=%s slot=%u", dev->ops->name, slot->number);
	return 0;
}

static void answer(struct slot *slot, int error)
{
	slot_detached_fn *detached = slot->detached;

	slot->detached = NULL;
	if (detached)
		detached(slot->detached_user, error);
}

/* Free once the function is gone and the timer too. */
static void release(struct slot *slot)
{
	struct slot **at = &slot->slots->first;
	slot_detached_fn *detached = slot->detached;
	void *user = slot->detached_user;

	if (slot->timing || slot->function)
		return;
	while (*at != slot)
		at = &(*at)->next;
	*at = slot->next;
	slot->state = SLOT_FREE;
	slot->detached = NULL;
	slot->gone(slot);
	if (detached)
		detached(user, 0);
}

static void function_gone(void *user)
{
	struct slot *slot = user;

	slot->function = NULL;
	slot->dev = NULL;
	release(slot);
}

/* Off the bus already. */
static void leave(struct slot *slot)
{
	log_info("msg=\"device leaves\" dev=%s slot=%u", slot->dev->ops->name, slot->number);
	slot->state = SLOT_LEAVING;
	slot->slots->at[slot->number] = NULL;
	if (slot->timing)
		loop_cancel(slot->slots->loop, &slot->timer.op);
	slot->function->ops->destroy(slot->function, function_gone, slot);
}

static void pull(struct slot *slot)
{
	struct slots *slots = slot->slots;

	log_warning("msg=\"guest did not let go, device pulled\" dev=%s slot=%u",
		    slot->dev->ops->name, slot->number);
	pci_bus_unplug(slots->pci, slot->number);
	leave_husk(slots, slot);
	pci_bus_event(slots->pci, PCI_EVENT_BUS_CHECK);
	leave(slot);
}

static void ask(struct slot *slot)
{
	struct slots *slots = slot->slots;
	uint64_t next_ns = clock_now_ns() + ASK_AGAIN_NS;

	pci_bus_request_eject(slots->pci, slot->number);
	slot->asked = slot->timing = true;
	if (next_ns > slot->deadline_ns)
		next_ns = slot->deadline_ns;
	if (loop_timer_start(slots->loop, &slot->timer, next_ns) < 0)
		loop_defer(slots->loop, &slot->timer.op);
}

/* A driver may wait for answers of what it uses. */
static bool may_be_waited_for(const struct slot *slot)
{
	return slot->dev->active && slot->dev->ops->revoke && !slot->revoked;
}

static void revoke_device(struct slot *slot)
{
	log_warning("msg=\"guest did not let go, device answers with errors\" dev=%s slot=%u",
		    slot->dev->ops->name, slot->number);
	slot->revoked = true;
	slot->dev->ops->revoke(slot->dev);
	slot->deadline_ns = clock_now_ns() + SLOT_REVOKED_MS * NS_PER_MS;
	ask(slot);
}

static void asked_long_enough(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct slot *slot = container_of(op, struct slot, timer.op);

	(void)res;
	(void)cqe_flags;
	slot->timing = false;
	if (slot->state == SLOT_LEAVING) {
		release(slot);
	} else if (slot->state == SLOT_PLUGGED) {
		return; /* abandoned */
	} else if (clock_now_ns() < slot->deadline_ns) {
		ask(slot);
	} else if (slot->force && may_be_waited_for(slot)) {
		revoke_device(slot);
	} else if (slot->force) {
		pull(slot);
	} else {
		slot->state = SLOT_PLUGGED;
		answer(slot, -ETIMEDOUT);
	}
}

int slot_detach(struct slot *slot, uint32_t timeout_ms, bool force, slot_detached_fn *detached,
		void *user)
{
	assert(slot->state != SLOT_FREE);
	if (slot->detached || slot->state == SLOT_ASKING)
		return -EBUSY;
	if (slot->state == SLOT_PLUGGED && !(slot->slots->pci->removable & (1u << slot->number)))
		return -EPERM;
	slot->detached = detached;
	slot->detached_user = user;
	if (slot->state == SLOT_LEAVING) /* the guest ejected it unasked: release() answers */
		return 0;
	slot->state = SLOT_ASKING;
	slot->force = force;
	slot->deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
	slot->timer.op.done = asked_long_enough;
	ask(slot);
	return 0;
}

bool slot_is_leaving(const struct slot *slot)
{
	return slot->asked || slot->state == SLOT_LEAVING;
}

void slots_ejected(struct slots *slots, struct pci_dev *function)
{
	/* The number would not do: what still drains may have had the same one. */
	for (struct slot *slot = slots->first; slot; slot = slot->next) {
		if (slot->function == function) {
			leave(slot);
			return;
		}
	}
}

void slots_abandon(struct slots *slots)
{
	for (struct slot *slot = slots->first; slot; slot = slot->next) {
		if (slot->state == SLOT_ASKING)
			slot->state = SLOT_PLUGGED;
		answer(slot, -ECANCELED);
	}
	memset(slots->at, 0, sizeof(slots->at));
}

bool slots_are_settled(const struct slots *slots)
{
	for (const struct slot *slot = slots->first; slot; slot = slot->next)
		if (slot->state == SLOT_LEAVING)
			return false;
	return true;
}

bool slots_memory_unplugged(struct slots *slots)
{
	bool more = false;

	for (unsigned number = 0; number < PCI_SLOTS; number++)
		if (slots->at[number])
			more |= virtio_regs_memory_unplugged(slots->at[number]->transport);
	for (struct slot *slot = slots->first; slot; slot = slot->next)
		if (slot->state == SLOT_LEAVING && slot->dev)
			more |= virtio_regs_memory_unplugged(slot->dev->transport);
	return more;
}
