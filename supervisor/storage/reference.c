// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/reference.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/storage/digest.h"

#define DOCKER_HUB	"docker.io"
#define DOCKER_HUB_HOST "registry-1.docker.io"

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* One path component: alphanumerics with single separators (`.`, `_`, `__`, any number of `-`)
 * between them. */
static bool component_ok(const char *text, size_t len)
{
	size_t i = 0;

	if (len == 0 || !is_lower_alnum(text[0]) || !is_lower_alnum(text[len - 1]))
		return false;
	while (i < len) {
		size_t run = 0;

		while (i < len && is_lower_alnum(text[i]))
			i++;
		while (i + run < len && !is_lower_alnum(text[i + run])) {
			if (!strchr("._-", text[i + run]) || text[i + run] != text[i])
				return false;
			run++;
		}
		if (run > 2 && text[i] != '-')
			return false;
		if (run == 2 && text[i] == '.')
			return false;
		i += run;
	}
	return true;
}

static bool path_ok(const char *path)
{
	while (true) {
		size_t len = strcspn(path, "/");

		if (!component_ok(path, len))
			return false;
		if (!path[len])
			return true;
		path += len + 1;
	}
}

static bool tag_ok(const char *tag)
{
	size_t len = strlen(tag);

	if (len == 0 || len >= REFERENCE_TAG_MAX || tag[0] == '.' || tag[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_alnum(tag[i]) && !strchr("._-", tag[i]))
			return false;
	return true;
}

static bool port_ok(const char *port)
{
	size_t len = strlen(port);
	unsigned value = 0;

	if (len == 0 || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (port[i] < '0' || port[i] > '9')
			return false;
		value = value * 10 + (unsigned)(port[i] - '0');
	}
	return value > 0 && value < 65536;
}

static bool host_ok(const char *host)
{
	const char *colon = strrchr(host, ':');
	size_t len;

	if (host[0] == '[') {
		struct in6_addr address;
		char inner[INET6_ADDRSTRLEN];
		const char *end = strchr(host, ']');

		if (!end || (size_t)(end - host) > sizeof(inner))
			return false;
		memcpy(inner, host + 1, (size_t)(end - host) - 1);
		inner[end - host - 1] = '\0';
		return inet_pton(AF_INET6, inner, &address) == 1 &&
		       (!end[1] || (end[1] == ':' && port_ok(end + 2)));
	}
	if (colon && !port_ok(colon + 1))
		return false;
	len = colon ? (size_t)(colon - host) : strlen(host);
	if (len == 0 || !is_alnum(host[0]) || !is_alnum(host[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_alnum(host[i]) && host[i] != '.' && host[i] != '-')
			return false;
	return true;
}

bool reference_host_is_valid(const char *host)
{
	return strlen(host) < sizeof(((struct reference *)0)->host) && host_ok(host);
}

bool reference_host_is_loopback(const char *host)
{
	char name[256];
	struct in_addr v4;
	size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");

	if (len >= sizeof(name) || len > strlen(host))
		return false;
	memcpy(name, host, len);
	name[len] = '\0';
	if (strcmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0)
		return true;
	return inet_pton(AF_INET, name, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

/* Cuts @DIGEST or :TAG off name. Returns a reason or NULL. */
static const char *split_version(char *name, struct reference *out)
{
	char *at = strchr(name, '@'), *colon;
	struct digest digest;

	if (at) {
		*at++ = '\0';
		if (digest_parse(at, &digest) < 0)
			return "the digest is not sha256: and 64 lower-case hexadecimal digits";
		digest_text(&digest, out->digest);
	}
	colon = strrchr(name, ':');
	if (colon) {
		*colon++ = '\0';
		if (!tag_ok(colon))
			return "the tag may have letters, digits, '_', '.' and '-' only, at most "
			       "128";
		/* With both, the digest decides; the tag is decoration (as in Docker). */
		if (!at)
			snprintf(out->tag, sizeof(out->tag), "%s", colon);
	} else if (!at) {
		snprintf(out->tag, sizeof(out->tag), "latest");
	}
	return NULL;
}

/* A first component is a host if it could not be a Docker Hub user: it has a dot or a port, or is
 * localhost. */
static bool first_is_host(const char *text, size_t len)
{
	return memchr(text, '.', len) || memchr(text, ':', len) ||
	       (len == strlen("localhost") && memcmp(text, "localhost", len) == 0);
}

static const char *parse(char *text, struct reference *out)
{
	char *slash = strchr(text, '/'), *path = text;
	const char *shown = DOCKER_HUB, *reason;
	const char *library = "";

	if (slash && first_is_host(text, (size_t)(slash - text))) {
		*slash = '\0';
		shown = text;
		path = slash + 1;
		if (strlen(shown) >= sizeof(out->host) || !host_ok(shown))
			return "the host is not a name or address with an optional port";
	}
	reason = split_version(path, out);
	if (reason)
		return reason;
	if (!path_ok(path))
		return "the name may have lower-case letters, digits and '.', '_', '-', '/' "
		       "between them only";
	if (strcmp(shown, DOCKER_HUB) == 0 && !strchr(path, '/'))
		library = "library/";
	snprintf(out->host, sizeof(out->host), "%s",
		 strcmp(shown, DOCKER_HUB) == 0 ? DOCKER_HUB_HOST : shown);
	out->loopback = reference_host_is_loopback(out->host);
	if (snprintf(out->repository, sizeof(out->repository), "%s%s", library, path) >=
		    (int)sizeof(out->repository) ||
	    snprintf(out->canonical, sizeof(out->canonical), "%s/%s%s%s%s", shown, library, path,
		     out->digest[0] ? "@" : ":",
		     out->digest[0] ? out->digest : out->tag) >= (int)sizeof(out->canonical))
		return "it is too long";
	return NULL;
}

int reference_parse(const char *text, struct reference *out, struct error *err)
{
	char copy[REFERENCE_MAX];
	const char *reason;

	memset(out, 0, sizeof(*out));
	if (strlen(text) >= sizeof(copy))
		return error_set(err, -EINVAL,
				 "image reference '%.40s…' is longer than %d characters", text,
				 REFERENCE_MAX - 1);
	snprintf(copy, sizeof(copy), "%s", text);
	reason = parse(copy, out);
	if (reason)
		return error_set(err, -EINVAL,
				 "image reference '%s' is not valid: %s; give "
				 "HOST[:PORT]/NAME[:TAG|@DIGEST]",
				 text, reason);
	return 0;
}

int reference_local(const char *name, char *out, struct error *err)
{
	struct reference parsed;
	const char *last = strrchr(name, '/');
	bool tagged = strchr(last ? last : name, ':');
	int len, r;

	if (strchr(name, '@'))
		return error_set(err, -EINVAL, "image name '%.200s' cannot hold a digest", name);
	len = snprintf(out, REFERENCE_MAX, "%s%s", name, tagged ? "" : ":latest");
	if (len >= REFERENCE_MAX)
		return error_set(err, -EINVAL, "image name '%.40s…' is longer than %d characters",
				 name, REFERENCE_MAX - 1);
	r = reference_parse(out, &parsed, err);
	return r < 0 ? r : 0;
}
