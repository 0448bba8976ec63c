// SPDX-License-Identifier: Apache-2.0
#include "vmm/control.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/runner.h"
#include "base/util.h"
#include "virtio/blk.h"
#include "vmm/debug.h"
#include "vmm/machine.h"
#include "vmm/stats.h"

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

static_assert(RUNNER_FDS_MAX <= VIRTIO_NET_PAIRS_MAX, "a descriptor a queue pair");

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

static struct rate to_rate(const Protect__Runner__Rate *rate)
{
	if (!rate)
		return (struct rate){.bytes_per_s = 0};
	return (struct rate){.bytes_per_s = rate->bytes_per_s,
			     .ops_per_s = rate->ops_per_s,
			     .burst_bytes = rate->burst_bytes,
			     .burst_ops = rate->burst_ops};
}

static int disk_attach(struct request *request, const Protect__Runner__DiskAttach *body)
{
	struct spec_disk disk = {.fd = take_fd(request, "a disk to attach"),
				 .read_only = body->read_only,
				 .direct = body->direct,
				 .rate = to_rate(body->rate)};
	int r;

	if (disk.fd < 0)
		return disk.fd;
	if (!spec_is_serial(body->serial))
		return error_set(&request->err, -EINVAL, "a serial is 1 to %d printable characters",
				 SPEC_SERIAL_MAX);
	memcpy(disk.serial, body->serial, strlen(body->serial) + 1);
	r = disks_attach(&request->machine->disks, &disk, true, &request->err);
	if (r != -EOPNOTSUPP || !disk.direct)
		return r;
	disk.direct = false;
	request->err =
		(struct error)ERROR_NULL; /* or the daemon would hear of what was made good */
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

/*
 * Asks the guest to let go of what is in a slot (NULL: nothing of that name is there). A guest that
 * stands still cannot, and should not lose for it what it may have mounted: it is asked only, and
 * finds the request when it goes on. The requests behind this one do not wait.
 */
static int detach(struct request *request, struct slot *slot, const char *what, const char *name,
		  uint32_t timeout_ms, bool force)
{
	bool stands = vcpus_are_paused(&request->machine->vcpus);
	_cleanup_(freep) struct waiter *waiter = NULL;
	int r;

	if (!slot)
		return error_set(&request->err, -ENOENT, "the zone has no %s '%s'", what, name);
	waiter = waiter_new(request);
	if (!waiter)
		return -ENOMEM;
	r = slot_detach(slot, stands ? 0 : MIN(timeout_ms, DETACH_TIMEOUT_MS_MAX), force && !stands,
			detached, waiter);
	if (r == -EBUSY)
		return error_set(&request->err, r, "%s '%s' is being detached already", what, name);
	if (r == -EPERM)
		return error_set(&request->err, r, "%s '%s' belongs to the zone's spec and stays",
				 what, name);
	if (r < 0)
		return r;
	steal_ptr(&waiter);
	return LATER;
}

static int disk_detach(struct request *request, const Protect__Runner__DiskDetach *body)
{
	return detach(request, disks_slot(&request->machine->disks, body->serial), "disk",
		      body->serial, body->timeout_ms, body->force);
}

static int disk_swap(struct request *request, const Protect__Runner__DiskSwap *body)
{
	int fd = take_fd(request, "a disk to swap");

	return fd < 0 ? fd : disks_swap(&request->machine->disks, body->serial, fd, &request->err);
}

static int nic_attach(struct request *request, const Protect__Runner__NicAttach *body)
{
	struct spec_nic nic = {.n_taps = request->n_fds,
			       .mtu = (uint16_t)body->mtu,
			       .rx = to_rate(body->rx),
			       .tx = to_rate(body->tx)};

	if (!request->n_fds)
		return error_set(&request->err, -EBADF, "a NIC needs a descriptor a queue pair");
	if (!spec_is_nic_name(body->name))
		return error_set(&request->err, -EINVAL,
				 "the name of a NIC is 1 to %d printable characters",
				 SPEC_NIC_NAME_MAX);
	if (body->mac.len != sizeof(nic.mac) || body->mtu > VIRTIO_NET_MTU_MAX)
		return error_set(&request->err, -EINVAL,
				 "a NIC needs an address of 6 bytes and an MTU up to %u",
				 VIRTIO_NET_MTU_MAX);
	memcpy(nic.name, body->name, strlen(body->name) + 1);
	memcpy(nic.mac, body->mac.data, sizeof(nic.mac));
	memcpy(nic.taps, request->fds, request->n_fds * sizeof(nic.taps[0]));
	return nics_attach(&request->machine->nics, &nic, true, &request->err);
}

static int nic_detach(struct request *request, const Protect__Runner__NicDetach *body)
{
	return detach(request, nics_slot(&request->machine->nics, body->name), "NIC", body->name,
		      body->timeout_ms, body->force);
}

/* Folders. */

static int share_attach(struct request *request, const Protect__Runner__ShareAttach *body)
{
	int fd = take_fd(request, "a folder to attach");

	return fd < 0 ? fd : shares_attach(&request->machine->shares, body->tag, fd, &request->err);
}

static int share_detach(struct request *request, const Protect__Runner__ShareDetach *body)
{
	return detach(request, shares_slot(&request->machine->shares, body->tag), "folder",
		      body->tag, body->timeout_ms, body->force);
}

/* The machine. */

/* Both or, if either cannot be, nothing. */
static int set_resources(struct request *request, const Protect__Runner__Resources *body)
{
	struct machine *machine = request->machine;
	struct error *err = &request->err;
	int r = 0;

	if (body->memory_bytes)
		r = resources_check_memory(&machine->resources, body->memory_bytes, err);
	if (r == 0 && body->vcpus)
		r = vcpus_set_target(&machine->vcpus, body->vcpus, err);
	if (r == 0 && body->memory_bytes)
		r = resources_set_memory(&machine->resources, body->memory_bytes, err);
	if (r == 0)
		log_info("msg=\"resources set\" memory_mib=%llu vcpus=%u",
			 (unsigned long long)(machine->resources.target_bytes / MIB),
			 vcpus_target(&machine->vcpus));
	return r;
}

static void list_disks(struct disks *disks, Protect__Runner__Disk *room,
		       Protect__Runner__Disk **list, Protect__Runner__StatusReply *body)
{
	body->disks = list;
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		struct disk *disk = &disks->disks[i];

		if (!disk->serial[0] || !disk->slot.dev)
			continue;
		protect__runner__disk__init(&room[i]);
		room[i].serial = disk->serial;
		room[i].read_only = disk->read_only;
		room[i].size_bytes = virtio_blk_size(disk->slot.dev);
		list[body->n_disks++] = &room[i];
	}
}

