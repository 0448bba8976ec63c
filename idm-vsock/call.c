// SPDX-License-Identifier: Apache-2.0
/* Calls of this side, requests of the peer, events. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "idm-vsock/internal.h"

struct call {
	struct table_node node; /* key: id */
	uint32_t method;
	uint64_t deadline_ns;
	idm_reply_fn *reply;
	void *user;
};

struct request {
	struct table_node node; /* key: id */
	uint32_t method;
};

int idm_call(struct idm *idm, uint32_t method, const void *data, size_t len, uint64_t deadline_ns,
	     idm_reply_fn *reply, void *user, uint64_t *id)
{
	struct wire_packet packet = {idm->next_id, method, PROTECT__IDM__FORM__FORM_REQUEST, data,
				     len};
	struct call *call;
	int r;

	if (idm->dead)
		return -ECONNRESET;
	if (len > IDM_PAYLOAD_MAX)
		return -EMSGSIZE;
	if (idm->calls.count >= IDM_CALLS_MAX || idm->unsent > IDM_UNSENT_MAX)
		return -EAGAIN;
	call = malloc(sizeof(*call));
	if (!call)
		return -ENOMEM;
	r = idm_queue_packet(idm, &packet, 0);
	if (r < 0) {
		free(call);
		return r;
	}
	*call = (struct call){.node.key = idm->next_id++,
			      .method = method,
			      .deadline_ns = deadline_ns,
			      .reply = reply,
			      .user = user};
	table_add(&idm->calls, &call->node);
	if (id)
		*id = call->node.key;
	return 0;
}

static struct call *take_call(struct idm *idm, struct table_node *node)
{
	table_remove(&idm->calls, node);
	return container_of(node, struct call, node);
}

void idm_call_forget(struct idm *idm, uint64_t id)
{
	struct table_node *node = table_find(&idm->calls, id);

	if (node)
		free(take_call(idm, node));
}

static void end_call(struct call *call, int error, const char *text, const void *payload,
		     size_t len)
{
	call->reply(call->user, error, text, payload, len);
	free(call);
}

int idm_got_response(struct idm *idm, const struct wire_packet *packet)
{
	struct table_node *node = table_find(&idm->calls, packet->id);
	char text[IDM_TEXT_MAX];
	struct wire_reply reply;
	size_t text_len;
	int r = wire_reply_decode(packet->data, packet->len, &reply);

	if (r < 0)
		return r;
	if (!node) /* ended by its deadline, or forgotten */
		return 0;
	if (container_of(node, struct call, node)->method != packet->channel)
		return -EBADMSG;
	text_len = reply.text_len < sizeof(text) ? reply.text_len : sizeof(text) - 1;
	if (text_len)
		memcpy(text, reply.text, text_len);
	text[text_len] = '\0';
	end_call(take_call(idm, node), reply.error ? idm_errno_in(reply.error) : 0, text,
		 reply.payload, reply.len);
	return 0;
}

uint64_t idm_calls_deadline(const struct idm *idm)
{
	uint64_t earliest_ns = 0;

	for (unsigned i = 0; idm->calls.count && i < TABLE_BUCKETS; i++) {
		for (struct table_node *node = idm->calls.buckets[i]; node; node = node->next) {
			uint64_t at_ns = container_of(node, struct call, node)->deadline_ns;

			if (at_ns && (!earliest_ns || at_ns < earliest_ns))
				earliest_ns = at_ns;
		}
	}
	return earliest_ns;
}

static struct call *take_expired(struct idm *idm, uint64_t now_ns)
{
	for (unsigned i = 0; idm->calls.count && i < TABLE_BUCKETS; i++) {
		for (struct table_node *node = idm->calls.buckets[i]; node; node = node->next) {
			uint64_t at_ns = container_of(node, struct call, node)->deadline_ns;

			if (at_ns && at_ns <= now_ns)
				return take_call(idm, node);
		}
	}
	return NULL;
}

