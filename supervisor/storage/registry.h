// SPDX-License-Identifier: Apache-2.0
/*
 * Images from a registry (OCI distribution-spec 1.1, "Pull") or its mirrors, with Docker's token
 * authentication or Basic. A registry is hostile: what it sends is bounded and means nothing before
 * its digest is right. A login is the registry's alone: it goes to no mirror, to no host that a
 * redirect names, and to a token server only if that is on the same host or belongs to the registry
 * (settings_is_token_server()). Blobs may be asked for by several threads at once; a blob whose
 * transfer breaks is continued where it broke, from the next mirror if need be.
 */
#pragma once

#include <pthread.h>

#include "supervisor/storage/image.h"
#include "supervisor/storage/reference.h"
#include "supervisor/storage/registry_http.h"

#define REGISTRY_AUTH_MAX (16u * 1024) /* of the value of an Authorization header */

/* For one pull, borrowed. */
struct registry_login {
	const char *username, *password;
};

/* A host to pull from. */
struct registry_endpoint {
	char host[SETTINGS_HOST_MAX];	       /* HOST[:PORT] */
	bool own;			       /* the registry itself, no mirror */
	bool loopback, insecure;	       /* plain http */
	char authorization[REGISTRY_AUTH_MAX]; /* under the registry's lock; empty = none yet */
};

struct registry {
	struct image_source source;
	struct store *store; /* borrowed, as the next three */
	const struct settings *settings;
	const struct reference *reference;
	const struct registry_login *login; /* or NULL */
	struct job *job;		    /* of the manifests; blobs come with their own */
	pthread_mutex_t lock;
	struct registry_endpoint *endpoints; /* mirrors first, the registry itself last */
	unsigned n_endpoints;
};

/* Prepares pulling a reference; nothing is sent yet. 0 or a negative errno with *err set;
 * registry_close() ends it (allowed as well on a zeroed one). */
int registry_open(struct registry *registry, struct store *store, const struct settings *settings,
		  const struct reference *reference, const struct registry_login *login,
		  struct job *job, struct error *err);
void registry_close(struct registry *registry);

/* Fetches the manifest that the reference names, through indexes. Returns 0 or a negative errno
 * with *err set. */
int registry_choose(struct registry *registry, struct image_manifest *manifest, struct job *job,
		    struct error *err);

/*
 * Does a request to an endpoint below its /v2/REPOSITORY/, with the login or the token that it asks
 * for: request->url, authorization and timeout_s are filled in here. Returns as http_get().
 */
int registry_request(struct registry *registry, struct registry_endpoint *endpoint,
		     struct http *http, const char *path, struct http_request *request,
		     struct http_reply *reply, struct error *err);

struct http_plain registry_plain(const struct registry_endpoint *endpoint);

/*
 * Makes the URL for a token out of a challenge (`Bearer realm="…",service="…",scope="…"`) and the
 * repository to pull from. Returns 0, or -EPROTO for a challenge without a realm or one that does
 * not fit. url holds HTTP_URL_MAX bytes.
 */
int registry_token_url(const char *challenge, const char *repository, char *url);

/* A body kept in memory, of at most max bytes. */
struct registry_buffer {
	char *data; /* with a NUL behind it; the caller frees it */
	size_t len, max;
};
int registry_to_buffer(void *buffer, const void *data, size_t len);
