// SPDX-License-Identifier: Apache-2.0
/* Control requests against a machine that has devices but no KVM: answers, refusals, and what
 * debug information holds. */
#include "tests/unit/harness.h"
#include "tests/unit/vmm_pci_host.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_ring.h>

#include "base/clock.h"
#include "base/util.h"
#include "proto/runner.pb-c.h"
#include "virtio/balloon.h"
#include "virtio/blk_request.h"
#include "virtio/memdev.h"
#include "virtio/rng.h"
#include "vmm/control.h"
#include "vmm/debug.h"
#include "vmm/layout.h"
#include "vmm/machine.h"

UNIT_SUITE(control, .timeout = 60);

#define MEMORY (64 * MIB)

struct fixture {
	struct machine *machine;
	struct loop_timer stop;
	unsigned n_answers;
	uint32_t error;
	char text[512];
	char *debug_info;
	uint64_t disk_bytes, target_bytes, used_bytes;
	size_t n_disks, n_nics, n_shares;
	bool share_is_lost;
};

static void on_ejected(void *user, unsigned number, struct pci_dev *dev)
{
	struct machine *machine = user;

	(void)number;
	slots_ejected(&machine->slots, dev);
}

static void ended(void *user, const char *reason, const char *detail)
{
	machine_end(user, reason, detail);
}

static void stop_now(struct loop_op *op, int res, uint32_t cqe_flags)
{
	(void)res, (void)cqe_flags;
	loop_stop(container_of(op, struct fixture, stop.op)->machine->loop);
}

static void run(struct fixture *f, unsigned ms)
{
	f->stop.op.done = stop_now;
	loop_timer_start(f->machine->loop, &f->stop, clock_now_ns() + ms * NS_PER_MS);
	cr_assert_eq(loop_run(f->machine->loop), 0);
}

static void make(struct fixture *f)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	struct virtio_dev *rng;

	memset(f, 0, sizeof(*f));
	f->machine = machine;
	cr_assert_eq(loop_new(&machine->loop, 64, 512), 0);
	cr_assert_eq(bus_init(&machine->bus, machine->loop, ended, machine), 0);
	machine->acpi_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pci_bus_init(&machine->pci, &machine->bus, machine->acpi_event_fd, on_ejected, machine);
	slots_init(&machine->slots, machine->loop, &machine->memory.mem, &machine->pci,
		   &inert_pci_host_ops, NULL);
	disks_init(&machine->disks, &machine->slots, 2);
	nics_init(&machine->nics, &machine->slots);
	shares_init(&machine->shares, &machine->slots);
	machine->memory.len = MEMORY;
	machine->memory.mem.n_regions = 1;
	machine->memory.mem.regions[0].len = MEMORY;
	resources_init(&machine->resources, MEMORY, MEMORY, NULL, NULL);
	machine->vcpus.n_max = 2;
	cr_assert_eq(virtio_rng_new(&rng, machine->loop), 0);
	cr_assert_eq(slots_plug_fixed(&machine->slots, 3, rng), 0);
}

static void function_gone(void *user)
{
	(void)user;
}

/* Everything that is plugged goes, so that nothing is leaked. */
static void finish(struct fixture *f)
{
	struct machine *machine = f->machine;

	slots_abandon(&machine->slots);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		struct pci_dev *function = machine->pci.slots[slot];

		if (!function)
			continue;
		pci_bus_unplug(&machine->pci, slot);
		function->ops->destroy(function, function_gone, NULL);
	}
	run(f, 50);
	close(machine->acpi_event_fd);
	loop_free(machine->loop);
	bus_deinit(&machine->bus);
	free(f->debug_info);
	free(machine);
}

static void take_reply(void *user, const Protect__Runner__Reply *reply)
{
	struct fixture *f = user;

	f->n_answers++;
	f->error = reply->error;
	snprintf(f->text, sizeof(f->text), "%s", reply->text);
	if (reply->status) {
		f->n_disks = reply->status->n_disks;
		f->n_nics = reply->status->n_nics;
		f->n_shares = reply->status->n_shares;
		f->share_is_lost = f->n_shares && reply->status->shares[0]->lost;
		f->disk_bytes = f->n_disks ? reply->status->disks[0]->size_bytes : 0;
		f->target_bytes = reply->status->target_memory_bytes;
		f->used_bytes = reply->status->used_memory_bytes;
	}
	if (reply->debug_info && *reply->debug_info) {
		free(f->debug_info);
		f->debug_info = strdup(reply->debug_info);
	}
}

