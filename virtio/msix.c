// SPDX-License-Identifier: Apache-2.0
#include "virtio/msix.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "base/util.h"

#define CONTROL 3 /* index into an entry */

int msix_init(struct msix *msix, unsigned n_vectors, const struct pci_host_ops *host_ops,
	      void *host)
{
	*msix = (struct msix){.host_ops = host_ops, .host = host};
	if (n_vectors == 0 || n_vectors > MSIX_VECTORS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < n_vectors; i++) {
		struct msix_vector *vector = &msix->vectors[i];

		vector->irq = host_ops->irq_alloc(host, &vector->eventfd);
		if (vector->irq < 0)
			return vector->irq;
		msix->n_vectors = i + 1;
		vector->entry[CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
	return 0;
}

static void unroute(struct msix *msix, struct msix_vector *vector)
{
	if (vector->routed)
		msix->host_ops->irq_unroute(msix->host, vector->irq);
	vector->routed = false;
}

void msix_deinit(struct msix *msix)
{
	for (unsigned i = 0; i < msix->n_vectors; i++) {
		unroute(msix, &msix->vectors[i]);
		msix->host_ops->irq_free(msix->host, msix->vectors[i].irq);
	}
	msix->n_vectors = 0;
}

/* #syscalls loop: write */
static void send(const struct msix_vector *vector)
{
	uint64_t one = 1;
	ssize_t n = write(vector->eventfd, &one, sizeof(one));

	/* It fails only where the counter is full, and then the interrupt is on its way already. */
	(void)n;
}

void msix_signal(struct msix *msix, unsigned vector)
{
	if (vector >= msix->n_vectors || !msix->enabled)
		return;
	if (msix->vectors[vector].routed)
		send(&msix->vectors[vector]);
	else
		msix->pending |= UINT32_C(1) << vector;
}

/* Brings the host's routing in line with what the guest has set. */
static void update(struct msix *msix, unsigned index)
{
	struct msix_vector *vector = &msix->vectors[index];
	uint32_t bit = UINT32_C(1) << index;
	uint64_t address = vector->entry[0] | (uint64_t)vector->entry[1] << 32;

	if (!msix->master || !msix->enabled || msix->all_masked ||
	    (vector->entry[CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT)) {
		unroute(msix, vector);
		return;
	}
	if (msix->host_ops->irq_route(msix->host, vector->irq, address, vector->entry[2]) < 0) {
		unroute(msix, vector);
		return;
	}
	vector->routed = true;
	if (msix->pending & bit) {
		msix->pending &= ~bit;
		send(vector);
	}
}

static void update_all(struct msix *msix)
{
	for (unsigned i = 0; i < msix->n_vectors; i++)
		update(msix, i);
}

uint16_t msix_control(const struct msix *msix)
{
	return (uint16_t)((msix->n_vectors - 1) | (msix->enabled ? PCI_MSIX_FLAGS_ENABLE : 0) |
			  (msix->all_masked ? PCI_MSIX_FLAGS_MASKALL : 0));
}

void msix_set_control(struct msix *msix, uint16_t value)
{
	bool enabled = value & PCI_MSIX_FLAGS_ENABLE, all_masked = value & PCI_MSIX_FLAGS_MASKALL;

	if (enabled == msix->enabled && all_masked == msix->all_masked)
		return;
	msix->enabled = enabled;
	msix->all_masked = all_masked;
	if (!enabled)
		msix->pending = 0;
	update_all(msix);
}

void msix_set_master(struct msix *msix, bool on)
{
	if (on == msix->master)
		return;
	msix->master = on;
	update_all(msix);
}

void msix_table_read(const struct msix *msix, uint64_t off, void *data, unsigned len)
{
	memset(data, 0, len);
	for (unsigned i = 0; i < len; i++, off++) {
		uint64_t index = off / PCI_MSIX_ENTRY_SIZE;
		const uint8_t *entry;

		if (index >= msix->n_vectors)
			return;
		entry = (const uint8_t *)msix->vectors[index].entry;
		((uint8_t *)data)[i] = entry[off % PCI_MSIX_ENTRY_SIZE];
	}
}

static void write_dword(struct msix *msix, uint64_t off, uint32_t value)
{
	uint64_t index = off / PCI_MSIX_ENTRY_SIZE;
	unsigned field = (off % PCI_MSIX_ENTRY_SIZE) / 4;
	struct msix_vector *vector;

	if (index >= msix->n_vectors)
		return;
	vector = &msix->vectors[index];
	if (field == CONTROL)
		value &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
	if (vector->entry[field] == value)
		return;
	vector->entry[field] = value;
	update(msix, (unsigned)index);
}

void msix_table_write(struct msix *msix, uint64_t off, const void *data, unsigned len)
{
	uint32_t words[2];

	if ((len != 4 && len != 8) || off % len)
		return;
	memcpy(words, data, len);
	for (unsigned i = 0; i < len / 4; i++)
		write_dword(msix, off + i * 4, words[i]);
}

void msix_pba_read(const struct msix *msix, uint64_t off, void *data, unsigned len)
{
	uint64_t bits = msix->pending;

	memset(data, 0, len);
	if (off < sizeof(bits) && len <= sizeof(bits) - off)
		memcpy(data, (const uint8_t *)&bits + off, len);
}
