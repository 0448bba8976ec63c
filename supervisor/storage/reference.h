// SPDX-License-Identifier: Apache-2.0
/*
 * Names of images: HOST[:PORT]/NAME[:TAG|@DIGEST], with Docker's short forms
 * (distribution/reference, "grammar"). What is parsed holds only the characters of that grammar, so
 * it can stand in a URL path or a log line as it is. Pure functions.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

#define REFERENCE_MAX	  512 /* of any reference, with the NUL */
#define REFERENCE_TAG_MAX 129

struct reference {
	char host[256]; /* HOST[:PORT] to connect to ("registry-1.docker.io" for docker.io) */
	char repository[REFERENCE_MAX]; /* the path below /v2/ */
	char tag[REFERENCE_TAG_MAX];	/* empty when there is a digest */
	char digest[72];		/* "sha256:…" or empty */
	char canonical[REFERENCE_MAX]; /* the full name with tag or digest, as the store keeps it */
	bool loopback;		       /* host is this machine: plain http */
};

/*
 * Reads a registry reference; without tag and digest the tag is "latest". `busybox` is
 * docker.io/library/busybox. Returns 0 or -EINVAL with the reason in *err; *out is undefined then.
 */
int reference_parse(const char *text, struct reference *out, struct error *err);

/*
 * The name under which an imported image is kept: name, or name:latest if it has no tag. out holds
 * REFERENCE_MAX bytes. Returns 0 or -EINVAL with the reason in *err.
 */
int reference_local(const char *name, char *out, struct error *err);

/* Whether HOST[:PORT] names this machine: localhost, 127.0.0.0/8 or [::1]. */
bool reference_host_is_loopback(const char *host);

/* Whether text is a HOST[:PORT] as references have them. */
bool reference_host_is_valid(const char *host);
