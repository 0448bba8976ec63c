// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/server.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/util.h"
#include "supervisor/daemon/link.h"
#include "supervisor/daemon/volume_moves.h"
#include "supervisor/daemon/zone_nics.h"

#define ACCEPT_PAUSE_NS (100 * NS_PER_MS)
#define PEER_GROUPS_MAX 64u

struct client {
	struct client *next;
	struct daemon *daemon;
	uint64_t id;
	uid_t uid;
	struct link *link;
};

struct method {
	const ProtobufCMessageDescriptor *type;
	void (*run)(struct daemon *d, struct ticket ticket, const void *message);
};

#define EMPTY &protect__control__empty__descriptor
#define REF   &protect__control__ref__descriptor

static const struct method methods[] = {
	[PROTECT__CONTROL__METHOD__METHOD_HOST_STATUS] = {EMPTY, control_host_status},
	[PROTECT__CONTROL__METHOD__METHOD_ZONE_LAUNCH] =
		{&protect__control__zone_launch__descriptor, control_zone_launch},
	[PROTECT__CONTROL__METHOD__METHOD_ZONE_LIST] = {EMPTY, control_zone_list},
	[PROTECT__CONTROL__METHOD__METHOD_ZONE_RESOLVE] = {REF, control_zone_resolve},
	[PROTECT__CONTROL__METHOD__METHOD_ZONE_LOGS] = {&protect__control__logs__descriptor,
							control_zone_logs},
	[PROTECT__CONTROL__METHOD__METHOD_ZONE_EXEC] = {&protect__control__exec__descriptor,
							control_zone_exec},
	[PROTECT__CONTROL__METHOD__METHOD_ZONE_METRICS] = {REF, control_zone_metrics},
	[PROTECT__CONTROL__METHOD__METHOD_ZONE_DESTROY] = {&protect__control__destroy__descriptor,
							   control_zone_destroy},
	[PROTECT__CONTROL__METHOD__METHOD_WORKLOAD_LAUNCH] =
		{&protect__control__workload_launch__descriptor, control_workload_launch},
	[PROTECT__CONTROL__METHOD__METHOD_WORKLOAD_LIST] = {EMPTY, control_workload_list},
	[PROTECT__CONTROL__METHOD__METHOD_WORKLOAD_RESOLVE] = {REF, control_workload_resolve},
	[PROTECT__CONTROL__METHOD__METHOD_WORKLOAD_LOGS] = {&protect__control__logs__descriptor,
							    control_workload_logs},
	[PROTECT__CONTROL__METHOD__METHOD_WORKLOAD_EXEC] = {&protect__control__exec__descriptor,
							    control_workload_exec},
	[PROTECT__CONTROL__METHOD__METHOD_WORKLOAD_STOP] = {&protect__control__stop__descriptor,
							    control_workload_stop},
	[PROTECT__CONTROL__METHOD__METHOD_WORKLOAD_DESTROY] =
		{&protect__control__destroy__descriptor, control_workload_destroy},
	[PROTECT__CONTROL__METHOD__METHOD_WORKLOAD_WAIT] = {REF, control_workload_wait},
	[PROTECT__CONTROL__METHOD__METHOD_WORKLOAD_UPDATE] =
		{&protect__control__workload_update__descriptor, control_workload_update},
	[PROTECT__CONTROL__METHOD__METHOD_WORKLOAD_START] = {REF, control_workload_start},
	[PROTECT__CONTROL__METHOD__METHOD_WORKLOAD_ATTACH] =
		{&protect__control__workload_attach__descriptor, control_workload_attach},
	[PROTECT__CONTROL__METHOD__METHOD_IMAGE_PULL] = {&protect__control__image_pull__descriptor,
							 control_image_pull},
	[PROTECT__CONTROL__METHOD__METHOD_IMAGE_IMPORT] =
		{&protect__control__image_import__descriptor, control_image_import},
	[PROTECT__CONTROL__METHOD__METHOD_IMAGE_LIST] = {EMPTY, control_image_list},
	[PROTECT__CONTROL__METHOD__METHOD_IMAGE_REMOVE] = {REF, control_image_remove},
	[PROTECT__CONTROL__METHOD__METHOD_ZONE_UPDATE] =
		{&protect__control__zone_update__descriptor, control_zone_update},
	[PROTECT__CONTROL__METHOD__METHOD_ZONE_PAUSE] = {REF, control_zone_pause},
	[PROTECT__CONTROL__METHOD__METHOD_ZONE_RESUME] = {REF, control_zone_resume},
	[PROTECT__CONTROL__METHOD__METHOD_HOST_HV_CONSOLE] = {&protect__control__logs__descriptor,
							      control_host_hv_console},
	[PROTECT__CONTROL__METHOD__METHOD_HOST_HV_DEBUG_INFO] = {REF, control_host_hv_debug_info},
	[PROTECT__CONTROL__METHOD__METHOD_VOLUME_CREATE] =
		{&protect__control__volume_create__descriptor, control_volume_create},
	[PROTECT__CONTROL__METHOD__METHOD_VOLUME_LIST] = {EMPTY, control_volume_list},
	[PROTECT__CONTROL__METHOD__METHOD_VOLUME_RESIZE] =
		{&protect__control__volume_resize__descriptor, control_volume_resize},
	[PROTECT__CONTROL__METHOD__METHOD_VOLUME_REMOVE] = {REF, control_volume_remove},
	[PROTECT__CONTROL__METHOD__METHOD_VOLUME_ATTACH] =
		{&protect__control__volume_attach__descriptor, control_volume_attach},
	[PROTECT__CONTROL__METHOD__METHOD_VOLUME_DETACH] =
		{&protect__control__volume_detach__descriptor, control_volume_detach},
	[PROTECT__CONTROL__METHOD__METHOD_HOST_IDM_SNOOP] = {&protect__control__snoop__descriptor,
							     control_host_idm_snoop},
	[PROTECT__CONTROL__METHOD__METHOD_RESERVATION_CREATE] =
		{&protect__control__reservation_create__descriptor, control_reservation_create},
	[PROTECT__CONTROL__METHOD__METHOD_RESERVATION_LIST] = {EMPTY, control_reservation_list},
	[PROTECT__CONTROL__METHOD__METHOD_RESERVATION_DESTROY] = {REF, control_reservation_destroy},
	[PROTECT__CONTROL__METHOD__METHOD_NETWORK_ATTACH] =
		{&protect__control__network_attach__descriptor, control_network_attach},
	[PROTECT__CONTROL__METHOD__METHOD_NETWORK_DETACH] =
		{&protect__control__network_detach__descriptor, control_network_detach},
	[PROTECT__CONTROL__METHOD__METHOD_ZONE_FORWARD] = {&protect__control__forward__descriptor,
							   control_zone_forward},
	[PROTECT__CONTROL__METHOD__METHOD_EXEC_RESIZE] =
		{&protect__control__exec_resize__descriptor, control_exec_resize},
	[PROTECT__CONTROL__METHOD__METHOD_EXEC_SIGNAL] =
		{&protect__control__exec_signal__descriptor, control_exec_signal},
};

