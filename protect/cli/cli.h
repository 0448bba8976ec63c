// SPDX-License-Identifier: Apache-2.0
/* The groups of commands of `protect`, each a file of its own, and what they share. */
#pragma once

#include <time.h>

#include "proto/control.pb-c.h"
#include "protect/cli/args.h"
#include "protect/cli/limits.h"

extern const struct command_group host_group;
extern const struct command_group zone_group;
extern const struct command_group workload_group;
extern const struct command_group image_group;
extern const struct command_group volume_group;
extern const struct command_group network_group;
extern const struct command_group completion_group;

/* All groups, up to NULL. */
extern const struct command_group *const cli_groups[];

/* Commands with a file of their own, listed in a group's table by the group's file. */
int host_check_run(const struct args *args, void *values);
int host_topology_run(const struct args *args, void *values);
int host_hv_console_run(const struct args *args, void *values);
int host_snoop_run(const struct args *args, void *values);
int host_hv_debug_run(const struct args *args, void *values);
int image_prune_run(const struct args *args, void *values);
int zone_forward_run(const struct args *args, void *values);
int zone_launch_run(const struct args *args, void *values);
int zone_metrics_run(const struct args *args, void *values);
int zone_top_run(const struct args *args, void *values);
int zone_update_run(const struct args *args, void *values);
int zone_pause_run(const struct args *args, void *values);
int zone_resume_run(const struct args *args, void *values);
int workload_launch_run(const struct args *args, void *values);
int workload_attach_run(const struct args *args, void *values);
int workload_start_run(const struct args *args, void *values);

/* Options that stand in those files. */
#define HOST_HV_DEBUG_N_OPTIONS 1
#define IMAGE_PRUNE_N_OPTIONS	3
#define ZONE_METRICS_N_OPTIONS	1
#define ZONE_TOP_N_OPTIONS	5
#define HOST_SNOOP_N_OPTIONS	2
#define ZONE_UPDATE_N_OPTIONS	(4 + LIMIT_N_OPTIONS)
#define ATTACH_N_OPTIONS	2
#define START_N_OPTIONS		1
struct attach_values {
	bool no_stdin, no_replay, start;
};
extern const struct arg_option attach_options[ATTACH_N_OPTIONS];
extern const struct arg_option start_options[START_N_OPTIONS]; /* of struct attach_values too */
struct image_prune_values {
	const char *output;
	bool all, dry_run;
};
extern const struct arg_option image_prune_options[IMAGE_PRUNE_N_OPTIONS];
extern const struct arg_option host_hv_debug_options[HOST_HV_DEBUG_N_OPTIONS];
extern const struct arg_option zone_update_options[ZONE_UPDATE_N_OPTIONS];
extern const struct arg_option zone_metrics_options[ZONE_METRICS_N_OPTIONS];
extern const struct arg_option zone_top_options[ZONE_TOP_N_OPTIONS];
extern const struct arg_option host_snoop_options[HOST_SNOOP_N_OPTIONS];
struct host_snoop_values {
	const char *output, *zone;
};
struct zone_top_values {
	const char *output, *order;
	uint64_t delay_s, rounds;
	bool batch;
};
struct zone_update_values {
	uint64_t target_memory_mib, min_memory_mib, target_cpus;
	const char *policy;
	struct limit_values limits;
};

/* Shows the logs (method) of what operand 0 names, or of everything. Returns an exit status. */
struct logs_options;
int logs_run(uint32_t method, const struct args *args, const struct logs_options *options,
	     bool split);

/* "10m", "1h30m", "2026-11-27T18:30:00Z", "2026-11-27": ms since 1970. Returns 0 or -EINVAL. */
int logs_since(const char *text, uint64_t now_ms, uint64_t *out);

/* Asks the daemon for something whose answer is Empty, about every operand in turn. Returns an exit
 * status. */
int destroy_run(uint32_t method, const struct args *args, bool wait);
