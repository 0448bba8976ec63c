// SPDX-License-Identifier: Apache-2.0
/*
 * GET requests to registries over libcurl, with the rules that keep a hostile registry in bounds:
 * https only, or http when the registry itself is this machine; redirects followed by hand under
 * the same rule, credentials never sent to another host; sizes bounded by the caller, slow
 * transfers ended. One thread owns a connection.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "supervisor/storage/job.h"

#define HTTP_URL_MAX 4096

struct http;

/* What a request brings back besides its body. */
struct http_reply {
	long status;
	char authenticate[2048]; /* the Bearer challenge of WWW-Authenticate, or empty */
};

/* Takes len bytes of a body. Returns 0 or a negative errno, which ends the transfer. */
typedef int (*http_sink_fn)(void *context, const void *data, size_t len);

/*
 * Prepares requests on behalf of job (borrowed). loopback: the registry is this machine, so plain
 * http to this machine is allowed. Returns NULL when memory is short; http_free() ends it.
 */
struct http *http_new(bool loopback, struct job *job);
void http_free(struct http *http);

static inline void http_freep(struct http **http)
{
	http_free(*http);
}

/*
 * GETs url with the header lines accept and bearer (a token; either may be NULL; the token only
 * goes to url's own host). A body with status 200 goes to sink. Returns 0 with *reply filled,
 * whatever the status, or a negative errno with *err set.
 */
int http_get(struct http *http, const char *url, const char *accept, const char *bearer,
	     http_sink_fn sink, void *context, struct http_reply *reply, struct error *err);

/* Appends text to out (of size bytes) with everything percent-encoded that is not unreserved. False
 * if it does not fit. */
bool http_escape(char *out, size_t size, const char *text);

/* Whether requests may go to this URL: https, or http to this machine if `loopback`. */
bool http_url_allowed(const char *url, bool loopback);
