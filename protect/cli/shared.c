// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/shared.h"

#include "protect/cli/output.h"

const struct arg_option list_options[1] = {OUTPUT_OPTION(struct list_options)};

#define FOLLOW                                                                                     \
	{                                                                                          \
		'f', "follow", ARG_FLAG, offsetof(struct logs_options, follow), NULL,              \
			"go on with what comes", 0, 0, NULL                                        \
	}

const struct arg_option follow_options[1] = {FOLLOW};

const struct arg_option logs_options[LOGS_N_OPTIONS] = {
	FOLLOW,
	{'t', "timestamps", ARG_FLAG, offsetof(struct logs_options, timestamps), NULL,
	 "with the time in front of each line", 0, 0, NULL},
	{0, "since", ARG_STRING, offsetof(struct logs_options, since), "TIME",
	 "from then on: 90s, 10m, 1h30m ago, or 2026-11-27T18:30:00Z", 0, 0, NULL},
	{'n', "tail", ARG_STRING, offsetof(struct logs_options, tail), "LINES",
	 "of what there is only the last lines (default: all)", 0, 0, NULL},
};

const struct arg_option destroy_options[1] = {
	{'W', "wait", ARG_FLAG, offsetof(struct destroy_options, wait), NULL,
	 "until all it held is released", 0, 0, NULL},
};

const struct arg_option exec_options[EXEC_N_OPTIONS] = {
	{'t', "tty", ARG_FLAG, offsetof(struct exec_options, terminal), NULL, "with a terminal", 0,
	 0, NULL},
	{'e', "env", ARG_LIST, offsetof(struct exec_options, env), "KEY=VALUE",
	 "set an environment variable", 0, 0, NULL},
	{'w', "workdir", ARG_STRING, offsetof(struct exec_options, directory), "DIR",
	 "start in DIR", 0, 0, NULL},
	{'u', "user", ARG_STRING, offsetof(struct exec_options, user), "USER[:GROUP]",
	 "run as this user (default: as the workload)", 0, 0, NULL},
	{0, "env-file", ARG_LIST, offsetof(struct exec_options, env_files), "FILE",
	 "variables, a line each", 0, 0, NULL},
	{'d', "detach", ARG_FLAG, offsetof(struct exec_options, detach), NULL,
	 "start it and leave: it goes on alone, its output goes nowhere", 0, 0, NULL},
};
