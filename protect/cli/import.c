// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/import.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "protect/cli/import_layout.h"
#include "protect/cli/output.h"

#define CHUNK (64u * 1024)

int import_parse(const char *text, struct import_source *out)
{
	static const char *const prefixes[] = {"oci:", "oci-archive:", "docker-archive:"};
	const char *rest = NULL, *colon;
	unsigned kind;

	for (kind = 0; kind < ARRAY_SIZE(prefixes); kind++) {
		size_t len = strlen(prefixes[kind]);

		if (strncmp(text, prefixes[kind], len) == 0) {
			rest = text + len;
			break;
		}
	}
	if (!rest)
		return 0;
	*out = (struct import_source){.kind = (enum import_kind)kind};
	colon = access(rest, F_OK) == 0 ? NULL : strchr(rest, ':'); /* a path may hold a colon */
	if (!*rest || colon == rest || (colon && !colon[1])) {
		output_error("'%s' is not of the form %sPATH[:TAG]", text, prefixes[kind]);
		return -EINVAL;
	}
	if (snprintf(out->path, sizeof(out->path), "%.*s", colon ? (int)(colon - rest) : INT_MAX,
		     rest) >= (int)sizeof(out->path) ||
	    snprintf(out->tag, sizeof(out->tag), "%s", colon ? colon + 1 : "") >=
		    (int)sizeof(out->tag)) {
		output_error("'%.60s...' is too long for a reference", text);
		return -ENAMETOOLONG;
	}
	return 1;
}

static size_t stem_len(const char *base)
{
	static const char *const endings[] = {".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.xz"};
	size_t len = strlen(base);

	for (unsigned i = 0; i < ARRAY_SIZE(endings); i++) {
		size_t ending = strlen(endings[i]);

		if (len > ending && strcmp(base + len - ending, endings[i]) == 0)
			return len - ending;
	}
	return len;
}

void import_default_name(const struct import_source *source, char name[IMPORT_NAME_MAX])
{
	_cleanup_(freep) char *real = realpath(source->path, NULL);
	const char *path = real ? real : source->path;
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	size_t len = stem_len(base), n = 0;

	for (size_t i = 0; i < len && n < IMPORT_NAME_MAX - 1; i++) {
		char c = base[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
			name[n++] = c;
		else if (n && name[n - 1] != '-') /* separators stand alone, and between */
			name[n++] = '-';
	}
	while (n && name[n - 1] == '-')
		n--;
	name[n] = '\0';
	if (!n)
		snprintf(name, IMPORT_NAME_MAX, "image");
}

static void on_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	(void)user;
	(void)data;
	idm_stream_consumed(stream, len); /* nothing is expected */
}

static void on_closed(void *user, struct idm_stream *stream, int error)
{
	struct import_sink *sink = user;

	(void)stream;
	sink->peer_ended = true;
	if (error || sink->ended)
		sink->stream = NULL;
}

static void end_sink(struct import_sink *sink)
{
	struct idm_stream *stream = sink->stream;

	if (!stream)
		return;
	sink->ended = true;
	if (sink->peer_ended)
		sink->stream = NULL;
	idm_stream_end(stream);
}

int import_send(struct import_sink *sink, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len) {
		size_t n;

		if (!sink->stream || sink->reply->done)
			return -ECANCELED; /* the reply says why */
		n = idm_stream_write(sink->stream, at, len);
		at += n;
		len -= n;
		if (len)
			connection_turn(sink->connection, NULL, 0, -1);
	}
	return 0;
}

static int send_file(struct import_sink *sink, const char *path)
{
	_cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_(freep) uint8_t *buf = malloc(CHUNK);
	ssize_t n = -1;
	int r = 0;

	if (!buf) {
		output_error("out of memory");
		return -ENOMEM;
	}
	while (fd >= 0 && !r && (n = read(fd, buf, CHUNK)) > 0)
		r = import_send(sink, buf, (size_t)n);
	if (n < 0) {
		r = -errno;
		output_error("cannot read the image archive %s: %s", path, strerror(-r));
	}
	return r;
}

/* Asks and streams. Returns 0 when the reply says what came of it, or an error that was printed. */
static int stream_source(struct import_sink *sink, const struct import_source *source,
			 Protect__Control__ImageImport *request)
{
	static const struct idm_stream_ops ops = {on_data, NULL, on_closed};
	int r = idm_stream_open(sink->connection->idm, 4096, &ops, sink, &sink->stream);

	if (r < 0) {
		output_error("cannot open a stream to the daemon: %s", strerror(-r));
		return r;
	}
	request->stream = idm_stream_number(sink->stream);
	r = connection_start(sink->connection, METHOD(IMAGE_IMPORT), &request->base, sink->reply,
			     &sink->call_id);
	if (r < 0)
		return r;
	r = source->kind == IMPORT_OCI ? import_layout_send(sink, source->path)
				       : send_file(sink, source->path);
	if (r < 0 && r != -ECANCELED)
		return r;
	end_sink(sink);
	connection_wait(sink->connection, sink->reply);
	return 0;
}

/* Files that are not there are better known before the daemon is asked for anything. */
static int check_source(const struct import_source *source)
{
	char path[sizeof(source->path) + 16];

	snprintf(path, sizeof(path), "%s%s", source->path,
		 source->kind == IMPORT_OCI ? "/index.json" : "");
	if (access(path, R_OK) == 0)
		return 0;
	output_error("cannot read the image %s: %s", path, strerror(errno));
	return -errno;
}

ProtobufCMessage *import_run(struct connection *connection, const struct import_source *source,
			     const char *name)
{
	struct reply reply = {0};
	struct import_sink sink = {.connection = connection, .reply = &reply};
	Protect__Control__ImageImport request = PROTECT__CONTROL__IMAGE_IMPORT__INIT;
	char default_name[IMPORT_NAME_MAX];
	ProtobufCMessage *image = NULL;

	if (check_source(source) < 0)
		return NULL;
	import_default_name(source, default_name);
	if (name)
		request.name = (char *)(uintptr_t)name;
	else if (source->kind != IMPORT_DOCKER_ARCHIVE) /* which says its full name itself */
		request.name = default_name;
	request.tag = (char *)(uintptr_t)source->tag;
	output_progress("importing", 0, 0);
	if (stream_source(&sink, source, &request) == 0)
		image = reply_unpack(&reply, &protect__control__image__descriptor);
	if (sink.stream)
		idm_stream_reset(sink.stream, -ECANCELED);
	if (!reply.done && !connection->lost)
		idm_call_forget(connection->idm, sink.call_id);
	reply_deinit(&reply);
	return image;
}

int import_if_local(struct connection *connection, const char *ref, char **out)
{
	struct import_source source;
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	const Protect__Control__Image *image;
	int r = import_parse(ref, &source);

	if (r < 0)
		return r;
	if (r) {
		message = import_run(connection, &source, NULL);
		if (!message)
			return -EIO;
		image = (const Protect__Control__Image *)message;
		ref = *image->digest ? image->digest : image->name;
	}
	*out = strdup(ref);
	if (!*out)
		output_error("out of memory");
	return *out ? 0 : -ENOMEM;
}
