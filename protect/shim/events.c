// SPDX-License-Identifier: Apache-2.0
#include "protect/shim/events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "protect/shim/proto/ttrpc.pb-c.h"

#define RETRY_NS  (500 * NS_PER_MS)
#define ANSWER_NS (10 * NS_PER_S)
#define DRAIN_NS  NS_PER_S

struct event {
	struct event *next;
	uint8_t *payload; /* a packed ForwardRequest */
	size_t len;
};

static void drop_first(struct events *events)
{
	struct event *event = events->first;

	events->first = event->next;
	if (!events->first)
		events->last = &events->first;
	events->n--;
	free(event->payload);
	free(event);
}

static void send_first(struct events *events);

static void retry(void *user)
{
	send_first(user);
}

static void disconnect(struct events *events)
{
	poller_watch(events->poller, &events->source, 0);
	close_fdp(&events->source.fd);
	ttrpc_buffer_deinit(&events->in);
	ttrpc_buffer_deinit(&events->out);
	events->stream = 0;
	alarm_set(events->poller, &events->retry, clock_now_ns() + RETRY_NS, retry, events);
}

static void unanswered(void *user)
{
	log_warning("what=event err=\"containerd does not answer\" connecting anew");
	disconnect(user);
}

static int flush(struct events *events)
{
	while (events->out.start < events->out.end) {
		ssize_t n = send(events->source.fd, events->out.data + events->out.start,
				 events->out.end - events->out.start, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? poller_watch(events->poller, &events->source,
							      EPOLLIN | EPOLLOUT)
					       : -errno;
		events->out.start += (size_t)n;
	}
	events->out.start = events->out.end = 0;
	return poller_watch(events->poller, &events->source, EPOLLIN);
}

/* What containerd refuses it would refuse again. */
static void answered(struct events *events, const struct ttrpc_frame *frame)
{
	Protect__Ttrpc__Response *response =
		protect__ttrpc__response__unpack(NULL, frame->len, frame->message);

	if (response && response->status && response->status->code)
		log_warning("what=event err=\"%s\" refused by containerd",
			    response->status->message);
	protect__ttrpc__response__free_unpacked(response, NULL);
	alarm_stop(events->poller, &events->retry);
	events->stream = 0;
	drop_first(events);
	send_first(events);
}

static int receive(struct events *events)
{
	struct ttrpc_frame frame;
	ssize_t n;
	int r = ttrpc_buffer_reserve(&events->in, TTRPC_INPUT_STEP);

	if (r < 0)
		return r;
	n = recv(events->source.fd, events->in.data + events->in.end,
		 events->in.size - events->in.end, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	events->in.end += (size_t)n;
	while ((r = ttrpc_next(&events->in, &frame)) > 0)
		if (frame.type == TTRPC_RESPONSE && events->stream &&
		    frame.stream == events->stream)
			answered(events, &frame);
	return r;
}

static void ready(void *user, uint32_t what)
{
	struct events *events = user;
	int r = 0;

	if (what & EPOLLOUT)
		r = flush(events);
	if (r == 0 && what & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = receive(events);
	if (r < 0)
		disconnect(events);
}

static int connect_to(struct events *events)
{
	const char *path = events->address;

	if (events->source.fd >= 0)
		return 0;
	if (strncmp(path, "unix://", 7) == 0)
		path += 7;
	events->source.fd = io_unix_connect(path, SOCK_STREAM);
	if (events->source.fd < 0)
		return events->source.fd;
	events->next_stream = 1;
	return io_set_nonblock(events->source.fd, 1);
}

static int ask(struct events *events)
{
	Protect__Ttrpc__Request request = PROTECT__TTRPC__REQUEST__INIT;
	static char service[] = "containerd.services.events.ttrpc.v1.Events", method[] = "Forward";
	int r;

	request.service = service;
	request.method = method;
	request.payload.data = events->first->payload;
	request.payload.len = events->first->len;
	request.timeout_nano = ANSWER_NS;
	r = ttrpc_append(&events->out, events->next_stream, TTRPC_REQUEST, &request.base);
	if (r < 0)
		return r;
	events->stream = events->next_stream;
	events->next_stream += 2;
	alarm_set(events->poller, &events->retry, clock_now_ns() + ANSWER_NS, unanswered, events);
	return flush(events);
}

static void send_first(struct events *events)
{
	int r;

	if (!events->first || events->stream)
		return;
	r = connect_to(events);
	if (r == 0)
		r = ask(events);
	if (r < 0)
		disconnect(events);
}

int events_init(struct events *events, struct poller *poller, const char *address,
		const char *namespace)
{
	*events = (struct events){.poller = poller, .source.fd = -1};
	events->source.ready = ready;
	events->source.user = events;
	events->last = &events->first;
	events->address = strdup(address);
	events->namespace = strdup(namespace);
	return events->address && events->namespace ? 0 : -ENOMEM;
}

void events_deinit(struct events *events)
{
	while (events->first)
		drop_first(events);
	disconnect(events);
	alarm_stop(events->poller, &events->retry);
	free(events->address);
	free(events->namespace);
}

static struct event *pack(struct events *events, const char *topic, const char *type,
			  const ProtobufCMessage *message)
{
	Protect__Shim__ForwardRequest forward = PROTECT__SHIM__FORWARD_REQUEST__INIT;
	Protect__Shim__Envelope envelope = PROTECT__SHIM__ENVELOPE__INIT;
	Protect__Shim__Timestamp time = PROTECT__SHIM__TIMESTAMP__INIT;
	Protect__Shim__Any any = PROTECT__SHIM__ANY__INIT;
	size_t len = protobuf_c_message_get_packed_size(message);
	_cleanup_(freep) uint8_t *value = malloc(len + 1);
	struct event *event = calloc(1, sizeof(*event));
	struct timespec now;

	if (!value || !event) {
		free(event);
		return NULL;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	time.seconds = now.tv_sec;
	time.nanos = (int32_t)now.tv_nsec;
	any.type_url = (char *)(uintptr_t)type;
	any.value.data = value;
	any.value.len = protobuf_c_message_pack(message, value);
	envelope.timestamp = &time;
	envelope.namespace_ = events->namespace;
	envelope.topic = (char *)(uintptr_t)topic;
	envelope.event = &any;
	forward.envelope = &envelope;
	event->payload = malloc(protect__shim__forward_request__get_packed_size(&forward));
	if (!event->payload) {
		free(event);
		return NULL;
	}
	event->len = protect__shim__forward_request__pack(&forward, event->payload);
	return event;
}

void events_publish(struct events *events, const char *topic, const char *type,
		    const ProtobufCMessage *message)
{
	struct event *event = *events->address ? pack(events, topic, type, message) : NULL;

	if (!event)
		return;
	if (events->n >= EVENTS_MAX && !events->stream) {
		log_error("what=event queued=%u the oldest is dropped", events->n);
		drop_first(events);
	}
	*events->last = event;
	events->last = &event->next;
	events->n++;
	send_first(events);
}

void events_drain(struct events *events)
{
	uint64_t until_ns = clock_now_ns() + DRAIN_NS;

	while (events->first && clock_now_ns() < until_ns)
		if (poller_turn(events->poller, 100) < 0)
			return;
}