void idm_calls_tick(struct idm *idm, uint64_t now_ns)
{
	struct call *call;

	/* A reply function may call again, even with a deadline that has passed: no more than there
	 * were. */
	for (unsigned left = idm->calls.count; left && (call = take_expired(idm, now_ns)); left--)
		end_call(call, -ETIMEDOUT, "no answer in time", NULL, 0);
}

void idm_calls_free(struct idm *idm)
{
	struct table_node *node;

	while ((node = table_any(&idm->calls)))
		end_call(take_call(idm, node), -ECONNRESET, "the connection was lost", NULL, 0);
	while ((node = table_any(&idm->requests))) {
		table_remove(&idm->requests, node);
		free(container_of(node, struct request, node));
	}
}

static int queue_reply(struct idm *idm, uint64_t id, uint32_t method,
		       const struct wire_reply *reply)
{
	uint8_t *data = malloc(WIRE_REPLY_HEAD_MAX + reply->text_len + reply->len);
	struct wire_packet packet = {id, method, PROTECT__IDM__FORM__FORM_RESPONSE, data, 0};
	int r;

	if (!data)
		return -ENOMEM;
	packet.len = wire_reply_encode(reply, data);
	r = idm_queue_packet(idm, &packet, 0);
	free(data);
	return r;
}

static int queue_error(struct idm *idm, uint64_t id, uint32_t method, int error, const char *text)
{
	struct wire_reply reply = {.error = idm_errno_out(error)};

	if (!text)
		text = strerror((int)reply.error);
	reply.text = (const uint8_t *)text;
	reply.text_len = strnlen(text, IDM_TEXT_MAX - 1);
	return queue_reply(idm, id, method, &reply);
}

int idm_got_request(struct idm *idm, const struct wire_packet *packet)
{
	uint32_t method = (uint32_t)packet->channel;
	struct request *request;

	if (packet->channel > UINT32_MAX || table_find(&idm->requests, packet->id))
		return -EBADMSG;
	if (!idm->handler->request)
		return queue_error(idm, packet->id, method, -ENOSYS, NULL);
	if (idm->requests.count >= IDM_CALLS_MAX)
		return queue_error(idm, packet->id, method, -EAGAIN, "too many requests under way");
	request = malloc(sizeof(*request));
	if (!request)
		return -ENOMEM;
	*request = (struct request){.node.key = packet->id, .method = method};
	table_add(&idm->requests, &request->node);
	idm->handler->request(idm->user, idm, packet->id, method, packet->data, packet->len);
	return 0;
}

int idm_reply(struct idm *idm, uint64_t id, int error, const char *text, const void *payload,
	      size_t len)
{
	struct table_node *node = table_find(&idm->requests, id);
	struct wire_reply reply = {.payload = payload, .len = len};
	struct request *request;
	uint32_t method;
	int r;

	if (!node || idm->dead)
		return -ENOENT;
	request = container_of(node, struct request, node);
	method = request->method;
	table_remove(&idm->requests, node);
	free(request);
	if (error)
		return queue_error(idm, id, method, error, text);
	if (len <= IDM_PAYLOAD_MAX - WIRE_REPLY_HEAD_MAX)
		return queue_reply(idm, id, method, &reply);
	r = queue_error(idm, id, method, -EMSGSIZE, "the answer is too long");
	return r < 0 ? r : -EMSGSIZE;
}

int idm_event(struct idm *idm, uint32_t kind, const void *data, size_t len)
{
	struct wire_packet packet = {0, kind, PROTECT__IDM__FORM__FORM_EVENT, data, len};

	if (len > IDM_PAYLOAD_MAX)
		return -EMSGSIZE;
	if (idm->dead || idm->unsent > IDM_UNSENT_MAX)
		return -ENOMEM;
	return idm_queue_packet(idm, &packet, 0);
}
