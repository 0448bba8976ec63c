// SPDX-License-Identifier: Apache-2.0
/*
 * The values that a ZoneSpec's members may have, checked, each with an error that names the member.
 * Inside runner/spec*.c only.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "runner/spec.h"

enum spec_file_use {
	SPEC_FILE_READ,
	SPEC_FILE_WRITE,
	SPEC_FILE_READ_WRITE,
	SPEC_FILE_SOCKET,
	SPEC_FILE_HANDED /* a descriptor, never a path */
};

/* All return 0, or a negative errno with *err. Text holds no NUL. Bounds include both ends. */
int spec_text(json_t *value, const char *member, char *out, size_t size, struct error *err);
int spec_number(json_t *value, const char *member, uint64_t min, uint64_t max, uint64_t *out,
		struct error *err);
int spec_unsigned(json_t *value, const char *member, unsigned min, unsigned max, unsigned *out,
		  struct error *err);
int spec_bool(json_t *value, const char *member, bool *out, struct error *err);
int spec_rate(json_t *value, const char *member, struct rate *out, struct error *err);

/*
 * Opens a FILE. A descriptor that was handed over is duplicated, so that two members naming one
 * cannot close it twice; the originals are noted in *spec and closed when all is read.
 */
int spec_file(struct zone_spec *spec, json_t *value, const char *member, enum spec_file_use use,
	      int *fd, struct error *err);
void spec_close_handed(struct zone_spec *spec);

/* The members `disks` and `nics`. */
int spec_disks(json_t *value, struct zone_spec *spec, struct error *err);
int spec_nics(json_t *value, struct zone_spec *spec, struct error *err);

/* When all is read: NICs without an address get one made from the zone's UUID and their name, the
 * same each time. -EEXIST with *err when two have the same. */
int spec_finish_nics(struct zone_spec *spec, struct error *err);
