// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/registry.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define ACCEPT_MANIFEST                                                                            \
	"application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "    \
	"application/vnd.docker.distribution.manifest.list.v2+json, "                              \
	"application/vnd.docker.distribution.manifest.v2+json"
#define JSON_TIMEOUT_S	 120u
#define BLOB_TIMEOUT_S	 600u	    /* and a second for each … */
#define BLOB_BYTES_PER_S (16 * KIB) /* … of these */
#define TRIES_MAX	 6u	    /* of a blob, at each endpoint */
#define FIRST_PAUSE_MS	 100u	    /* between tries; then twice as long each time */

/* What is asked of an endpoint, and where the answer goes. */
struct wanted {
	const char *kind, *name; /* "manifests" or "blobs", and which */
	struct image_blob *blob; /* or: */
	struct registry_buffer *buffer;
};

static int to_blob(void *context, const void *data, size_t len)
{
	return image_blob_add(context, data, len);
}

static int check_status(const struct registry *registry, long status, const char *kind,
			struct error *err)
{
	const char *name = registry->reference->canonical;
	const char *what = strcmp(kind, "blobs") == 0 ? "layers" : "manifest";

	switch (status) {
	case 200:
	case 206:
		return 0;
	case 401:
	case 403:
		return error_set(err, -EACCES, "image '%s': the registry refuses access%s", name,
				 registry->login
					 ? ": is the login right, and may it pull this?"
					 : "; a private image needs a login: 'protect image "
					   "pull --username'");
	case 404:
		return error_set(
			err, -ENOENT,
			"image '%s': the registry does not have its %s; check the name and tag",
			name, what);
	case 429:
		return error_set(err, -EBUSY,
				 "image '%s': the registry's limit is reached; try again later",
				 name);
	default:
		return error_set(err, -EIO, "image '%s': the registry answers %ld for its %s", name,
				 status, what);
	}
}

/* Attaches the image's name to what http_get() or a sink returned. */
static int explain(const struct registry *registry, int r, struct error *err)
{
	const char *name = registry->reference->canonical;

	if (r == -EFBIG)
		return error_set(
			err, r,
			"image '%s': the registry sends more bytes than announced or allowed",
			name);
	if (r == -ENOSPC)
		return store_failed(registry->store, r, "keep what was pulled", err);
	return error_set_errno(err, r, "image '%s': cannot pull", name);
}

/* One request. */
static int try_once(struct registry *registry, struct registry_endpoint *endpoint,
		    struct http *http, const struct wanted *wanted, struct error *err)
{
	struct http_request request = {.accept = ACCEPT_MANIFEST, .timeout_s = JSON_TIMEOUT_S};
	struct http_reply reply;
	char path[REFERENCE_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/%s", wanted->kind, wanted->name);
	if (wanted->blob) {
		request.from_byte = wanted->blob->done_bytes;
		request.timeout_s = BLOB_TIMEOUT_S + (uint32_t)(wanted->blob->expected.size_bytes /
								BLOB_BYTES_PER_S);
		request.sink = to_blob;
		request.context = wanted->blob;
	} else {
		request.sink = registry_to_buffer;
		request.context = wanted->buffer;
	}
	r = registry_request(registry, endpoint, http, path, &request, &reply, err);
	if (r == -ESPIPE)
		return r;
	return r < 0 ? explain(registry, r, err)
		     : check_status(registry, reply.status, wanted->kind, err);
}

/* Waits before the next try. 0 or -ECANCELED. */
static int pause_between(struct job *job, unsigned tries)
{
	unsigned left_ms = FIRST_PAUSE_MS << tries;

	for (; left_ms; left_ms -= FIRST_PAUSE_MS) {
		if (job_progress(job, "waiting for the registry", 0, 0) < 0)
			return -ECANCELED;
		poll(NULL, 0, FIRST_PAUSE_MS);
	}
	return 0;
}

static bool is_complete(const struct image_blob *blob)
{
	return blob && blob->done_bytes == blob->expected.size_bytes;
}

/* Asks one endpoint; a broken transfer is continued, as long as each try brings something. */
static int ask(struct registry *registry, struct registry_endpoint *endpoint,
	       const struct wanted *wanted, struct job *job, struct error *err)
{
	_cleanup_(http_freep) struct http *http =
		http_new(registry->settings, registry_plain(endpoint), job);
	int r = http ? -EIO : -ENOMEM;

	for (unsigned tries = 0; tries < TRIES_MAX && r == -EIO; tries++) {
		uint64_t before = wanted->blob ? wanted->blob->done_bytes : 0;

		if (tries && pause_between(job, tries) < 0)
			return error_set(err, -ECANCELED, "cancelled");
		*err = (struct error)ERROR_NULL;
		r = try_once(registry, endpoint, http, wanted, err);
		if (r == -ESPIPE) { /* it cannot continue */
			r = image_blob_restart(wanted->blob);
			r = r < 0 ? error_set_errno(err, r, "cannot start a layer again") : -EIO;
		} else if (r == -EIO && is_complete(wanted->blob)) {
			r = 0; /* it broke behind its last byte */
		} else if (r == -EIO && (!wanted->blob || wanted->blob->done_bytes == before)) {
			break;
		}
	}
	return http ? r : error_set(err, r, "out of memory");
}

/* Whether the next endpoint may do better. */
static bool is_elsewhere(int r)
{
	return r == -EIO || r == -EHOSTUNREACH || r == -ETIMEDOUT || r == -ENOENT || r == -EACCES ||
	       r == -EBUSY || r == -EPROTO;
}

/* Asks the endpoints in their order. */
static int get(struct registry *registry, const struct wanted *wanted, struct job *job,
	       struct error *err)
{
	struct error last = ERROR_NULL;
	int r = -ENOENT;