static void got_request(void *user, struct idm *idm, uint64_t id, uint32_t number, const void *data,
			size_t len)
{
	struct client *client = user;
	struct ticket ticket = {.client = client->id, .request = id};
	ProtobufCMessage *message;

	if (number >= ARRAY_SIZE(methods) || !methods[number].run) {
		idm_reply(idm, id, -ENOSYS,
			  "this protect-daemon does not know the request; are both of one version?",
			  NULL, 0);
		return;
	}
	message = protobuf_c_message_unpack(methods[number].type, NULL, len, data);
	if (!message) {
		idm_reply(idm, id, -EBADMSG, "the request cannot be read; are both of one version?",
			  NULL, 0);
		return;
	}
	methods[number].run(client->daemon, ticket, message);
	protobuf_c_message_free_unpacked(message, NULL);
}

static const struct idm_handler handler = {.request = got_request};

static struct client *find_client(struct daemon *d, uint64_t id)
{
	for (struct client *c = d->clients; c; c = c->next)
		if (c->id == id)
			return c;
	return NULL;
}

uid_t server_client_uid(struct daemon *d, uint64_t client)
{
	const struct client *c = find_client(d, client);

	return c ? c->uid : (uid_t)-1;
}

unsigned server_take_fds(struct daemon *d, uint64_t client, int *fds, unsigned max)
{
	struct client *c = find_client(d, client);

	return c ? link_take_fds(c->link, fds, max) : 0;
}

struct idm *server_session(struct daemon *d, uint64_t client)
{
	struct client *c = find_client(d, client);

	return c ? link_idm(c->link) : NULL;
}

static void client_closed(void *user, int error)
{
	struct client *client = user;
	struct daemon *d = client->daemon;
	uint64_t id = client->id;

	for (struct client **place = &d->clients; *place; place = &(*place)->next)
		if (*place == client) {
			*place = client->next;
			break;
		}
	d->n_clients--;
	log_debug("client=%llu err=%d gone", (unsigned long long)id, -error);
	free(client);
	daemon_client_gone(d, id);
	if (d->listener_watch)
		watch_set(d->listener_watch, POLLIN);
}