static uint32_t ask(struct fixture *f, const Protect__Runner__Request *request, int fd)
{
	uint8_t frame[512];
	size_t len = protect__runner__request__pack(request, frame);

	f->n_answers = 0;
	f->error = 0;
	control_request(f->machine, frame, len, &fd, fd >= 0, take_reply, f);
	return f->error;
}

static uint32_t attach(struct fixture *f, const char *serial, int fd)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskAttach body = PROTECT__RUNNER__DISK_ATTACH__INIT;

	body.serial = (char *)(uintptr_t)serial;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH;
	request.disk_attach = &body;
	return ask(f, &request, fd);
}

/* One of the three requests that something go, which say the same. */
static uint32_t detach_what(struct fixture *f, Protect__Runner__Request__WhatCase what,
			    const char *name, uint32_t timeout_ms, bool force)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskDetach disk = PROTECT__RUNNER__DISK_DETACH__INIT;
	Protect__Runner__NicDetach nic = PROTECT__RUNNER__NIC_DETACH__INIT;
	Protect__Runner__ShareDetach share = PROTECT__RUNNER__SHARE_DETACH__INIT;

	disk.serial = nic.name = share.tag = (char *)(uintptr_t)name;
	disk.timeout_ms = nic.timeout_ms = share.timeout_ms = timeout_ms;
	disk.force = nic.force = share.force = force;
	request.what_case = what;
	if (what == PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH)
		request.disk_detach = &disk;
	else if (what == PROTECT__RUNNER__REQUEST__WHAT_NIC_DETACH)
		request.nic_detach = &nic;
	else
		request.share_detach = &share;
	return ask(f, &request, -1);
}

static uint32_t detach(struct fixture *f, const char *serial, uint32_t timeout_ms, bool force)
{
	return detach_what(f, PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH, serial, timeout_ms,
			   force);
}

static int make_disk(off_t size)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, size), 0);
	return fd;
}

static uint32_t attach_with(struct fixture *f, const char *serial, int fd, bool direct,
			    uint64_t bytes_per_s)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskAttach body = PROTECT__RUNNER__DISK_ATTACH__INIT;
	Protect__Runner__Rate rate = PROTECT__RUNNER__RATE__INIT;

	rate.bytes_per_s = bytes_per_s;
	body.serial = (char *)(uintptr_t)serial;
	body.direct = direct;
	body.rate = bytes_per_s ? &rate : NULL;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH;
	request.disk_attach = &body;
	return ask(f, &request, fd);
}

/* No memfd can do direct I/O, on any kernel. */
Test(control, a_disk_is_buffered_where_it_cannot_be_direct)
{
	struct fixture f;
	int fd = make_disk(1 << 20), tiny = make_disk(1);

	make(&f);
	cr_expect_eq(attach_with(&f, "d", fd, true, 0), 0, "%s", f.text);
	cr_expect_str_empty(f.text);
	cr_expect_eq(f.machine->disks.disks[0].slot.state, SLOT_PLUGGED);
	cr_expect_not(((struct blk *)f.machine->disks.disks[0].slot.dev)->direct);
	cr_expect_eq(attach_with(&f, "e", tiny, true, 0), EINVAL, "any other error stays");
	close(fd);
	close(tiny);
	finish(&f);
}

Test(control, a_disk_may_have_a_rate)
{
	const struct blk *blk;
	struct fixture f;
	int fd = make_disk(1 << 20);

	make(&f);
	cr_expect_eq(attach_with(&f, "d", fd, false, SPEC_RATE_MAX + 1), EINVAL);
	cr_assert_eq(attach_with(&f, "d", fd, false, 1000), 0, "%s", f.text);
	blk = (struct blk *)f.machine->disks.disks[0].slot.dev;
	cr_expect(blk->limited);
	cr_expect_eq(blk->limit.bytes.per_s, 1000);
	cr_expect_eq(blk->limit.ops.per_s, 0);
	cr_assert_eq(attach(&f, "e", fd), 0);
	cr_expect_not(((struct blk *)f.machine->disks.disks[1].slot.dev)->limited);
	close(fd);
	finish(&f);
}

