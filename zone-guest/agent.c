// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "idm-vsock/pump.h"
#include "zone-guest/bootstrap.h"
#include "zone-guest/exec.h"
#include "zone-guest/forward.h"
#include "zone-guest/metrics.h"
#include "zone-guest/volume_jobs.h"
#include "zone-guest/workload.h"

#define METHOD(name) PROTECT__AGENT__METHOD__METHOD_##name
#define TICKS_MAX    8 /* rounds of streams that can be written to again, in one flush */

struct agent {
	struct zone *zone;
	struct idm *idm;
	struct reactor_watch watch; /* fd is owned */
	void (*lost)(void *user);
	void *user;
	struct idm_pump pump;
};

struct idm *agent_session(struct zone *zone)
{
	return zone->agent ? zone->agent->idm : NULL;
}

static void reply_packed(struct idm *idm, uint64_t id, const ProtobufCMessage *message)
{
	size_t len = message ? protobuf_c_message_get_packed_size(message) : 0;
	_cleanup_(freep) uint8_t *packed = malloc(len + 1);

	if (!packed) {
		idm_reply(idm, id, -ENOMEM, NULL, NULL, 0);
		return;
	}
	if (message)
		protobuf_c_message_pack(message, packed);
	idm_reply(idm, id, 0, NULL, packed, len);
}

void agent_reply(struct zone *zone, uint64_t id, const void *message)
{
	if (zone->agent && id)
		reply_packed(zone->agent->idm, id, message);
}

void agent_reply_error(struct zone *zone, uint64_t id, int error, const char *text)
{
	if (zone->agent && id)
		idm_reply(zone->agent->idm, id, error, text, NULL, 0);
}

void agent_event(struct zone *zone, uint32_t kind, const void *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	_cleanup_(freep) uint8_t *packed = malloc(len + 1);

	if (!zone->agent || !packed)
		return;
	protobuf_c_message_pack(message, packed);
	/* Who would miss an event must ask anew what there is: over a new connection. */
	if (idm_event(zone->agent->idm, kind, packed, len) < 0)
		shutdown(zone->agent->watch.fd, SHUT_RDWR);
}

static void on_ping(struct zone *zone, uint64_t id, const void *message)
{
	agent_reply(zone, id, message);
}

static void on_bootstrap(struct zone *zone, uint64_t id, const void *message)
{
	bootstrap(zone, id, message);
}

static void on_exec(struct zone *zone, uint64_t id, const void *data)
{
	const Protect__Agent__Exec *message = data;

	exec_start(zone, id, message);
	if (!message->process)
		return;
	/* Only what was not taken. */
	idm_stream_refuse(agent_session(zone), message->process->stdio_stream, -ECANCELED);
	idm_stream_refuse(agent_session(zone), message->process->stderr_stream, -ECANCELED);
}

static void on_launch(struct zone *zone, uint64_t id, const void *data)
{
	const Protect__Agent__WorkloadLaunch *message = data;

	workload_launch(zone, id, message);
	if (!message->process)
		return;
	idm_stream_refuse(agent_session(zone), message->process->stdio_stream, -ECANCELED);
	idm_stream_refuse(agent_session(zone), message->process->stderr_stream, -ECANCELED);
}

/* NULL, and the request is answered, if there is none. */
static struct workload *find_workload(struct zone *zone, uint64_t id, const char *text)
{
	struct workload *workload = NULL;
	struct uuid uuid;

	if (uuid_parse(text, &uuid) == 0)
		workload = zone_workload(zone, &uuid);
	if (!workload)
		agent_reply_error(zone, id, -ENOENT, "no such workload in the zone");
	return workload;
}

static void on_start(struct zone *zone, uint64_t id, const void *data)
{
	const Protect__Agent__WorkloadStart *message = data;
	struct workload *workload = find_workload(zone, id, message->workload);

	if (workload)
		workload_start(workload, id, message);
	idm_stream_refuse(agent_session(zone), message->stdio_stream, -ECANCELED);
	idm_stream_refuse(agent_session(zone), message->stderr_stream, -ECANCELED);
}

static void on_attach(struct zone *zone, uint64_t id, const void *data)
{
	const Protect__Agent__WorkloadAttach *message = data;
	struct workload *workload = find_workload(zone, id, message->workload);

	if (workload)
		workload_attach(workload, id, message);
	idm_stream_refuse(agent_session(zone), message->stdio_stream, -ECANCELED);
	idm_stream_refuse(agent_session(zone), message->stderr_stream, -ECANCELED);
}

static void on_update(struct zone *zone, uint64_t id, const void *data)
{
	const Protect__Agent__WorkloadUpdate *message = data;
	struct workload *workload = find_workload(zone, id, message->workload);

	if (workload)
		workload_update(workload, id, message);
}

static void on_remove(struct zone *zone, uint64_t id, const void *data)
{
	const Protect__Agent__WorkloadId *message = data;
	struct workload *workload = find_workload(zone, id, message->workload);

	if (workload)
		workload_remove(workload, id);
}

