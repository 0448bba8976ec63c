// SPDX-License-Identifier: Apache-2.0
/*
 * What containers use and may use. A container that is a zone of its own, and a pod's sandbox, are
 * measured and paused as zones; any other container is its cgroup in the zone. Figures are the
 * zone's word, as far as it can be trusted: the host's are in the daemon's /metrics.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "protect/shim/shim.h"

#define METRICS_TYPE "io.containerd.cgroups.v2.Metrics"

/* A request of containerd's whose answer is the daemon's; the container may be gone by then. */
struct call {
	struct shim *shim;
	struct ticket ticket;
	bool pause;
	Protect__Agent__Settings limits; /* of an update; its numbers alone */
	char id[];
};

static struct call *call_new(const struct container *container, struct ticket ticket,
			     struct error *err)
{
	size_t len = strlen(container->id) + 1;
	struct call *call = calloc(1, sizeof(*call) + len);

	if (!call) {
		error_set(err, -ENOMEM, "the shim is out of memory");
		return NULL;
	}
	call->shim = container->shim;
	call->ticket = ticket;
	memcpy(call->id, container->id, len);
	return call;
}

/* Asks; the call is its reply's from then on. */
static int ask(struct call *call, uint32_t method, const ProtobufCMessage *message,
	       idm_reply_fn *reply, struct error *err)
{
	int r = link_call(&call->shim->link, method, message, reply, call, NULL);

	if (r == 0)
		return 0;
	free(call);
	return error_set(err, r, "protect-daemon cannot be asked; is it running?");
}

static void fail(struct call *call, int error, const char *text)
{
	server_fail(&call->shim->server, call->ticket, ttrpc_code_of(error), "%s", text);
	free(call);
}

/* A figure by its name, of the workload with that uuid, or of the zone (uuid empty); 0 for none. */
static uint64_t figure(const Protect__Agent__Metrics *metrics, const char *uuid, const char *name)
{
	char full[96];

	if (*uuid)
		snprintf(full, sizeof(full), "workload.%s.%s", uuid, name);
	else
		snprintf(full, sizeof(full), "%s", name);
	for (size_t i = 0; i < metrics->n_metrics; i++) {
		double value = metrics->metrics[i]->value;

		if (strcmp(metrics->metrics[i]->name, full) == 0)
			return value > 0 && value < 0x1p63 ? (uint64_t)value : 0;
	}
	return 0;
}

static uint64_t usec(uint64_t ns)
{
	return ns / 1000;
}

struct stats {
	Protect__Shim__Metrics metrics;
	Protect__Shim__PidsStat pids;
	Protect__Shim__CPUStat cpu;
	Protect__Shim__MemoryStat memory;
	Protect__Shim__MemoryEvents events;
};

static void init(struct stats *s)
{
	protect__shim__metrics__init(&s->metrics);
	protect__shim__pids_stat__init(&s->pids);
	protect__shim__cpustat__init(&s->cpu);
	protect__shim__memory_stat__init(&s->memory);
	protect__shim__memory_events__init(&s->events);
	s->metrics.pids = &s->pids;
	s->metrics.cpu = &s->cpu;
	s->metrics.memory = &s->memory;
	s->metrics.memory_events = &s->events;
}

static void of_zone(struct stats *s, const Protect__Agent__Metrics *m, const struct pod *pod)
{
	uint64_t total = figure(m, "", "memory.total_bytes");
	uint64_t available = figure(m, "", "memory.available_bytes");

	s->cpu.user_usec = usec(figure(m, "", "cpu.user_ns"));
	s->cpu.system_usec = usec(figure(m, "", "cpu.system_ns"));
	s->cpu.usage_usec = s->cpu.user_usec + s->cpu.system_usec;
	s->memory.usage = total > available ? total - available : 0;
	s->memory.usage_limit = pod->max_memory_mib * MIB;
	s->pids.current = figure(m, "", "processes.count");
}

static void of_workload(struct stats *s, const Protect__Agent__Metrics *m,
			const struct container *container)
{
	const Protect__Agent__Settings *limits = &container->init.spec.settings;
	const struct pod *pod = &container->shim->pod;
	const char *uuid = container->uuid;

	s->cpu.usage_usec = usec(figure(m, uuid, "cpu.usage_ns"));
	s->cpu.user_usec = usec(figure(m, uuid, "cpu.user_ns"));
	s->cpu.system_usec = usec(figure(m, uuid, "cpu.system_ns"));
	s->memory.usage = figure(m, uuid, "memory.current_bytes");
	s->memory.inactive_file = figure(m, uuid, "memory.inactive_file_bytes");
	s->memory.usage_limit =
		limits->memory_bytes ? limits->memory_bytes : pod->max_memory_mib * MIB;
	s->events.oom_kill = figure(m, uuid, "memory.oom_kills");
	s->pids.current = figure(m, uuid, "processes.count");
	s->pids.limit = limits->pids;
}

/* A sandbox has no workload, and a zone's kernel may have no cgroups. */
static bool is_measured_as_zone(const struct container *container, const Protect__Agent__Metrics *m)
{
	return container_owns_zone(container) &&
	       (!*container->uuid || !figure(m, container->uuid, "cpu.usage_ns"));
}

static void reply_stats(const struct call *call, const Protect__Shim__Metrics *metrics)
{
	Protect__Shim__StatsResponse response = PROTECT__SHIM__STATS_RESPONSE__INIT;
	Protect__Shim__Any any = PROTECT__SHIM__ANY__INIT;
	static char type[] = METRICS_TYPE;
	uint8_t packed[512];

	any.type_url = type;
	any.value.data = packed;
	any.value.len = protect__shim__metrics__pack(metrics, packed);
	response.stats = &any;
	server_reply(&call->shim->server, call->ticket, &response.base);
}

