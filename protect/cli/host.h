// SPDX-License-Identifier: Apache-2.0
/* The options that the commands of `protect host` share. */
#pragma once

struct host_options {
	const char *output;
};
