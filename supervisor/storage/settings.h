// SPDX-License-Identifier: Apache-2.0
/*
 * What the operator decides about images and volumes: section [storage] of the configuration file.
 * Read once, before there are threads, and then constant.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define SETTINGS_LIST_MAX    16
#define SETTINGS_HOST_MAX    256
#define SETTINGS_TEXT_MAX    1024
#define SETTINGS_PARALLEL    4u
#define SETTINGS_DEVICE_SIZE 64 /* of a path, with its NUL: the name of a volume */
#define SETTINGS_STALL_S     60u

/* REGISTRY and what belongs to it: a mirror's URL or a token server's host. */
struct settings_pair {
	char registry[SETTINGS_HOST_MAX], value[SETTINGS_HOST_MAX];
};

struct settings {
	uint64_t max_image_bytes; /* of one image, unpacked */
	uint64_t max_store_bytes; /* of all images; 0 = no limit */
	uint32_t parallel;	  /* layers fetched at once */
	uint32_t stall_s;	  /* a transfer that is slow for so long is ended */
	char ca_bundle[SETTINGS_TEXT_MAX], proxy[SETTINGS_TEXT_MAX], no_proxy[SETTINGS_TEXT_MAX];
	struct settings_pair mirrors[SETTINGS_LIST_MAX], token_servers[SETTINGS_LIST_MAX];
	char insecure[SETTINGS_LIST_MAX][SETTINGS_HOST_MAX];
	char devices[SETTINGS_LIST_MAX][SETTINGS_DEVICE_SIZE]; /* that may be volumes */
	unsigned n_mirrors, n_token_servers, n_insecure, n_devices;
};

/* Fills *settings with the defaults, then with what path says (may be absent unless required).
 * Returns 0 or a negative errno with *err set. */
int settings_read(struct settings *settings, const char *path, bool required, struct error *err);

/* Whether plain http to this HOST[:PORT] was allowed by name. */
bool settings_is_insecure(const struct settings *settings, const char *host);

/* Whether logins for a registry (HOST[:PORT]) may be sent to a token server on another host: one
 * that belongs to it (Docker Hub's, GitLab's) or that was named. */
bool settings_is_token_server(const struct settings *settings, const char *registry,
			      const char *host);
