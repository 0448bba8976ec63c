// SPDX-License-Identifier: Apache-2.0
#include "protect/shim/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "protect/cli/tar.h"

#define CHUNK	   (64u * 1024)
#define HEX_SIZE   65u
#define LAYERS_MAX (1 + IMAGE_BINDS_MAX)
#define TEXT_SIZE  (64u * 1024)

struct layer {
	uint64_t size_bytes;
	char digest[HEX_SIZE];
};

struct image_job {
	struct poller *poller;
	struct link *link;
	struct image_contents contents;
	image_fn *done;
	void *user;
	char name[IMAGE_NAME_SIZE];
	struct layer layers[LAYERS_MAX];
	unsigned n_layers, at; /* the one that is read */
	bool sending;	       /* the second time */
	uint64_t read_bytes;   /* of this one */
	EVP_MD_CTX *hash;
	struct layer_reader reader;
	struct source source;
	struct idm_stream *stream;
	uint64_t call;
	bool calling;
	/* What is to be sent before more is read. */
	uint8_t *buf;
	size_t start, end, size;
	bool complete; /* all of the archive was put into buf */
};

void image_drop(struct image_job *job)
{
	if (!job)
		return;
	poller_watch(job->poller, &job->source, 0);
	layer_reader_stop(&job->reader);
	if (job->stream)
		idm_stream_reset(job->stream, -ECANCELED);
	if (job->calling && job->link->idm)
		idm_call_forget(job->link->idm, job->call);
	EVP_MD_CTX_free(job->hash);
	free(job->buf);
	free(job);
}

static void finish(struct image_job *job, int error, const char *text)
{
	image_fn *done = job->done;
	void *user = job->user;
	char name[IMAGE_NAME_SIZE];

	snprintf(name, sizeof(name), "%s", job->name);
	image_drop(job);
	done(user, error, error ? text : name);
}

/* The line that the volume or root at fault needs. */
static void fail(struct image_job *job, int error, const char *what)
{
	char text[ERROR_TEXT_MAX];

	snprintf(text, sizeof(text), "%s%s%s", what, job->at ? " at " : "",
		 job->at ? job->contents.binds[job->at - 1].target : "");
	finish(job, error, text);
}

static void can_read(void *user, uint32_t events);

static int begin_layer(struct image_job *job, struct error *err)
{
	const struct image_contents *c = &job->contents;
	int r = job->at == 0 ? layer_read_root(&job->reader, c->mounts, c->n_mounts, c->folder, err)
			     : layer_read_bind(&job->reader, &c->binds[job->at - 1], err);

	if (r < 0)
		return r;
	job->read_bytes = 0;
	job->source = (struct source){.fd = job->reader.fd, .ready = can_read, .user = job};
	EVP_DigestInit_ex(job->hash, EVP_sha256(), NULL);
	r = poller_watch(job->poller, &job->source, EPOLLIN);
	return r < 0 ? error_set_errno(err, r, "tar's output") : 0;
}

static void next_layer(struct image_job *job)
{
	struct error err = ERROR_NULL;
	int r = begin_layer(job, &err);

	if (r < 0)
		finish(job, r, err.text);
}