/* Whether a user has all places that one may have. Root, who could end us, may have all there are.
 */
static bool is_full_for(struct daemon *d, uid_t uid)
{
	unsigned n = 0;

	for (const struct client *c = d->clients; c; c = c->next)
		n += c->uid == uid;
	if (uid == 0 || n < SERVER_USER_CLIENTS_MAX)
		return false;
	if (log_allowed(&d->refusals, 3, NULL))
		log_warning("uid=%u connections=%u no more for this user", uid, n);
	return true;
}

/*
 * Whether the peer was in the group when it connected. More groups than fit here are none that
 * counts.
 *
 * #syscalls daemon: getsockopt(_, SOL_SOCKET, SO_PEERGROUPS)
 */
static bool is_in_group(int fd, gid_t wanted)
{
	gid_t groups[PEER_GROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

/*
 * Root, our own user, and who is in the socket's group. The socket's mode says the same, until
 * somebody changes it.
 *
 * #syscalls daemon: getsockopt(_, SOL_SOCKET, SO_PEERCRED)
 */
static bool may_enter(struct daemon *d, int fd, struct ucred *peer)
{
	socklen_t len = sizeof(*peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &len) < 0)
		return false;
	if (peer->uid == 0 || peer->uid == geteuid() || peer->gid == d->socket_gid ||
	    is_in_group(fd, d->socket_gid))
		return true;
	if (log_allowed(&d->refusals, 3, NULL))
		log_warning("uid=%u gid=%u refused: not in the group of the socket", peer->uid,
			    peer->gid);
	return false;
}

static void add_client(struct daemon *d, int fd)
{
	struct ucred peer = {.uid = (uid_t)-1};
	struct client *client = NULL;

	if (may_enter(d, fd, &peer) && !is_full_for(d, peer.uid))
		client = calloc(1, sizeof(*client));
	if (!client) {
		close(fd);
		return;
	}
	client->daemon = d;
	client->uid = peer.uid;
	client->id = ++d->next_client;
	if (link_new(&d->hub, fd, IDM_SERVER, &handler, client_closed, client, &client->link) < 0) {
		free(client);
		return;
	}
	link_accept_fds(client->link);
	client->next = d->clients;
	d->clients = client;
	d->n_clients++;
}

static void accept_again(void *user)
{
	struct daemon *d = user;

	if (d->n_clients < SERVER_CLIENTS_MAX)
		watch_set(d->listener_watch, POLLIN);
}

/* #syscalls daemon: accept4(_, _, _, SOCK_CLOEXEC|SOCK_NONBLOCK) close */
static void accept_client(void *user, uint32_t events)
{
	struct daemon *d = user;
	int fd = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0)
		add_client(d, fd);
	/* A full house: newcomers wait in the kernel's queue until someone leaves. */
	if (d->n_clients >= SERVER_CLIENTS_MAX)
		watch_set(d->listener_watch, 0);
	/* No descriptors or no memory left: not asked again at once, which would be a busy loop. */
	else if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
		watch_set(d->listener_watch, 0);
		timer_set(&d->hub, &d->listener_pause, clock_now_ns() + ACCEPT_PAUSE_NS,
			  accept_again, d);
	}
}

/* #syscalls daemon: newfstatat(_, _, _, 0) */
int server_start(struct daemon *d, struct error *err)
{
	struct stat st;
	int r;

	d->listener = notify_listener(SOCK_STREAM);
	if (d->listener == -ENOENT)
		d->listener = io_unix_listen(d->options.socket, SOCK_STREAM, 0660);
	if (d->listener < 0)
		return error_set_errno(err, d->listener, "control socket %s", d->options.socket);
	d->socket_gid = stat(d->options.socket, &st) == 0 ? st.st_gid : getegid();
	r = io_set_nonblock(d->listener, 1);
	if (r == 0)
		r = watch_new(&d->hub, d->listener, accept_client, d, &d->listener_watch);
	if (r < 0)
		return error_set_errno(err, r, "control socket %s", d->options.socket);
	watch_set(d->listener_watch, POLLIN);
	return 0;
}

void server_stop(struct daemon *d)
{
	timer_stop(&d->listener_pause);
	d->listener_watch = watch_free(d->listener_watch);
	close_fdp(&d->listener);
	for (struct client *c = d->clients; c; c = c->next)
		link_close(c->link);
}

