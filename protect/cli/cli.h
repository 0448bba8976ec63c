// SPDX-License-Identifier: Apache-2.0
/* The groups of commands of `protect`, each a file of its own, and what they share. */
#pragma once

#include <time.h>

#include "proto/control.pb-c.h"
#include "protect/cli/args.h"

extern const struct command_group host_group;
extern const struct command_group zone_group;
extern const struct command_group workload_group;
extern const struct command_group image_group;
extern const struct command_group completion_group;

/* All groups, up to NULL. */
extern const struct command_group *const cli_groups[];

/* Commands with a file of their own, listed in a group's table by the group's file. */
int host_check_run(const struct args *args, void *values);
int host_topology_run(const struct args *args, void *values);
int zone_launch_run(const struct args *args, void *values);
int workload_launch_run(const struct args *args, void *values);

/* Shows the logs of the zone or workload (method) that operand 0 names. Returns an exit status. */
int logs_run(uint32_t method, const struct args *args, bool follow, bool split);

/* Asks the daemon for something whose answer is Empty, about every operand in turn. Returns an exit
 * status. */
int destroy_run(uint32_t method, const struct args *args, bool wait);
