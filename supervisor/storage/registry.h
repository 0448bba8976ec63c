// SPDX-License-Identifier: Apache-2.0
/*
 * Images from a registry (OCI distribution-spec 1.1, "Pull"), with the anonymous bearer tokens of
 * Docker's token authentication. A registry is hostile: what it sends is bounded and means nothing
 * before its digest is right. One thread owns a registry.
 */
#pragma once

#include "supervisor/storage/image.h"
#include "supervisor/storage/reference.h"
#include "supervisor/storage/registry_http.h"

#define REGISTRY_TOKEN_MAX 4096

struct registry {
	struct image_source source;
	struct store *store;		   /* borrowed */
	const struct reference *reference; /* borrowed */
	struct http *http;
	char token[REGISTRY_TOKEN_MAX]; /* empty = none */
};

/* Prepares pulling a reference; nothing is sent yet. 0 or a negative errno with *err set;
 * registry_close() ends it. */
int registry_open(struct registry *registry, struct store *store, const struct reference *reference,
		  struct job *job, struct error *err);
void registry_close(struct registry *registry);

/* Fetches the manifest that the reference names, through indexes. Returns 0 or a negative errno
 * with *err set. */
int registry_choose(struct registry *registry, struct image_manifest *manifest, struct job *job,
		    struct error *err);

/*
 * Makes the URL for a token out of a challenge (`Bearer realm="…",service="…",scope="…"`) and the
 * repository to pull from. Returns 0, or -EPROTO for a challenge without a realm or one that does
 * not fit. url holds HTTP_URL_MAX bytes.
 */
int registry_token_url(const char *challenge, const char *repository, char *url);
