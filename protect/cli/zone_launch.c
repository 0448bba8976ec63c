// SPDX-License-Identifier: Apache-2.0
/* protect zone launch */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/import.h"
#include "protect/cli/launch.h"
#include "protect/cli/output.h"
#include "protect/cli/volume_option.h"

#define AT(field) offsetof(struct zone_launch_values, field)

static const char *const backend_words[] = {"auto", "kvm", "pv", "pvh", NULL};

const struct arg_option zone_launch_options[ZONE_LAUNCH_N_OPTIONS] = {
	{'n', "name", ARG_STRING, AT(name), "NAME", "the zone's name (default: one is made up)", 0,
	 0, NULL},
	{'W', "wait", ARG_FLAG, AT(wait), NULL, "until the zone is ready", 0, 0, NULL},
	{'k', "kernel", ARG_STRING, AT(kernel), "REF",
	 "the kernel image (default: the one installed)", 0, 0, NULL},
	{0, "kernel-variant", ARG_STRING, AT(kernel_variant), "NAME",
	 "the installed kernel of this variant (see 'protect image list')", 0, 0, NULL},
	{'V', "virt-backend", ARG_STRING, AT(virt_backend), "auto|kvm|pv|pvh",
	 "what it runs on (default: auto, what 'protect host status' shows first)", 0, 0,
	 backend_words},
	{0, "max-memory", ARG_NUMBER, AT(max_memory_mib), "MB", "memory the zone can have, in MiB",
	 1, ZONE_MEMORY_MAX_MIB, NULL},
	{0, "target-memory", ARG_NUMBER, AT(target_memory_mib), "MB",
	 "memory it starts with (default: all)", 1, ZONE_MEMORY_MAX_MIB, NULL},
	{0, "min-memory", ARG_NUMBER, AT(min_memory_mib), "MB",
	 "memory that the policy leaves it at least, in MiB", 1, ZONE_MEMORY_MAX_MIB, NULL},
	{0, "resource-adjustment-policy", ARG_STRING, AT(policy), "static|dynamic",
	 "static (default): the target stays; dynamic: it follows what the zone uses", 0, 0,
	 zone_policy_words},
	{'C', "max-cpus", ARG_NUMBER, AT(max_cpus), "N", "processors the zone can have", 1,
	 ZONE_CPUS_MAX, NULL},
	{'c', "target-cpus", ARG_NUMBER, AT(target_cpus), "N",
	 "processors it starts with (default: all)", 1, ZONE_CPUS_MAX, NULL},
	LIMIT_OPTIONS(AT(limits)),
	NETWORK_OPTIONS(AT(network)),
	{'v', "volume", ARG_LIST, AT(volumes), "VOLUME:TARGET[:ro]",
	 "a volume of the zone itself, which its workloads may share", 0, 0, NULL},
	{'e', "env", ARG_LIST, AT(env), "KEY=VALUE", "environment of all that runs in it", 0, 0,
	 NULL},
	{0, "sysctl", ARG_LIST, AT(sysctls), "KEY=VALUE", "set in its kernel before anything runs",
	 0, 0, NULL},
	{0, "module", ARG_LIST, AT(modules), "NAME[ PARAM=VALUE...]",
	 "a module that its kernel is to load", 0, 0, NULL},
	{0, "kernel-option", ARG_LIST, AT(kernel_options), "WORD",
	 "added to its kernel's command line", 0, 0, NULL},
};

const char *const zone_policy_words[] = {
	[PROTECT__CONTROL__RESOURCE_POLICY__POLICY_STATIC] = "static",
	[PROTECT__CONTROL__RESOURCE_POLICY__POLICY_DYNAMIC] = "dynamic",
	[PROTECT__CONTROL__RESOURCE_POLICY__POLICY_DYNAMIC + 1] = NULL,
};

