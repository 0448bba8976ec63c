// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "base/cleanup.h"

#define TOKEN_REPLY_MAX (64 * KIB)
#define ACCEPT_MANIFEST                                                                            \
	"application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "    \
	"application/vnd.docker.distribution.manifest.list.v2+json, "                              \
	"application/vnd.docker.distribution.manifest.v2+json"

/* A body kept in memory. */
struct buffer {
	char *data; /* with a NUL behind it */
	size_t len, max;
};

static int to_buffer(void *context, const void *data, size_t len)
{
	struct buffer *buffer = context;
	char *grown;

	if (len > buffer->max - buffer->len)
		return -EFBIG;
	grown = realloc(buffer->data, buffer->len + len + 1);
	if (!grown)
		return -ENOMEM;
	buffer->data = grown;
	memcpy(grown + buffer->len, data, len);
	buffer->len += len;
	grown[buffer->len] = '\0';
	return 0;
}

static int to_blob(void *context, const void *data, size_t len)
{
	return image_blob_add(context, data, len);
}

/* Copies the quoted value of `key` in a challenge. Empty if there is none or it does not fit. */
static void challenge_value(const char *challenge, const char *key, char *out, size_t size)
{
	size_t key_len = strlen(key);

	out[0] = '\0';
	for (const char *at = strcasestr(challenge, key); at; at = strcasestr(at + 1, key)) {
		const char *value = at + key_len, *end;

		if ((at != challenge && !strchr(" ,", at[-1])) || strncmp(value, "=\"", 2) != 0)
			continue;
		value += 2;
		end = strchr(value, '"');
		if (end && (size_t)(end - value) < size)
			snprintf(out, size, "%.*s", (int)(end - value), value);
		return;
	}
}

static bool append(char *url, const char *text)
{
	size_t used = strlen(url);

	return snprintf(url + used, HTTP_URL_MAX - used, "%s", text) < (int)(HTTP_URL_MAX - used);
}

int registry_token_url(const char *challenge, const char *repository, char *url)
{
	char realm[1024], service[512], scope[1024];

	challenge_value(challenge, "realm", realm, sizeof(realm));
	challenge_value(challenge, "service", service, sizeof(service));
	/* The scope is ours to choose: reading this one repository, whatever the registry would
	 * like us to ask for. */
	snprintf(scope, sizeof(scope), "repository:%s:pull", repository);
	if (!realm[0] || strpbrk(realm, " \t\r\n"))
		return -EPROTO;
	url[0] = '\0';
	if (!append(url, realm) || !append(url, strchr(realm, '?') ? "&scope=" : "?scope=") ||
	    !http_escape(url, HTTP_URL_MAX, scope))
		return -EPROTO;
	if (service[0] && (!append(url, "&service=") || !http_escape(url, HTTP_URL_MAX, service)))
		return -EPROTO;
	return 0;
}

static int keep_token(struct registry *registry, const struct buffer *body)
{
	json_t *root = json_loadb(body->data ? body->data : "", body->len, 0, NULL);
	const char *token = json_string_value(json_object_get(root, "token"));
	int r = 0;

	if (!token)
		token = json_string_value(json_object_get(root, "access_token"));
	if (!token || !token[0] || strlen(token) >= sizeof(registry->token) ||
	    strpbrk(token, "\r\n"))
		r = -EPROTO;
	else
		snprintf(registry->token, sizeof(registry->token), "%s", token);
	json_decref(root);
	return r;
}

static int get_token(struct registry *registry, const char *challenge, struct error *err)
{
	const struct reference *reference = registry->reference;
	struct buffer body = {.max = TOKEN_REPLY_MAX};
	struct http_reply reply;
	char url[HTTP_URL_MAX];
	int r = registry_token_url(challenge, reference->repository, url);

	if (r < 0)
		return error_set(err, r, "the registry %s asks for a login that is not understood",
				 reference->host);
	r = http_get(registry->http, url, NULL, NULL, to_buffer, &body, &reply, err);
	if (r == 0 && reply.status == 200)
		r = keep_token(registry, &body);
	else if (r == 0)
		r = -EACCES;
	free(body.data);
	return r < 0 ? error_set(err, r, "the registry %s gives no anonymous token for '%s'",
				 reference->host, reference->repository)
		     : 0;
}

