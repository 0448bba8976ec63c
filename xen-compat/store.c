// SPDX-License-Identifier: Apache-2.0
#include "xen-compat/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define PATH_SIZE 128

static bool path_of(char path[PATH_SIZE], uint32_t domid, const char *name)
{
	int len = snprintf(path, PATH_SIZE, "/local/domain/%" PRIu32 "%s%s", domid,
			   *name ? "/" : "", name);

	return len > 0 && len < PATH_SIZE;
}

static int set_access(struct xen *xen, const char *path, uint32_t domid, enum store_access access)
{
	/* The first names the owner, who may everything, and what others may. */
	struct xs_permissions permissions[2] = {
		{.id = access == STORE_ZONE_OWNS ? domid : 0, .perms = XS_PERM_NONE},
		{.id = domid, .perms = XS_PERM_READ},
	};

	return xs_set_permissions(xen->store, XBT_NULL, path, permissions,
				  access == STORE_ZONE_READS ? 2 : 1)
		       ? 0
		       : -errno;
}

int store_put(struct xen *xen, uint32_t domid, enum store_access access, const char *name,
	      const char *value)
{
	char path[PATH_SIZE];
	bool done;

	if (!path_of(path, domid, name))
		return -ENAMETOOLONG;
	done = value ? xs_write(xen->store, XBT_NULL, path, value, (unsigned)strlen(value))
		     : xs_mkdir(xen->store, XBT_NULL, path);
	return done ? set_access(xen, path, domid, access) : -errno;
}

int store_put_number(struct xen *xen, uint32_t domid, enum store_access access, const char *name,
		     uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return store_put(xen, domid, access, name, text);
}

int store_get_number(struct xen *xen, uint32_t domid, const char *name, uint64_t max,
		     uint64_t *value)
{
	_cleanup_(freep) char *text = NULL;
	char path[PATH_SIZE];
	unsigned len = 0;

	if (!path_of(path, domid, name))
		return -ENAMETOOLONG;
	text = xs_read(xen->store, XBT_NULL, path, &len);
	return text ? store_parse_number(text, len, max, value) : -errno;
}

bool store_is(struct xen *xen, uint32_t domid, const char *name, const char *text)
{
	_cleanup_(freep) char *found = NULL;
	char path[PATH_SIZE];
	unsigned len = 0;

	if (path_of(path, domid, name))
		found = xs_read(xen->store, XBT_NULL, path, &len);
	return found && len == strlen(text) && memcmp(found, text, len) == 0;
}

void store_remove(struct xen *xen, uint32_t domid)
{
	char path[PATH_SIZE];

	if (domid && path_of(path, domid, ""))
		xs_rm(xen->store, XBT_NULL, path);
}