Protect__Control__ResourcePolicy zone_policy(const char *word)
{
	return word && strcmp(word, "dynamic") == 0
		       ? PROTECT__CONTROL__RESOURCE_POLICY__POLICY_DYNAMIC
		       : PROTECT__CONTROL__RESOURCE_POLICY__POLICY_STATIC;
}

static int check(const struct args *args, const struct zone_launch_values *values)
{
	if (values->max_memory_mib && values->target_memory_mib > values->max_memory_mib)
		return args_usage_error(args, "--target-memory is more than --max-memory");
	if (values->target_memory_mib && values->min_memory_mib > values->target_memory_mib)
		return args_usage_error(args, "--min-memory is more than --target-memory");
	if (values->max_cpus && values->target_cpus > values->max_cpus)
		return args_usage_error(args, "--target-cpus is more than --max-cpus");
	if (values->kernel && values->kernel_variant)
		return args_usage_error(args, "--kernel and --kernel-variant exclude each other");
	return args_check_env(args, &values->env) < 0 ? CLI_USAGE : CLI_OK;
}

int zone_launch_run(const struct args *args, void *given)
{
	const struct zone_launch_values *values = given;
	Protect__Control__ZoneLaunch launch = PROTECT__CONTROL__ZONE_LAUNCH__INIT;
	Protect__Control__CpuLimits cpu = PROTECT__CONTROL__CPU_LIMITS__INIT;
	Protect__Control__IoLimits io = PROTECT__CONTROL__IO_LIMITS__INIT;
	_cleanup_(connection_freep) struct connection *connection = NULL;
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	_cleanup_(network_option_deinit) struct network_option network = {0};
	_cleanup_(volume_option_deinit) struct volume_option volumes = {0};
	_cleanup_(freep) char *kernel = NULL;
	int status = check(args, values);

	if (!status)
		status = limits_apply(args, &values->limits, &cpu, &io);
	if (!status)
		status = network_option_parse(args, &values->network, &network);
	if (!status)
		status = volume_option_parse(args, &values->volumes, &volumes);
	if (status)
		return status;
	connection = connection_new();
	if (!connection)
		return CLI_ERROR;
	if (values->kernel && import_if_local(connection, values->kernel, &kernel) < 0)
		return CLI_ERROR;
	if (values->name)
		launch.name = (char *)(uintptr_t)values->name;
	if (kernel)
		launch.kernel = kernel;
	if (values->kernel_variant)
		launch.kernel_variant = (char *)(uintptr_t)values->kernel_variant;
	if (values->virt_backend)
		launch.virt_backend = (char *)(uintptr_t)values->virt_backend;
	launch.max_memory_mib = values->max_memory_mib;
	launch.target_memory_mib = values->target_memory_mib;
	launch.min_memory_mib = values->min_memory_mib;
	launch.policy = zone_policy(values->policy);
	launch.cpu = limits_of_cpu(&values->limits) ? &cpu : NULL;
	launch.io = limits_of_io(&values->limits) ? &io : NULL;
	launch.max_cpus = (uint32_t)values->max_cpus;
	launch.target_cpus = (uint32_t)values->target_cpus;
	launch.env = values->env.items;
	launch.n_env = values->env.n;
	launch.sysctls = values->sysctls.items;
	launch.n_sysctls = values->sysctls.n;
	launch.modules = values->modules.items;
	launch.n_modules = values->modules.n;
	launch.kernel_options = values->kernel_options.items;
	launch.n_kernel_options = values->kernel_options.n;
	launch.wait = values->wait;
	launch.volumes = volumes.pointers;
	launch.n_volumes = volumes.n;
	launch.network = network.given ? &network.message : NULL;
	message = connection_call_fds(connection, METHOD(ZONE_LAUNCH), &launch.base, network.taps,
				      network.n_taps, &protect__control__zone__descriptor);
	if (!message)
		return CLI_ERROR;
	puts(((const Protect__Control__Zone *)message)->uuid);
	return output_flush();
}
