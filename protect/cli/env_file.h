// SPDX-License-Identifier: Apache-2.0
/* Files with environment variables: KEY=VALUE a line, nothing is unquoted; KEY alone takes the
 * caller's value, if it has one; empty lines and those that begin with '#' are passed over. */
#pragma once

#include <stddef.h>

#define ENV_FILE_MAX (128u * 1024)

struct env_file {
	char *text;   /* owned */
	char **items; /* owned, and so are its strings */
	size_t n;
};

/* Returns 0 or a negative errno, having said what is wrong; env_file_deinit() is needed in any
 * case.
 */
int env_file_read(const char *path, struct env_file *out);
void env_file_deinit(struct env_file *file);
