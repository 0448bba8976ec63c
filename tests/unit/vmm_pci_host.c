// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/vmm_pci_host.h"

#include <sys/eventfd.h>
#include <unistd.h>

static int irq_alloc(void *host, int *fd)
{
	(void)host;
	*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return *fd;
}

static int irq_route(void *host, int irq, uint64_t address, uint32_t data)
{
	(void)host, (void)irq, (void)address, (void)data;
	return 0;
}

static void irq_unroute(void *host, int irq)
{
	(void)host, (void)irq;
}

static void irq_free(void *host, int irq)
{
	(void)host;
	close(irq);
}

static int doorbell_add(void *host, gpa_t gpa, int fd)
{
	(void)host, (void)gpa, (void)fd;
	return 0;
}

static void doorbell_remove(void *host, gpa_t gpa, int fd)
{
	(void)host, (void)gpa, (void)fd;
}

const struct pci_host_ops inert_pci_host_ops = {.irq_alloc = irq_alloc,
						.irq_route = irq_route,
						.irq_unroute = irq_unroute,
						.irq_free = irq_free,
						.doorbell_add = doorbell_add,
						.doorbell_remove = doorbell_remove};
