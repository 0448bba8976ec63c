// SPDX-License-Identifier: Apache-2.0
/* Which extended attributes an image may bring. */
#include "supervisor/storage/layers.h"

#include <errno.h>
#include <linux/limits.h>
#include <string.h>

#define OVERHEAD 64 /* about what keeping one costs beside its bytes */

static bool is_allowed(const char *name)
{
	if (!name)
		return false;
	if (strcmp(name, "security.capability") == 0)
		return true;
	return strncmp(name, "user.", strlen("user.")) == 0 &&
	       strncmp(name, "user.overlay.", strlen("user.overlay.")) != 0;
}

int layers_count_xattrs(struct archive_entry *entry, size_t *bytes)
{
	const char *name;
	const void *value;
	size_t len;

	*bytes = 0;
	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &len) == ARCHIVE_OK) {
		if (!is_allowed(name))
			continue;
		if (strlen(name) > XATTR_NAME_MAX || len > XATTR_SIZE_MAX)
			return -EINVAL;
		*bytes += OVERHEAD + strlen(name) + len;
	}
	return 0;
}

void layers_copy_xattrs(struct archive_entry *from, struct archive_entry *to)
{
	const char *name;
	const void *value;
	size_t len;

	archive_entry_xattr_reset(from);
	while (archive_entry_xattr_next(from, &name, &value, &len) == ARCHIVE_OK)
		if (is_allowed(name))
			archive_entry_xattr_add_entry(to, name, value, len);
}
