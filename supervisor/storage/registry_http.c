// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/registry_http.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "base/cleanup.h"
#include "supervisor/storage/reference.h"

#define REDIRECTS_MAX	  5
#define CONNECT_TIMEOUT_S 30L
#define SLOW_BYTES_PER_S  1024L
#define PROGRESS_TEXT	  "pulling"

struct http {
	CURL *curl;
	const struct settings *settings;
	struct http_plain plain;
	struct job *job;
	const struct http_request *request;
	struct http_reply *reply;
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

bool http_url_allowed(const char *url, struct http_plain plain)
{
	char host[256];
	size_t len;

	if (strncasecmp(url, "https://", 8) == 0)
		return true;
	if (strncasecmp(url, "http://", 7) != 0)
		return false;
	len = strcspn(url + 7, "/?#");
	/* No user part: "http://localhost:x@elsewhere" names elsewhere. */
	if (len >= sizeof(host) || memchr(url + 7, '@', len) || memchr(url + 7, '\\', len))
		return false;
	memcpy(host, url + 7, len);
	host[len] = '\0';
	return (plain.host && strcasecmp(host, plain.host) == 0) ||
	       (plain.loopback && reference_host_is_loopback(host));
}

bool http_url_host(const char *url, char *host, size_t size)
{
	/* curl's own parser, so that it means the host that curl would connect to. */
	CURLU *parsed = curl_url();
	char *part = NULL;
	bool ok = parsed &&
		  curl_url_set(parsed, CURLUPART_URL, url, CURLU_DISALLOW_USER) == CURLUE_OK &&
		  curl_url_get(parsed, CURLUPART_HOST, &part, 0) == CURLUE_OK &&
		  snprintf(host, size, "%s", part) < (int)size;

	for (char *c = host; ok && *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	curl_free(part);
	curl_url_cleanup(parsed);
	return ok;
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

/* The value of a header line of that name (with its colon), or NULL. */
static const char *header_value(const char *data, size_t len, const char *name, size_t *value_len)
{
	size_t skip = strlen(name);

	if (len < skip || strncasecmp(data, name, skip) != 0)
		return NULL;
	while (skip < len && (data[skip] == ' ' || data[skip] == '\t'))
		skip++;
	while (len > skip && strchr("\r\n \t", data[len - 1]))
		len--;
	*value_len = len - skip;
	return data + skip;
}

static void keep_challenge(struct http_reply *reply, const char *value, size_t len)
{
	if (len >= 5 && strncasecmp(value, "basic", 5) == 0)
		reply->basic = true;
	else if (len > 7 && strncasecmp(value, "bearer ", 7) == 0 && len < sizeof(reply->bearer))
		snprintf(reply->bearer, sizeof(reply->bearer), "%.*s", (int)len, value);
}

/* Content-Range: bytes START-END/SIZE */
static void keep_range(struct http_reply *reply, const char *value, size_t len)
{
	static const char unit[] = "bytes ";
	char text[64];

	if (len >= sizeof(text) || len < sizeof(unit) || strncasecmp(value, unit, 6) != 0)
		return;
	snprintf(text, sizeof(text), "%.*s", (int)(len - 6), value + 6);
	if (text[0] >= '0' && text[0] <= '9')
		reply->range_start = strtoull(text, NULL, 10);
}

static size_t on_header(char *data, size_t size, size_t n, void *context)
{
	struct http *http = context;
	size_t len = size * n, value_len;
	const char *value = header_value(data, len, "www-authenticate:", &value_len);

	if (value)
		keep_challenge(http->reply, value, value_len);
	value = header_value(data, len, "content-range:", &value_len);
	if (value)
		keep_range(http->reply, value, value_len);
	return len;
}

/* Whether the body with this status is what was asked for. 1, 0 = it is to be passed over, or a
 * negative errno. */
static int judge_body(const struct http *http, long status)
{
	uint64_t from = http->request->from_byte;

	if (status == 200)
		return from ? -ESPIPE : 1;
	if (status != 206)
		return 0;
	return from && http->reply->range_start == from ? 1 : -ERANGE;
}

static size_t on_body(char *data, size_t size, size_t n, void *context)
{
	struct http *http = context;
	long status = 0;

	curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
	http->failure = judge_body(http, status);
	if (http->failure == 0)
		return size * n;
	if (http->failure > 0)
		http->failure = http->request->sink(http->request->context, data, size * n);
	return http->failure < 0 ? 0 : size * n;
}

static int on_progress(void *context, curl_off_t total, curl_off_t done, curl_off_t up_total,
		       curl_off_t up_done)
{
	struct http *http = context;
	uint64_t from = http->request->from_byte;

	(void)up_total;
	(void)up_done;
	if (job_progress(http->job, PROGRESS_TEXT, from + (uint64_t)done,
			 total ? from + (uint64_t)total : 0) < 0)
		http->failure = -ECANCELED;
	return http->failure < 0;
}

struct http *http_new(const struct settings *settings, struct http_plain plain, struct job *job)
{
	struct http *http = calloc(1, sizeof(*http));

	if (!http)
		return NULL;
	http->settings = settings;
	http->plain = plain;
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

/* The way there: proxy and certificates. */
static void set_route(struct http *http)
{
	const struct settings *settings = http->settings;
	CURL *curl = http->curl;

	if (settings->ca_bundle[0])
		curl_easy_setopt(curl, CURLOPT_CAINFO, settings->ca_bundle);
	/* This machine is never behind a proxy; for others the configuration decides, or else the
	 * environment (https_proxy). */
	if (http->plain.loopback || strcmp(settings->proxy, "none") == 0)
		curl_easy_setopt(curl, CURLOPT_PROXY, "");
	else if (settings->proxy[0])
		curl_easy_setopt(curl, CURLOPT_PROXY, settings->proxy);
	if (settings->no_proxy[0])
		curl_easy_setopt(curl, CURLOPT_NOPROXY, settings->no_proxy);
}

/*
 * libcurl, OpenSSL and the resolver: names over UDP, with netlink for which addresses there are.
 * #syscalls curl: socket(AF_INET) socket(AF_INET6) socket(AF_UNIX) socket(AF_NETLINK)
 *	socketpair(AF_UNIX) bind connect getsockname getpeername getsockopt(_, SOL_SOCKET)
 *	getsockopt(_, IPPROTO_TCP) setsockopt(_, SOL_SOCKET) setsockopt(_, IPPROTO_TCP)
 *	setsockopt(_, IPPROTO_IP) setsockopt(_, IPPROTO_IPV6) recvfrom recvmsg sendto sendmsg
 *	sendmmsg poll shutdown close pipe2 eventfd2(0, EFD_CLOEXEC|EFD_NONBLOCK) fcntl(_, F_GETFL)
 *	fcntl(_, F_SETFL) fcntl(_, F_SETFD) fcntl(_, F_GETFD) ioctl(_, FIONREAD) ioctl(_, FIONBIO)
 *	rt_sigaction(SIGPIPE) uname getuid geteuid getgid getegid getpid openat sysinfo
 *	getrandom(_, _, GRND_NONBLOCK) mmap(_, _, PROT_READ, MAP_PRIVATE)
 *	mmap(_, _, PROT_READ, MAP_SHARED)
 */
static void set_options(struct http *http, const char *url, struct curl_slist *headers)
{
	CURL *curl = http->curl;
	char range[32];

	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "protect-storage/" PROTECT_VERSION);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR,
			 "http,https"); /* which of them: http_url_allowed() */
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)http->request->timeout_s);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES_PER_S);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)http->settings->stall_s);
	/* Not CURLOPT_RESUME_FROM: what an answer without a range means is ours to say. */
	snprintf(range, sizeof(range), "%" PRIu64 "-", http->request->from_byte);
	curl_easy_setopt(curl, CURLOPT_RANGE, http->request->from_byte ? range : NULL);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->reason);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, http);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, http);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http);
	set_route(http);
}