	for (unsigned i = 0; i < registry->n_endpoints; i++) {
		if (wanted->buffer)
			wanted->buffer->len = 0;
		r = ask(registry, &registry->endpoints[i], wanted, job, &last);
		if (r == 0 || !is_elsewhere(r))
			break;
	}
	return r < 0 ? error_set(err, r, "%s", last.text) : 0;
}

static int get_verified(struct registry *registry, const char *kind,
			const struct oci_descriptor *what, struct job *job, struct error *err)
{
	_cleanup_(image_blob_drop) struct image_blob blob = {.fd = -1};
	char text[DIGEST_TEXT_SIZE];
	const struct wanted wanted = {.kind = kind, .name = text, .blob = &blob};
	int r = image_blob_begin(&blob, registry->store, what, err);

	if (r < 0)
		return r;
	digest_text(&what->digest, text);
	r = get(registry, &wanted, job, err);
	return r < 0 ? r : image_blob_end(&blob, registry->reference->canonical, err);
}

static int get_blob(struct image_source *source, const struct oci_descriptor *what, struct job *job,
		    struct error *err)
{
	return get_verified(container_of(source, struct registry, source), "blobs", what, job, err);
}

static int get_manifest(struct image_source *source, const struct oci_descriptor *what,
			struct job *job, struct error *err)
{
	return get_verified(container_of(source, struct registry, source), "manifests", what, job,
			    err);
}

static void add_endpoint(struct registry *registry, const char *host, bool own)
{
	struct registry_endpoint *endpoint = &registry->endpoints[registry->n_endpoints++];

	snprintf(endpoint->host, sizeof(endpoint->host), "%s", host);
	endpoint->own = own;
	endpoint->loopback = reference_host_is_loopback(host);
	endpoint->insecure = settings_is_insecure(registry->settings, host);
}

/* The mirrors of a registry go by the name that people give it: docker.io. */
static void add_endpoints(struct registry *registry)
{
	const struct settings *settings = registry->settings;
	const char *name = registry->reference->canonical;
	size_t len = strcspn(name, "/");

	for (unsigned i = 0; i < settings->n_mirrors; i++)
		if (strlen(settings->mirrors[i].registry) == len &&
		    strncmp(settings->mirrors[i].registry, name, len) == 0)
			add_endpoint(registry, settings->mirrors[i].value, false);
	add_endpoint(registry, registry->reference->host, true);
}

int registry_open(struct registry *registry, struct store *store, const struct settings *settings,
		  const struct reference *reference, const struct registry_login *login,
		  struct job *job, struct error *err)
{
	*registry = (struct registry){.source = {.blob = get_blob,
						 .manifest = get_manifest,
						 .parallel = settings->parallel},
				      .store = store,
				      .settings = settings,
				      .reference = reference,
				      .login = login,
				      .job = job,
				      .lock = PTHREAD_MUTEX_INITIALIZER};
	registry->endpoints = calloc(settings->n_mirrors + 1, sizeof(*registry->endpoints));
	if (!registry->endpoints)
		return error_set(err, -ENOMEM, "out of memory");
	add_endpoints(registry);
	return 0;
}

void registry_close(struct registry *registry)
{
	if (registry->endpoints)
		explicit_bzero(registry->endpoints,
			       registry->n_endpoints * sizeof(*registry->endpoints));
	free(registry->endpoints);
	registry->endpoints = NULL;
	registry->n_endpoints = 0;
}

int registry_choose(struct registry *registry, struct image_manifest *manifest, struct job *job,
		    struct error *err)
{
	const struct reference *reference = registry->reference;
	struct registry_buffer body = {.max = OCI_JSON_MAX};
	const struct wanted wanted = {.kind = "manifests",
				      .name = reference->digest[0] ? reference->digest
								   : reference->tag,
				      .buffer = &body};
	char actual[DIGEST_TEXT_SIZE];
	int r = get(registry, &wanted, job, err);

	memset(manifest, 0, sizeof(*manifest));
	manifest->json = body.data;
	manifest->len = body.len;
	if (r == 0 && !body.len)
		r = error_set(err, -EBADMSG, "image '%s': the registry sends an empty manifest",
			      reference->canonical);
	if (r == 0)
		r = digest_of(body.data, body.len, &manifest->digest);
	if (r == 0 && reference->digest[0]) {
		digest_text(&manifest->digest, actual);
		if (strcmp(actual, reference->digest) != 0)
			r = error_set(err, -EBADMSG,
				      "image '%s': digest mismatch: the manifest has %s",
				      reference->canonical, actual);
	}
	if (r == 0)
		r = image_choose(&registry->source, manifest, NULL, 0, job, err);
	if (r < 0)
		image_manifest_clear(manifest);
	return r;
}