static void on_list(struct zone *zone, uint64_t id, const void *data)
{
	Protect__Agent__ZoneState message = PROTECT__AGENT__ZONE_STATE__INIT;
	struct workload_message described[ZONE_WORKLOADS_MAX];
	Protect__Agent__WorkloadState *pointers[ZONE_WORKLOADS_MAX];

	(void)data;
	message.bootstrapped = zone->bootstrapped;
	message.workloads = pointers;
	for (unsigned i = 0; i < ZONE_WORKLOADS_MAX; i++) {
		if (!zone->workloads[i])
			continue;
		workload_describe(zone->workloads[i], &described[i]);
		pointers[message.n_workloads++] = &described[i].state;
	}
	agent_reply(zone, id, &message);
}

static void on_signal(struct zone *zone, uint64_t id, const void *data)
{
	const Protect__Agent__Signal *message = data;
	struct workload *workload = NULL;
	struct exec *exec = NULL;
	struct uuid uuid;
	int r = -ENOENT;

	if (!message->signal || message->signal >= (uint32_t)NSIG) {
		agent_reply_error(zone, id, -EINVAL, "no such signal");
		return;
	}
	if (uuid_parse(message->id, &uuid) == 0) {
		workload = zone_workload(zone, &uuid);
		exec = zone_exec(zone, &uuid);
	}
	if (workload)
		r = workload_signal(workload, (int)message->signal, message->all);
	else if (exec)
		r = exec_signal(exec, (int)message->signal, message->all);
	if (r < 0)
		agent_reply_error(zone, id, r, r == -ESRCH ? "it has ended" : NULL);
	else
		agent_reply(zone, id, NULL);
}

static void on_resize(struct zone *zone, uint64_t id, const void *data)
{
	const Protect__Agent__Resize *message = data;
	struct stdio *stdio = NULL;
	struct workload *workload;
	struct exec *exec;
	struct uuid uuid;
	int r = -ENOENT;

	if (message->terminal && uuid_parse(message->id, &uuid) == 0) {
		workload = zone_workload(zone, &uuid);
		exec = zone_exec(zone, &uuid);
		stdio = workload ? workload->process.stdio : exec ? exec->process.stdio : NULL;
	}
	if (stdio)
		r = stdio_resize(stdio, program_side(message->terminal->rows),
				 program_side(message->terminal->columns));
	if (r < 0)
		agent_reply_error(zone, id, r, NULL);
	else
		agent_reply(zone, id, NULL);
}

static void on_metrics(struct zone *zone, uint64_t id, const void *data)
{
	(void)data;
	metrics_reply(zone, id);
}

static void on_shutdown(struct zone *zone, uint64_t id, const void *data)
{
	const Protect__Agent__Shutdown *message = data;

	if (!zone->shutdown) {
		agent_reply_error(zone, id, -EOPNOTSUPP, NULL);
		return;
	}
	agent_reply(zone, id, NULL);
	agent_push(zone);
	zone->shutdown(zone, message->reboot);
}

static void on_set_time(struct zone *zone, uint64_t id, const void *data)
{
	const Protect__Agent__SetTime *message = data;
	int r = zone->set_time ? zone->set_time(message->time_ns) : -EOPNOTSUPP;

	if (r < 0)
		agent_reply_error(zone, id, r, NULL);
	else
		agent_reply(zone, id, NULL);
}

static void on_forward(struct zone *zone, uint64_t id, const void *data)
{
	const Protect__Agent__Forward *message = data;

	forward_start(zone, id, message);
	/* Only if it was not taken. */
	idm_stream_refuse(agent_session(zone), message->stream, -ECANCELED);
}

static void on_volume_attach(struct zone *zone, uint64_t id, const void *message)
{
	volume_jobs_attach(zone, id, message);
}

static void on_volume_detach(struct zone *zone, uint64_t id, const void *message)
{
	volume_jobs_detach(zone, id, message);
}

static void on_link(struct zone *zone, uint64_t id, const void *data)
{
	const Protect__Agent__Link *message = data;
	struct error err = ERROR_NULL;
	int r = zone->add_link ? zone->add_link(message, &err) : 0;

	if (r == 0 && message->n_nameservers)
		r = bootstrap_nameservers(zone, message->nameservers, message->n_nameservers, &err);
	if (r < 0)
		agent_reply_error(zone, id, r, err.text);
	else
		agent_reply(zone, id, NULL);
}