static int check_status(const struct registry *registry, long status, const char *what,
			struct error *err)
{
	const char *name = registry->reference->canonical;

	switch (status) {
	case 200:
		return 0;
	case 401:
	case 403:
		return error_set(
			err, -EACCES,
			"image '%s': the registry refuses access; only public images can be pulled",
			name);
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

/* GETs /v2/REPOSITORY/KIND/NAME, with a token if the registry wants one. */
static int get(struct registry *registry, const char *kind, const char *name, http_sink_fn sink,
	       void *context, struct error *err)
{
	const struct reference *reference = registry->reference;
	struct http_reply reply;
	char url[HTTP_URL_MAX];
	int r;

	snprintf(url, sizeof(url), "%s://%s/v2/%s/%s/%s", reference->loopback ? "http" : "https",
		 reference->host, reference->repository, kind, name);
	for (int attempt = 0; attempt < 2; attempt++) {
		r = http_get(registry->http, url, ACCEPT_MANIFEST,
			     registry->token[0] ? registry->token : NULL, sink, context, &reply,
			     err);
		if (r < 0 || reply.status != 401 || !reply.authenticate[0] || attempt > 0)
			break;
		r = get_token(registry, reply.authenticate, err);
		if (r < 0)
			return r;
	}
	if (r == -EFBIG)
		return error_set(
			err, r,
			"image '%s': the registry sends more bytes than announced or allowed",
			reference->canonical);
	if (r == -ENOSPC)
		return store_failed(registry->store, r, "keep what was pulled", err);
	if (r < 0)
		return error_set_errno(err, r, "image '%s': cannot pull", reference->canonical);
	return check_status(registry, reply.status,
			    strcmp(kind, "blobs") == 0 ? "layers" : "manifest", err);
}

static int get_verified(struct registry *registry, const char *kind,
			const struct oci_descriptor *what, struct error *err)
{
	_cleanup_(image_blob_drop) struct image_blob blob = {.fd = -1};
	char text[DIGEST_TEXT_SIZE];
	int r = image_blob_begin(&blob, registry->store, what, err);

	if (r < 0)
		return r;
	digest_text(&what->digest, text);
	r = get(registry, kind, text, to_blob, &blob, err);
	return r < 0 ? r : image_blob_end(&blob, registry->reference->canonical, err);
}

static int get_blob(struct image_source *source, const struct oci_descriptor *what, struct job *job,
		    struct error *err)
{
	(void)job; /* the connection has it */
	return get_verified(container_of(source, struct registry, source), "blobs", what, err);
}

static int get_manifest(struct image_source *source, const struct oci_descriptor *what,
			struct job *job, struct error *err)
{
	(void)job;
	return get_verified(container_of(source, struct registry, source), "manifests", what, err);
}

int registry_open(struct registry *registry, struct store *store, const struct reference *reference,
		  struct job *job, struct error *err)
{
	memset(registry, 0, sizeof(*registry));
	registry->source.blob = get_blob;
	registry->source.manifest = get_manifest;
	registry->store = store;
	registry->reference = reference;
	registry->http = http_new(reference->loopback, job);
	return registry->http ? 0 : error_set(err, -ENOMEM, "out of memory");
}

void registry_close(struct registry *registry)
{
	http_free(registry->http);
	registry->http = NULL;
}

int registry_choose(struct registry *registry, struct image_manifest *manifest, struct job *job,
		    struct error *err)
{
	const struct reference *reference = registry->reference;
	struct buffer body = {.max = OCI_JSON_MAX};
	char actual[DIGEST_TEXT_SIZE];
	int r = get(registry, "manifests",
		    reference->digest[0] ? reference->digest : reference->tag, to_buffer, &body,
		    err);

	memset(manifest, 0, sizeof(*manifest));
	manifest->json = body.data;
	manifest->len = body.len;
	if (r == 0 && !body.data)
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
