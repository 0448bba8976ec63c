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
#include "vmm/machine.h"

#define DETACH_TIMEOUT_MS_MAX 600000u

static void answer(control_reply_fn *reply, void *user, struct error *err)
{
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;

	message.error = (uint32_t)-err->code;
	message.text = err->text;
	reply(user, &message);
}

static void disk_attach(struct machine *machine, const Protect__Runner__DiskAttach *request, int fd,
			struct error *err)
{
	struct spec_disk disk = {.fd = fd, .read_only = request->read_only};

	if (fd < 0)
		error_set(err, -EBADF, "a disk to attach needs a descriptor");
	else if (!spec_is_serial(request->serial))
		error_set(err, -EINVAL, "a serial is 1 to %d printable characters",
			  SPEC_SERIAL_MAX);
	else
		strcpy(disk.serial, request->serial);
	if (!err->code)
		disks_attach(&machine->disks, &disk, true, err);
}

struct detach {
	control_reply_fn *reply;
	void *user;
};

static void detached(void *user, int code)
{
	_cleanup_(freep) struct detach *detach = user;
	struct error err = ERROR_NULL;

	if (code < 0)
		error_set(&err, code, "the guest did not let go of the disk in time");
	answer(detach->reply, detach->user, &err);
}

/* Returns false when the answer was left to come later. */
static bool disk_detach(struct machine *machine, const Protect__Runner__DiskDetach *request,
			control_reply_fn *reply, void *user, struct error *err)
{
	struct detach *detach = malloc(sizeof(*detach));
	uint32_t timeout_ms = request->timeout_ms;

	if (!detach) {
		error_set(err, -ENOMEM, "out of memory");
		return true;
	}
	*detach = (struct detach){.reply = reply, .user = user};
	if (timeout_ms > DETACH_TIMEOUT_MS_MAX)
		timeout_ms = DETACH_TIMEOUT_MS_MAX;
	if (disks_detach(&machine->disks, request->serial, timeout_ms, request->force, detached,
			 detach, err) == 0)
		return false;
	free(detach);
	return true;
}

static void status(struct machine *machine, control_reply_fn *reply, void *user)
{
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;
	Protect__Runner__StatusReply body = PROTECT__RUNNER__STATUS_REPLY__INIT;
	Protect__Runner__Disk disks[DISKS_MAX], *list[DISKS_MAX];

	body.pid = (uint32_t)getpid();
	body.memory_bytes = machine->memory.len;
	body.vcpus = machine->vcpus.n_max;
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
	reply(user, &message);
}

void control_request(struct machine *machine, const void *data, size_t len, int fd,
		     control_reply_fn *reply, void *user)
{
	Protect__Runner__Request *request = protect__runner__request__unpack(NULL, len, data);
	struct error err = ERROR_NULL;
	bool now = true;

	switch (request ? request->what_case : PROTECT__RUNNER__REQUEST__WHAT__NOT_SET) {
	case PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH:
		disk_attach(machine, request->disk_attach, fd, &err);
		break;
	case PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH:
		now = disk_detach(machine, request->disk_detach, reply, user, &err);
		break;
	case PROTECT__RUNNER__REQUEST__WHAT_STATUS:
		status(machine, reply, user);
		now = false;
		break;
	case PROTECT__RUNNER__REQUEST__WHAT_SHUTDOWN:
		pci_bus_event(&machine->pci, PCI_EVENT_POWER_BUTTON);
		break;
	case PROTECT__RUNNER__REQUEST__WHAT_KILL:
		machine_end(machine, RUNNER_EXIT_KILLED, "");
		break;
	default:
		error_set(&err, -EBADMSG, "not a request that this runner knows");
		break;
	}
	if (request)
		protect__runner__request__free_unpacked(request, NULL);
	if (now)
		answer(reply, user, &err);
}
