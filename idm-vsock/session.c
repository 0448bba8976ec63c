// SPDX-License-Identifier: Apache-2.0
#include "idm-vsock/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "idm-vsock/internal.h"

#define FORM(name) PROTECT__IDM__FORM__FORM_##name

struct idm *idm_new(enum idm_role role, const struct idm_handler *handler, void *user)
{
	struct idm *idm = calloc(1, sizeof(*idm));

	if (!idm)
		return NULL;
	idm->handler = handler;
	idm->user = user;
	idm->role = role;
	idm->next_id = 1;
	idm->next_stream = role == IDM_CLIENT ? 1 : 2;
	idm->out_tail = &idm->out_first;
	idm->ready_tail = &idm->ready_first;
	return idm;
}

struct idm *idm_free(struct idm *idm)
{
	if (!idm)
		return NULL;
	idm->dead = true;
	idm_calls_free(idm);
	idm_streams_free(idm);
	while (idm->out_first) {
		struct idm_chunk *chunk = idm->out_first;

		idm->out_first = chunk->next;
		free(chunk);
	}
	free(idm->packet);
	free(idm);
	return NULL;
}

int idm_errno_in(uint64_t error)
{
	return error && error <= 4095 ? -(int)error : -EPROTO;
}

uint32_t idm_errno_out(int error)
{
	return error < 0 && error >= -4095 ? (uint32_t)-error : EPROTO;
}

int idm_queue_packet(struct idm *idm, const struct wire_packet *packet, uint32_t stream_len)
{
	uint8_t head[WIRE_PACKET_HEAD_MAX];
	size_t head_len = wire_packet_head(packet, head);
	uint32_t len = (uint32_t)(head_len + packet->len);
	struct idm_chunk *chunk = malloc(sizeof(*chunk) + 4 + len);

	if (!chunk)
		return -ENOMEM;
	*chunk = (struct idm_chunk){.len = 4 + len};
	for (unsigned i = 0; i < 4; i++)
		chunk->bytes[i] = (uint8_t)(len >> 8 * i);
	memcpy(chunk->bytes + 4, head, head_len);
	if (packet->len)
		memcpy(chunk->bytes + 4 + head_len, packet->data, packet->len);
	if (stream_len) {
		chunk->stream = packet->channel;
		chunk->stream_len = stream_len;
	} else {
		idm->unsent += chunk->len;
	}
	*idm->out_tail = chunk;
	idm->out_tail = &chunk->next;
	if (idm->handler->snoop)
		idm->handler->snoop(idm->user, IDM_OUT, chunk->bytes + 4, len);
	return 0;
}

static void drop_first_chunk(struct idm *idm)
{
	struct idm_chunk *chunk = idm->out_first;

	idm->out_first = chunk->next;
	if (!idm->out_first)
		idm->out_tail = &idm->out_first;
	if (chunk->stream)
		idm_stream_sent(idm, chunk->stream, chunk->stream_len);
	else
		idm->unsent -= chunk->len;
	free(chunk);
}

size_t idm_output(struct idm *idm, void *buf, size_t max)
{
	size_t done = 0;

	while (idm->out_first && done < max) {
		struct idm_chunk *chunk = idm->out_first;
		size_t n = chunk->len - chunk->taken;

		if (n > max - done)
			n = max - done;
		memcpy((uint8_t *)buf + done, chunk->bytes + chunk->taken, n);
		chunk->taken += (uint32_t)n;
		done += n;
		if (chunk->taken == chunk->len)
			drop_first_chunk(idm);
	}
	return done;
}

bool idm_has_output(const struct idm *idm)
{
	return idm->out_first;
}

