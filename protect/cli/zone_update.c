// SPDX-License-Identifier: Apache-2.0
/* protect zone update, pause and resume. */
#include "base/cleanup.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/launch.h"

#define AT(field) offsetof(struct zone_update_values, field)

const struct arg_option zone_update_options[ZONE_UPDATE_N_OPTIONS] = {
	{0, "target-memory", ARG_NUMBER, AT(target_memory_mib), "MB",
	 "memory it is to have now, in MiB", 1, ZONE_MEMORY_MAX_MIB, NULL},
	{0, "min-memory", ARG_NUMBER, AT(min_memory_mib), "MB",
	 "memory that the policy leaves it at least, in MiB", 1, ZONE_MEMORY_MAX_MIB, NULL},
	{0, "resource-adjustment-policy", ARG_STRING, AT(policy), "static|dynamic",
	 "static: the target stays; dynamic: it follows what the zone uses", 0, 0,
	 zone_policy_words},
	{'c', "target-cpus", ARG_NUMBER, AT(target_cpus), "N", "processors it is to have now", 1,
	 ZONE_CPUS_MAX, NULL},
	LIMIT_OPTIONS(AT(limits)),
};

/* Limits are set all at once: what was not given stays as the zone has it. */
static int add_limits(const struct args *args, const struct limit_values *limits,
		      const Protect__Control__Zone *zone, Protect__Control__CpuLimits *cpu,
		      Protect__Control__IoLimits *io)
{
	if (zone->cpu)
		*cpu = *zone->cpu;
	if (zone->io)
		*io = *zone->io;
	return limits_apply(args, limits, cpu, io);
}

int zone_update_run(const struct args *args, void *given)
{
	const struct zone_update_values *values = given;
	Protect__Control__ZoneUpdate update = PROTECT__CONTROL__ZONE_UPDATE__INIT;
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;
	Protect__Control__CpuLimits cpu = PROTECT__CONTROL__CPU_LIMITS__INIT;
	Protect__Control__IoLimits io = PROTECT__CONTROL__IO_LIMITS__INIT;
	bool of_cpu = limits_of_cpu(&values->limits), of_io = limits_of_io(&values->limits);
	_cleanup_(message_freep) ProtobufCMessage *zone = NULL;
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	int status = limits_apply(args, &values->limits, &cpu, &io);

	if (status)
		return status;
	if (!values->target_memory_mib && !values->target_cpus && !values->min_memory_mib &&
	    !values->policy && !of_cpu && !of_io)
		return args_usage_error(args, "--target-memory or --target-cpus is missing");
	if (of_cpu || of_io) {
		ref.ref = args->operands[0];
		zone = connection_ask(METHOD(ZONE_RESOLVE), &ref.base,
				      &protect__control__zone__descriptor);
		if (!zone)
			return CLI_ERROR;
		add_limits(args, &values->limits, (const Protect__Control__Zone *)zone, &cpu, &io);
	}
	update.cpu = of_cpu ? &cpu : NULL;
	update.io = of_io ? &io : NULL;
	update.ref = args->operands[0];
	update.target_memory_mib = values->target_memory_mib;
	update.min_memory_mib = values->min_memory_mib;
	update.set_policy = values->policy != NULL;
	update.policy = zone_policy(values->policy);
	update.target_cpus = (uint32_t)values->target_cpus;
	message = connection_ask(METHOD(ZONE_UPDATE), &update.base,
				 &protect__control__zone__descriptor);
	return message ? CLI_OK : CLI_ERROR;
}

/* Each operand in turn, going on after an error. */
static int ask_each(uint32_t method, const struct args *args)
{
	_cleanup_(connection_freep) struct connection *connection = connection_new();
	int status = connection ? CLI_OK : CLI_ERROR;

	for (size_t i = 0; connection && !connection->lost && i < args->n_operands; i++) {
		_cleanup_(message_freep) ProtobufCMessage *message = NULL;
		Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;

		ref.ref = args->operands[i];
		message = connection_call(connection, method, &ref.base,
					  &protect__control__zone__descriptor);
		if (!message)
			status = CLI_ERROR;
	}
	return status;
}

int zone_pause_run(const struct args *args, void *values)
{
	(void)values;
	return ask_each(METHOD(ZONE_PAUSE), args);
}

int zone_resume_run(const struct args *args, void *values)
{
	(void)values;
	return ask_each(METHOD(ZONE_RESUME), args);
}