Test(control, disks_come_and_go_with_consent_and_without)
{
	struct fixture f;
	int fd = make_disk(1 << 20);

	make(&f);
	cr_assert_eq(attach(&f, "d", -1), EBADF);
	cr_assert_eq(attach(&f, "a b", fd), EINVAL);
	cr_assert_eq(attach(&f, "123456789012345678901", fd), EINVAL);
	cr_assert_eq(attach(&f, "d", fd), 0, "%s", f.text);
	cr_assert_eq(attach(&f, "d", fd), EEXIST);
	cr_assert_eq(detach(&f, "nobody", 0, true), ENOENT);
	cr_assert_eq(detach(&f, "", 0, true), ENOENT);
	detach(&f, "d", 100, false);
	cr_assert_eq(f.n_answers, 0);
	cr_assert_eq(attach(&f, "d", fd), EBUSY);
	f.n_answers = 0;
	cr_assert_eq(detach(&f, "d", 0, true), EBUSY);
	f.n_answers = 0;
	run(&f, 150);
	cr_assert_eq(f.n_answers, 1);
	cr_assert_eq(f.error, ETIMEDOUT);
	cr_assert_eq(attach(&f, "d", fd), EBUSY, "it may still let go");
	f.n_answers = 0;
	detach(&f, "d", 0, true);
	run(&f, 50);
	cr_assert_eq(f.n_answers, 1);
	cr_assert_eq(f.error, 0, "%s", f.text);
	cr_assert_eq(attach(&f, "d", fd), 0);
	detach(&f, "d", 0, true);
	run(&f, 50);
	close(fd);
	finish(&f);
}

Test(control, a_paused_guest_is_asked_but_loses_nothing)
{
	struct fixture f;
	int fd = make_disk(1 << 20);

	make(&f);
	cr_assert_eq(attach(&f, "d", fd), 0, "%s", f.text);
	f.machine->vcpus.paused = true;
	detach(&f, "d", 10, true);
	run(&f, 50);
	cr_assert_eq(f.n_answers, 1);
	cr_expect_eq(f.error, ETIMEDOUT);
	cr_expect_eq(f.machine->disks.disks[0].slot.state, SLOT_PLUGGED);
	cr_expect(f.machine->pci.down, "it finds the request when it goes on");
	cr_expect_eq(attach(&f, "d", fd), EBUSY);
	f.machine->vcpus.paused = false;
	detach(&f, "d", 10, true);
	run(&f, 50);
	cr_expect_eq(f.error, 0, "%s", f.text);
	close(fd);
	finish(&f);
}

static uint32_t ask_status(struct fixture *f)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Status body = PROTECT__RUNNER__STATUS__INIT;

	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_STATUS;
	request.status = &body;
	return ask(f, &request, -1);
}

static uint32_t swap(struct fixture *f, const char *serial, int fd)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskSwap body = PROTECT__RUNNER__DISK_SWAP__INIT;

	body.serial = (char *)(uintptr_t)serial;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_SWAP;
	request.disk_swap = &body;
	return ask(f, &request, fd);
}

static uint32_t resize(struct fixture *f, const char *serial)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskResize body = PROTECT__RUNNER__DISK_RESIZE__INIT;

	body.serial = (char *)(uintptr_t)serial;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_RESIZE;
	request.disk_resize = &body;
	return ask(f, &request, -1);
}

Test(control, a_disk_becomes_another_file_and_grows)
{
	struct fixture f;
	int fd = make_disk(1 << 20), other = make_disk(2 << 20), small = make_disk(4096);

	make(&f);
	cr_assert_eq(attach(&f, "d", fd), 0);
	cr_assert_eq(swap(&f, "e", other), ENOENT);
	cr_assert_eq(swap(&f, "", other), ENOENT);
	cr_assert_eq(swap(&f, "d", -1), EBADF);
	cr_assert_neq(swap(&f, "d", small), 0);
	cr_assert_eq(ask_status(&f), 0);
	cr_assert_eq(f.disk_bytes, 1 << 20);
	cr_assert_eq(swap(&f, "d", other), 0, "%s", f.text);
	cr_assert_eq(ask_status(&f), 0);
	cr_assert_eq(f.disk_bytes, 2 << 20);
	cr_assert_eq(ftruncate(other, 8 << 20), 0);
	cr_assert_eq(resize(&f, "d"), 0, "%s", f.text);
	cr_assert_eq(resize(&f, "e"), ENOENT);
	cr_assert_eq(ask_status(&f), 0);
	cr_assert_eq(f.disk_bytes, 8 << 20);
	close(fd);
	close(other);
	close(small);
	finish(&f);
}

