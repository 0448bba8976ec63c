// SPDX-License-Identifier: Apache-2.0
/*
 * GET requests to registries over libcurl, with the rules that keep a hostile registry in bounds:
 * https only, or http where the registry itself is this machine or was allowed by name; redirects
 * followed by hand under the same rule, credentials never sent to another host; sizes bounded by
 * the caller, slow transfers ended. One thread owns a connection.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "supervisor/storage/job.h"
#include "supervisor/storage/settings.h"

#define HTTP_URL_MAX	   4096
#define HTTP_CHALLENGE_MAX 2048

struct http;

/* Where plain http may go besides https. */
struct http_plain {
	bool loopback;	  /* the registry is this machine: to this machine */
	const char *host; /* borrowed; a HOST[:PORT] that was allowed by name, or NULL */
};

struct http_request {
	const char *url;
	const char *accept;	   /* the header's value, or NULL */
	const char *authorization; /* the same; goes to url's own scheme, host and port only */
	uint64_t from_byte;	   /* ask for the rest of a body from here; 0 = all of it */
	uint32_t timeout_s;	   /* for the whole transfer */
	/* Takes the bytes of a body, of status 200 or, if from_byte is set, 206. Returns 0 or a
	 * negative errno, which ends the transfer. */
	int (*sink)(void *context, const void *data, size_t len);
	void *context;
};

/* What a request brings back besides its body. */
struct http_reply {
	long status;
	bool basic;			 /* WWW-Authenticate offers Basic */
	char bearer[HTTP_CHALLENGE_MAX]; /* its Bearer challenge, or empty */
	uint64_t range_start;		 /* of Content-Range; UINT64_MAX = none */
};

/*
 * Prepares requests on behalf of job (borrowed, as settings and plain.host). Returns NULL when
 * memory is short; http_free() ends it.
 */
struct http *http_new(const struct settings *settings, struct http_plain plain, struct job *job);
void http_free(struct http *http);

static inline void http_freep(struct http **http)
{
	http_free(*http);
}

/*
 * Does a request. Returns 0 with *reply filled, whatever the status; -ESPIPE if the rest was asked
 * for and all of it comes (nothing was given to sink); -EIO if the transfer broke off, so that it
 * may be tried again; or another negative errno. *err is set unless it was sink that failed or
 * -ESPIPE.
 */
int http_get(struct http *http, const struct http_request *request, struct http_reply *reply,
	     struct error *err);

/* Appends text to out (of size bytes) with everything percent-encoded that is not unreserved. False
 * if it does not fit. */
bool http_escape(char *out, size_t size, const char *text);

/* Whether requests may go to this URL: https, or http where `plain` allows it. */
bool http_url_allowed(const char *url, struct http_plain plain);

/* Writes the host of a URL, without user and port, in lower case. False if it has none, has a user,
 * or does not fit. */
bool http_url_host(const char *url, char *host, size_t size);