static void measured(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct call *call = user;
	struct container *container = container_find(call->shim, call->id);
	Protect__Agent__Metrics *metrics =
		error ? NULL : protect__agent__metrics__unpack(NULL, len, payload);
	struct stats stats;

	if (!metrics || !container) {
		fail(call, error ? error : -EBADMSG,
		     error ? text : "the zone's figures cannot be read");
	} else {
		init(&stats);
		if (is_measured_as_zone(container, metrics))
			of_zone(&stats, metrics, &call->shim->pod);
		else
			of_workload(&stats, metrics, container);
		reply_stats(call, &stats.metrics);
		free(call);
	}
	protect__agent__metrics__free_unpacked(metrics, NULL);
}

int resources_stats(struct container *container, struct ticket ticket, struct error *err)
{
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;
	struct call *call;

	if (container->init.state != PROCESS_RUNNING)
		return error_set(err, -ESHUTDOWN, "container %.64s does not run", container->id);
	call = call_new(container, ticket, err);
	if (!call)
		return err->code;
	ref.ref = container->shim->pod.name;
	return ask(call, METHOD(ZONE_METRICS), &ref.base, measured, err);
}

static void updated(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct call *call = user;
	struct container *container = container_find(call->shim, call->id);
	Protect__Shim__Empty empty = PROTECT__SHIM__EMPTY__INIT;
	Protect__Agent__Settings *settings;

	(void)payload;
	(void)len;
	if (error) {
		fail(call, error, text);
		return;
	}
	settings = container ? &container->init.spec.settings : &call->limits;
	if (call->limits.memory_bytes)
		settings->memory_bytes = call->limits.memory_bytes;
	if (call->limits.pids)
		settings->pids = call->limits.pids;
	server_reply(&call->shim->server, call->ticket, &empty.base);
	free(call);
}

/* The zone's own size was settled at its launch. */
static int check_limits(const struct container *container, const Protect__Agent__Settings *limits,
			struct error *err)
{
	uint64_t max_mib = container->shim->pod.max_memory_mib;

	if (container->init.spec.kind == SPEC_SANDBOX || container->init.state != PROCESS_RUNNING)
		return error_set(err, -ESHUTDOWN, "container %.64s runs nothing to limit",
				 container->id);
	if (limits->memory_bytes > max_mib * MIB)
		return error_set(err, -EINVAL,
				 "%llu bytes are more than the %llu MiB of this container's zone, "
				 "which cannot grow; make the pod anew",
				 (unsigned long long)limits->memory_bytes,
				 (unsigned long long)max_mib);
	return 0;
}

/* What else an update may hold (CPU shares, cpusets …) is the host's matter. */
static bool is_empty(const Protect__Agent__Settings *limits)
{
	return !limits->memory_bytes && !limits->cpu_millis && !limits->pids;
}

static int send_limits(struct container *container, struct ticket ticket,
		       const Protect__Agent__Settings *limits, struct error *err)
{
	Protect__Control__WorkloadUpdate message = PROTECT__CONTROL__WORKLOAD_UPDATE__INIT;
	Protect__Shim__Empty empty = PROTECT__SHIM__EMPTY__INIT;
	struct call *call;

	if (check_limits(container, limits, err) < 0)
		return err->code;
	if (is_empty(limits)) {
		server_reply(&container->shim->server, ticket, &empty.base);
		return 0;
	}
	call = call_new(container, ticket, err);
	if (!call)
		return err->code;
	call->limits.memory_bytes = message.memory_bytes = limits->memory_bytes;
	call->limits.pids = message.pids = limits->pids;
	message.cpu_millis = limits->cpu_millis;
	message.ref = container->name;
	return ask(call, METHOD(WORKLOAD_UPDATE), &message.base, updated, err);
}

int resources_update(struct container *container, struct ticket ticket, const void *text,
		     size_t len, struct error *err)
{
	struct spec spec;
	int r = spec_parse_resources(text, len, &spec, err);

	if (r == 0)
		r = send_limits(container, ticket, &spec.settings, err);
	spec_deinit(&spec);
	return r;
}

static void paused(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct call *call = user;
	struct shim *shim = call->shim;
	Protect__Shim__TaskOnly event = PROTECT__SHIM__TASK_ONLY__INIT;
	Protect__Shim__Empty empty = PROTECT__SHIM__EMPTY__INIT;

	(void)payload;
	(void)len;
	if (error) {
		fail(call, error, text);
		return;
	}
	shim->pod.paused = call->pause;
	event.container_id = call->id;
	if (call->pause)
		events_publish(&shim->events, "/tasks/paused", "containerd.events.TaskPaused",
			       &event.base);
	else
		events_publish(&shim->events, "/tasks/resumed", "containerd.events.TaskResumed",
			       &event.base);
	server_reply(&shim->server, call->ticket, &empty.base);
	free(call);
}

int resources_pause(struct container *container, struct ticket ticket, bool pause,
		    struct error *err)
{
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;
	struct call *call;

	if (!container_owns_zone(container))
		return error_set(err, -ENOTSUP,
				 "only a whole pod can be paused, by the id of its sandbox, not "
				 "container %.64s alone",
				 container->id);
	if (container->init.state != PROCESS_RUNNING)
		return error_set(err, -ESHUTDOWN, "container %.64s does not run", container->id);
	call = call_new(container, ticket, err);
	if (!call)
		return err->code;
	call->pause = pause;
	ref.ref = container->shim->pod.name;
	return ask(call, pause ? METHOD(ZONE_PAUSE) : METHOD(ZONE_RESUME), &ref.base, paused, err);
}