static int dispatch(struct idm *idm, const struct wire_packet *packet)
{
	switch (packet->form) {
	case FORM(NONE):
		return -EBADMSG;
	case FORM(EVENT):
		if (idm->handler->event && packet->channel <= UINT32_MAX)
			idm->handler->event(idm->user, idm, (uint32_t)packet->channel, packet->data,
					    packet->len);
		return 0;
	case FORM(REQUEST):
		return idm_got_request(idm, packet);
	case FORM(RESPONSE):
		return idm_got_response(idm, packet);
	case FORM(STREAM_OPEN):
		return idm_got_stream_open(idm, packet);
	case FORM(STREAM_DATA):
		return idm_got_stream_data(idm, packet);
	case FORM(STREAM_WINDOW):
		return idm_got_stream_window(idm, packet);
	case FORM(STREAM_CLOSE):
		return idm_got_stream_close(idm, packet);
	default:
		return 0;
	}
}

static int got_packet(struct idm *idm, const uint8_t *bytes, size_t len)
{
	struct wire_packet packet;
	int r;

	if (idm->handler->snoop)
		idm->handler->snoop(idm->user, IDM_IN, bytes, len);
	if (idm->unsent > IDM_UNSENT_MAX + IDM_PACKET_MAX)
		return -EBADMSG;
	r = wire_packet_decode(bytes, len, &packet);
	if (!r)
		r = dispatch(idm, &packet);
	if (!r)
		idm_streams_run_ready(idm);
	return r;
}

/* Takes bytes of the length, and when it is complete checks it. Returns how many it took or
 * -EBADMSG. */
static ssize_t feed_prefix(struct idm *idm, const uint8_t *at, size_t len)
{
	size_t n = sizeof(idm->prefix) - idm->prefix_have;

	if (n > len)
		n = len;
	memcpy(idm->prefix + idm->prefix_have, at, n);
	idm->prefix_have += (uint32_t)n;
	if (idm->prefix_have < sizeof(idm->prefix))
		return (ssize_t)n;
	idm->packet_len = 0;
	for (unsigned i = 0; i < 4; i++)
		idm->packet_len |= (uint32_t)idm->prefix[i] << 8 * i;
	if (!idm->packet_len || idm->packet_len > IDM_PACKET_MAX)
		return -EBADMSG;
	return (ssize_t)n;
}

/* Takes bytes of the packet; one that is there as a whole is not copied. Returns how many it took,
 * -EBADMSG, -ENOMEM. */
static ssize_t feed_packet(struct idm *idm, const uint8_t *at, size_t len)
{
	size_t n = idm->packet_len - idm->packet_have;
	int r;

	if (n > len)
		n = len;
	if (!idm->packet && n < idm->packet_len) {
		idm->packet = malloc(idm->packet_len);
		if (!idm->packet)
			return -ENOMEM;
	}
	if (idm->packet)
		memcpy(idm->packet + idm->packet_have, at, n);
	idm->packet_have += (uint32_t)n;
	if (idm->packet_have < idm->packet_len)
		return (ssize_t)n;
	r = got_packet(idm, idm->packet ? idm->packet : at, idm->packet_len);
	free(idm->packet);
	idm->packet = NULL;
	idm->prefix_have = idm->packet_have = 0;
	return r ? r : (ssize_t)n;
}

int idm_feed(struct idm *idm, const void *data, size_t len, uint64_t now_ns)
{
	const uint8_t *at = data;

	if (idm->dead)
		return -EBADMSG;
	while (len) {
		ssize_t n = idm->prefix_have < sizeof(idm->prefix) ? feed_prefix(idm, at, len)
								   : feed_packet(idm, at, len);

		if (n < 0) {
			idm->dead = true;
			return (int)n;
		}
		at += n;
		len -= (size_t)n;
	}
	idm_tick(idm, now_ns);
	return 0;
}

uint64_t idm_next_deadline(const struct idm *idm)
{
	return idm->ready_first ? 1 : idm_calls_deadline(idm);
}

void idm_tick(struct idm *idm, uint64_t now_ns)
{
	if (idm->dead)
		return;
	idm_calls_tick(idm, now_ns);
	idm_streams_run_ready(idm);
}
