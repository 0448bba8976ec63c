// SPDX-License-Identifier: Apache-2.0
#include "base/volume_target.h"

#include <errno.h>
#include <string.h>

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

bool volume_target_is_path(const char *target)
{
	if (target[0] != '/' || strlen(target) > VOLUME_TARGET_MAX || !is_printable(target))
		return false;
	for (const char *part = target; part; part = strchr(part + 1, '/')) {
		size_t len = strcspn(part + 1, "/");

		if (len == 0 || (len <= 2 && strspn(part + 1, ".") >= len))
			return false;
	}
	return true;
}

static bool is_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && (!path[len] || path[len] == '/');
}

int volume_target_check(const char *name, const char *target, bool raw, struct error *err)
{
	bool in_dev = is_below(target, "/dev");

	if (!volume_target_is_path(target))
		return error_set(
			err, -EINVAL,
			"'%.255s' is no place for a volume: a path from the workload's root "
			"without '.' and '..' is",
			target);
	if (raw && (!in_dev || strcmp(target, "/dev") == 0))
		return error_set(
			err, -EINVAL,
			"raw volume '%s' is given as a device: its place is below /dev, not "
			"'%s'",
			name, target);
	if ((in_dev && !raw) || is_below(target, "/proc") || is_below(target, "/sys"))
		return error_set(err, -EINVAL, "no volume can be at '%s': that is the kernel's",
				 target);
	return 0;
}