static uint32_t attach_nic(struct fixture *f, const char *name, size_t mac_len, uint32_t mtu,
			   uint64_t rate, int fd)
{
	static uint8_t mac[8] = {2, 0, 0, 0, 0, 1};
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__NicAttach body = PROTECT__RUNNER__NIC_ATTACH__INIT;
	Protect__Runner__Rate rx = PROTECT__RUNNER__RATE__INIT;

	body.name = (char *)(uintptr_t)name;
	body.mac = (ProtobufCBinaryData){.len = mac_len, .data = mac};
	body.mtu = mtu;
	body.rx = &rx;
	rx.bytes_per_s = rate;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_NIC_ATTACH;
	request.nic_attach = &body;
	return ask(f, &request, fd);
}

/* A file is no tap; one that is needs a host with taps: guest.hotplug_nic. */
static uint32_t set_link(struct fixture *f, const char *name, bool up)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__NicLink body = PROTECT__RUNNER__NIC_LINK__INIT;

	body.name = (char *)(uintptr_t)name;
	body.up = up;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_NIC_LINK;
	request.nic_link = &body;
	return ask(f, &request, -1);
}

Test(control, nics_that_cannot_be)
{
	struct fixture f;
	int fd = make_disk(4096);

	make(&f);
	cr_assert_eq(attach_nic(&f, "n", 6, 0, 0, -1), EBADF);
	cr_assert_eq(attach_nic(&f, "", 6, 0, 0, fd), EINVAL);
	cr_assert_eq(attach_nic(&f, "a b", 6, 0, 0, fd), EINVAL);
	cr_assert_eq(attach_nic(&f, "1234567890123456", 6, 0, 0, fd), EINVAL);
	cr_assert_eq(attach_nic(&f, "n", 5, 0, 0, fd), EINVAL);
	cr_assert_eq(attach_nic(&f, "n", 8, 0, 0, fd), EINVAL);
	cr_assert_eq(attach_nic(&f, "n", 6, 67, 0, fd), EINVAL);
	cr_assert_eq(attach_nic(&f, "n", 6, 65536 + 1500, 0, fd), EINVAL);
	cr_assert_eq(attach_nic(&f, "n", 6, 0, SPEC_RATE_MAX + 1, fd), EINVAL);
	cr_assert_eq(attach_nic(&f, "n", 6, 0, 0, fd), EINVAL, "a file is no tap");
	cr_assert_eq(detach_what(&f, PROTECT__RUNNER__REQUEST__WHAT_NIC_DETACH, "n", 0, false),
		     ENOENT);
	cr_assert_str_eq(f.text, "the zone has no NIC 'n'");
	cr_assert_eq(set_link(&f, "n", false), ENOENT);
	cr_assert_eq(set_link(&f, "", false), ENOENT);
	cr_assert_eq(ask_status(&f), 0);
	cr_assert_eq(f.n_nics, 0);
	close(fd);
	finish(&f);
}

static uint32_t attach_share(struct fixture *f, const char *tag, int fd)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__ShareAttach body = PROTECT__RUNNER__SHARE_ATTACH__INIT;

	body.tag = (char *)(uintptr_t)tag;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_SHARE_ATTACH;
	request.share_attach = &body;
	return ask(f, &request, fd);
}

static uint32_t detach_share(struct fixture *f, const char *tag)
{
	return detach_what(f, PROTECT__RUNNER__REQUEST__WHAT_SHARE_DETACH, tag, 0, true);
}

Test(control, folders_come_and_go)
{
	int file = make_disk(4096), ends[2];
	struct fixture f;
	char byte, tag[4] = "t0";

	make(&f);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	cr_assert_eq(attach_share(&f, "t", -1), EBADF);
	cr_assert_eq(attach_share(&f, "", ends[0]), EINVAL);
	cr_assert_eq(attach_share(&f, "a b", ends[0]), EINVAL);
	cr_assert_eq(attach_share(&f, "1234567890123456789012345678901234567", ends[0]), EINVAL);
	cr_assert_eq(attach_share(&f, "t", file), EINVAL, "a file is no server");
	cr_assert_eq(detach_share(&f, "t"), ENOENT);
	cr_assert_eq(attach_share(&f, "t", ends[0]), 0);
	cr_assert_eq(attach_share(&f, "t", ends[0]), EEXIST);
	close(ends[0]);
	cr_assert_eq(ask_status(&f), 0);
	cr_assert_eq(f.n_shares, 1);
	cr_assert_not(f.share_is_lost);
	/* Taken away: the server sees the end. */
	cr_assert_eq(detach_share(&f, "t"), 0);
	run(&f, 50);
	cr_assert_eq(f.n_answers, 1);
	cr_assert_eq(f.error, 0);
	cr_assert_eq(read(ends[1], &byte, 1), 0);
	cr_assert_eq(ask_status(&f), 0);
	cr_assert_eq(f.n_shares, 0);
	for (unsigned i = 0; i < SHARES_MAX; i++, tag[1]++)
		cr_assert_eq(attach_share(&f, tag, ends[1]), 0);
	cr_assert_eq(attach_share(&f, "more", ends[1]), ENOSPC);
	close(ends[1]);
	close(file);
	finish(&f);
}

