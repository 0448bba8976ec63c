// SPDX-License-Identifier: Apache-2.0
/*
 * What a running zone can be told: new limits, new targets of memory and CPUs, to pause, to resume.
 * Limits are a request to protect-launch, the others are one to its runner; whoever asked waits in
 * the zone's list until all was answered or the runner has gone. Limits are set by one after the
 * other, in the order in which they were asked for, so that nobody's change undoes another's. The
 * ledger is not asked: it charged the maximum at the launch.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "supervisor/daemon/policy_driver.h"
#include "supervisor/daemon/wall_clock.h"
#include "supervisor/daemon/zone.h"

struct zone_op {
	struct zone_op *next;
	struct zone *zone;
	struct ticket ticket;
	const char *doing; /* "updated", "paused", "resumed" */
	void (*done)(struct zone_op *op);
	uint64_t memory_mib; /* 0 = as it is */
	uint32_t vcpus;	     /* 0 = as it is */
	bool set_policy;
	uint32_t policy;  /* if set_policy */
	uint64_t min_mib; /* 0 = as it is */
	bool set_cpu, set_io;
	bool waits; /* for its turn to set limits */
	struct zone_limits
		limits; /* what set_cpu and set_io say of it; all of it once it is asked */
	struct launch_call *launch;
};

int zone_check_targets(const struct zone_row *row, uint64_t memory_mib, uint32_t vcpus,
		       struct error *err)
{
	if (memory_mib > row->memory_mib)
		return error_set(err, -EINVAL,
				 "the target of %llu MiB is above the zone's maximum of %llu MiB",
				 (unsigned long long)memory_mib,
				 (unsigned long long)row->memory_mib);
	if (memory_mib < LEDGER_ZONE_MIB_MIN && row->memory_mib >= LEDGER_ZONE_MIB_MIN)
		return error_set(err, -EINVAL, "a zone needs at least %u MiB, not a target of %llu",
				 LEDGER_ZONE_MIB_MIN, (unsigned long long)memory_mib);
	if (vcpus > row->vcpus)
		return error_set(err, -EINVAL,
				 "the target of %u CPUs is above the zone's maximum of %u", vcpus,
				 row->vcpus);
	return 0;
}

static void op_free(struct zone_op *op)
{
	for (struct zone_op **place = &op->zone->ops; *place; place = &(*place)->next)
		if (*place == op) {
			*place = op->next;
			break;
		}
	free(op);
}

static void op_fail(const struct zone_op *op, int error, const char *text)
{
	struct daemon *d = op->zone->daemon;
	const char *name = op->zone->row.name;

	/* A runner of before this request says that it does not know it. */
	if (error == -EBADMSG)
		server_fail(d, op->ticket, -EOPNOTSUPP,
			    "zone '%s' cannot be %s: its runner is older than protect-daemon; "
			    "launch the zone anew",
			    name, op->doing);
	else
		server_fail(d, op->ticket, error, "zone '%s' cannot be %s: %s", name, op->doing,
			    text);
}

static void op_done(struct zone_op *op)
{
	Protect__Control__Zone message;

	log_info("zone=%s name=%s %s", op->zone->row.uuid, op->zone->row.name, op->doing);
	zone_message(op->zone, &message);
	server_reply(op->zone->daemon, op->ticket, &message.base);
	op_free(op);
}

static void answered(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct zone_op *op = user;

	(void)reply;
	if (error) {
		op_fail(op, error, text);
		op_free(op);
		return;
	}
	op->done(op);
	op_done(op);
}

void zone_ops_fail(struct zone *zone)
{
	while (zone->ops) {
		struct zone_op *op = zone->ops;

		runner_forget(zone->control, op);
		op->launch = launch_cancel(op->launch);
		op_fail(op, -ESHUTDOWN, "it has ended");
		op_free(op);
	}
}

/* In the zone's list. Answers the ticket, and returns NULL, without memory. */
static struct zone_op *op_new(const struct zone_op *wanted)
{
	struct zone *zone = wanted->zone;
	struct zone_op *op = malloc(sizeof(*op));

