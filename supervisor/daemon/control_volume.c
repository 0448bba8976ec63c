// SPDX-License-Identifier: Apache-2.0
/*
 * The methods about volumes: each is one question to protect-storage, which has them and their
 * locks. Here is known by name who uses one. A client that goes leaves the operation to its end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/storage_client.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

struct volume_op;

/* Answers the ticket with what is no error. */
typedef void reply_fn(struct volume_op *op, const Protect__Storage__Reply *reply);

struct volume_op {
	struct volume_op *next;
	struct daemon *daemon;
	struct ticket ticket;
	struct storage_call *storage;
	reply_fn *reply;
};

static void op_free(struct volume_op *op)
{
	for (struct volume_op **place = &op->daemon->volume_ops; *place; place = &(*place)->next)
		if (*place == op) {
			*place = op->next;
			break;
		}
	storage_cancel(op->storage);
	free(op);
}

void volume_ops_free(struct daemon *d)
{
	while (d->volume_ops)
		op_free(d->volume_ops);
}

static void answered(void *user, const Protect__Storage__Reply *reply, const int *fds,
		     unsigned n_fds)
{
	struct volume_op *op = user;

	(void)fds;
	(void)n_fds;
	if (reply->progress)
		return;
	op->storage = NULL; /* the call is over */
	if (reply->error)
		server_fail(op->daemon, op->ticket, -(int)reply->error, "%s", reply->text);
	else
		op->reply(op, reply);
	op_free(op);
}

static void ask(struct daemon *d, struct ticket ticket, const Protect__Storage__Request *request,
		reply_fn *reply)
{
	struct volume_op *op = calloc(1, sizeof(*op));

	if (op) {
		*op = (struct volume_op){
			.daemon = d, .ticket = ticket, .next = d->volume_ops, .reply = reply};
		d->volume_ops = op;
		op->storage =
			storage_call(&d->hub, d->options.storage_socket, request, -1, answered, op);
		if (op->storage)
			return;
		op_free(op);
	}
	server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
}

static void fill(const Protect__Storage__Volume *from, Protect__Control__Volume *to)
{
	protect__control__volume__init(to);
	to->name = from->name;
	to->format = (Protect__Control__VolumeFormat)from->format;
	to->size_bytes = from->size_bytes;
	to->allocated_bytes = from->allocated_bytes;
	to->created_unix_ms = from->created_unix_ms;
	to->use = (Protect__Control__VolumeUse)from->use;
}

/* Borrowed names; the array is the caller's. NULL without memory. */
static char **users_of(const struct daemon *d, const char *volume, size_t *n)
{
	char **users = calloc(d->n_workloads + d->n_zones + 1, sizeof(*users));

	*n = 0;
	for (struct zone *z = d->zones; users && z; z = z->next)
		if (zone_volumes_find(z, volume))
			users[(*n)++] = z->row.name;
	for (struct workload *w = d->workloads; users && w; w = w->next)
		if (workload_volumes_find(w, volume))
			users[(*n)++] = w->row.name;
	return users;
}

static void reply_list(struct volume_op *op, const Protect__Storage__Reply *reply)
{
	Protect__Control__VolumeList list = PROTECT__CONTROL__VOLUME_LIST__INIT;
	size_t n = reply->n_volumes;
	_cleanup_(freep) Protect__Control__Volume *volumes = calloc(n + 1, sizeof(*volumes));
	_cleanup_(freep) Protect__Control__Volume **pointers =
		calloc(n + 1, sizeof(Protect__Control__Volume *));
	bool good = volumes && pointers;

	for (; good && list.n_volumes < n; list.n_volumes++) {
		Protect__Control__Volume *volume = &volumes[list.n_volumes];

		fill(reply->volumes[list.n_volumes], volume);
		volume->users = users_of(op->daemon, volume->name, &volume->n_users);
		good = volume->users;
		pointers[list.n_volumes] = volume;
	}
	list.volumes = pointers;
	if (good)
		server_reply(op->daemon, op->ticket, &list.base);
	else
		server_fail(op->daemon, op->ticket, -ENOMEM, "protect-daemon is out of memory");
	for (size_t i = 0; volumes && i < n; i++)
		free(volumes[i].users);
}

static void reply_volume(struct volume_op *op, const Protect__Storage__Reply *reply)
{
	Protect__Control__Volume message;

	if (!reply->volume) {
		server_fail(op->daemon, op->ticket, -EPROTO, "protect-storage named no volume");
		return;
	}
	fill(reply->volume, &message);
	server_reply(op->daemon, op->ticket, &message.base);
}

static void reply_nothing(struct volume_op *op, const Protect__Storage__Reply *reply)
{
	(void)reply;
	server_reply_empty(op->daemon, op->ticket);
}

void control_volume_create(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__VolumeCreate *create = message;
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__VolumeCreate what = PROTECT__STORAGE__VOLUME_CREATE__INIT;

	what.name = create->name;
	what.size_bytes = create->size_bytes;
	what.format = (Protect__Storage__VolumeFormat)create->format;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_VOLUME_CREATE;
	request.volume_create = &what;
	ask(d, ticket, &request, reply_volume);
}

void control_volume_list(struct daemon *d, struct ticket ticket, const void *message)
{
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__VolumeList what = PROTECT__STORAGE__VOLUME_LIST__INIT;

	(void)message;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_VOLUME_LIST;
	request.volume_list = &what;
	ask(d, ticket, &request, reply_list);
}

/* The storage's locks decide; who is known here by name is told at once. */
static bool is_used(struct daemon *d, struct ticket ticket, const char *name)
{
	struct volume_mount mount = {0};
	struct error err = ERROR_NULL;

	snprintf(mount.name, sizeof(mount.name), "%s", name);
	if (volumes_check_free(d, NULL, &mount, &err) == 0)
		return false;
	server_fail_error(d, ticket, &err);
	return true;
}

void control_volume_resize(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__VolumeResize *resize = message;
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__VolumeResize what = PROTECT__STORAGE__VOLUME_RESIZE__INIT;

	if (is_used(d, ticket, resize->name))
		return;
	what.name = resize->name;
	what.size_bytes = resize->size_bytes;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_VOLUME_RESIZE;
	request.volume_resize = &what;
	ask(d, ticket, &request, reply_volume);
}

void control_volume_remove(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Ref *ref = message;
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__VolumeRemove what = PROTECT__STORAGE__VOLUME_REMOVE__INIT;

	if (is_used(d, ticket, ref->ref))
		return;
	what.name = ref->ref;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_VOLUME_REMOVE;
	request.volume_remove = &what;
	ask(d, ticket, &request, reply_nothing);
}
