// SPDX-License-Identifier: Apache-2.0
/* Options that several commands have, as tables with the values they fill in. Constants. */
#pragma once

#include "protect/cli/args.h"
#include "protect/cli/exec.h"

#define EXEC_N_OPTIONS 6

struct list_options {
	const char *output; /* -o, for output_format() */
};

struct logs_options {
	bool follow, timestamps;
	const char *since, *tail;
};

#define LOGS_N_OPTIONS 4

struct destroy_options {
	bool wait;
};

extern const struct arg_option list_options[1];
extern const struct arg_option logs_options[LOGS_N_OPTIONS];
extern const struct arg_option follow_options[1]; /* of struct logs_options */
extern const struct arg_option destroy_options[1];
extern const struct arg_option exec_options[EXEC_N_OPTIONS]; /* of struct exec_options */