static int add_header(struct curl_slist **headers, const char *name, const char *value)
{
	_cleanup_(freep) char *line = NULL;
	struct curl_slist *longer;

	if (!value)
		return 0;
	if (asprintf(&line, "%s%s", name, value) < 0)
		return -ENOMEM;
	longer = curl_slist_append(*headers, line);
	if (!longer)
		return -ENOMEM;
	*headers = longer;
	return 0;
}

static int explain(struct http *http, CURLcode code, const char *url, struct error *err)
{
	const char *reason = http->reason[0] ? http->reason : curl_easy_strerror(code);

	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
		return error_set(err, -EHOSTUNREACH, "cannot reach the registry at %.128s: %.160s",
				 url, reason);
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		return error_set(err, -EPROTO,
				 "the certificate of %.128s is not trusted: %.120s; its authority "
				 "can be added by 'ca-bundle' in protect.conf",
				 url, reason);
	case CURLE_SSL_CONNECT_ERROR:
		return error_set(err, -EPROTO,
				 "no https with %.128s: %.120s; a registry without it needs an "
				 "'insecure-registry' in protect.conf",
				 url, reason);
	case CURLE_OPERATION_TIMEDOUT:
		return error_set(err, -ETIMEDOUT, "transfer from %.128s is too slow: %.160s", url,
				 reason);
	default:
		return error_set(err, -EIO, "transfer from %.128s failed: %.160s", url, reason);
	}
}