static void hex_of(EVP_MD_CTX *hash, char hex[static HEX_SIZE])
{
	uint8_t bytes[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	EVP_DigestFinal_ex(hash, bytes, &len);
	for (unsigned i = 0; i < len && 2 * i + 3 <= HEX_SIZE; i++)
		sprintf(hex + 2 * i, "%02x", bytes[i]);
}

/* Appends to what is to be sent. */
static int put(struct image_job *job, const void *data, size_t len)
{
	uint8_t *buf;

	if (job->start == job->end)
		job->start = job->end = 0;
	if (job->size - job->end < len) {
		buf = realloc(job->buf, job->end + len + CHUNK);
		if (!buf)
			return -ENOMEM;
		job->buf = buf;
		job->size = job->end + len + CHUNK;
	}
	memcpy(job->buf + job->end, data, len);
	job->end += len;
	return 0;
}

static int put_header(struct image_job *job, const char *name, uint64_t size_bytes)
{
	uint8_t header[TAR_HEADER_MAX];
	int len = tar_header(name, size_bytes, header);

	return len < 0 ? len : put(job, header, (size_t)len);
}

static int put_padding(struct image_job *job, uint64_t size_bytes)
{
	static const uint8_t zeroes[TAR_BLOCK];

	return put(job, zeroes, tar_padding(size_bytes));
}

static int put_text(struct image_job *job, const char *name, const char *text)
{
	int r = put_header(job, name, strlen(text));

	if (r == 0)
		r = put(job, text, strlen(text));
	return r == 0 ? put_padding(job, strlen(text)) : r;
}

/* The two documents of `docker save`, as short as they may be. */
static int put_documents(struct image_job *job)
{
	_cleanup_(freep) char *config = calloc(1, TEXT_SIZE), *manifest = calloc(1, TEXT_SIZE);
	size_t c = 0, m = 0;
	int r;

	if (!config || !manifest)
		return -ENOMEM;
	c += (size_t)sprintf(config, "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},"
				     "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[");
	m += (size_t)sprintf(manifest, "[{\"Config\":\"config.json\",\"RepoTags\":[],\"Layers\":[");
	for (unsigned i = 0; i < job->n_layers; i++) {
		c += (size_t)sprintf(config + c, "%s\"sha256:%s\"", i ? "," : "",
				     job->layers[i].digest);
		m += (size_t)sprintf(manifest + m, "%s\"%u.tar\"", i ? "," : "", i);
	}
	sprintf(config + c, "]}}");
	sprintf(manifest + m, "]}]");
	r = put_text(job, "config.json", config);
	return r == 0 ? put_text(job, "manifest.json", manifest) : r;
}

static int begin_layer_sent(struct image_job *job)
{
	char name[16];

	snprintf(name, sizeof(name), "%u.tar", job->at);
	return put_header(job, name, job->layers[job->at].size_bytes);
}

/* Sends; goes on reading once all has left. */
static void pass_on(struct image_job *job)
{
	if (job->start < job->end && job->stream)
		job->start +=
			idm_stream_write(job->stream, job->buf + job->start, job->end - job->start);
	if (job->start < job->end)
		poller_watch(job->poller, &job->source, 0);
	else if (job->complete && job->stream)
		idm_stream_end(job->stream);
	else if (job->reader.fd >= 0)
		poller_watch(job->poller, &job->source, EPOLLIN);
}

static void got_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	(void)user;
	(void)data;
	idm_stream_consumed(stream, len); /* nothing is expected */
}

static void got_writable(void *user, struct idm_stream *stream)
{
	(void)stream;
	pass_on(user);
}

static void got_closed(void *user, struct idm_stream *stream, int error)
{
	struct image_job *job = user;

	(void)stream;
	if (error || job->complete)
		job->stream = NULL;
}

static void imported(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct image_job *job = user;

	(void)payload;
	(void)len;
	job->calling = false;
	if (!error)
		log_info("image=%s layers=%u imported", job->name, job->n_layers);
	finish(job, error, text);
}

static void start_import(struct image_job *job)
{
	static const struct idm_stream_ops ops = {got_data, got_writable, got_closed};
	Protect__Control__ImageImport request = PROTECT__CONTROL__IMAGE_IMPORT__INIT;
	int r = job->link->idm ? idm_stream_open(job->link->idm, 4096, &ops, job, &job->stream)
			       : -ECONNRESET;

	if (r == 0) {
		request.name = job->name;
		request.stream = idm_stream_number(job->stream);
		r = link_call(job->link, METHOD(IMAGE_IMPORT), &request.base, imported, job,
			      &job->call);
	}
	job->calling = r == 0;
	if (r == 0)
		r = put_documents(job);
	job->at = 0;
	job->sending = true;
	if (r == 0)
		r = begin_layer_sent(job);
	if (r < 0) {
		fail(job, r, "the image cannot be sent to protect-daemon");
		return;
	}
	next_layer(job);
}

static bool is_listed(const struct image_job *job, const Protect__Control__ImageList *list)
{
	size_t len = strlen(job->name);

	/* The store adds a tag to a name. */
	for (size_t i = 0; list && i < list->n_images; i++)
		if (strncmp(list->images[i]->name, job->name, len) == 0 &&
		    (!list->images[i]->name[len] || list->images[i]->name[len] == ':'))
			return true;
	return false;
}

