// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/connect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "protect/cli/bars.h"
#include "protect/cli/output.h"

#define REPLY_MAX (16u * 1024 * 1024)

const char *connection_path(void)
{
	const char *path = getenv("PROTECT_SOCKET");

	return path && *path ? path : CONNECTION_DEFAULT_SOCKET;
}

static void show_progress(const struct connection *connection,
			  const Protect__Control__Progress *progress)
{
	if (connection->progress) {
		connection->progress(progress);
	} else if (*progress->item) {
		output_progress_end();
		bars_show(progress, connection->layer_lines);
	} else {
		bars_end();
		output_progress(progress->text, progress->done, progress->total);
	}
}

static void add_part(struct connection *connection, const Protect__Control__ReplyPart *part)
{
	uint8_t *longer;

	if (part->data.len > REPLY_MAX - connection->parts_len)
		return; /* what is left cannot be read, and that is told */
	longer = realloc(connection->parts, connection->parts_len + part->data.len + 1);
	if (!longer)
		return;
	if (part->data.len)
		memcpy(longer + connection->parts_len, part->data.data, part->data.len);
	connection->parts = longer;
	connection->parts_len += part->data.len;
}

static void on_event(void *user, struct idm *idm, uint32_t kind, const void *data, size_t len)
{
	struct connection *connection = user;
	Protect__Control__Progress *progress;
	Protect__Control__ReplyPart *part;

	(void)idm;
	if (kind == PROTECT__CONTROL__EVENT_KIND__EVENT_REPLY_PART) {
		part = protect__control__reply_part__unpack(NULL, len, data);
		if (part)
			add_part(connection, part);
		protect__control__reply_part__free_unpacked(part, NULL);
	}
	if (kind != PROTECT__CONTROL__EVENT_KIND__EVENT_PROGRESS)
		return;
	progress = protect__control__progress__unpack(NULL, len, data);
	if (!progress)
		return;
	if (progress->request_id == connection->call_id)
		show_progress(connection, progress);
	protect__control__progress__free_unpacked(progress, NULL);
}

static void say_unreachable(int error)
{
	const char *path = connection_path();

	if (error == -EACCES || error == -EPERM)
		output_error("cannot open the daemon's socket %s: %s; be root or a member of the "
			     "group 'protect'",
			     path, strerror(-error));
	else
		output_error("cannot reach the daemon at %s: %s; start it with 'systemctl start "
			     "protect-daemon' or "
			     "'tools/services start'",
			     path, strerror(-error));
}

struct connection *connection_new(void)
{
	static const struct idm_handler handler = {.event = on_event};
	struct connection *connection = malloc(sizeof(*connection));

	if (!connection) {
		output_error("out of memory");
		return NULL;
	}
	*connection = (struct connection){.fd = io_unix_connect(connection_path(), SOCK_STREAM)};
	if (connection->fd < 0) {
		say_unreachable(connection->fd);
		free(connection);
		return NULL;
	}
	connection->idm = idm_new(IDM_CLIENT, &handler, connection);
	if (!connection->idm ||
	    idm_pump_init(&connection->pump, connection->fd, connection->idm) < 0) {
		output_error("out of memory");
		return connection_free(connection);
	}
	return connection;
}

struct connection *connection_free(struct connection *connection)
{
	if (!connection)
		return NULL;
	bars_end();
	output_progress_end();
	connection->idm = idm_free(connection->idm);
	close_fdp(&connection->fd);
	free(connection->parts);
	free(connection);
	return NULL;
}

void reply_deinit(struct reply *reply)
{
	free(reply->payload);
	*reply = (struct reply){0};
}

static void on_reply(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct reply *reply = user;

	reply->done = true;
	reply->error = error;
	snprintf(reply->text, sizeof(reply->text), "%s", text);
	if (error)
		return;
	/* The daemon sends all parts and the last one in one go. */
	reply->payload = realloc(reply->connection->parts, reply->connection->parts_len + len + 1);
	if (!reply->payload) {
		reply->error = -ENOMEM;
		return;
	}
	if (len)
		memcpy(reply->payload + reply->connection->parts_len, payload, len);
	reply->len = reply->connection->parts_len + len;
	reply->connection->parts = NULL;
	reply->connection->parts_len = 0;
}