static uint32_t set_resources(struct fixture *f, uint64_t bytes, uint32_t vcpus)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Resources body = PROTECT__RUNNER__RESOURCES__INIT;

	body.memory_bytes = bytes;
	body.vcpus = vcpus;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_RESOURCES;
	request.resources = &body;
	return ask(f, &request, -1);
}

static int no_memory(void *user, unsigned block)
{
	(void)user, (void)block;
	return -ENOMEM;
}

static void discard(void *user, void *host, uint64_t len)
{
	(void)user, (void)host, (void)len;
}

Test(control, a_target_becomes_balloon_and_plugged_memory)
{
	static const uint64_t plugged[1];
	const struct memdev_host host = {
		.plug = no_memory, .unplug = no_memory, .plugged = plugged};
	struct virtio_dev *balloon, *memdev;
	struct fixture f;

	make(&f);
	cr_assert_eq(set_resources(&f, MEMORY + 1, 0), ERANGE);
	cr_assert_eq(set_resources(&f, MEMORY / 2, 0), ENOTSUP, "no balloon");
	cr_assert_eq(virtio_balloon_new(&balloon, discard, NULL), 0);
	cr_assert_eq(slots_plug_fixed(&f.machine->slots, 4, balloon), 0);
	cr_assert_eq(virtio_memdev_new(&memdev, 4 * GIB, 128 * MIB, 2 * MIB, &host), 0);
	cr_assert_eq(slots_plug_fixed(&f.machine->slots, 5, memdev), 0);
	resources_init(&f.machine->resources, MEMORY, MEMORY + 100 * MIB, balloon, memdev);
	cr_assert_eq(set_resources(&f, MEMORY + 50 * MIB, 0), 0, "%s", f.text);
	cr_assert_eq(virtio_memdev_target(memdev), 50 * MIB);
	cr_assert_eq(virtio_balloon_target(balloon), 0);
	cr_assert_eq(set_resources(&f, MEMORY - 8 * MIB, 0), 0);
	cr_assert_eq(virtio_memdev_target(memdev), 0);
	cr_assert_eq(virtio_balloon_target(balloon), 8 * MIB);
	cr_assert_eq(set_resources(&f, MEMORY + 100 * MIB + 1, 0), ERANGE);
	cr_assert_eq(set_resources(&f, UINT64_MAX, 0), ERANGE);
	cr_assert_eq(set_resources(&f, 1, 0), ERANGE);
	cr_assert_eq(set_resources(&f, MEMORY, 3), ERANGE, "too many vCPUs");
	cr_assert_eq(virtio_balloon_target(balloon), 8 * MIB, "all or nothing");
	cr_assert_eq(set_resources(&f, 0, 0), 0);
	cr_assert_eq(ask_status(&f), 0);
	cr_assert_eq(f.target_bytes, MEMORY - 8 * MIB);
	cr_assert_eq(f.used_bytes, MEMORY, "the guest has followed in nothing");
	finish(&f);
}

static uint32_t ask_debug_info(struct fixture *f)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DebugInfo body = PROTECT__RUNNER__DEBUG_INFO__INIT;

	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DEBUG_INFO;
	request.debug_info = &body;
	return ask(f, &request, -1);
}

/* 26 disks of 8 queues. */
static void attach_many(struct fixture *f, int fd)
{
	struct spec_disk disk = {.fd = fd, .n_queues = 8, .serial = "a"};
	struct error err = ERROR_NULL;

	for (; disk.serial[0] <= 'z'; disk.serial[0]++)
		cr_assert_eq(disks_attach(&f->machine->disks, &disk, true, &err), 0, "%s",
			     err.text);
}

