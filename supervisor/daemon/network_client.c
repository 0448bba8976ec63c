// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/network_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "supervisor/daemon/pcall.h"

#define ANSWER_NS (30 * NS_PER_S)

struct more {
	struct more *next;
	size_t len;
	uint8_t packet[];
};

struct network_call {
	struct network_call *next;
	network_fn *fn; /* NULL: forgotten */
	void *user;
	struct more *more; /* packets that follow, until it is under way */
	size_t len;
	uint8_t packet[];
};

static void call_free(struct network_call *call)
{
	while (call->more) {
		struct more *more = call->more;

		call->more = more->next;
		free(more);
	}
	free(call);
}

void network_client_init(struct network_client *client, struct hub *hub, const char *socket)
{
	*client = (struct network_client){.hub = hub, .socket = socket};
	client->tail = &client->first;
}

static struct network_call *take_first(struct network_client *client)
{
	struct network_call *call = client->first;

	client->first = call->next;
	if (!client->first)
		client->tail = &client->first;
	return call;
}

void network_client_deinit(struct network_client *client)
{
	client->pcall = pcall_cancel(client->pcall);
	while (client->first)
		call_free(take_first(client));
}

static void tell_error(const struct network_client *client, const struct network_call *call,
		       int error)
{
	Protect__Network__Reply reply = PROTECT__NETWORK__REPLY__INIT;
	char text[ERROR_TEXT_MAX];

	if (!call->fn)
		return;
	pcall_describe("protect-network", client->socket, error, text, sizeof(text));
	reply.error = (uint32_t)-error;
	reply.text = text;
	call->fn(call->user, &reply, NULL, 0);
}

static void start_first(struct network_client *client);

/* One that took too long would take as long for each of the others. */
static void give_up_all(struct network_client *client)
{
	struct network_call *calls = client->first;

	client->first = NULL;
	client->tail = &client->first;
	while (calls) {
		struct network_call *call = calls;

		calls = call->next;
		tell_error(client, call, -ETIMEDOUT);
		call_free(call);
	}
}

static bool answered(void *user, int error, const void *data, size_t len, int *fds, unsigned n_fds)
{
	struct network_client *client = user;
	struct network_call *call = take_first(client);
	Protect__Network__Reply *reply = NULL;

	client->pcall = NULL;
	if (!error) {
		reply = protect__network__reply__unpack(NULL, len, data);
		error = reply ? 0 : -EPROTO;
	}
	/* First of all: whoever is told may ask again. */
	if (error == -ETIMEDOUT)
		give_up_all(client);
	if (reply && call->fn)
		call->fn(call->user, reply, fds, n_fds);
	else if (!reply)
		tell_error(client, call, error);
	if (reply)
		protect__network__reply__free_unpacked(reply, NULL);
	while (n_fds)
		close(fds[--n_fds]);
	call_free(call);
	start_first(client);
	return false;
}

static void start_first(struct network_client *client)
{
	while (client->first && !client->pcall) {
		struct network_call *call = client->first;

		client->pcall = pcall_start(client->hub, client->socket, call->packet, call->len,
					    NULL, 0, ANSWER_NS, answered, client);
		for (struct more *more = call->more; client->pcall && more; more = more->next)
			pcall_send_more(client->pcall, more->packet, more->len);
		if (client->pcall)
			return;
		take_first(client);
		tell_error(client, call, -ENOMEM);
		call_free(call);
	}
}

int network_call(struct network_client *client, const Protect__Network__Request *request,
		 network_fn *fn, void *user)
{
	size_t len = protect__network__request__get_packed_size(request);
	struct network_call *call = calloc(1, sizeof(*call) + len);

	if (!call)
		return -ENOMEM;
	*call = (struct network_call){.fn = fn, .user = user, .len = len};
	protect__network__request__pack(request, call->packet);
	if (!client->pcall && !client->first) {
		client->pcall = pcall_start(client->hub, client->socket, call->packet, len, NULL, 0,
					    ANSWER_NS, answered, client);
		if (!client->pcall) {
			free(call);
			return -ENOMEM;
		}
	}
	*client->tail = call;
	client->tail = &call->next;
	return 0;
}

/* The one that was asked last. */
static struct network_call *last_call(const struct network_client *client)
{
	struct network_call *call = client->first;

	while (call && call->next)
		call = call->next;
	return call;
}

int network_call_more(struct network_client *client, const Protect__Network__Request *request)
{
	size_t len = protect__network__request__get_packed_size(request);
	struct network_call *call = last_call(client);
	struct more *more = call ? calloc(1, sizeof(*more) + len) : NULL;
	struct more **place = call ? &call->more : NULL;
	int r = 0;

	if (!more)
		return -ENOMEM;
	more->len = len;
	protect__network__request__pack(request, more->packet);
	if (call == client->first && client->pcall) {
		r = pcall_send_more(client->pcall, more->packet, len);
		free(more);
		return r;
	}
	while (*place)
		place = &(*place)->next;
	*place = more;
	return 0;
}

void network_forget(struct network_client *client, const void *user)
{
	for (struct network_call *call = client->first; call; call = call->next)
		if (call->user == user)
			call->fn = NULL;
}
