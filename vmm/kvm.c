// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "vmm/layout.h"

#define IOAPIC_PINS	 24u
#define MSI_WINDOW_SHIFT 20 /* MSI addresses are 0xfeexxxxx (Intel SDM vol. 3 §11.11.1) */
#define MSI_WINDOW	 0xfeeu

int kvm_open(struct error *err)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return error_set(
			err, -ENOENT,
			"/dev/kvm does not exist; load kvm_intel or kvm_amd, or enable "
			"virtualization in the firmware ('protect host check' tells more)");
	if (errno == EACCES || errno == EPERM)
		return error_set(
			err, -errno,
			"no permission to open /dev/kvm; add the user to the group 'kvm' or "
			"run zone-vmm through protect-launch");
	return error_set_errno(err, -errno, "cannot open /dev/kvm");
}

static int check_capabilities(int fd, struct error *err)
{
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
		{KVM_CAP_IRQCHIP, "irqchip"},
		{KVM_CAP_USER_MEMORY, "user memory"},
		{KVM_CAP_IRQFD, "irqfd"},
		{KVM_CAP_IOEVENTFD, "ioeventfd"},
		{KVM_CAP_IOEVENTFD_ANY_LENGTH, "ioeventfd of any length"},
		{KVM_CAP_SIGNAL_MSI, "MSI"},
		{KVM_CAP_EXT_CPUID, "CPUID"},
		{KVM_CAP_IMMEDIATE_EXIT, "immediate exit"},
	};

	if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return error_set(err, -ENOTSUP, "/dev/kvm does not speak KVM API %d",
				 KVM_API_VERSION);
	for (unsigned i = 0; i < ARRAY_SIZE(needed); i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return error_set(
				err, -ENOTSUP,
				"this kernel's KVM has no %s; Linux 6.1 or newer is needed",
				needed[i].name);
	return 0;
}

