// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/login.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "protect/cli/output.h"

#define FILE_MAX (1u << 20)
#define HOST_MAX 256

/* The registry of an image's name: what stands before the first slash, if that can be a host. */
static void registry_of(const char *ref, char host[HOST_MAX])
{
	size_t len = strcspn(ref, "/");

	if (!ref[len] || !(memchr(ref, '.', len) || memchr(ref, ':', len) ||
			   (len == strlen("localhost") && memcmp(ref, "localhost", len) == 0)))
		snprintf(host, HOST_MAX, "docker.io");
	else
		snprintf(host, HOST_MAX, "%.*s", (int)(len < HOST_MAX ? len : HOST_MAX - 1), ref);
}

/* An entry's key is a host, or a URL with one. */
static bool key_is(const char *key, const char *host)
{
	const char *at = strstr(key, "://");
	size_t len;

	key = at ? at + 3 : key;
	len = strcspn(key, "/");
	if (strcmp(host, "docker.io") == 0 &&
	    ((len == strlen("index.docker.io") && memcmp(key, "index.docker.io", len) == 0) ||
	     (len == strlen("registry-1.docker.io") &&
	      memcmp(key, "registry-1.docker.io", len) == 0)))
		return true;
	return len == strlen(host) && memcmp(key, host, len) == 0;
}

static int digit(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Decodes base64 into out with a NUL behind it. False if it is none, does not fit or holds a NUL.
 */
static bool decode(const char *text, char *out, size_t size)
{
	uint32_t bits = 0;
	unsigned n_bits = 0;
	size_t len = 0;

	for (; *text && *text != '='; text++) {
		int value = digit(*text);

		if (value < 0)
			return false;
		bits = (bits << 6 | (uint32_t)value) & 0xffff;
		n_bits += 6;
		if (n_bits < 8)
			continue;
		n_bits -= 8;
		if (len + 1 >= size)
			return false;
		out[len++] = (char)(bits >> n_bits & 0xff);
	}
	out[len] = '\0';
	return strspn(text, "=") == strlen(text) && strlen(out) == len;
}

/* Takes over one entry of "auths". Returns 0 or -EINVAL. */
static int take_entry(const json_t *entry, struct login *login)
{
	const char *auth = json_string_value(json_object_get(entry, "auth"));
	const char *username = json_string_value(json_object_get(entry, "username"));
	const char *password = json_string_value(json_object_get(entry, "password"));
	char plain[LOGIN_PART_MAX];
	char *colon;
	int r = 0;

	if (auth && *auth) {
		colon = decode(auth, plain, sizeof(plain)) ? strchr(plain, ':') : NULL;
		if (colon) {
			*colon = '\0';
			snprintf(login->username, sizeof(login->username), "%s", plain);
			snprintf(login->password, sizeof(login->password), "%s", colon + 1);
		}
		explicit_bzero(plain, sizeof(plain));
		r = colon ? 0 : -EINVAL;
	} else if (username && password) {
		if (snprintf(login->username, sizeof(login->username), "%s", username) >=
			    (int)sizeof(login->username) ||
		    snprintf(login->password, sizeof(login->password), "%s", password) >=
			    (int)sizeof(login->password))
			r = -EINVAL;
	}
	return r;
}

/* A file may name a program to ask instead of holding the login. */
static void mention_helper(const json_t *root, const char *path, const char *host)
{
	if (json_object_get(root, "credsStore") ||
	    json_object_get(json_object_get(root, "credHelpers"), host))
		output_error("%s leaves the login for %s to a credential helper, which is not "
			     "asked; --username and --password-stdin give one",
			     path, host);
}

int login_parse(const char *text, const char *path, const char *ref, struct login *login)
{
	char host[HOST_MAX];
	json_error_t reason;
	json_t *root = json_loads(text, 0, &reason), *entry;
	const char *key;
	int r = 0;

	*login = (struct login){.username = ""};
	if (!root) {
		output_error("cannot understand %s: line %d: %s", path, reason.line, reason.text);
		return -EINVAL;
	}
	registry_of(ref, host);
	json_object_foreach(json_object_get(root, "auths"), key, entry)
	{
		if (!key_is(key, host) || login->username[0])
			continue;
		r = take_entry(entry, login);
		if (r < 0)
			output_error("%s: the login for %s is damaged; log in again", path, host);
		if (r < 0)
			break;
	}
	if (r == 0 && !login->username[0])
		mention_helper(root, path, host);
	json_decref(root);
	return r;
}

/* Where docker keeps logins. False without a home. */
static bool file_path(char *path, size_t size)
{
	const char *folder = getenv("DOCKER_CONFIG"), *home = getenv("HOME");

	if (folder && *folder)
		return snprintf(path, size, "%s/config.json", folder) < (int)size;
	return home && *home && snprintf(path, size, "%s/.docker/config.json", home) < (int)size;
}

static int read_password(struct login *login)
{
	ssize_t n = io_read_full(0, login->password, sizeof(login->password));

	if (n < 0 || n == (ssize_t)sizeof(login->password)) {
		output_error("cannot read a password from standard input: %s",
			     n < 0 ? strerror((int)-n) : "it is too long");
		return n < 0 ? (int)n : -E2BIG;
	}
	login->password[n] = '\0';
	login->password[strcspn(login->password, "\r\n")] = '\0';
	return 0;
}

int login_find(const char *ref, const char *username, struct login *login)
{
	_cleanup_(freep) char *text = NULL;
	char path[4096];
	size_t len;
	int r;

	*login = (struct login){.username = ""};
	if (username) {
		snprintf(login->username, sizeof(login->username), "%s", username);
		return read_password(login);
	}
	if (!file_path(path, sizeof(path)))
		return 0;
	r = io_read_file(AT_FDCWD, path, FILE_MAX, &text, &len);
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0) {
		output_error("cannot read %s: %s", path, strerror(-r));
		return r;
	}
	r = login_parse(text, path, ref, login);
	explicit_bzero(text, len);
	return r;
}

void login_wipe(struct login *login)
{
	explicit_bzero(login, sizeof(*login));
}
