// SPDX-License-Identifier: Apache-2.0
/* The zone of a pod, or of a container alone: launched with the first container, looked after by
 * the end of its log, and destroyed with the container that it was launched for. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "protect/shim/shim.h"

#define WATCH_AGAIN_NS (500 * NS_PER_MS)

static void end_all(struct shim *shim)
{
	shim->pod.state = POD_ENDED;
	log_warning("zone=%s ended", shim->pod.name);
	for (struct container *c = shim->containers; c; c = c->next) {
		for (struct process *p = c->execs; p; p = p->next)
			process_killed(p);
		process_killed(&c->init);
	}
}

static void drop_log(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	(void)user;
	(void)data;
	idm_stream_consumed(stream, len);
}

static void log_closed(void *user, struct idm_stream *stream, int error)
{
	struct shim *shim = user;

	(void)stream;
	(void)error; /* our way has ended already */
	shim->pod.log = NULL;
}

static void resolved(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct shim *shim = user;
	Protect__Control__Zone *zone;
	bool runs;

	(void)text;
	if (error == -ECONNRESET)
		return;
	zone = error ? NULL : protect__control__zone__unpack(NULL, len, payload);
	runs = zone && (zone->state == PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_READY ||
			zone->state == PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_CREATING);
	protect__control__zone__free_unpacked(zone, NULL);
	if (shim->pod.state != POD_READY)
		return;
	if (runs)
		pod_watch(shim);
	else
		end_all(shim);
}

static void look(void *user)
{
	struct shim *shim = user;
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;

	ref.ref = shim->pod.name;
	link_call(&shim->link, METHOD(ZONE_RESOLVE), &ref.base, resolved, shim, NULL);
}

/* The log has ended, or could not be had: whether the zone has too is to be asked. */
static void log_ended(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct shim *shim = user;

	(void)text;
	(void)payload;
	(void)len;
	if (error != -ECONNRESET && shim->pod.state == POD_READY)
		alarm_set(&shim->poller, &shim->pod.retry,
			  clock_now_ns() + (error ? WATCH_AGAIN_NS : 0), look, shim);
}

void pod_watch(struct shim *shim)
{
	static const struct idm_stream_ops ops = {drop_log, NULL, log_closed};
	Protect__Control__Logs logs = PROTECT__CONTROL__LOGS__INIT;

	if (shim->pod.state != POD_READY || !shim->link.idm)
		return;
	if (idm_stream_open(shim->link.idm, IDM_WINDOW, &ops, shim, &shim->pod.log) < 0)
		return;
	logs.ref = shim->pod.name;
	logs.follow = true;
	logs.set_tail = true;
	logs.stream = idm_stream_number(shim->pod.log);
	link_call(&shim->link, METHOD(ZONE_LOGS), &logs.base, log_ended, shim, NULL);
}

void pod_let_go(struct shim *shim)
{
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;

	ref.ref = shim->pod.name;
	if (link_tell(&shim->link, METHOD(ZONE_RESUME), &ref.base) == 0)
		shim->pod.paused = false;
}

static void launched(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct container *container = user;
	struct pod *pod = &container->shim->pod;
	Protect__Control__Zone *zone =
		error ? NULL : protect__control__zone__unpack(NULL, len, payload);

	pod->state = error ? POD_NONE : POD_READY;
	pod->pid = zone ? zone->pid : 0;
	pod->max_memory_mib = zone ? zone->max_memory_mib : 0;
	protect__control__zone__free_unpacked(zone, NULL);
	if (!error)
		pod_watch(container->shim);
	container_zone_done(container, error, text);
}

int pod_launch(struct container *container, struct error *err)
{
	struct shim *shim = container->shim;
	Protect__Control__ZoneLaunch message = container->init.spec.zone;
	Protect__Control__ZoneNetwork network = PROTECT__CONTROL__ZONE_NETWORK__INIT;
	int r;

	if (shim->pod.state != POD_NONE)
		return error_set(err, -EEXIST, "this shim has a pod already");
	shim_name(shim->namespace, container->id, shim->pod.name);
	message.name = shim->pod.name;
	message.wait = true;
	network.backend = PROTECT__CONTROL__NETWORK_BACKEND__NETWORK_NONE;
	message.network = &network;
	r = link_call(&shim->link, METHOD(ZONE_LAUNCH), &message.base, launched, container, NULL);
	if (r < 0)
		return error_set(err, r,
				 "protect-daemon cannot be asked for a zone; is it running?");
	shim->pod.state = POD_LAUNCHING;
	return 0;
}
