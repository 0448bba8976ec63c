// SPDX-License-Identifier: Apache-2.0
#include "xen-compat/control.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/runner.h"
#include "base/util.h"
#include "xen-compat/store.h"
#include "xen-compat/zone.h"

/* One request while it is served. A handler returns 0 or a negative errno with `err`, which is then
 * the answer, or ANSWERED: it has answered, or will. */
struct request {
	struct zone *zone;
	const int *fds;
	unsigned n_fds;
	control_reply_fn *reply;
	void *user;
	struct error err;
};

#define ANSWERED 1

#define DETACH_TIMEOUT_MS_MAX 600000u

static void list_disks(struct disks *disks, Protect__Runner__Disk *room,
		       Protect__Runner__Disk **list, Protect__Runner__StatusReply *body)
{
	body->disks = list;
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		struct disk *disk = &disks->all[i];

		if (!disk->serial[0])
			continue;
		protect__runner__disk__init(&room[i]);
		room[i].serial = disk->serial;
		room[i].read_only = disk->read_only;
		room[i].size_bytes = disk->size_bytes;
		list[body->n_disks++] = &room[i];
	}
}

static int status(struct request *request)
{
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;
	Protect__Runner__StatusReply body = PROTECT__RUNNER__STATUS_REPLY__INIT;
	Protect__Runner__Disk room[DISKS_MAX], *disks[DISKS_MAX];
	struct zone *zone = request->zone;

	domain_look(&zone->xen, &zone->domain, &zone->info);
	body.pid = (uint32_t)getpid();
	body.memory_bytes = zone->memory_bytes;
	body.target_memory_bytes = zone->target_bytes;
	body.used_memory_bytes = zone->info.memory_bytes;
	body.vcpus = zone->vcpus;
	body.target_vcpus = zone->target_vcpus;
	body.online_vcpus = zone->info.online_vcpus;
	body.paused = zone->paused;
	body.started_monotonic_ns = zone->started_ns;
	list_disks(&zone->disks, room, disks, &body);
	message.status = &body;
	request->reply(request->user, &message);
	return ANSWERED;
}

static int stats(struct request *request)
{
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;
	Protect__Runner__StatsReply body = PROTECT__RUNNER__STATS_REPLY__INIT;
	struct zone *zone = request->zone;

	domain_look(&zone->xen, &zone->domain, &zone->info);
	body.plugged_memory_bytes = zone->memory_bytes;
	if (zone->info.memory_bytes < zone->memory_bytes)
		body.balloon_bytes = zone->memory_bytes - zone->info.memory_bytes;
	body.vsock_rx_bytes = zone->idm.rx_bytes;
	body.vsock_tx_bytes = zone->idm.tx_bytes;
	body.console_bytes = zone->console.n_bytes;
	message.stats = &body;
	request->reply(request->user, &message);
	return ANSWERED;
}

static int debug_info(struct request *request)
{
	static const char *const states[] = {
		[DOMAIN_RUNS] = "runs",		[DOMAIN_POWEROFF] = "poweroff",
		[DOMAIN_REBOOT] = "reboot",	[DOMAIN_CRASH] = "crash",
		[DOMAIN_WATCHDOG] = "watchdog", [DOMAIN_GONE] = "gone"};
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;
	struct zone *zone = request->zone;
	_cleanup_(freep) char *text = NULL;
	json_auto_t *root = NULL;

	domain_look(&zone->xen, &zone->domain, &zone->info);
	root = json_pack(
		"{s:s, s:i, s:s, s:s, s:b, s:I, s:I, s:i, s:{s:b, s:b, s:I, s:I}, s:I}",
		"hypervisor", "xen", "domid", (int)zone->domain.id, "type",
		zone->domain.hvm ? "pvh" : "pv", "state", states[zone->info.state], "paused",
		zone->info.paused, "memory_bytes", (json_int_t)zone->info.memory_bytes, "cpu_ns",
		(json_int_t)zone->info.cpu_ns, "online_vcpus", (int)zone->info.online_vcpus, "idm",
		"client", zone->idm.fd >= 0, "agent", zone->idm.channel.page != NULL, "rx_bytes",
		(json_int_t)zone->idm.rx_bytes, "tx_bytes", (json_int_t)zone->idm.tx_bytes,
		"console_bytes", (json_int_t)zone->console.n_bytes);
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	if (!text)
		return error_set(&request->err, -ENOMEM, "out of memory");
	message.debug_info = text;
	request->reply(request->user, &message);
	return ANSWERED;
}

static int set_paused(struct request *request, bool paused)
{
	struct zone *zone = request->zone;
	int r = 0;

	if (paused != zone->paused)
		r = paused ? xc_domain_pause(zone->xen.control, zone->domain.id)
			   : xc_domain_unpause(zone->xen.control, zone->domain.id);
	if (r < 0)
		return xen_failed(&zone->xen, &request->err, paused ? "not paused" : "not resumed");
	zone->paused = paused;
	return 0;
}

static int set_vcpus(struct request *request, unsigned vcpus)
{
	struct zone *zone = request->zone;
	char name[64];
	int r = 0;

	for (unsigned i = 0; i < zone->vcpus && r == 0; i++) {
		snprintf(name, sizeof(name), "cpu/%u/availability", i);
		r = store_put(&zone->xen, zone->domain.id, STORE_ZONE_READS, name,
			      i < vcpus ? "online" : "offline");
	}
	if (r < 0)
		return error_set_errno(&request->err, r, "the zone cannot be told");
	zone->target_vcpus = vcpus;
	return 0;
}

