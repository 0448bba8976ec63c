// SPDX-License-Identifier: Apache-2.0
/* Control requests against a machine that has devices but no KVM: answers, refusals, and what
 * debug information holds. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "proto/runner.pb-c.h"
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
};

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

static const struct pci_host_ops host_ops = {.irq_alloc = irq_alloc,
					     .irq_route = irq_route,
					     .irq_unroute = irq_unroute,
					     .irq_free = irq_free,
					     .doorbell_add = doorbell_add,
					     .doorbell_remove = doorbell_remove};

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
	cr_assert_eq(loop_new(&machine->loop, 64, 256), 0);
	cr_assert_eq(bus_init(&machine->bus, machine->loop, ended, machine), 0);
	machine->acpi_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pci_bus_init(&machine->pci, &machine->bus, machine->acpi_event_fd, on_ejected, machine);
	slots_init(&machine->slots, machine->loop, &machine->memory.mem, &machine->pci, &host_ops,
		   NULL);
	disks_init(&machine->disks, &machine->slots, 2);
	machine->memory.len = MEMORY;
	machine->memory.mem.n_regions = 1;
	machine->memory.mem.regions[0].len = MEMORY;
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

static uint32_t detach(struct fixture *f, const char *serial, uint32_t timeout_ms, bool force)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskDetach body = PROTECT__RUNNER__DISK_DETACH__INIT;

	body.serial = (char *)(uintptr_t)serial;
	body.timeout_ms = timeout_ms;
	body.force = force;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH;
	request.disk_detach = &body;
	return ask(f, &request, -1);
}

static int make_disk(off_t size)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, size), 0);
	return fd;
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
	cr_assert_eq(detach(&f, "d", 0, true), EBUSY);
	f.n_answers = 0;
	run(&f, 150);
	cr_assert_eq(f.n_answers, 1);
	cr_assert_eq(f.error, ETIMEDOUT);
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

static uint32_t ask_debug_info(struct fixture *f)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DebugInfo body = PROTECT__RUNNER__DEBUG_INFO__INIT;

	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DEBUG_INFO;
	request.debug_info = &body;
	return ask(f, &request, -1);
}

Test(control, debug_information_is_bounded_json)
{
	struct fixture f;
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
	for (char serial[] = "a"; serial[0] <= 'z'; serial[0]++)
		cr_assert_eq(attach(&f, serial, fd), 0, "%s", f.text);
	f.machine->vcpus.n_max = 64;
	cr_assert_eq(ask_debug_info(&f), 0);
	cr_assert_leq(strlen(f.debug_info), DEBUG_TEXT_MAX);
	root = json_loads(f.debug_info, 0, NULL);
	cr_assert(json_is_object(root));
	json_decref(root);
	close(fd);
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
