// SPDX-License-Identifier: Apache-2.0
/* METHOD_HOST_STATUS: what the ledger says, and whether the other services answer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "supervisor/daemon/launch_client.h"
#include "supervisor/daemon/network.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/storage_client.h"
#include "supervisor/daemon/zone.h"

#define N_SERVICES 3u

enum service { SERVICE_STORAGE, SERVICE_LAUNCH, SERVICE_NETWORK };

struct status_op {
	struct daemon *daemon;
	struct ticket ticket;
	unsigned pending;
	bool ok[N_SERVICES];
	char detail[N_SERVICES][ERROR_TEXT_MAX];
	char cgroups[ERROR_TEXT_MAX];
};

static void fill(const struct daemon *d, Protect__Control__HostStatus *status)
{
	status->memory_total_mib = d->ledger.memory_total_mib;
	status->memory_committed_mib = d->ledger.memory_used_mib;
	status->memory_overcommit = d->ledger.overcommit_percent / 100.0;
	status->vcpus_total = d->ledger.vcpus_total;
	status->vcpus_committed = d->ledger.vcpus_used;
	status->workloads = d->n_workloads;
	status->pid = (uint32_t)getpid();
	status->memory_pressure_percent = (uint32_t)d->pressure.percent;
	for (const struct zone *z = d->zones; z; z = z->next)
		status->zones++;
}

static void answer(struct status_op *op)
{
	Protect__Control__HostStatus status = PROTECT__CONTROL__HOST_STATUS__INIT;
	Protect__Control__Service services[N_SERVICES];
	Protect__Control__Service *pointers[N_SERVICES];
	char *backends[BACKEND_COUNT];
	char version[] = PROTECT_VERSION, kvm[] = "kvm", xen[] = "xen",
	     names[N_SERVICES][8] = {"storage", "launch", "network"};
	unsigned n = N_SERVICES - !network_has_service(op->daemon->network);

	if (--op->pending)
		return;
	for (unsigned i = 0; i < n; i++) {
		protect__control__service__init(&services[i]);
		services[i].name = names[i];
		services[i].ok = op->ok[i];
		services[i].detail = op->detail[i];
		pointers[i] = &services[i];
	}
	status.version = version;
	status.hypervisor = backend_is_here(BACKEND_PV) || backend_is_here(BACKEND_PVH) ? xen : kvm;
	status.backends = backends;
	for (unsigned i = 0; i < BACKEND_COUNT; i++)
		if (backend_is_here((enum backend)i))
			backends[status.n_backends++] =
				(char *)(uintptr_t)backend_name((enum backend)i);
	status.cgroups = op->cgroups;
	status.services = pointers;
	status.n_services = n;
	fill(op->daemon, &status);
	server_reply(op->daemon, op->ticket, &status.base);
	free(op);
}

static void storage_answered(void *user, const Protect__Storage__Reply *reply, const int *fds,
			     unsigned n_fds)
{
	struct status_op *op = user;

	(void)fds;
	(void)n_fds;
	if (reply->progress)
		return;
	op->ok[SERVICE_STORAGE] = reply->error == 0;
	daemon_copy_text(op->detail[SERVICE_STORAGE], ERROR_TEXT_MAX, reply->text);
	answer(op);
}

static void launch_answered(void *user, const struct launch_reply *reply, int pidfd)
{
	struct status_op *op = user;

	(void)pidfd;
	op->ok[SERVICE_LAUNCH] = reply->version != 0;
	daemon_copy_text(op->ok[SERVICE_LAUNCH] ? op->cgroups : op->detail[SERVICE_LAUNCH],
			 ERROR_TEXT_MAX, reply->text);
	answer(op);
}

/* What this host lacks stands behind a service that works all the same. */
static void network_answered(void *user, const Protect__Network__Reply *reply, const int *fds,
			     unsigned n_fds)
{
	struct status_op *op = user;
	const Protect__Network__StatusReply *status = reply->status;

	(void)fds;
	(void)n_fds;
	op->ok[SERVICE_NETWORK] = reply->error == 0 && status;
	daemon_copy_text(op->detail[SERVICE_NETWORK], ERROR_TEXT_MAX,
			 status && status->n_warnings ? status->warnings[0] : reply->text);
	answer(op);
}

static void ask_network(struct status_op *op)
{
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Status status = PROTECT__NETWORK__STATUS__INIT;
	struct network *network = op->daemon->network;

	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_STATUS;
	request.status = &status;
	if (!network_has_service(network) ||
	    network_call(&network->client, &request, network_answered, op) < 0)
		op->pending--;
}

void control_host_status(struct daemon *d, struct ticket ticket, const void *message)
{
	const struct launch_request how = {.op = LAUNCH_STATUS};
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__Ping ping = PROTECT__STORAGE__PING__INIT;
	struct status_op *op = calloc(1, sizeof(*op));

	(void)message;
	if (!op) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	op->daemon = d;
	op->ticket = ticket;
	op->pending = N_SERVICES + 1;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_PING;
	request.ping = &ping;
	if (!storage_call(&d->hub, d->options.storage_socket, &request, -1, storage_answered, op))
		op->pending--;
	if (!launch_call(&d->hub, d->options.launch_socket, &how, NULL, 0, launch_answered, op))
		op->pending--;
	ask_network(op);
	answer(op);
}
