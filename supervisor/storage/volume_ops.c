// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/volume_ops.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/storage/device.h"
#include "supervisor/storage/volume.h"

/* A list goes into one packet. What a volume takes: its name, and 48 bytes of numbers, tags and
 * lengths. */
static_assert(VOLUMES_MAX * (VOLUME_NAME_MAX + 48) < OPS_PACKET_MAX, "a list fits into a packet");
static_assert((int)VOLUME_RAW == PROTECT__STORAGE__VOLUME_FORMAT__VOLUME_RAW &&
		      (int)VOLUME_WRITER == PROTECT__STORAGE__VOLUME_USE__VOLUME_WRITER,
	      "the same numbers");

/* A new message. NULL when memory is short. */
static Protect__Storage__Volume *volume_message(const struct volume *from)
{
	Protect__Storage__Volume *to = malloc(sizeof(*to));

	if (!to)
		return NULL;
	protect__storage__volume__init(to);
	to->name = strdup(from->name);
	to->format = (Protect__Storage__VolumeFormat)from->format;
	to->size_bytes = from->size_bytes;
	to->allocated_bytes = from->allocated_bytes;
	to->created_unix_ms = from->created_unix_ms;
	to->use = (Protect__Storage__VolumeUse)from->use;
	if (to->name)
		return to;
	free(to);
	return NULL;
}

static int answer(Protect__Storage__Reply *reply, const struct volume *volume, struct error *err)
{
	reply->volume = volume_message(volume);
	return reply->volume ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int add_to_list(void *context, const struct volume *volume)
{
	Protect__Storage__Reply *reply = context;

	reply->volumes[reply->n_volumes] = volume_message(volume);
	if (!reply->volumes[reply->n_volumes])
		return -ENOMEM;
	reply->n_volumes++;
	return 0;
}

static int serve_list(struct storage *storage, Protect__Storage__Reply *reply, struct error *err)
{
	int r;

	reply->volumes = calloc(VOLUMES_MAX, sizeof(Protect__Storage__Volume *));
	if (!reply->volumes)
		return error_set(err, -ENOMEM, "out of memory");
	r = volume_list(storage->store, add_to_list, reply, err);
	return r == -ENOMEM ? error_set(err, r, "out of memory") : r;
}

static int serve_create(struct storage *storage, const Protect__Storage__VolumeCreate *create,
			Protect__Storage__Reply *reply, struct error *err)
{
	enum volume_format format = (enum volume_format)create->format;
	struct volume volume;
	int r;

	if (format != VOLUME_EXT4 && format != VOLUME_RAW)
		return error_set(err, -EINVAL,
				 "protect-storage does not know this format of volumes");
	r = volume_create(storage->store, storage->mkfs, create->name, create->size_bytes, format,
			  &volume, err);
	return r < 0 ? r : answer(reply, &volume, err);
}

int volume_ops_serve(struct storage *storage, const Protect__Storage__Request *request,
		     Protect__Storage__Reply *reply, struct error *err)
{
	struct volume volume;
	int r;

	switch (request->what_case) {
	case PROTECT__STORAGE__REQUEST__WHAT_VOLUME_CREATE:
		return serve_create(storage, request->volume_create, reply, err);
	case PROTECT__STORAGE__REQUEST__WHAT_VOLUME_LIST:
		return serve_list(storage, reply, err);
	case PROTECT__STORAGE__REQUEST__WHAT_VOLUME_RESIZE:
		r = volume_resize(storage->store, request->volume_resize->name,
				  request->volume_resize->size_bytes, &volume, err);
		return r < 0 ? r : answer(reply, &volume, err);
	default:
		return volume_remove(storage->store, request->volume_remove->name, err);
	}
}

int volume_ops_open(struct storage *storage, const Protect__Storage__VolumeOpen *open,
		    Protect__Storage__Reply *reply, struct error *err)
{
	struct volume volume;
	int fd = device_is_path(open->name)
			 ? device_open(storage->settings, open->name, open->read_only, &volume, err)
			 : volume_open(storage->store, open->name, open->read_only, &volume, err);
	int r = fd < 0 ? fd : answer(reply, &volume, err);

	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

int volume_ops_make_scratch(struct storage *storage, const Protect__Storage__ScratchOpen *open,
			    Protect__Storage__Reply *reply, struct error *err)
{
	struct volume volume;
	int fd = volume_make_scratch(storage->store, storage->mkfs, open->size_bytes, &volume, err);
	int r = fd < 0 ? fd : answer(reply, &volume, err);

	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

void volume_ops_clear(Protect__Storage__Reply *reply)
{
	if (reply->volume)
		protect__storage__volume__free_unpacked(reply->volume, NULL);
	for (size_t i = 0; i < reply->n_volumes; i++)
		protect__storage__volume__free_unpacked(reply->volumes[i], NULL);
	free(reply->volumes);
}