static int set_memory(struct request *request, uint64_t bytes)
{
	struct zone *zone = request->zone;
	int r = store_put_number(&zone->xen, zone->domain.id, STORE_ZONE_READS, "memory/target",
				 bytes / KIB);

	if (r < 0)
		return error_set_errno(&request->err, r, "the zone cannot be told");
	zone->target_bytes = bytes;
	return 0;
}

/* Both or, if either cannot be, nothing. */
static int set_resources(struct request *request, const Protect__Runner__Resources *body)
{
	const struct zone *zone = request->zone;
	int r = 0;

	if (body->memory_bytes && (body->memory_bytes < SPEC_MEMORY_MIB_MIN * MIB ||
				   body->memory_bytes > zone->memory_bytes))
		return error_set(&request->err, -EINVAL, "the zone may have %u to %llu MiB",
				 SPEC_MEMORY_MIB_MIN,
				 (unsigned long long)(zone->memory_bytes / MIB));
	if (body->vcpus > zone->vcpus)
		return error_set(&request->err, -EINVAL, "the zone may have 1 to %u vCPUs",
				 zone->vcpus);
	if (body->vcpus)
		r = set_vcpus(request, body->vcpus);
	if (r == 0 && body->memory_bytes)
		r = set_memory(request, body->memory_bytes);
	return r;
}

static int disk_attach(struct request *request, const Protect__Runner__DiskAttach *body)
{
	struct spec_disk disk = {.read_only = body->read_only, .direct = body->direct};

	if (request->n_fds != 1)
		return error_set(&request->err, -EBADF, "a disk to attach needs one descriptor");
	if (!spec_is_serial(body->serial))
		return error_set(&request->err, -EINVAL, "a serial is 1 to %d printable characters",
				 SPEC_SERIAL_MAX);
	disk.fd = request->fds[0];
	if (body->rate) {
		disk.rate.bytes_per_s = body->rate->bytes_per_s;
		disk.rate.ops_per_s = body->rate->ops_per_s;
	}
	memcpy(disk.serial, body->serial, strlen(body->serial) + 1);
	return disks_attach(&request->zone->disks, &disk, &request->err);
}

/* Who waits for an answer that comes later. */
struct waiter {
	control_reply_fn *reply;
	void *user;
};

static void detached(void *user, int code)
{
	_cleanup_(freep) struct waiter *waiter = user;
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;
	char text[] = "the guest did not let go in time";

	message.error = (uint32_t)-code;
	if (code < 0)
		message.text = text;
	waiter->reply(waiter->user, &message);
}

static int disk_detach(struct request *request, const Protect__Runner__DiskDetach *body)
{
	_cleanup_(freep) struct waiter *waiter = malloc(sizeof(*waiter));
	uint32_t timeout_ms =
		body->timeout_ms < DETACH_TIMEOUT_MS_MAX ? body->timeout_ms : DETACH_TIMEOUT_MS_MAX;
	bool paused = request->zone->paused; /* is only asked, and lets go when it goes on */
	int r;

	if (!waiter)
		return error_set(&request->err, -ENOMEM, "out of memory");
	*waiter = (struct waiter){.reply = request->reply, .user = request->user};
	r = disks_detach(&request->zone->disks, body->serial, paused ? 0 : timeout_ms,
			 !paused && body->force, detached, waiter, &request->err);
	if (r < 0)
		return r;
	steal_ptr(&waiter);
	return ANSWERED;
}

static int serve(struct request *request, const Protect__Runner__Request *what)
{
	switch (what->what_case) {
	case PROTECT__RUNNER__REQUEST__WHAT_STATUS:
		return status(request);
	case PROTECT__RUNNER__REQUEST__WHAT_SHUTDOWN:
		return zone_press_button(request->zone)
			       ? 0
			       : error_set(&request->err, -EAGAIN, "the guest cannot hear it now");
	case PROTECT__RUNNER__REQUEST__WHAT_KILL:
		zone_end(request->zone, RUNNER_EXIT_KILLED, "");
		return 0;
	case PROTECT__RUNNER__REQUEST__WHAT_RESOURCES:
		return set_resources(request, what->resources);
	case PROTECT__RUNNER__REQUEST__WHAT_PAUSE:
		return set_paused(request, true);
	case PROTECT__RUNNER__REQUEST__WHAT_RESUME:
		return set_paused(request, false);
	case PROTECT__RUNNER__REQUEST__WHAT_DEBUG_INFO:
		return debug_info(request);
	case PROTECT__RUNNER__REQUEST__WHAT_STATS:
		return stats(request);
	case PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH:
		return disk_attach(request, what->disk_attach);
	case PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH:
		return disk_detach(request, what->disk_detach);
	case PROTECT__RUNNER__REQUEST__WHAT__NOT_SET:
		return error_set(&request->err, -EBADMSG, "not a request that this runner knows");
	default:
		return error_set(&request->err, -EOPNOTSUPP, "not on Xen yet");
	}
}

void control_request(struct zone *zone, const void *data, size_t len, const int *fds,
		     unsigned n_fds, control_reply_fn *reply, void *user)
{
	Protect__Runner__Request *what = protect__runner__request__unpack(NULL, len, data);
	Protect__Runner__Reply message = PROTECT__RUNNER__REPLY__INIT;
	struct request request = {.zone = zone,
				  .fds = fds,
				  .n_fds = n_fds,
				  .reply = reply,
				  .user = user,
				  .err = ERROR_NULL};
	int r = what ? serve(&request, what)
		     : error_set(&request.err, -EBADMSG, "not a request of this protocol");

	if (what)
		protect__runner__request__free_unpacked(what, NULL);
	if (r == ANSWERED)
		return;
	message.error = (uint32_t)-r;
	message.text = request.err.text;
	reply(user, &message);
}
