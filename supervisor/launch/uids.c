// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch/uids.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"

#define STATUS_MAX 65536 /* its list of groups can be long */

/* From the status and not from the folder's owner, which is root for a process that nobody may
 * trace. */
static bool lives_under(int proc, const char *pid, uid_t uid)
{
	_cleanup_(freep) char *text = NULL;
	const char *uids, *state;
	char path[300];
	size_t len;

	snprintf(path, sizeof(path), "%s/status", pid);
	if (io_read_file(proc, path, STATUS_MAX, &text, &len) < 0)
		return false;
	state = strstr(text, "\nState:\t");
	uids = strstr(text, "\nUid:\t");
	return uids && strtoul(uids + strlen("\nUid:\t"), NULL, 10) == uid &&
	       !(state && state[strlen("\nState:\t")] == 'Z');
}

bool uid_is_in_use(uid_t uid)
{
	DIR *dir = opendir("/proc");
	const struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir)))
		found = isdigit((unsigned char)entry->d_name[0]) &&
			lives_under(dirfd(dir), entry->d_name, uid);
	if (dir)
		closedir(dir);
	return found;
}
