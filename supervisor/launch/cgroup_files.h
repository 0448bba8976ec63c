// SPDX-License-Identifier: Apache-2.0
/*
 * What the cgroup drivers share: a zone's name, the files of a group below a directory descriptor,
 * and the settings that libcgroup writes. One thread, as libcgroup keeps its table of mounts for
 * the process.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/uuid.h"
#include "supervisor/launch/cgroup.h"

#define CGROUP_NAME_SIZE   (sizeof("zone-") + UUID_TEXT_SIZE)
#define CGROUP_VALUE_SIZE  160
#define CGROUP_DEVICES_MAX 16u

struct cgroup_setting {
	const char *controller, *file;
	char value[CGROUP_VALUE_SIZE];
};

/* `zone-UUID`. */
void cgroup_zone_name(const struct uuid *uuid, char out[static CGROUP_NAME_SIZE]);

/* Writes a whole file of a group in one write(2). Returns 0 or a negative errno. */
int cgroup_file_write(int dir, const char *file, const char *text);

/* Puts a process into a v2 group. Returns 0 or a negative errno. */
int cgroup_file_add(int dir, pid_t pid);

/* The number that a file holds. Returns 0 or a negative errno; -EINVAL: it is no number. */
int cgroup_file_u64(int dir, const char *file, uint64_t *value);

/* The number behind `key` in a file of lines `KEY NUMBER`. Returns 0, -ENOENT, or another negative
 * errno. */
int cgroup_file_field(int dir, const char *file, const char *key, uint64_t *value);

/* Whether `word` stands in a file that is a list of words. */
bool cgroup_file_has_word(int dir, const char *file, const char *word);

/* What a v2 group says of itself, in a driver's report. */
void cgroup_file_report(int dir, struct cgroup_report *out);

/*
 * The block devices of a zone, kept with its group (an extended attribute), so that a
 * protect-launch that is started anew can change their limits. load returns how many (at most
 * CGROUP_DEVICES_MAX) or a negative errno, -ENODATA when none were kept.
 */
int cgroup_devices_save(int dir, const dev_t *devices, unsigned n);
int cgroup_devices_load(int dir, dev_t devices[static CGROUP_DEVICES_MAX]);

/* Reads what is mounted; once, before the others. Returns 0 or a negative errno with text. */
int cgroup_lib_init(struct error *err);

/* Where the hierarchy with this controller is mounted; the caller frees it. NULL = nowhere. */
char *cgroup_lib_mount(const char *controller);

/* Makes a group and what is missing above it, for each of the controllers. Not an error if it is
 * there. Returns 0 or a negative errno with text. */
int cgroup_lib_create(const char *group, const char *const *controllers, unsigned n,
		      struct error *err);

/* Writes one setting. Empty values are not written by libcgroup: not for them. Returns 0 or a
 * negative errno with text. */
int cgroup_lib_set(const char *group, const struct cgroup_setting *setting, struct error *err);

/* Puts a process of one thread into the group, for each of the controllers. Returns 0 or a negative
 * errno with text. */
int cgroup_lib_attach(const char *group, const char *const *controllers, unsigned n, pid_t pid,
		      struct error *err);
