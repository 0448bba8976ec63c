// SPDX-License-Identifier: Apache-2.0
/*
 * Who a process runs as, by the image's own /etc/passwd and /etc/group. Those files are hostile:
 * they are opened only if they are regular files, read up to USER_FILE_MAX, and parsed here
 * (glibc's NSS would load libraries). The rules are those of the OCI image configuration: `user`,
 * `uid`, `user:group`, `uid:gid`; numbers need no entry.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

#define USER_GROUPS_MAX 64u
#define USER_HOME_MAX	256u
#define USER_FILE_MAX	(1024u * 1024)

struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_GROUPS_MAX]; /* supplementary */
	size_t n_groups;
	char home[USER_HOME_MAX];
};

/*
 * Resolves spec ("" = root) with the texts of passwd and group ("" where the image has none).
 * Without a group in spec, the groups that list the user become supplementary ones. Returns 0, or
 * -ENOENT or -EINVAL with the text.
 */
int user_resolve(const char *spec, const char *passwd, const char *group, struct user *out,
		 struct error *err);

/* As user_resolve() with the files below the present root directory. */
int user_lookup(const char *spec, struct user *out, struct error *err);