int connection_start(struct connection *connection, uint32_t method,
		     const ProtobufCMessage *message, struct reply *reply, uint64_t *id)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	_cleanup_(freep) uint8_t *data = malloc(len + 1);
	int r = -ENOMEM;

	reply->connection = connection;
	if (data) {
		protobuf_c_message_pack(message, data);
		r = idm_call(connection->idm, method, data, len, 0, on_reply, reply,
			     &connection->call_id);
	}
	if (r == -EMSGSIZE)
		output_error("the request is longer than %u KiB: fewer arguments or environment "
			     "variables are needed",
			     IDM_PACKET_MAX / 1024);
	else if (r < 0)
		output_error("cannot ask the daemon: %s", strerror(-r));
	else if (id)
		*id = connection->call_id;
	return r;
}

/* The session ends with the connection, and with it every call and stream. */
static int lose(struct connection *connection, int error)
{
	connection->lost = true;
	connection->idm = idm_free(connection->idm);
	return error;
}

int connection_turn(struct connection *connection, struct pollfd *polls, unsigned n, int timeout_ms)
{
	struct pollfd all[CONNECTION_POLLS_MAX + 1];
	int r;

	if (connection->lost)
		return -ECONNRESET;
	all[0] =
		(struct pollfd){.fd = connection->fd, .events = idm_pump_events(&connection->pump)};
	if (n)
		memcpy(&all[1], polls, n * sizeof(*polls));
	r = poll(all, n + 1, timeout_ms);
	if (r < 0 && errno != EINTR)
		return lose(connection, -errno);
	for (unsigned i = 0; i < n; i++)
		polls[i].revents = r > 0 ? all[i + 1].revents : 0;
	if (r <= 0 || !all[0].revents)
		return 0;
	r = idm_pump_run(&connection->pump, clock_now_ns());
	return r < 0 ? lose(connection, r) : 0;
}

int connection_wait(struct connection *connection, struct reply *reply)
{
	while (!reply->done && !connection_turn(connection, NULL, 0, -1))
		;
	bars_end();
	output_progress_end();
	return reply->done ? reply->error : -ECONNRESET;
}

void reply_print_error(const struct reply *reply)
{
	if (reply->error == -ECONNRESET && strcmp(reply->text, "the connection was lost") == 0)
		output_error("the daemon at %s closed the connection: it ended, or you have too "
			     "many at once; zones keep running, see 'protect host status'",
			     connection_path());
	else
		output_error("%s", reply->text[0] ? reply->text : strerror(-reply->error));
}

ProtobufCMessage *reply_unpack(const struct reply *reply, const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *message;

	if (reply->error) {
		reply_print_error(reply);
		return NULL;
	}
	message = protobuf_c_message_unpack(type, NULL, reply->len, reply->payload);
	if (!message)
		output_error("the daemon's answer cannot be read; are protect and protect-daemon "
			     "of one version?");
	return message;
}

ProtobufCMessage *connection_call(struct connection *connection, uint32_t method,
				  const ProtobufCMessage *message,
				  const ProtobufCMessageDescriptor *type)
{
	return connection_call_fds(connection, method, message, NULL, 0, type);
}

ProtobufCMessage *connection_call_fds(struct connection *connection, uint32_t method,
				      const ProtobufCMessage *message, const int *fds,
				      unsigned n_fds, const ProtobufCMessageDescriptor *type)
{
	_cleanup_(reply_deinit) struct reply reply = {0};
	int r;

	if (connection_start(connection, method, message, &reply, NULL) < 0)
		return NULL;
	r = n_fds ? idm_pump_flush_fds(&connection->pump, fds, n_fds) : 0;
	if (r < 0) {
		idm_call_forget(connection->idm, connection->call_id);
		output_error("the descriptors cannot be sent to the daemon: %s", strerror(-r));
		return NULL;
	}
	connection_wait(connection, &reply);
	return reply_unpack(&reply, type);
}

ProtobufCMessage *connection_ask(uint32_t method, const ProtobufCMessage *message,
				 const ProtobufCMessageDescriptor *type)
{
	_cleanup_(connection_freep) struct connection *connection = connection_new();

	return connection ? connection_call(connection, method, message, type) : NULL;
}

static void on_ignored_reply(void *user, int error, const char *text, const void *payload,
			     size_t len)
{
	(void)user;
	(void)error;
	(void)text;
	(void)payload;
	(void)len;
}

void connection_send(struct connection *connection, uint32_t method,
		     const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	_cleanup_(freep) uint8_t *data = malloc(len + 1);

	if (connection->lost || !data)
		return;
	protobuf_c_message_pack(message, data);
	idm_call(connection->idm, method, data, len, 0, on_ignored_reply, NULL, NULL);
}
