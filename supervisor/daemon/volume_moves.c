// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/volume_moves.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define COME_NS (20 * NS_PER_S)	  /* the zone's kernel has to find a disk */
#define LOOK_NS (100 * NS_PER_MS) /* whether it has */

struct volume_move {
	struct zone *zone;
	struct workload *workload; /* NULL = the zone itself */
	struct volume_disk *volume;
	struct ticket ticket;
	zone_disk_fn *brought; /* of a zone that is being launched */
	bool out, force;
	uint64_t deadline_ns;
	struct timer timer;
	struct idm *agent; /* that is asked */
	uint64_t call;
	struct error failure;
};

static struct volume_move *move_new(struct zone *zone, struct workload *w,
				    struct volume_disk *volume)
{
	struct volume_move *move = calloc(1, sizeof(*move));

	if (!move)
		return NULL;
	move->zone = zone;
	move->workload = w;
	move->volume = volume;
	zone->volume_move = move;
	return move;
}

static void move_free(struct volume_move *move)
{
	move->zone->volume_move = NULL;
	timer_stop(&move->timer);
	if (move->agent)
		idm_call_forget(move->agent, move->call);
	free(move);
}

static void put_row(const struct volume_move *move)
{
	struct state *state = move->zone->daemon->state;

	if (move->workload)
		state_put_workload(state, &move->workload->row);
	else
		state_put_zone(state, &move->zone->row);
}

static struct volume_list *list_of(struct zone *zone, struct workload *w)
{
	return w ? &w->volumes.list : &zone->volumes;
}

/* Nobody has it any more. */
static void leave_owner(struct volume_move *move)
{
	volume_list_remove(list_of(move->zone, move->workload), move->volume);
	move->volume = NULL;
	put_row(move);
}

static void finish(struct volume_move *move)
{
	struct zone *zone = move->zone;
	zone_disk_fn *brought = move->brought;

	log_info("zone=%s workload=%s volume=%s %s", zone->row.uuid,
		 move->workload ? move->workload->row.uuid : "",
		 move->volume ? move->volume->mount.name : "", move->out ? "detached" : "attached");
	server_reply_empty(zone->daemon, move->ticket);
	move_free(move);
	if (brought)
		brought(zone, 0, "");
}

static void undone(void *user, int error, const char *text)
{
	struct volume_move *move = user;

	if (error)
		log_warning("zone=%s volume=%s err=\"%s\" not taken back", move->zone->row.uuid,
			    move->volume->mount.name, text);
	leave_owner(move);
	server_fail_error(move->zone->daemon, move->ticket, &move->failure);
	move_free(move);
}

static void fail(struct volume_move *move, int code, const char *text)
{
	struct zone *zone = move->zone;
	zone_disk_fn *brought = move->brought;
	char copy[ERROR_TEXT_MAX];

	error_set(&move->failure, code, "%s", text);
	if (brought) {
		memcpy(copy, move->failure.text, sizeof(copy));
		move_free(move);
		brought(zone, code, copy);
	} else if (move->out) {
		server_fail_error(zone->daemon, move->ticket, &move->failure);
		move_free(move);
	} else if (!volume_disk_detach(move->volume, true, undone, move)) {
		undone(move, 0, "");
	}
}

static int call_agent(struct volume_move *move, uint32_t method, const ProtobufCMessage *message,
		      idm_reply_fn *fn)
{
	struct idm *agent =
		move->zone->agent && move->zone->agent_usable ? link_idm(move->zone->agent) : NULL;
	size_t len = protobuf_c_message_get_packed_size(message);
	_cleanup_(freep) uint8_t *payload = malloc(len + 1);
	int r = -EAGAIN;

	if (agent && payload) {
		protobuf_c_message_pack(message, payload);
		r = idm_call(agent, method, payload, len, clock_now_ns() + AGENT_ANSWER_NS, fn,
			     move, &move->call);
	}
	if (r == 0)
		move->agent = agent;
	return r;
}

static void put_in_place(void *user);

static void in_place(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct volume_move *move = user;

	(void)payload;
	(void)len;
	move->agent = NULL;
	if (!error)
		finish(move);
	else if (error == -ENODEV && clock_now_ns() < move->deadline_ns)
		timer_set(&move->zone->daemon->hub, &move->timer, clock_now_ns() + LOOK_NS,
			  put_in_place, move);
	else
		fail(move, error, text);
}

