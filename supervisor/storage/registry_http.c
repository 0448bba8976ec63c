// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/registry_http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "supervisor/storage/reference.h"

#define REDIRECTS_MAX	  5
#define CONNECT_TIMEOUT_S 30L
#define SLOW_BYTES_PER_S  100L
#define SLOW_TIME_S	  60L
#define CHALLENGE	  "www-authenticate:"
#define BEARER		  "bearer "

struct http {
	CURL *curl;
	bool loopback;
	struct job *job;
	struct http_reply *reply;
	http_sink_fn sink;
	void *context;
	int failure; /* negative errno of the sink or of the job */
	char reason[CURL_ERROR_SIZE];
};

bool http_escape(char *out, size_t size, const char *text)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	size_t used = strlen(out);

	for (; *text; text++) {
		if (used + 4 > size)
			return false;
		if (strchr(plain, *text))
			used += (size_t)snprintf(out + used, size - used, "%c", *text);
		else
			used += (size_t)snprintf(out + used, size - used, "%%%02X",
						 (unsigned char)*text);
	}
	return true;
}

bool http_url_allowed(const char *url, bool loopback)
{
	char host[256];
	size_t len;

	if (strncasecmp(url, "https://", 8) == 0)
		return true;
	if (!loopback || strncasecmp(url, "http://", 7) != 0)
		return false;
	len = strcspn(url + 7, "/?#");
	/* No user part: "http://localhost:x@elsewhere" names elsewhere. */
	if (len >= sizeof(host) || memchr(url + 7, '@', len) || memchr(url + 7, '\\', len))
		return false;
	memcpy(host, url + 7, len);
	host[len] = '\0';
	return reference_host_is_loopback(host);
}

/* Both URLs have the same scheme, host and port. */
static bool same_origin(const char *a, const char *b)
{
	const char *host_a = strstr(a, "://"), *host_b = strstr(b, "://");
	size_t len_a, len_b;

	if (!host_a || !host_b)
		return false;
	len_a = (size_t)(host_a - a) + 3 + strcspn(host_a + 3, "/?#");
	len_b = (size_t)(host_b - b) + 3 + strcspn(host_b + 3, "/?#");
	return len_a == len_b && strncasecmp(a, b, len_a) == 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *context)
{
	struct http *http = context;
	size_t len = size * n, skip = strlen(CHALLENGE);

	if (len > skip && strncasecmp(data, CHALLENGE, skip) == 0) {
		while (skip < len && data[skip] == ' ')
			skip++;
		if (len - skip > strlen(BEARER) &&
		    strncasecmp(data + skip, BEARER, strlen(BEARER)) == 0)
			snprintf(http->reply->authenticate, sizeof(http->reply->authenticate),
				 "%.*s", (int)(len - skip), data + skip);
	}
	return len;
}

static size_t on_body(char *data, size_t size, size_t n, void *context)
{
	struct http *http = context;
	long status = 0;

	curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		return size * n;
	http->failure = http->sink(http->context, data, size * n);
	return http->failure < 0 ? 0 : size * n;
}

static int on_progress(void *context, curl_off_t total, curl_off_t done, curl_off_t up_total,
		       curl_off_t up_done)
{
	struct http *http = context;

	(void)up_total;
	(void)up_done;
	if (job_progress(http->job, "pulling", (uint64_t)done, (uint64_t)total) < 0)
		http->failure = -ECANCELED;
	return http->failure < 0;
}

struct http *http_new(bool loopback, struct job *job)
{
	struct http *http = calloc(1, sizeof(*http));

	if (!http)
		return NULL;
	http->loopback = loopback;
	http->job = job;
	http->curl = curl_easy_init();
	if (http->curl)
		return http;
	free(http);
	return NULL;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	curl_easy_cleanup(http->curl);
	free(http);
}

static void set_options(struct http *http, const char *url, struct curl_slist *headers)
{
	CURL *curl = http->curl;

	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "protect-storage/" PROTECT_VERSION);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR,
			 "http,https"); /* which of them: http_url_allowed() */
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES_PER_S);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, SLOW_TIME_S);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->reason);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, http);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, http);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http);
	/* This machine is never behind a proxy; for others the environment decides (https_proxy).
	 */
	if (http->loopback)
		curl_easy_setopt(curl, CURLOPT_PROXY, "");
}

static int add_header(struct curl_slist **headers, const char *name, const char *value)
{
	char line[8192];
	struct curl_slist *longer;

	if (!value)
		return 0;
	if (snprintf(line, sizeof(line), "%s%s", name, value) >= (int)sizeof(line))
		return -EMSGSIZE;
	longer = curl_slist_append(*headers, line);
	if (!longer)
		return -ENOMEM;
	*headers = longer;
	return 0;
}

static int explain(struct http *http, CURLcode code, const char *url, struct error *err)
{
	const char *reason = http->reason[0] ? http->reason : curl_easy_strerror(code);

	if (http->failure == -ECANCELED)
		return error_set(err, -ECANCELED, "cancelled");
	if (http->failure < 0)
		return http->failure; /* whoever made the sink knows what it means */
	if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT)
		return error_set(err, -EHOSTUNREACH, "cannot reach the registry at %.128s: %.160s",
				 url, reason);
	return error_set(err, -EIO, "transfer from %.128s failed: %.160s", url, reason);
}

/* One request, no redirects. */
static int get_once(struct http *http, const char *url, const char *accept, const char *bearer,
		    struct error *err)
{
	struct curl_slist *headers = NULL;
	CURLcode code;
	int r;

	if (!http_url_allowed(url, http->loopback))
		return error_set(err, -EPROTO,
				 "the registry sent us to %.128s: only https is allowed (http for "
				 "this machine)",
				 url);
	r = add_header(&headers, "Accept: ", accept);
	if (r == 0)
		r = add_header(&headers, "Authorization: Bearer ", bearer);
	if (r < 0) {
		curl_slist_free_all(headers);
		return error_set_errno(err, r, "cannot make a request to %.128s", url);
	}
	http->failure = 0;
	http->reason[0] = '\0';
	set_options(http, url, headers);
	code = curl_easy_perform(http->curl);
	curl_slist_free_all(headers);
	curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &http->reply->status);
	return code == CURLE_OK ? 0 : explain(http, code, url, err);
}

int http_get(struct http *http, const char *url, const char *accept, const char *bearer,
	     http_sink_fn sink, void *context, struct http_reply *reply, struct error *err)
{
	char at[HTTP_URL_MAX];

	http->reply = reply;
	http->sink = sink;
	http->context = context;
	snprintf(at, sizeof(at), "%s", url);
	for (int hop = 0; hop <= REDIRECTS_MAX; hop++) {
		const char *next = NULL;
		int r;

		memset(reply, 0, sizeof(*reply));
		r = get_once(http, at, accept, same_origin(at, url) ? bearer : NULL, err);
		if (r < 0 || reply->status < 300 || reply->status > 399)
			return r;
		curl_easy_getinfo(http->curl, CURLINFO_REDIRECT_URL, &next);
		if (!next || strlen(next) >= sizeof(at))
			return error_set(err, -EPROTO, "the registry redirects to nowhere");
		snprintf(at, sizeof(at), "%s", next);
	}
	return error_set(err, -ELOOP, "the registry redirects more than %d times", REDIRECTS_MAX);
}