/* What became of a transfer. */
static int conclude(struct http *http, CURLcode code, const char *url, struct error *err)
{
	/* An empty body is nobody's business. */
	if (http->failure >= 0)
		return code == CURLE_OK ? 0 : explain(http, code, url, err);
	if (http->failure == -ECANCELED)
		return error_set(err, -ECANCELED, "cancelled");
	if (http->failure == -ERANGE)
		return error_set(err, -EPROTO,
				 "%.128s answers with another part than it was asked for", url);
	return http->failure; /* whoever made the sink knows what it means */
}

/* One request, no redirects. */
static int get_once(struct http *http, const char *url, const char *authorization,
		    struct error *err)
{
	struct curl_slist *headers = NULL;
	CURLcode code;
	int r;

	if (!http_url_allowed(url, http->plain))
		return error_set(err, -EPROTO,
				 "the registry sent us to %.128s: only https is allowed (http for "
				 "this machine and for an 'insecure-registry' itself)",
				 url);
	r = add_header(&headers, "Accept: ", http->request->accept);
	if (r == 0)
		r = add_header(&headers, "Authorization: ", authorization);
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
	return conclude(http, code, url, err);
}

int http_get(struct http *http, const struct http_request *request, struct http_reply *reply,
	     struct error *err)
{
	char at[HTTP_URL_MAX];

	http->reply = reply;
	http->request = request;
	snprintf(at, sizeof(at), "%s", request->url);
	for (int hop = 0; hop <= REDIRECTS_MAX; hop++) {
		const char *next = NULL;
		int r;

		*reply = (struct http_reply){.range_start = UINT64_MAX};
		r = get_once(http, at,
			     same_origin(at, request->url) ? request->authorization : NULL, err);
		if (r < 0 || reply->status < 300 || reply->status > 399)
			return r;
		curl_easy_getinfo(http->curl, CURLINFO_REDIRECT_URL, &next);
		if (!next || strlen(next) >= sizeof(at))
			return error_set(err, -EPROTO, "the registry redirects to nowhere");
		snprintf(at, sizeof(at), "%s", next);
	}
	return error_set(err, -ELOOP, "the registry redirects more than %d times", REDIRECTS_MAX);
}