static void put_in_place(void *user)
{
	struct volume_move *move = user;
	Protect__Agent__VolumeAttach message = PROTECT__AGENT__VOLUME_ATTACH__INIT;
	Protect__Agent__Volume volume;
	int r;

	volume_disk_fill(move->volume, &volume);
	message.volume = &volume;
	if (move->workload)
		message.workload = move->workload->row.uuid;
	r = call_agent(move, PROTECT__AGENT__METHOD__METHOD_VOLUME_ATTACH, &message.base, in_place);
	if (r < 0)
		fail(move, r, "the zone cannot be told of a volume now; try again");
}

static void attached(void *user, int error, const char *text)
{
	struct volume_move *move = user;

	if (error) {
		fail(move, error, text);
		return;
	}
	move->deadline_ns = clock_now_ns() + COME_NS;
	put_in_place(move);
}

static void opened(void *user, int error, const char *text)
{
	struct volume_move *move = user;

	if (error)
		fail(move, error, text);
	else
		volume_disk_attach(move->volume, attached, move);
}

void volume_move_bring(struct zone *zone, struct volume_disk *volume, zone_disk_fn *fn)
{
	struct volume_move *move = move_new(zone, NULL, volume);

	if (!move) {
		fn(zone, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	move->brought = fn;
	volume_disk_open(volume, opened, move);
}

/* The zone that a request is about, and *w, if it is about a workload of it. NULL with *err. */
static struct zone *find_owner(struct daemon *d, const char *zone_ref, const char *workload_ref,
			       struct workload **w, struct error *err)
{
	struct zone *zone;

	*w = *workload_ref ? workload_find(d, workload_ref, err) : NULL;
	if (*workload_ref && !*w)
		return NULL;
	zone = zone_find_ready(d, *w ? (*w)->zone->row.uuid : zone_ref, err);
	if (!zone || !zone->volume_move)
		return zone;
	error_set(err, -EBUSY, "zone '%s' is getting or losing a volume; try again",
		  zone->row.name);
	return NULL;
}

static const char *name_of(const struct zone *zone, const struct workload *w)
{
	return w ? w->row.name : zone->row.name;
}

static int check_place(const struct zone *zone, const struct workload *w,
		       const struct volume_mount *mount, struct error *err)
{
	const struct volume_mounts *mounts = w ? &w->row.volumes : &zone->row.volumes;

	if (w && w->phase != WORKLOAD_PHASE_RUNNING)
		return error_set(err, -EAGAIN, "workload '%s' does not run", w->row.name);
	if (mounts->n == VOLUME_MOUNTS_MAX)
		return error_set(err, -ENOSPC, "'%s' has %u volumes already", name_of(zone, w),
				 VOLUME_MOUNTS_MAX);
	for (unsigned i = 0; i < mounts->n; i++)
		if (strcmp(mounts->items[i].target, mount->target) == 0)
			return error_set(err, -EEXIST, "'%s' has volume '%s' at '%s' already",
					 name_of(zone, w), mounts->items[i].name, mount->target);
	if (w && volume_is_folder(mount->name))
		return error_set(err, -EOPNOTSUPP,
				 "folder '%s' can come with a workload's launch only (-v)",
				 mount->name);
	return volumes_check_free(zone->daemon, w ? zone : NULL, mount, err);
}

/* The row is written first: a volume that somebody has is in it. NULL with *err. */
static struct volume_move *join_owner(struct zone *zone, struct workload *w,
				      const struct volume_mount *mount, struct error *err)
{
	struct volume_list *list = list_of(zone, w);
	struct volume_disk *volume = volume_list_add(list, mount);
	struct volume_move *move = volume ? move_new(zone, w, volume) : NULL;
	int r = -ENOMEM;

	if (w)
		w->volumes.held |= volume != NULL;
	if (move)
		r = w ? state_add_workload(zone->daemon->state, &w->row, err)
		      : state_add_zone(zone->daemon->state, &zone->row, err);
	else
		error_set(err, r, "protect-daemon is out of memory");
	if (r == 0)
		return move;
	if (move)
		move_free(move);
	if (volume)
		volume_list_remove(list, volume);
	return NULL;
}

static struct volume_move *
start_attach(struct daemon *d, const Protect__Control__VolumeAttach *what, struct error *err)
{
	struct volume_mount mount;
	struct volume_move *move;
	struct workload *w;
	struct zone *zone;

	if (!what->volume) {
		error_set(err, -EINVAL, "the request names no volume");
		return NULL;
	}
	zone = find_owner(d, what->zone, what->workload, &w, err);
	if (!zone || volume_mount_read(what->volume, &mount, err) < 0 ||
	    check_place(zone, w, &mount, err) < 0)
		return NULL;
	move = join_owner(zone, w, &mount, err);
	if (move)
		move->volume->shared = w && zone_volumes_find(zone, mount.name);
	return move;
}

void control_volume_attach(struct daemon *d, struct ticket ticket, const void *message)
{
	struct error err = ERROR_NULL;
	struct volume_move *move = start_attach(d, message, &err);

	if (!move) {
		server_fail_error(d, ticket, &err);
		return;
	}
	move->ticket = ticket;
	volume_disk_open(move->volume, opened, move);
}

static void gone(void *user, int error, const char *text)
{
	struct volume_move *move = user;

	if (error) {
		fail(move, error, text);
		return;
	}
	leave_owner(move);
	finish(move);
}

/* Nothing uses it, as far as the zone is honest: what it does not let go is taken. */
static void take_disk(struct volume_move *move)
{
	if (!volume_disk_detach(move->volume, true, gone, move))
		gone(move, 0, "");
}

static void out_of_place(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct volume_move *move = user;

	(void)payload;
	(void)len;
	move->agent = NULL;
	if (error && error != -ENOENT && !move->force)
		fail(move, error, text);
	else
		take_disk(move);
}

static struct volume_disk *find_volume(struct zone *zone, struct workload *w, const char *name,
				       struct error *err)
{
	struct volume_disk *volume = volume_list_find(list_of(zone, w), name);

	if (!volume)
		error_set(err, -ENOENT, "%s '%s' has no volume '%.63s'", w ? "workload" : "zone",
			  name_of(zone, w), name);
	return volume;
}

/* Whether it can go now: its owner is settled, and nobody shares it. */
static int check_free_to_go(const struct zone *zone, const struct workload *owner,
			    const struct volume_disk *volume, bool force, struct error *err)
{
	if (volume->detaching || (owner && owner->phase != WORKLOAD_PHASE_RUNNING &&
				  owner->phase != WORKLOAD_PHASE_STOPPED))
		return error_set(err, -EAGAIN, "'%s' is just being started or ended; try again",
				 name_of(zone, owner));
	for (const struct workload *w = zone->daemon->workloads; !owner && !force && w; w = w->next)
		if (w->zone == zone && workload_volumes_find(w, volume->mount.name))
			return error_set(err, -EBUSY,
					 "volume '%s' is shared by workload '%s'; detach it there, "
					 "or take it away with --force",
					 volume->mount.name, w->row.name);
	return 0;
}

static struct volume_move *
start_detach(struct daemon *d, const Protect__Control__VolumeDetach *what, struct error *err)
{
	struct volume_disk *volume;
	struct volume_move *move;
	struct workload *w;
	struct zone *zone = find_owner(d, what->zone, what->workload, &w, err);

	volume = zone ? find_volume(zone, w, what->volume, err) : NULL;
	if (!volume || check_free_to_go(zone, w, volume, what->force, err) < 0)
		return NULL;
	move = move_new(zone, w, volume);
	if (!move) {
		error_set(err, -ENOMEM, "protect-daemon is out of memory");
		return NULL;
	}
	move->out = true;
	move->force = what->force;
	return move;
}

void control_volume_detach(struct daemon *d, struct ticket ticket, const void *message)
{
	Protect__Agent__VolumeDetach request = PROTECT__AGENT__VOLUME_DETACH__INIT;
	struct error err = ERROR_NULL;
	struct volume_move *move = start_detach(d, message, &err);
	int r;

	if (!move) {
		server_fail_error(d, ticket, &err);
		return;
	}
	move->ticket = ticket;
	request.target = move->volume->mount.target;
	request.force = move->force;
	if (move->workload)
		request.workload = move->workload->row.uuid;
	r = call_agent(move, PROTECT__AGENT__METHOD__METHOD_VOLUME_DETACH, &request.base,
		       out_of_place);
	if (r < 0)
		out_of_place(move, r, "the zone cannot be asked now; try again", NULL, 0);
}

void volume_moves_forget(struct workload *w)
{
	struct volume_move *move = w->zone->volume_move;

	if (!move || move->workload != w)
		return;
	server_fail(w->daemon, move->ticket, -ECANCELED, "workload '%s' has ended", w->row.name);
	if (!move->out) {
		/* The runner does it when it comes to it; nobody waits for that. */
		volume_disk_detach(move->volume, true, NULL, NULL);
		leave_owner(move);
	}
	move_free(move);
}

void volume_moves_lost(struct zone *zone)
{
	struct volume_move *move = zone->volume_move;

	if (!move)
		return;
	server_fail(zone->daemon, move->ticket, -ECONNRESET, "zone '%s' has ended", zone->row.name);
	move_free(move);
}