/* As far as they are looked at here, with numbers as long as they can be. */
static void set_queues_enabled(struct fixture *f, bool enabled)
{
	static uint16_t avail[UINT16_MAX + 4];
	uint16_t number = enabled ? UINT16_MAX : 0;

	memset(avail, 0xff, sizeof(avail));
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		struct virtio_dev *dev = f->machine->slots.at[slot];

		for (unsigned i = 0; dev && i < dev->n_queues; i++) {
			struct vq *vq = &dev->queues[i];

			vq->enabled = vq->event_idx = enabled;
			vq->avail = enabled ? (struct vring_avail *)(void *)avail : NULL;
			vq->size = vq->next_avail = vq->next_used = number;
			vq->published_used = vq->n_in_flight = number;
		}
	}
}

Test(control, debug_information_is_bounded_json)
{
	struct fixture f;
	json_int_t left_out;
	json_t *root, *devices;
	int fd = make_disk(1 << 20);

	make(&f);
	cr_assert_eq(attach(&f, "one", fd), 0);
	cr_assert_eq(ask_debug_info(&f), 0);
	root = json_loads(f.debug_info, 0, NULL);
	cr_assert(json_is_object(root));
	devices = json_object_get(root, "devices");
	cr_assert_eq(json_array_size(devices), 2);
	cr_assert_eq(json_array_size(json_object_get(root, "vcpus")), 2);
	cr_assert_eq(json_integer_value(json_object_get(root, "devices_left_out")), 0);
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(devices, 0), "name")),
			 "one");
	json_decref(root);
	attach_many(&f, fd);
	f.machine->vcpus.n_max = 64;
	set_queues_enabled(&f, true);
	cr_assert_eq(ask_debug_info(&f), 0);
	set_queues_enabled(&f, false);
	cr_assert_leq(strlen(f.debug_info), DEBUG_TEXT_MAX);
	root = json_loads(f.debug_info, 0, NULL);
	left_out = json_integer_value(json_object_get(root, "devices_left_out"));
	cr_assert_gt(left_out, 0);
	cr_assert_eq((json_int_t)json_array_size(json_object_get(root, "devices")), 28 - left_out);
	json_decref(root);
	close(fd);
	finish(&f);
}

/* Of a queue in use and of the loop: enough to find it in a guest's memory and to see who waits. */
Test(control, debug_information_tells_of_rings_and_the_loop)
{
	json_t *root, *queue, *loop, *rng;
	struct fixture f;
	struct vq *vq;

	make(&f);
	vq = &f.machine->slots.at[3]->queues[0];
	vq->enabled = vq->indirect = true;
	vq->desc_gpa = 0x10000;
	vq->driver_gpa = 0x20000;
	vq->device_gpa = 0x123456789abcdef0;
	cr_assert_eq(ask_debug_info(&f), 0);
	vq->enabled = vq->indirect = false;
	root = json_loads(f.debug_info, 0, NULL);
	rng = json_array_get(json_object_get(root, "devices"), 0);
	queue = json_array_get(json_object_get(rng, "queues"), 0);
	cr_expect_str_eq(json_string_value(json_object_get(queue, "desc")), "0x10000");
	cr_expect_str_eq(json_string_value(json_object_get(queue, "driver")), "0x20000");
	cr_expect_str_eq(json_string_value(json_object_get(queue, "device")), "0x123456789abcdef0");
	cr_expect(json_is_true(json_object_get(queue, "indirect")));
	cr_expect(json_is_false(json_object_get(queue, "event_idx")));
	cr_expect(json_is_false(json_object_get(queue, "draining")));
	cr_expect(json_is_integer(json_object_get(json_object_get(rng, "counters"), "throttled")));
	loop = json_object_get(root, "loop");
	cr_expect_str_eq(json_string_value(json_object_get(loop, "engine")),
			 loop_is_polling(f.machine->loop) ? "poll" : "io_uring");
	cr_expect_eq(json_integer_value(json_object_get(loop, "slots")), 512);
	cr_expect_gt(json_integer_value(json_object_get(loop, "slots_used")), 0);
	cr_expect_eq(json_integer_value(json_object_get(loop, "under_way")),
		     loop_state(f.machine->loop).n_under_way);
	json_decref(root);
	finish(&f);
}

Test(control, what_is_no_request_is_refused)
{
	struct fixture f;

	make(&f);
	control_request(f.machine, "\xff\xff\xff", 3, NULL, 0, take_reply, &f);
	cr_assert_eq(f.n_answers, 1);
	cr_assert_eq(f.error, EBADMSG);
	control_request(f.machine, "", 0, NULL, 0, take_reply, &f);
	cr_assert_eq(f.error, EBADMSG);
	finish(&f);
}