	if (!op) {
		server_fail(zone->daemon, wanted->ticket, -ENOMEM,
			    "protect-daemon is out of memory");
		return NULL;
	}
	*op = *wanted;
	op->next = zone->ops;
	zone->ops = op;
	return op;
}

static void ask_runner(struct zone_op *op, const Protect__Runner__Request *request)
{
	int r = runner_request(op->zone->control, request, -1, answered, op);

	if (r == 0)
		return;
	op_fail(op, r, "protect-daemon is out of memory");
	op_free(op);
}

static void start(const struct zone_op *wanted, const Protect__Runner__Request *request)
{
	struct zone_op *op = op_new(wanted);

	if (op)
		ask_runner(op, request);
}

static void targets_set(struct zone_op *op)
{
	if (op->memory_mib)
		op->zone->row.target_memory_mib = op->memory_mib;
	if (op->vcpus)
		op->zone->row.target_vcpus = op->vcpus;
	if (op->set_policy)
		op->zone->row.policy = op->policy;
	if (op->min_mib)
		op->zone->row.min_memory_mib = op->min_mib;
	if (op->memory_mib || op->set_policy)
		policy_renew(op->zone);
	state_put_zone(op->zone->daemon->state, &op->zone->row);
}

static bool wants_targets(const struct zone_op *op)
{
	return op->memory_mib || op->vcpus || op->set_policy || op->min_mib;
}

static bool wants_limits(const struct zone_op *op)
{
	return op->set_cpu || op->set_io;
}

static void check_update(const struct zone_op *op, struct error *err)
{
	struct zone_row row = op->zone->row;

	if (op->memory_mib)
		row.target_memory_mib = op->memory_mib;
	if (op->vcpus)
		row.target_vcpus = op->vcpus;
	if (!wants_targets(op) && !wants_limits(op))
		error_set(err, -EINVAL, "there is nothing to update: no target was given");
	else if (zone_check_targets(&row, row.target_memory_mib, row.target_vcpus, err) == 0)
		policy_check(&row, op->set_policy ? op->policy : row.policy, op->min_mib, err);
}

static void set_targets(struct zone_op *op)
{
	Protect__Runner__Request message = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Resources resources = PROTECT__RUNNER__RESOURCES__INIT;

	/* At most the maximum, which was checked against the host's memory: no overflow. */
	if (!op->memory_mib && op->set_policy) /* its runner may have been told of less */
		op->memory_mib = op->zone->row.target_memory_mib;
	resources.memory_bytes = op->memory_mib * MIB;
	resources.vcpus = op->vcpus;
	message.what_case = PROTECT__RUNNER__REQUEST__WHAT_RESOURCES;
	message.resources = &resources;
	ask_runner(op, &message);
}

static void next_limits(struct zone *zone);

/* Limits are set all at once, but may fail halfway: the zone gets back what its row says, unless
 * others are on their way. */
static void limits_failed(struct zone *zone)
{
	for (const struct zone_op *op = zone->ops; op; op = op->next)
		if (op->launch)
			return;
	if (zone->phase == ZONE_PHASE_READY)
		limits_renew(zone);
}

static void limits_set(struct zone_op *op)
{
	struct zone *zone = op->zone;

	zone->row.limits = op->limits;
	limits_show(zone);
	state_put_zone(zone->daemon->state, &zone->row);
	if (!wants_targets(op)) {
		op_done(op);
	} else if (zone->phase == ZONE_PHASE_READY && zone->control) {
		set_targets(op);
	} else {
		op_fail(op, -ESHUTDOWN, "it has ended");
		op_free(op);
	}
}

static void limits_answered(void *user, const struct launch_reply *reply, int pidfd)
{
	struct zone_op *op = user;
	struct zone *zone = op->zone;
	bool failed = reply->error;

	(void)pidfd;
	op->launch = NULL;
	if (failed) {
		op_fail(op, reply->error, reply->text);
		op_free(op);
	} else {
		limits_set(op);
	}
	next_limits(zone);
	if (failed)
		limits_failed(zone);
}

