// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/state_volumes.h"

#include <stdio.h>
#include <string.h>

void volume_mounts_print(const struct volume_mounts *mounts, char text[VOLUME_MOUNTS_TEXT_SIZE])
{
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < mounts->n; i++)
		n += (size_t)snprintf(text + n, VOLUME_MOUNTS_TEXT_SIZE - n, "%s %s %s\n",
				      mounts->items[i].read_only ? "ro" : "rw",
				      mounts->items[i].name, mounts->items[i].target);
}

/* "MODE NAME TARGET" of len bytes. */
static bool parse_line(const char *line, size_t len, struct volume_mount *out)
{
	const char *name = line + 3, *target = memchr(name, ' ', len > 3 ? len - 3 : 0);
	size_t name_len, target_len;

	if (!target)
		return false;
	name_len = (size_t)(target - name);
	target++;
	target_len = len - (size_t)(target - line);
	if (name_len == 0 || name_len >= sizeof(out->name) || target_len == 0 ||
	    target_len >= sizeof(out->target))
		return false;
	*out = (struct volume_mount){.read_only = strncmp(line, "ro ", 3) == 0};
	memcpy(out->name, name, name_len);
	memcpy(out->target, target, target_len);
	return out->read_only || strncmp(line, "rw ", 3) == 0;
}

void volume_mounts_parse(const char *text, struct volume_mounts *out)
{
	out->n = 0;
	while (text && *text && out->n < VOLUME_MOUNTS_MAX) {
		size_t len = strcspn(text, "\n");

		if (parse_line(text, len, &out->items[out->n]))
			out->n++;
		text += len + (text[len] == '\n');
	}
}