static void listed(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct image_job *job = user;
	Protect__Control__ImageList *list = NULL;
	_cleanup_(freep) uint8_t *whole = NULL;
	size_t total;
	bool found;

	job->calling = false;
	if (error) {
		finish(job, error, text);
		return;
	}
	whole = link_answer(job->link, payload, len, &total);
	if (whole)
		list = protect__control__image_list__unpack(NULL, total, whole);
	found = is_listed(job, list);
	protect__control__image_list__free_unpacked(list, NULL);
	if (found)
		finish(job, 0, "");
	else
		start_import(job);
}

/* All digests are known. */
static void look_up(struct image_job *job)
{
	Protect__Control__Empty empty = PROTECT__CONTROL__EMPTY__INIT;
	char hex[HEX_SIZE];
	int r;

	EVP_DigestInit_ex(job->hash, EVP_sha256(), NULL);
	for (unsigned i = 0; i < job->n_layers; i++)
		EVP_DigestUpdate(job->hash, job->layers[i].digest, HEX_SIZE);
	hex_of(job->hash, hex);
	snprintf(job->name, sizeof(job->name), "containerd-%.32s", hex);
	r = link_call(job->link, METHOD(IMAGE_LIST), &empty.base, listed, job, &job->call);
	job->calling = r == 0;
	if (r < 0)
		finish(job, r, "protect-daemon cannot be reached");
}

static int end_layer_sent(struct image_job *job)
{
	static const uint8_t trailer[TAR_TRAILER_MAX];
	int r;

	if (job->read_bytes != job->layers[job->at].size_bytes)
		return -EIO;
	r = put_padding(job, job->read_bytes);
	if (r < 0)
		return r;
	job->complete = ++job->at == job->n_layers;
	return job->complete ? put(job, trailer, sizeof(trailer)) : begin_layer_sent(job);
}

static void layer_ended(struct image_job *job)
{
	int r;

	poller_watch(job->poller, &job->source, 0);
	r = layer_reader_finish(&job->reader);
	if (r == 0 && job->sending)
		r = end_layer_sent(job);
	if (r < 0) {
		fail(job, r,
		     "files cannot be read, or changed meanwhile (the shim's log may say more):");
		return;
	}
	if (!job->sending) {
		job->layers[job->at].size_bytes = job->read_bytes;
		hex_of(job->hash, job->layers[job->at].digest);
		job->at++;
	}
	if (job->at < job->n_layers)
		next_layer(job);
	else if (!job->sending)
		look_up(job);
	else
		pass_on(job);
}

static void can_read(void *user, uint32_t events)
{
	struct image_job *job = user;
	uint8_t chunk[CHUNK];
	ssize_t n = read(job->reader.fd, chunk, sizeof(chunk));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		layer_ended(job);
		return;
	}
	job->read_bytes += (uint64_t)n;
	if (job->at && job->read_bytes > IMAGE_BIND_BYTES) {
		fail(job, -E2BIG,
		     "more than 64 MiB of files, which would be copied into the zone:");
		return;
	}
	if (!job->sending) {
		EVP_DigestUpdate(job->hash, chunk, (size_t)n);
		return;
	}
	if (put(job, chunk, (size_t)n) < 0)
		fail(job, -ENOMEM, "the shim is out of memory");
	else
		pass_on(job);
}

int image_make(struct image_job **out, struct link *link, const struct image_contents *contents,
	       image_fn *done, void *user, struct error *err)
{
	struct image_job *job;

	*out = NULL;
	if (contents->n_binds > IMAGE_BINDS_MAX)
		return error_set(err, -E2BIG, "more than %u volumes", IMAGE_BINDS_MAX);
	job = calloc(1, sizeof(*job));
	if (job)
		job->hash = EVP_MD_CTX_new();
	if (!job || !job->hash) {
		free(job);
		return error_set(err, -ENOMEM, "the shim is out of memory");
	}
	job->poller = link->poller;
	job->link = link;
	job->contents = *contents;
	job->done = done;
	job->user = user;
	job->n_layers = 1 + (unsigned)contents->n_binds;
	job->reader = (struct layer_reader)LAYER_READER_NULL;
	job->source.fd = -1;
	if (begin_layer(job, err) < 0) {
		image_drop(job);
		return err->code;
	}
	*out = job;
	return 0;
}
