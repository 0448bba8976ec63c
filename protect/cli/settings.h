// SPDX-License-Identifier: Apache-2.0
/*
 * How a workload is confined, from the options of `workload launch`, spelled as Docker's, to the
 * message that the zone checks and carries out. Main thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protect/cli/args.h"
#include "proto/agent.pb-c.h"

struct settings_values {
	const char *hostname;
	bool read_only, privileged, no_new_privileges, own_users;
	struct arg_list tmpfs, cap_add, cap_drop, security, ulimits, sysctls, devices;
	const char *memory, *cpus, *oom_score_adj;
	uint64_t pids;
};

#define SETTINGS_N_OPTIONS 16

/* The rows of an option table; values: the member of the command's values that holds a struct
 * settings_values. */
#define SETTINGS_OPTIONS(values)                                                                   \
	{0, "hostname", ARG_STRING, values(hostname), "NAME", "its host name (default: its name)", \
	 0, 0,		NULL},                                                                     \
		{0,	   "read-only",                                                            \
		 ARG_FLAG, values(read_only),                                                      \
		 NULL,	   "without write access to its root",                                     \
		 0,	   0,                                                                      \
		 NULL},                                                                            \
		{0,                                                                                \
		 "tmpfs",                                                                          \
		 ARG_LIST,                                                                         \
		 values(tmpfs),                                                                    \
		 "PATH[:OPTIONS]",                                                                 \
		 "a file system in memory: size=, mode=, exec, suid, dev, ro",                     \
		 0,                                                                                \
		 0,                                                                                \
		 NULL},                                                                            \
		{0,	   "privileged",                                                           \
		 ARG_FLAG, values(privileged),                                                     \
		 NULL,	   "all capabilities and devices of the zone",                             \
		 0,	   0,                                                                      \
		 NULL},                                                                            \
		{0,                                                                                \
		 "cap-add",                                                                        \
		 ARG_LIST,                                                                         \
		 values(cap_add),                                                                  \
		 "CAPABILITY",                                                                     \
		 "give it a capability, or ALL",                                                   \
		 0,                                                                                \
		 0,                                                                                \
		 NULL},                                                                            \
		{0,                                                                                \
		 "cap-drop",                                                                       \
		 ARG_LIST,                                                                         \
		 values(cap_drop),                                                                 \
		 "CAPABILITY",                                                                     \
		 "take one from it, or ALL",                                                       \
		 0,                                                                                \
		 0,                                                                                \
		 NULL},                                                                            \
		{0,	   "no-new-privileges",                                                    \
		 ARG_FLAG, values(no_new_privileges),                                              \
		 NULL,	   "no program in it gains rights",                                        \
		 0,	   0,                                                                      \
		 NULL},                                                                            \
		{0,	   "userns",                                                               \
		 ARG_FLAG, values(own_users),                                                      \
		 NULL,	   "users of its own: its root is nobody in the zone",                     \
		 0,	   0,                                                                      \
		 NULL},                                                                            \
		{0,	   "security-opt",                                                         \
		 ARG_LIST, values(security),                                                       \
		 "OPTION", "seccomp=FILE|unconfined, systempaths=unconfined, mask=PATH, ro=PATH",  \
		 0,	   0,                                                                      \
		 NULL},                                                                            \
		{0,                                                                                \
		 "ulimit",                                                                         \
		 ARG_LIST,                                                                         \
		 values(ulimits),                                                                  \
		 "NAME=SOFT[:HARD]",                                                               \
		 "limit its processes: nofile, nproc, core …",                                     \
		 0,                                                                                \
		 0,                                                                                \
		 NULL},                                                                            \
		{0,	      "sysctl",                                                            \
		 ARG_LIST,    values(sysctls),                                                     \
		 "KEY=VALUE", "of its own: kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*",     \
		 0,	      0,                                                                   \
		 NULL},                                                                            \
		{'m',	     "memory",                                                             \
		 ARG_STRING, values(memory),                                                       \
		 "SIZE",     "the most memory (512m, 1g; default: the zone's)",                    \
		 0,	     0,                                                                    \
		 NULL},                                                                            \
		{0,	     "cpus",                                                               \
		 ARG_STRING, values(cpus),                                                         \
		 "NUMBER",   "the most CPU time (0.5, 2; default: the zone's)",                    \
		 0,	     0,                                                                    \
		 NULL},                                                                            \
		{0,	     "pids-limit",                                                         \
		 ARG_NUMBER, values(pids),                                                         \
		 "NUMBER",   "the most tasks (default: half of the zone's)",                       \
		 1,	     4194304,                                                              \
		 NULL},                                                                            \
		{0,	     "oom-score-adj",                                                      \
		 ARG_STRING, values(oom_score_adj),                                                \
		 "NUMBER",   "who is killed first (-1000 to 1000)",                                \
		 0,	     0,                                                                    \
		 NULL},                                                                            \
	{                                                                                          \
		0, "device", ARG_LIST, values(devices), "PATH[:PATH]",                             \
			"a device of the zone, and its path in the workload", 0, 0, NULL           \
	}

/* Makes the message. Returns CLI_OK, or another status having said why. settings_message_free()
 * takes NULL. */
int settings_message_new(const struct args *args, const struct settings_values *values,
			 Protect__Agent__Settings **out);
void settings_message_free(Protect__Agent__Settings *settings);

/* "512m", "1g", "4096": bytes. Returns 0 or -EINVAL. */
int settings_size(const char *text, uint64_t *out);
