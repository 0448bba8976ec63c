// SPDX-License-Identifier: Apache-2.0
/*
 * Who we are to a registry: the answer to a 401. A token that has run out is answered by 401 as
 * well, and a new one is asked for: no clock is needed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "base/cleanup.h"
#include "supervisor/storage/registry.h"

#define TOKEN_REPLY_MAX	  (64 * KIB)
#define LOGIN_MAX	  (8u * 1024)
#define REQUEST_TIMEOUT_S 120u

struct http_plain registry_plain(const struct registry_endpoint *endpoint)
{
	return (struct http_plain){.loopback = endpoint->loopback,
				   .host = endpoint->insecure ? endpoint->host : NULL};
}

int registry_to_buffer(void *context, const void *data, size_t len)
{
	struct registry_buffer *buffer = context;
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

/* The registry's login as the value of an Authorization header. out holds REGISTRY_AUTH_MAX. */
static int basic_value(const struct registry_login *login, char *out, struct error *err)
{
	unsigned char plain[LOGIN_MAX];
	int len = snprintf((char *)plain, sizeof(plain), "%s:%s", login->username, login->password);

	if (strchr(login->username, ':'))
		return error_set(err, -EINVAL, "a user's name cannot hold ':'");
	if (len >= (int)sizeof(plain))
		return error_set(err, -E2BIG, "the login is longer than %u bytes", LOGIN_MAX);
	snprintf(out, REGISTRY_AUTH_MAX, "Basic ");
	EVP_EncodeBlock((unsigned char *)out + strlen(out), plain, len);
	explicit_bzero(plain, sizeof(plain));
	return 0;
}

static int token_of(const struct registry_buffer *body, char *out)
{
	json_t *root =
		json_loadb(body->data ? body->data : "", body->len, JSON_REJECT_DUPLICATES, NULL);
	const char *token = json_string_value(json_object_get(root, "token"));
	int r = 0;

	if (!token)
		token = json_string_value(json_object_get(root, "access_token"));
	/* It becomes a header: visible characters only. */
	for (const char *c = token; r == 0 && c && *c; c++)
		if (*c <= ' ' || *c > '~')
			r = -EPROTO;
	if (!token || !token[0] ||
	    snprintf(out, REGISTRY_AUTH_MAX, "Bearer %s", token) >= (int)REGISTRY_AUTH_MAX)
		r = -EPROTO;
	json_decref(root);
	return r;
}

/* Whether the endpoint's login may go to the host of a URL. */
static int check_realm(const struct registry *registry, const struct registry_endpoint *endpoint,
		       const char *url, struct error *err)
{
	char own_url[SETTINGS_HOST_MAX + 16], own[SETTINGS_HOST_MAX], host[SETTINGS_HOST_MAX];

	snprintf(own_url, sizeof(own_url), "https://%s/", endpoint->host);
	if (!http_url_host(url, host, sizeof(host)) || !http_url_host(own_url, own, sizeof(own)))
		return error_set(err, -EPROTO, "the registry %s names no valid token server",
				 endpoint->host);
	if (strcmp(host, own) == 0 ||
	    settings_is_token_server(registry->settings, endpoint->host, host))
		return 0;
	return error_set(err, -EACCES,
			 "the registry %s wants the login sent to %s, which is another host; if "
			 "that is right, put 'token-server = %s %s' into protect.conf",
			 endpoint->host, host, endpoint->host, host);
}

static int get_token(struct registry *registry, const struct registry_endpoint *endpoint,
		     struct http *http, const char *challenge, char *out, struct error *err)
{
	struct registry_buffer body = {.max = TOKEN_REPLY_MAX};
	char url[HTTP_URL_MAX];
	struct http_request request = {.url = url,
				       .sink = registry_to_buffer,
				       .context = &body,
				       .timeout_s = REQUEST_TIMEOUT_S};
	struct http_reply reply;
	bool login = endpoint->own && registry->login;
	int r = registry_token_url(challenge, registry->reference->repository, url);

	if (r < 0)
		return error_set(err, r, "the registry %s asks for a login that is not understood",
				 endpoint->host);
	if (login) {
		r = check_realm(registry, endpoint, url, err);
		if (r == 0)
			r = basic_value(registry->login, out, err);
		request.authorization = out;
	}
	if (r == 0)
		r = http_get(http, &request, &reply, err);
	if (r == 0)
		r = reply.status == 200 ? token_of(&body, out) : -EACCES;
	if (body.data)
		explicit_bzero(body.data, body.len);
	free(body.data);
	if (r == 0)
		return 0;
	return error_set(err, r, "the registry %s gives no token for '%s'%s", endpoint->host,
			 registry->reference->repository,
			 login ? ": is the login right?" : " without a login");
}

/* Answers a 401 into out. Returns 1, 0 if there is nothing to answer with, or a negative errno. */
static int answer(struct registry *registry, const struct registry_endpoint *endpoint,
		  struct http *http, const struct http_reply *reply, char *out, struct error *err)
{
	int r;

	if (reply->bearer[0])
		r = get_token(registry, endpoint, http, reply->bearer, out, err);
	else if (reply->basic && endpoint->own && registry->login)
		r = basic_value(registry->login, out, err);
	else
		return 0;
	return r < 0 ? r : 1;
}

int registry_request(struct registry *registry, struct registry_endpoint *endpoint,
		     struct http *http, const char *path, struct http_request *request,
		     struct http_reply *reply, struct error *err)
{
	_cleanup_(freep) char *authorization = malloc(REGISTRY_AUTH_MAX);
	char url[HTTP_URL_MAX];
	struct http_reply first;
	int r;

	if (!authorization)
		return error_set(err, -ENOMEM, "out of memory");
	snprintf(url, sizeof(url), "%s://%s/v2/%s/%s",
		 endpoint->loopback || endpoint->insecure ? "http" : "https", endpoint->host,
		 registry->reference->repository, path);
	pthread_mutex_lock(&registry->lock);
	memcpy(authorization, endpoint->authorization, REGISTRY_AUTH_MAX);
	pthread_mutex_unlock(&registry->lock);
	request->url = url;
	request->authorization = authorization[0] ? authorization : NULL;
	r = http_get(http, request, reply, err);
	if (r < 0 || reply->status != 401)
		goto out;
	first = *reply;
	r = answer(registry, endpoint, http, &first, authorization, err);
	if (r <= 0)
		goto out;
	pthread_mutex_lock(&registry->lock);
	memcpy(endpoint->authorization, authorization, REGISTRY_AUTH_MAX);
	pthread_mutex_unlock(&registry->lock);
	request->authorization = authorization;
	r = http_get(http, request, reply, err);
out:
	explicit_bzero(authorization, REGISTRY_AUTH_MAX);
	return r;
}