static const struct method {
	const ProtobufCMessageDescriptor *request;
	void (*run)(struct zone *zone, uint64_t id, const void *message);
} methods[] = {
	[METHOD(PING)] = {&protect__agent__ping__descriptor, on_ping},
	[METHOD(BOOTSTRAP)] = {&protect__agent__bootstrap__descriptor, on_bootstrap},
	[METHOD(EXEC)] = {&protect__agent__exec__descriptor, on_exec},
	[METHOD(WORKLOAD_LAUNCH)] = {&protect__agent__workload_launch__descriptor, on_launch},
	[METHOD(WORKLOAD_ATTACH)] = {&protect__agent__workload_attach__descriptor, on_attach},
	[METHOD(WORKLOAD_REMOVE)] = {&protect__agent__workload_id__descriptor, on_remove},
	[METHOD(LIST)] = {&protect__agent__empty__descriptor, on_list},
	[METHOD(SIGNAL)] = {&protect__agent__signal__descriptor, on_signal},
	[METHOD(RESIZE)] = {&protect__agent__resize__descriptor, on_resize},
	[METHOD(METRICS)] = {&protect__agent__empty__descriptor, on_metrics},
	[METHOD(SHUTDOWN)] = {&protect__agent__shutdown__descriptor, on_shutdown},
	[METHOD(SET_TIME)] = {&protect__agent__set_time__descriptor, on_set_time},
	[METHOD(FORWARD)] = {&protect__agent__forward__descriptor, on_forward},
	[METHOD(LINK)] = {&protect__agent__link__descriptor, on_link},
	[METHOD(VOLUME_ATTACH)] = {&protect__agent__volume_attach__descriptor, on_volume_attach},
	[METHOD(VOLUME_DETACH)] = {&protect__agent__volume_detach__descriptor, on_volume_detach},
	[METHOD(WORKLOAD_UPDATE)] = {&protect__agent__workload_update__descriptor, on_update},
	[METHOD(WORKLOAD_START)] = {&protect__agent__workload_start__descriptor, on_start},
};

static void on_request(void *user, struct idm *idm, uint64_t id, uint32_t method, const void *data,
		       size_t len)
{
	struct agent *agent = user;
	ProtobufCMessage *message;

	if (method >= ARRAY_SIZE(methods) || !methods[method].run) {
		idm_reply(idm, id, -ENOSYS, "the zone's agent does not know this method", NULL, 0);
		return;
	}
	message = protobuf_c_message_unpack(methods[method].request, NULL, len, data);
	if (!message) {
		idm_reply(idm, id, -EBADMSG, "the zone's agent cannot read the request", NULL, 0);
		return;
	}
	methods[method].run(agent->zone, id, message);
	protobuf_c_message_free_unpacked(message, NULL);
}

static const struct idm_handler handler = {.request = on_request};

void agent_stop(struct zone *zone)
{
	struct agent *agent = zone->agent;
	int fd;

	if (!agent)
		return;
	/* From here on nothing that a stream's end sets off finds a session. */
	zone->agent = NULL;
	fd = agent->watch.fd;
	reactor_unwatch(&zone->reactor, &agent->watch);
	idm_free(agent->idm);
	close(fd);
	free(agent);
	zone_session_lost(zone);
}

static void end_session(struct zone *zone, int error)
{
	void (*lost)(void *user) = zone->agent->lost;
	void *user = zone->agent->user;

	if (error != -ECONNRESET)
		log_warning("what=session-ended err=%s", strerror(-error));
	agent_stop(zone);
	if (lost)
		lost(user);
}

static int flush(struct agent *agent)
{
	for (unsigned i = 0; i < TICKS_MAX; i++) {
		uint64_t due, now = clock_now_ns();
		int r = idm_pump_flush(&agent->pump);

		due = idm_next_deadline(agent->idm);
		if (r < 0 || !due || due > now)
			return r;
		idm_tick(agent->idm, now);
	}
	return idm_pump_flush(&agent->pump);
}

void agent_push(struct zone *zone)
{
	if (zone->agent)
		idm_pump_flush(&zone->agent->pump); /* an error comes again with the next flush */
}

void agent_flush(struct zone *zone)
{
	uint32_t events = EPOLLIN;
	int r;

	if (!zone->agent)
		return;
	r = flush(zone->agent);
	if (r < 0) {
		end_session(zone, r);
		return;
	}
	if (idm_pump_events(&zone->agent->pump) & POLLOUT)
		events |= EPOLLOUT;
	reactor_rewatch(&zone->reactor, &zone->agent->watch, events);
}

static void on_ready(struct reactor_watch *watch, uint32_t events)
{
	struct agent *agent = container_of(watch, struct agent, watch);
	struct zone *zone = agent->zone;
	int r = idm_pump_run(&agent->pump, clock_now_ns());

	(void)events;
	if (r < 0 && zone->agent == agent)
		end_session(zone, r);
}

int agent_start(struct zone *zone, int fd, void (*lost)(void *user), void *user)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	int r;

	agent_stop(zone);
	if (agent)
		agent->idm = idm_new(IDM_SERVER, &handler, agent);
	r = agent && agent->idm ? idm_pump_init(&agent->pump, fd, agent->idm) : -ENOMEM;
	if (r == 0) {
		agent->watch.ready = on_ready;
		r = reactor_watch(&zone->reactor, &agent->watch, fd, EPOLLIN);
	}
	if (r < 0) {
		if (agent)
			idm_free(agent->idm);
		free(agent);
		close(fd);
		return r;
	}
	agent->zone = zone;
	agent->lost = lost;
	agent->user = user;
	zone->agent = agent;
	return 0;
}