static void list_nics(struct nics *nics, char **list, Protect__Runner__StatusReply *body)
{
	body->nics = list;
	for (unsigned i = 0; i < NICS_MAX; i++)
		if (nics->nics[i].name[0])
			list[body->n_nics++] = nics->nics[i].name;
}

static void list_shares(struct shares *shares, Protect__Runner__Share *room,
			Protect__Runner__Share **list, Protect__Runner__StatusReply *body)
{
	body->shares = list;
	for (unsigned i = 0; i < SHARES_MAX; i++) {
		struct share *share = &shares->shares[i];

		if (!share->tag[0] || !share->slot.dev)
			continue;
		protect__runner__share__init(&room[i]);
		room[i].tag = share->tag;
		room[i].lost = virtio_fs_is_lost(share->slot.dev);
		list[body->n_shares++] = &room[i];
	}
}

/* #syscalls loop: getpid */
static int status(struct request *request)
{
	struct machine *machine = request->machine;
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;
	Protect__Runner__StatusReply body = PROTECT__RUNNER__STATUS_REPLY__INIT;
	Protect__Runner__Disk room[DISKS_MAX], *disks[DISKS_MAX];
	Protect__Runner__Share share_room[SHARES_MAX], *shares[SHARES_MAX];
	char *nics[NICS_MAX];

	body.pid = (uint32_t)getpid();
	body.memory_bytes = machine->resources.max_bytes;
	body.target_memory_bytes = machine->resources.target_bytes;
	body.used_memory_bytes = resources_used_memory(&machine->resources);
	body.vcpus = machine->vcpus.n_max;
	body.target_vcpus = vcpus_target(&machine->vcpus);
	body.online_vcpus = vcpus_plugged(&machine->vcpus);
	body.paused = vcpus_are_paused(&machine->vcpus);
	body.started_monotonic_ns = machine->started_ns;
	list_disks(&machine->disks, room, disks, &body);
	list_nics(&machine->nics, nics, &body);
	list_shares(&machine->shares, share_room, shares, &body);
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

static int stats(struct request *request)
{
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;
	struct stats stats;

	stats_take(request->machine, &stats);
	message.stats = &stats.reply;
	request->reply(request->user, &message);
	return LATER;
}

static int serve_device(struct request *request, const Protect__Runner__Request *what)
{
	switch (what->what_case) {
	case PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH:
		return disk_attach(request, what->disk_attach);
	case PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH:
		return disk_detach(request, what->disk_detach);
	case PROTECT__RUNNER__REQUEST__WHAT_DISK_SWAP:
		return disk_swap(request, what->disk_swap);
	case PROTECT__RUNNER__REQUEST__WHAT_DISK_RESIZE:
		return disks_resize(&request->machine->disks, what->disk_resize->serial,
				    &request->err);
	case PROTECT__RUNNER__REQUEST__WHAT_NIC_ATTACH:
		return nic_attach(request, what->nic_attach);
	case PROTECT__RUNNER__REQUEST__WHAT_NIC_LINK:
		return nics_set_link(&request->machine->nics, what->nic_link->name,
				     what->nic_link->up, &request->err);
	case PROTECT__RUNNER__REQUEST__WHAT_NIC_DETACH:
		return nic_detach(request, what->nic_detach);
	case PROTECT__RUNNER__REQUEST__WHAT_SHARE_ATTACH:
		return share_attach(request, what->share_attach);
	case PROTECT__RUNNER__REQUEST__WHAT_SHARE_DETACH:
		return share_detach(request, what->share_detach);
	default:
		return error_set(&request->err, -EBADMSG, "not a request that this runner knows");
	}
}

static int serve(struct request *request, const Protect__Runner__Request *what)
{
	struct machine *machine = request->machine;

	switch (what->what_case) {
	case PROTECT__RUNNER__REQUEST__WHAT_STATUS:
		return status(request);
	case PROTECT__RUNNER__REQUEST__WHAT_SHUTDOWN:
		pci_bus_event(&machine->pci, PCI_EVENT_POWER_BUTTON);
		return 0;
	case PROTECT__RUNNER__REQUEST__WHAT_KILL:
		machine_end(machine, RUNNER_EXIT_KILLED, "");
		return 0;
	case PROTECT__RUNNER__REQUEST__WHAT_RESOURCES:
		return set_resources(request, what->resources);
	case PROTECT__RUNNER__REQUEST__WHAT_PAUSE:
		return pause_zone(request);
	case PROTECT__RUNNER__REQUEST__WHAT_RESUME:
		vcpus_resume(&machine->vcpus);
		return 0;
	case PROTECT__RUNNER__REQUEST__WHAT_DEBUG_INFO:
		return debug_info(request);
	case PROTECT__RUNNER__REQUEST__WHAT_STATS:
		return stats(request);
	default:
		return serve_device(request, what);
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
	int r = what ? serve(&request, what)
		     : error_set(&request.err, -EBADMSG, "not a request of this protocol");

	if (what)
		protect__runner__request__free_unpacked(what, NULL);
	if (r == LATER)
		return;
	if (r < 0)
		error_set_errno(&request.err, r, "refused");
	answer(reply, user, &request.err);
}
