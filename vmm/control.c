// SPDX-License-Identifier: Apache-2.0
#include "vmm/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/runner.h"
#include "virtio/blk.h"
#include "vmm/debug.h"
#include "vmm/machine.h"

#define DETACH_TIMEOUT_MS_MAX 600000u

/* One request while it is served. A handler returns 0 or a negative errno with `err`, which is then
 * the answer, or LATER: it has answered, or will. */
struct request {
	struct machine *machine;
	const int *fds;
	unsigned n_fds;
	control_reply_fn *reply;
	void *user;
	struct error err;
};

#define LATER 1

static void answer(control_reply_fn *reply, void *user, struct error *err)
{
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;

	message.error = (uint32_t)-err->code;
	message.text = err->text;
	reply(user, &message);
}

/* Who waits for an answer that comes later. */
struct waiter {
	control_reply_fn *reply;
	void *user;
};

static struct waiter *waiter_new(struct request *request)
{
	struct waiter *waiter = malloc(sizeof(*waiter));

	if (waiter)
		*waiter = (struct waiter){.reply = request->reply, .user = request->user};
	else
		error_set(&request->err, -ENOMEM, "out of memory");
	return waiter;
}

/* Disks and NICs. */

static int take_fd(struct request *request, const char *what)
{
	if (request->n_fds != 1)
		return error_set(&request->err, -EBADF, "%s needs one descriptor", what);
	return request->fds[0];
}

static int disk_attach(struct request *request, const Protect__Runner__DiskAttach *body)
{
	struct spec_disk disk = {.fd = take_fd(request, "a disk to attach"),
				 .read_only = body->read_only};

	if (disk.fd < 0)
		return disk.fd;
	if (!spec_is_serial(body->serial))
		return error_set(&request->err, -EINVAL, "a serial is 1 to %d printable characters",
				 SPEC_SERIAL_MAX);
	memcpy(disk.serial, body->serial, strlen(body->serial) + 1);
	return disks_attach(&request->machine->disks, &disk, true, &request->err);
}

static void detached(void *user, int code)
{
	_cleanup_(freep) struct waiter *waiter = user;
	struct error err = ERROR_NULL;

	if (code == -ETIMEDOUT)
		error_set(&err, code, "the guest did not let go in time");
	else if (code < 0)
		error_set_errno(&err, code, "not detached");
	answer(waiter->reply, waiter->user, &err);
}

static uint32_t bounded_ms(uint32_t timeout_ms)
{
	return timeout_ms < DETACH_TIMEOUT_MS_MAX ? timeout_ms : DETACH_TIMEOUT_MS_MAX;
}

static int disk_detach(struct request *request, const Protect__Runner__DiskDetach *body)
{
	_cleanup_(freep) struct waiter *waiter = waiter_new(request);
	int r = waiter ? disks_detach(&request->machine->disks, body->serial,
				      bounded_ms(body->timeout_ms), body->force, detached, waiter,
				      &request->err)
		       : -ENOMEM;

	if (r < 0)
		return r;
	steal_ptr(&waiter);
	return LATER;
}

/* The machine. */

static int status(struct request *request)
{
	struct machine *machine = request->machine;
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;
	Protect__Runner__StatusReply body = PROTECT__RUNNER__STATUS_REPLY__INIT;
	Protect__Runner__Disk disks[DISKS_MAX], *list[DISKS_MAX];

	body.pid = (uint32_t)getpid();
	body.memory_bytes = machine->memory.len;
	body.vcpus = machine->vcpus.n_max;
	body.target_vcpus = vcpus_target(&machine->vcpus);
	body.online_vcpus = vcpus_plugged(&machine->vcpus);
	body.paused = vcpus_are_paused(&machine->vcpus);
	body.started_monotonic_ns = machine->started_ns;
	body.disks = list;
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		struct disk *disk = &machine->disks.disks[i];

		if (!disk->serial[0] || !disk->slot.dev)
			continue;
		protect__runner__disk__init(&disks[i]);
		disks[i].serial = disk->serial;
		disks[i].read_only = disk->read_only;
		disks[i].size_bytes = virtio_blk_size(disk->slot.dev);
		list[body.n_disks++] = &disks[i];
	}
	message.status = &body;
	request->reply(request->user, &message);
	return LATER;
}

static void paused(void *user, int code)
{
	_cleanup_(freep) struct waiter *waiter = user;
	struct error err = ERROR_NULL;

	if (code < 0)
		error_set_errno(&err, code, "not paused");
	answer(waiter->reply, waiter->user, &err);
}

static int pause_zone(struct request *request)
{
	_cleanup_(freep) struct waiter *waiter = waiter_new(request);
	int r = waiter ? vcpus_pause(&request->machine->vcpus, paused, waiter) : -ENOMEM;

	if (r < 0)
		return error_set_errno(&request->err, r, "cannot pause");
	if (r > 0)
		return 0;
	steal_ptr(&waiter);
	return LATER;
}

static int debug_info(struct request *request)
{
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;
	_cleanup_(freep) char *text = debug_text(request->machine);

	if (!text)
		return error_set(&request->err, -ENOMEM, "out of memory");
	message.debug_info = text;
	request->reply(request->user, &message);
	return LATER;
}

static int serve(struct request *request, const Protect__Runner__Request *what)
{
	struct machine *machine = request->machine;

	switch (what ? what->what_case : PROTECT__RUNNER__REQUEST__WHAT__NOT_SET) {
	case PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH:
		return disk_attach(request, what->disk_attach);
	case PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH:
		return disk_detach(request, what->disk_detach);
	case PROTECT__RUNNER__REQUEST__WHAT_STATUS:
		return status(request);
	case PROTECT__RUNNER__REQUEST__WHAT_SHUTDOWN:
		pci_bus_event(&machine->pci, PCI_EVENT_POWER_BUTTON);
		return 0;
	case PROTECT__RUNNER__REQUEST__WHAT_KILL:
		machine_end(machine, RUNNER_EXIT_KILLED, "");
		return 0;
	case PROTECT__RUNNER__REQUEST__WHAT_DEBUG_INFO:
		return debug_info(request);
	case PROTECT__RUNNER__REQUEST__WHAT_PAUSE:
		return pause_zone(request);
	case PROTECT__RUNNER__REQUEST__WHAT_RESUME:
		vcpus_resume(&machine->vcpus);
		return 0;
	default:
		return error_set(&request->err, -EBADMSG, "not a request that this runner knows");
	}
}

void control_request(struct machine *machine, const void *data, size_t len, const int *fds,
		     unsigned n_fds, control_reply_fn *reply, void *user)
{
	Protect__Runner__Request *what = protect__runner__request__unpack(NULL, len, data);
	struct request request = {.machine = machine,
				  .fds = fds,
				  .n_fds = n_fds,
				  .reply = reply,
				  .user = user,
				  .err = ERROR_NULL};
	int r = serve(&request, what);

	if (what)
		protect__runner__request__free_unpacked(what, NULL);
	if (r == LATER)
		return;
	if (r < 0)
		error_set_errno(&request.err, r, "refused");
	answer(reply, user, &request.err);
}
