// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/config.h"
#include "base/util.h"
#include "base/volume_target.h"
#include "supervisor/storage/reference.h"

#define DEFAULT_IMAGE_GIB 20

static int set_image_size(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	return config_size(value, &settings->max_image_bytes) == 0
		       ? 0
		       : error_set(err, -EINVAL, "not a size such as 20G");
}

static int set_store_size(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	return config_size(value, &settings->max_store_bytes) == 0
		       ? 0
		       : error_set(err, -EINVAL, "not a size such as 100G");
}

static int set_parallel(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	return config_number(value, 1, 16, &settings->parallel) == 0
		       ? 0
		       : error_set(err, -EINVAL, "not a number from 1 to 16");
}

static int set_stall(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	return config_number(value, 1, 3600, &settings->stall_s) == 0
		       ? 0
		       : error_set(err, -EINVAL, "not a number of seconds from 1 to 3600");
}

static int copy(char *to, size_t size, const char *value, struct error *err)
{
	return snprintf(to, size, "%s", value) < (int)size
		       ? 0
		       : error_set(err, -EINVAL, "longer than %zu characters", size - 1);
}

static int set_ca_bundle(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	if (value[0] != '/')
		return error_set(err, -EINVAL, "not an absolute path");
	return copy(settings->ca_bundle, sizeof(settings->ca_bundle), value, err);
}

static int set_proxy(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	if (strcmp(value, "none") != 0 && strncasecmp(value, "http://", 7) != 0 &&
	    strncasecmp(value, "https://", 8) != 0)
		return error_set(err, -EINVAL, "not http://HOST:PORT, https://HOST:PORT or none");
	return copy(settings->proxy, sizeof(settings->proxy), value, err);
}

static int set_no_proxy(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	return copy(settings->no_proxy, sizeof(settings->no_proxy), value, err);
}

static int check_host(const char *host, struct error *err)
{
	return reference_host_is_valid(host)
		       ? 0
		       : error_set(err, -EINVAL, "'%.64s' is not a HOST[:PORT]", host);
}

/* Splits "REGISTRY VALUE" into the next free pair. */
static int add_pair(struct settings_pair *pairs, unsigned *n, const char *value, struct error *err)
{
	size_t len = strcspn(value, " \t"), skip = len + strspn(value + len, " \t");
	struct settings_pair *pair = &pairs[*n];

	if (*n == SETTINGS_LIST_MAX)
		return error_set(err, -EINVAL, "more than %d of them", SETTINGS_LIST_MAX);
	if (!value[skip] || strpbrk(value + skip, " \t"))
		return error_set(err, -EINVAL, "two words are needed, the registry first");
	if (len >= sizeof(pair->registry))
		return error_set(err, -EINVAL, "the registry's name is too long");
	snprintf(pair->registry, sizeof(pair->registry), "%.*s", (int)len, value);
	(*n)++;
	if (check_host(pair->registry, err) < 0)
		return -EINVAL;
	return copy(pair->value, sizeof(pair->value), value + skip, err);
}

/* A mirror is given as https://HOST[:PORT], or http:// where that is allowed; kept is its host. */
static int set_mirror(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;
	int r = add_pair(settings->mirrors, &settings->n_mirrors, value, err);
	char *mirror;
	size_t len;

	if (r < 0)
		return r;
	mirror = settings->mirrors[settings->n_mirrors - 1].value;
	len = strlen(mirror);
	if (len && mirror[len - 1] == '/')
		mirror[len - 1] = '\0';
	if (strncmp(mirror, "https://", 8) == 0)
		memmove(mirror, mirror + 8, strlen(mirror + 8) + 1);
	else if (strstr(mirror, "://"))
		return error_set(err, -EINVAL,
				 "a mirror is https://HOST[:PORT]; for plain http give HOST[:PORT] "
				 "and an insecure-registry of that name");
	return check_host(mirror, err);
}

static int set_token_server(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;
	int r = add_pair(settings->token_servers, &settings->n_token_servers, value, err);

	return r < 0 ? r
		     : check_host(settings->token_servers[settings->n_token_servers - 1].value,
				  err);
}

static int set_insecure(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	if (settings->n_insecure == SETTINGS_LIST_MAX)
		return error_set(err, -EINVAL, "more than %d of them", SETTINGS_LIST_MAX);
	if (check_host(value, err) < 0)
		return -EINVAL;
	return copy(settings->insecure[settings->n_insecure++], SETTINGS_HOST_MAX, value, err);
}

/* As it will be asked for: a link that is named here may lead elsewhere tomorrow. */
static int add_device(void *values, const char *value, struct error *err)
{
	struct settings *settings = values;

	if (settings->n_devices == SETTINGS_LIST_MAX)
		return error_set(err, -EINVAL, "more than %d of them", SETTINGS_LIST_MAX);
	if (strncmp(value, "/dev/", 5) != 0 || !volume_target_is_path(value) || strchr(value, ' '))
		return error_set(err, -EINVAL, "not a path below /dev");
	return copy(settings->devices[settings->n_devices++], SETTINGS_DEVICE_SIZE, value, err);
}

int settings_read(struct settings *settings, const char *path, bool required, struct error *err)
{
	static const struct config_key keys[] = {
		{"max-image-size", set_image_size, false},
		{"max-store-size", set_store_size, false},
		{"parallel-layers", set_parallel, false},
		{"stall-timeout", set_stall, false},
		{"ca-bundle", set_ca_bundle, false},
		{"proxy", set_proxy, false},
		{"no-proxy", set_no_proxy, false},
		{"mirror", set_mirror, true},
		{"token-server", set_token_server, true},
		{"insecure-registry", set_insecure, true},
		{"block-device", add_device, true},
	};

	*settings = (struct settings){.max_image_bytes = DEFAULT_IMAGE_GIB * GIB,
				      .parallel = SETTINGS_PARALLEL,
				      .stall_s = SETTINGS_STALL_S};
	return config_read(path, required, "storage", keys, ARRAY_SIZE(keys), settings, err);
}

bool settings_is_insecure(const struct settings *settings, const char *host)
{
	for (unsigned i = 0; i < settings->n_insecure; i++)
		if (strcasecmp(settings->insecure[i], host) == 0)
			return true;
	return false;
}

bool settings_is_token_server(const struct settings *settings, const char *registry,
			      const char *host)
{
	static const struct settings_pair known[] = {
		{"registry-1.docker.io", "auth.docker.io"},
		{"registry.gitlab.com", "gitlab.com"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (strcasecmp(known[i].registry, registry) == 0 &&
		    strcasecmp(known[i].value, host) == 0)
			return true;
	for (unsigned i = 0; i < settings->n_token_servers; i++)
		if (strcasecmp(settings->token_servers[i].registry, registry) == 0 &&
		    strcasecmp(settings->token_servers[i].value, host) == 0)
			return true;
	return false;
}
