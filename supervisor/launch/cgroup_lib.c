// SPDX-License-Identifier: Apache-2.0
/*
 * The part of cgroup_files.h that is libcgroup. What its version 2.0.2 gets wrong, and is therefore
 * not used here:
 *
 *  - cgroup_delete_cgroup() moves what lives in a group to its parent, out of its limits; with
 *    CGFLAG_DELETE_EMPTY_ONLY it says 0 for a group that it left. Groups are removed by rmdir(2).
 *  - cgroup_create_cgroup() makes what is missing and is content with what is there, so nobody
 *    learns of a group that was left behind; and on v2 it writes subtree_control for every
 *    controller, for which the kernel waits until groups that were removed have gone. It makes the
 *    groups that are made once.
 *  - cgroup_create_cgroup() enables controllers below the top of a v2 tree only when the new group
 *    is the first level below it.
 *  - cgroup_set_value_string() with an empty value writes nothing, and says 0.
 *  - "the value does not exist" can be any failure of open(2); so whether a file is there is looked
 *    at by ourselves.
 *  - a set of values that fails does not say which one did. They are set one by one.
 *
 * It has no cgroup.kill, no descriptor for CLONE_INTO_CGROUP, and no reader of memory.events; its
 * table of mounts is one for the process.
 */
#include <errno.h>
#include <libcgroup.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "supervisor/launch/cgroup_files.h"

static int to_errno(int code)
{
	switch (code) {
	case 0:
		return 0;
	case ECGOTHER:
		return cgroup_get_last_errno() ? -cgroup_get_last_errno() : -EIO;
	case ECGROUPNOTEXIST:
	case ECGROUPVALUENOTEXIST:
		return -ENOENT;
	case ECGROUPNOTALLOWED:
	case ECGROUPNOTOWNER:
		return -EPERM;
	case ECGROUPSUBSYSNOTMOUNTED:
	case ECGROUPNOTMOUNTED:
		return -ENOTSUP;
	default:
		return -EIO;
	}
}

int cgroup_lib_init(struct error *err)
{
	int code = cgroup_init();

	return code ? error_set(err, -ENOTSUP, "no cgroups here: %s", cgroup_strerror(code)) : 0;
}

char *cgroup_lib_mount(const char *controller)
{
	char *path = NULL;

	return cgroup_get_subsys_mount_point(controller, &path) == 0 ? path : NULL;
}

/* A group with these controllers, as an object only. */
static struct cgroup *group_new(const char *name, const char *const *controllers, unsigned n)
{
	struct cgroup *group = cgroup_new_cgroup(name);

	for (unsigned i = 0; group && i < n; i++)
		if (!cgroup_add_controller(group, controllers[i]))
			cgroup_free(&group);
	return group;
}

int cgroup_lib_create(const char *name, const char *const *controllers, unsigned n,
		      struct error *err)
{
	_cleanup_(cgroup_free) struct cgroup *group = group_new(name, controllers, n);
	int r = group ? to_errno(cgroup_create_cgroup(group, 1)) : -ENOMEM;

	return r < 0 ? error_set_errno(err, r, "cgroup %s cannot be made", name) : 0;
}

int cgroup_lib_set(const char *name, const struct cgroup_setting *setting, struct error *err)
{
	_cleanup_(cgroup_free) struct cgroup *group = cgroup_new_cgroup(name);
	struct cgroup_controller *controller =
		group ? cgroup_add_controller(group, setting->controller) : NULL;
	int r = -ENOMEM;

	if (controller)
		r = to_errno(cgroup_set_value_string(controller, setting->file, setting->value));
	if (r == 0)
		r = to_errno(cgroup_modify_cgroup(group));
	return r < 0 ? error_set_errno(err, r, "limit %s = %s of the zone's cgroup", setting->file,
				       setting->value)
		     : 0;
}

int cgroup_lib_attach(const char *name, const char *const *controllers, unsigned n, pid_t pid,
		      struct error *err)
{
	_cleanup_(cgroup_free) struct cgroup *group = group_new(name, controllers, n);
	int r = group ? to_errno(cgroup_attach_task_pid(group, pid)) : -ENOMEM;

	return r < 0 ? error_set_errno(err, r, "process %d cannot be put into cgroup %s", (int)pid,
				       name)
		     : 0;
}