/* The row follows when they are set: a daemon that ends in between sets the old ones again. */
static void ask_launch(struct zone_op *op)
{
	struct zone_row row = op->zone->row;
	struct launch_request request = {.op = LAUNCH_UPDATE};

	limits_merge(&row.limits, &op->limits, op->set_cpu, op->set_io);
	op->limits = row.limits;
	op->waits = false;
	request.limits = limits_of(&row);
	uuid_parse(row.uuid, &request.uuid);
	op->launch = launch_call(&op->zone->daemon->hub, op->zone->daemon->options.launch_socket,
				 &request, NULL, 0, limits_answered, op);
	if (op->launch)
		return;
	op_fail(op, -ENOMEM, "protect-daemon is out of memory");
	op_free(op);
}

/* The last of the list, unless one is being served. */
static struct zone_op *whose_turn(const struct zone *zone)
{
	struct zone_op *longest = NULL;

	for (struct zone_op *op = zone->ops; op; op = op->next) {
		if (op->launch)
			return NULL;
		if (op->waits)
			longest = op;
	}
	return longest;
}

static void next_limits(struct zone *zone)
{
	struct zone_op *op;

	while ((op = whose_turn(zone)))
		ask_launch(op);
}

void zone_update(struct daemon *d, struct ticket ticket,
		 const Protect__Control__ZoneUpdate *request)
{
	struct zone_op *op, wanted = {.ticket = ticket,
				      .doing = "updated",
				      .done = targets_set,
				      .memory_mib = request->target_memory_mib,
				      .vcpus = request->target_cpus,
				      .set_policy = request->set_policy,
				      .policy = request->policy,
				      .min_mib = request->min_memory_mib,
				      .set_cpu = request->cpu,
				      .set_io = request->io,
				      .waits = request->cpu || request->io};
	struct error err = ERROR_NULL;

	/* Limits are nothing that the zone itself is asked about. */
	wanted.zone = wants_targets(&wanted) || !wants_limits(&wanted)
			      ? zone_find_ready(d, request->ref, &err)
			      : zone_find_running(d, request->ref, &err);
	if (wanted.zone) {
		limits_take(&wanted.limits, request->cpu, request->io, &err);
		check_update(&wanted, &err);
	}
	if (!wanted.zone || err.code) {
		server_fail_error(d, ticket, &err);
		return;
	}
	op = op_new(&wanted);
	if (op && op->waits)
		next_limits(op->zone);
	else if (op)
		set_targets(op);
}

static void is_paused(struct zone_op *op)
{
	op->zone->paused = true;
}

static void is_resumed(struct zone_op *op)
{
	op->zone->paused = false;
	wall_clock_tell(op->zone);
	zone_reconnect(op->zone);
}

void zone_pause(struct daemon *d, struct ticket ticket, const char *ref)
{
	Protect__Runner__Request message = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Pause pause = PROTECT__RUNNER__PAUSE__INIT;
	struct error err = ERROR_NULL;
	struct zone *zone = zone_find_running(d, ref, &err);
	const struct zone_op op = {
		.zone = zone, .ticket = ticket, .doing = "paused", .done = is_paused};

	if (!zone) {
		server_fail_error(d, ticket, &err);
		return;
	}
	message.what_case = PROTECT__RUNNER__REQUEST__WHAT_PAUSE;
	message.pause = &pause;
	start(&op, &message);
}

void zone_resume(struct daemon *d, struct ticket ticket, const char *ref)
{
	Protect__Runner__Request message = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Resume resume = PROTECT__RUNNER__RESUME__INIT;
	struct error err = ERROR_NULL;
	struct zone *zone = zone_find_running(d, ref, &err);
	const struct zone_op op = {
		.zone = zone, .ticket = ticket, .doing = "resumed", .done = is_resumed};

	if (!zone) {
		server_fail_error(d, ticket, &err);
		return;
	}
	message.what_case = PROTECT__RUNNER__REQUEST__WHAT_RESUME;
	message.resume = &resume;
	start(&op, &message);
}
