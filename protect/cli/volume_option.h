// SPDX-License-Identifier: Apache-2.0
/* -v VOLUME:TARGET[:ro], as messages for a launch. VOLUME is a name, or the path of a host's device
 * below /dev, or, for a workload, of a folder. */
#pragma once

#include <jansson.h>

#include "protect/cli/args.h"
#include "proto/control.pb-c.h"

struct volume_option {
	Protect__Control__VolumeMount *items; /* what pointers point to */
	Protect__Control__VolumeMount **pointers;
	char **texts; /* copies, cut into their parts */
	size_t n;
};

/* Reads them all. Returns an exit status, 0 = good; *out is freed with volume_option_deinit() in
 * any case. */
int volume_option_parse(const struct args *args, const struct arg_list *list,
			struct volume_option *out);
/* A number of bytes with a unit behind it; option is what it was given to. Returns an exit status.
 */
int size_option_parse(const struct args *args, const char *option, const char *text, uint64_t *out);

/* As `list` shows them. */
json_t *volume_mounts_json(Protect__Control__VolumeMount *const *mounts, size_t n);

void volume_option_deinit(struct volume_option *option);