static int map_memory(const struct kvm *kvm, const struct guest_memory *memory)
{
	for (unsigned i = 0; i < memory->mem.n_regions; i++) {
		const struct mem_region *region = &memory->mem.regions[i];
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = region->start,
			.memory_size = region->len,
			.userspace_addr = (uintptr_t)region->host,
		};

		if (region->plugged) /* it gets its slots as it is plugged */
			continue;
		if (ioctl(kvm->vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return -errno;
	}
	return 0;
}

static int set_routes(const struct kvm *kvm)
{
	union {
		struct kvm_irq_routing table;
		char room[sizeof(struct kvm_irq_routing) +
			  (IOAPIC_PINS + KVM_IRQS_MAX) * sizeof(struct kvm_irq_routing_entry)];
	} routes;
	struct kvm_irq_routing_entry *entry = routes.table.entries;

	memset(&routes, 0, sizeof(routes));
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		*entry++ = (struct kvm_irq_routing_entry){
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = {.irqchip = KVM_IRQCHIP_IOAPIC, .pin = pin},
		};
	for (unsigned i = 0; i < KVM_IRQS_MAX; i++) {
		const struct kvm_irq *irq = &kvm->irqs[i];

		if (irq->eventfd < 0 || !irq->routed_once)
			continue;
		*entry++ = (struct kvm_irq_routing_entry){
			.gsi = IOAPIC_PINS + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = {.address_lo = (uint32_t)irq->address,
				  .address_hi = (uint32_t)(irq->address >> 32),
				  .data = irq->data},
		};
	}
	routes.table.nr = (uint32_t)(entry - routes.table.entries);
	return ioctl(kvm->vm, KVM_SET_GSI_ROUTING, &routes.table) < 0 ? -errno : 0;
}

static int create_vm(struct kvm *kvm, struct error *err)
{
	uint64_t identity = LAYOUT_IDENTITY_MAP;
	int size;

	kvm->vm = ioctl(kvm->fd, KVM_CREATE_VM, 0);
	if (kvm->vm < 0)
		return error_set_errno(err, -errno, "KVM cannot create a VM");
	size = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size <= 0)
		return error_set(err, -ENOTSUP, "KVM tells no size for a vCPU's area");
	kvm->run_size = (uint32_t)size;
	if (ioctl(kvm->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
	    ioctl(kvm->vm, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_TSS) < 0 ||
	    ioctl(kvm->vm, KVM_CREATE_IRQCHIP, 0) < 0)
		return error_set_errno(err, -errno, "KVM cannot set up the VM's interrupt chips");
	return 0;
}

int kvm_init(struct kvm *kvm, int kvm_fd, const struct guest_memory *memory, struct error *err)
{
	int r;

	memset(kvm, 0, sizeof(*kvm));
	kvm->vm = -1;
	kvm->fd = kvm_fd;
	for (unsigned i = 0; i < KVM_IRQS_MAX; i++)
		kvm->irqs[i].eventfd = -1;
	if (kvm->fd < 0)
		kvm->fd = kvm_open(err);
	if (kvm->fd < 0)
		return kvm->fd;
	r = check_capabilities(kvm->fd, err);
	if (r == 0)
		r = create_vm(kvm, err);
	if (r < 0)
		return r;
	r = map_memory(kvm, memory);
	if (r == 0)
		r = set_routes(kvm);
	if (r < 0)
		return error_set_errno(err, r, "KVM cannot take the guest memory");
	return 0;
}

void kvm_deinit(struct kvm *kvm)
{
	for (unsigned i = 0; i < KVM_IRQS_MAX; i++)
		close_fdp(&kvm->irqs[i].eventfd);
	close_fdp(&kvm->vm);
	close_fdp(&kvm->fd);
}

/*
 * What the VM is asked for while it runs.
 * #syscalls loop: ioctl(_, KVM_IRQFD) ioctl(_, KVM_IOEVENTFD) ioctl(_, KVM_SET_GSI_ROUTING) close
 * #syscalls loop: eventfd2(0, EFD_CLOEXEC|EFD_NONBLOCK)
 */
static int set_irqfd(const struct kvm *kvm, unsigned gsi, int eventfd, uint32_t flags)
{
	struct kvm_irqfd irqfd = {.fd = (uint32_t)eventfd, .gsi = gsi, .flags = flags};

	return ioctl(kvm->vm, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
}

int kvm_pin_eventfd(struct kvm *kvm, unsigned gsi, int eventfd)
{
	return set_irqfd(kvm, gsi, eventfd, 0);
}

static int irq_alloc(void *host, int *eventfd_out)
{
	struct kvm *kvm = host;

	for (unsigned i = 0; i < KVM_IRQS_MAX; i++) {
		if (kvm->irqs[i].eventfd >= 0)
			continue;
		kvm->irqs[i] = (struct kvm_irq){.eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
		if (kvm->irqs[i].eventfd < 0)
			return -errno;
		*eventfd_out = kvm->irqs[i].eventfd;
		return (int)i;
	}
	return -ENOSPC;
}

static int irq_route(void *host, int irq, uint64_t address, uint32_t data)
{
	struct kvm *kvm = host;
	struct kvm_irq *this = &kvm->irqs[irq];
	int r = 0;

	if (address >> MSI_WINDOW_SHIFT != MSI_WINDOW)
		return -EINVAL;
	if (!this->routed_once || this->address != address || this->data != data) {
		this->address = address;
		this->data = data;
		this->routed_once = true;
		r = set_routes(kvm);
		if (r < 0) /* the next try must not take it for done */
			this->routed_once = false;
	}
	if (r == 0 && !this->attached) {
		r = set_irqfd(kvm, IOAPIC_PINS + (unsigned)irq, this->eventfd, 0);
		this->attached = r == 0;
	}
	return r;
}

static void irq_unroute(void *host, int irq)
{
	struct kvm *kvm = host;
	struct kvm_irq *this = &kvm->irqs[irq];

	if (this->attached)
		set_irqfd(kvm, IOAPIC_PINS + (unsigned)irq, this->eventfd, KVM_IRQFD_FLAG_DEASSIGN);
	this->attached = false;
}

static void irq_free(void *host, int irq)
{
	struct kvm *kvm = host;

	irq_unroute(host, irq);
	close_fdp(&kvm->irqs[irq].eventfd);
	kvm->irqs[irq].routed_once = false;
}

static int set_ioeventfd(const struct kvm *kvm, gpa_t gpa, int eventfd, uint32_t flags)
{
	struct kvm_ioeventfd io = {.addr = gpa, .len = 0, .fd = eventfd, .flags = flags};

	return ioctl(kvm->vm, KVM_IOEVENTFD, &io) < 0 ? -errno : 0;
}

static int doorbell_add(void *host, gpa_t gpa, int eventfd)
{
	return set_ioeventfd(host, gpa, eventfd, 0);
}

static void doorbell_remove(void *host, gpa_t gpa, int eventfd)
{
	set_ioeventfd(host, gpa, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

const struct pci_host_ops kvm_pci_host_ops = {
	.irq_alloc = irq_alloc,
	.irq_route = irq_route,
	.irq_unroute = irq_unroute,
	.irq_free = irq_free,
	.doorbell_add = doorbell_add,
	.doorbell_remove = doorbell_remove,
};