void server_reply_raw(struct daemon *d, struct ticket ticket, const void *payload, size_t len)
{
	struct idm *idm = server_session(d, ticket.client);

	if (idm)
		idm_reply(idm, ticket.request, 0, NULL, payload, len);
}

static int send_part(struct idm *idm, uint64_t request, uint8_t *data, size_t len)
{
	Protect__Control__ReplyPart part = PROTECT__CONTROL__REPLY_PART__INIT;
	_cleanup_(freep) uint8_t *packed = NULL;

	part.request_id = request;
	part.data.data = data;
	part.data.len = len;
	packed = malloc(protect__control__reply_part__get_packed_size(&part));
	return packed ? idm_event(idm, PROTECT__CONTROL__EVENT_KIND__EVENT_REPLY_PART, packed,
				  protect__control__reply_part__pack(&part, packed))
		      : -ENOMEM;
}

void server_reply(struct daemon *d, struct ticket ticket, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message), done = 0;
	_cleanup_(freep) uint8_t *payload = malloc(len ? len : 1);
	struct idm *idm = server_session(d, ticket.client);
	int r = payload ? 0 : -ENOMEM;

	if (!idm)
		return;
	if (r == 0)
		protobuf_c_message_pack(message, payload);
	for (; r == 0 && len - done > SERVER_PART_BYTES; done += SERVER_PART_BYTES)
		r = send_part(idm, ticket.request, payload + done, SERVER_PART_BYTES);
	if (r == 0)
		server_reply_raw(d, ticket, payload + done, len - done);
	else
		server_fail(d, ticket, r, "protect-daemon is out of memory");
}

void server_reply_empty(struct daemon *d, struct ticket ticket)
{
	server_reply_raw(d, ticket, "", 0);
}

void server_fail(struct daemon *d, struct ticket ticket, int code, const char *format, ...)
{
	struct idm *idm = server_session(d, ticket.client);
	char text[ERROR_TEXT_MAX];
	va_list args;

	if (!idm)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	idm_reply(idm, ticket.request, code < 0 ? code : -EIO, text, NULL, 0);
}

void server_fail_error(struct daemon *d, struct ticket ticket, const struct error *err)
{
	server_fail(d, ticket, err->code, "%s", err->text);
}

bool server_progress_message(struct daemon *d, struct ticket ticket,
			     const Protect__Control__Progress *progress)
{
	Protect__Control__Progress message = *progress;
	struct idm *idm = server_session(d, ticket.client);
	char text[ERROR_TEXT_MAX], item[64];
	uint8_t payload[ERROR_TEXT_MAX + 256];
	size_t len;

	if (!idm)
		return false;
	daemon_copy_text(text, sizeof(text), progress->text);
	daemon_copy_text(item, sizeof(item), progress->item);
	message.request_id = ticket.request;
	message.text = text;
	message.item = item;
	len = protect__control__progress__pack(&message, payload);
	idm_event(idm, PROTECT__CONTROL__EVENT_KIND__EVENT_PROGRESS, payload, len);
	return true;
}

bool server_progress(struct daemon *d, struct ticket ticket, const char *text, uint64_t done,
		     uint64_t total)
{
	Protect__Control__Progress progress = PROTECT__CONTROL__PROGRESS__INIT;

	progress.text = (char *)(uintptr_t)text;
	progress.done = done;
	progress.total = total;
	return server_progress_message(d, ticket, &progress);
}

void waiters_add(struct daemon *d, struct waiters *waiters, struct ticket ticket)
{
	struct ticket *tickets = realloc(waiters->tickets, (waiters->n + 1) * sizeof(*tickets));

	if (!tickets) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	tickets[waiters->n++] = ticket;
	waiters->tickets = tickets;
}

void waiters_drop(struct waiters *waiters, uint64_t client)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < waiters->n; i++)
		if (waiters->tickets[i].client != client)
			waiters->tickets[kept++] = waiters->tickets[i];
	waiters->n = kept;
}

static void waiters_clear(struct waiters *waiters)
{
	free(waiters->tickets);
	*waiters = (struct waiters){0};
}

void waiters_reply(struct daemon *d, struct waiters *waiters, const ProtobufCMessage *message)
{
	for (unsigned i = 0; i < waiters->n; i++)
		server_reply(d, waiters->tickets[i], message);
	waiters_clear(waiters);
}

void waiters_fail(struct daemon *d, struct waiters *waiters, const struct error *err)
{
	for (unsigned i = 0; i < waiters->n; i++)
		server_fail_error(d, waiters->tickets[i], err);
	waiters_clear(waiters);
}
