// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/volume_list.h"

#include <errno.h>
#include <string.h>

static struct volume_disk *prepare(struct volume_list *list, const struct volume_mount *mount)
{
	struct volume_disk *volume = volume_disk_new(list->zone, list->owner, mount);

	if (!volume)
		return NULL;
	list->messages[list->n] = &volume->message;
	list->disks[list->n++] = volume;
	return volume;
}

int volume_list_init(struct volume_list *list, struct zone *zone, const char *owner,
		     struct volume_mounts *rows)
{
	*list = (struct volume_list){.zone = zone, .owner = owner, .rows = rows};
	for (unsigned i = 0; i < rows->n; i++)
		if (!prepare(list, &rows->items[i])) {
			volume_list_free(list);
			return -ENOMEM;
		}
	return 0;
}

void volume_list_free(struct volume_list *list)
{
	while (list->n)
		volume_disk_free(list->disks[--list->n]);
}

struct volume_disk *volume_list_add(struct volume_list *list, const struct volume_mount *mount)
{
	struct volume_disk *volume = prepare(list, mount);

	if (volume)
		volume_mounts_add(list->rows, mount);
	return volume;
}

void volume_list_remove(struct volume_list *list, struct volume_disk *volume)
{
	unsigned i = 0;

	while (list->disks[i] != volume)
		i++;
	for (list->n--; i < list->n; i++) {
		list->disks[i] = list->disks[i + 1];
		list->messages[i] = list->messages[i + 1];
	}
	volume_mounts_remove(list->rows, volume->mount.target);
	volume_disk_free(volume);
}

struct volume_disk *volume_list_find(const struct volume_list *list, const char *name)
{
	for (unsigned i = 0; i < list->n; i++)
		if (strcmp(list->disks[i]->mount.name, name) == 0)
			return list->disks[i];
	return NULL;
}

void volume_list_drop(struct volume_list *list)
{
	for (unsigned i = 0; i < list->n; i++)
		volume_disk_drop(list->disks[i]);
}
