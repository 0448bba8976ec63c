// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/settings.h"

#include <ctype.h>
#include <errno.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/caps.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "zone-guest/zone.h"

#define PATH_MAX_BYTES	  4096u
#define VALUE_MAX_BYTES	  256u
#define OOM_SCORE_ADJ_MAX 1000
#define CPU_MILLIS_MAX	  1000000u

static int too_many(size_t n, size_t max, const char *what, struct error *err)
{
	return n <= max ? 0 : error_set(err, -E2BIG, "more than %zu %s", max, what);
}

static int check_path(const char *path, struct error *err)
{
	size_t len = strlen(path);

	if (*path != '/' || len >= PATH_MAX_BYTES)
		return error_set(err, -EINVAL, "'%.64s' is not an absolute path", path);
	return 0;
}

static int check_paths(char *const *paths, size_t n, size_t max, const char *what,
		       struct error *err)
{
	int r = too_many(n, max, what, err);

	for (size_t i = 0; r == 0 && i < n; i++)
		r = check_path(paths[i], err);
	return r;
}

static int check_hostname(const char *name, struct error *err)
{
	bool good = strlen(name) <= ZONE_HOSTNAME_MAX;

	for (size_t i = 0; good && name[i]; i++)
		good = isalnum((unsigned char)name[i]) || strchr("-_.", name[i]);
	if (!good)
		return error_set(err, -EINVAL,
				 "a host name has up to %u letters, digits, '-', '_', '.'",
				 ZONE_HOSTNAME_MAX);
	return 0;
}

static int check_tmpfs(const settings_t *s, struct error *err)
{
	int r = too_many(s->n_tmpfs, SETTINGS_MOUNTS_MAX, "tmpfs", err);

	for (size_t i = 0; r == 0 && i < s->n_tmpfs; i++) {
		r = check_path(s->tmpfs[i]->path, err);
		if (r == 0 && s->tmpfs[i]->mode > 07777)
			r = error_set(err, -EINVAL, "the mode of tmpfs %.64s is not one",
				      s->tmpfs[i]->path);
	}
	return r;
}

static int check_devices(const settings_t *s, struct error *err)
{
	int r = too_many(s->n_devices, SETTINGS_MOUNTS_MAX, "devices", err);

	for (size_t i = 0; r == 0 && i < s->n_devices; i++) {
		r = check_path(s->devices[i]->path, err);
		if (r == 0 && *s->devices[i]->path_inside)
			r = check_path(s->devices[i]->path_inside, err);
	}
	return r;
}

static int check_ulimits(const settings_t *s, struct error *err)
{
	int r = too_many(s->n_ulimits, RLIM_NLIMITS, "ulimits", err);

	for (size_t i = 0; r == 0 && i < s->n_ulimits; i++)
		if (s->ulimits[i]->resource >= RLIM_NLIMITS ||
		    s->ulimits[i]->soft > s->ulimits[i]->hard)
			r = error_set(err, -EINVAL,
				      "a ulimit is none, or its soft limit is above the hard one");
	return r;
}

/* What the IPC namespace of the workload has for itself; anything else is the whole zone's. */
static bool is_own_sysctl(const char *key)
{
	static const char *const prefixes[] = {"kernel.shm", "kernel.msg", "kernel.sem",
					       "fs.mqueue."};

	if (strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_.") != strlen(key) ||
	    strstr(key, ".."))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (strncmp(key, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

static int check_sysctl(const char *assignment, struct error *err)
{
	const char *equals = strchr(assignment, '=');
	_cleanup_(freep) char *key =
		equals ? strndup(assignment, (size_t)(equals - assignment)) : NULL;

	if (!key || strlen(assignment) > VALUE_MAX_BYTES || strchr(assignment, '\n'))
		return error_set(err, -EINVAL, "the sysctl '%.64s' is not KEY=VALUE", assignment);
	if (!is_own_sysctl(key))
		return error_set(err, -EINVAL,
				 "the sysctl %.64s is the zone's, not a workload's; set it with "
				 "'protect zone exec ZONE -- sysctl'",
				 key);
	return 0;
}

static int check_sysctls(const settings_t *s, struct error *err)
{
	int r = too_many(s->n_sysctls, SETTINGS_SYSCTLS_MAX, "sysctls", err);

	for (size_t i = 0; r == 0 && i < s->n_sysctls; i++)
		r = check_sysctl(s->sysctls[i], err);
	return r;
}

static int check_seccomp(const settings_t *s, struct error *err)
{
	size_t len = s->seccomp_program.len;
	bool has_program = s->seccomp == PROTECT__AGENT__SECCOMP__SECCOMP_PROGRAM;

	if ((unsigned)s->seccomp > PROTECT__AGENT__SECCOMP__SECCOMP_PROGRAM ||
	    has_program != (len != 0) || len % sizeof(struct sock_filter) != 0 ||
	    len / sizeof(struct sock_filter) > SETTINGS_FILTER_MAX)
		return error_set(err, -EINVAL, "the seccomp program is none");
	return 0;
}

static int check_numbers(const settings_t *s, struct error *err)
{
	if (s->privileged && s->own_users)
		return error_set(err, -EINVAL,
				 "a privileged workload has the zone's users, not its own");
	if (s->oom_score_adj < -OOM_SCORE_ADJ_MAX || s->oom_score_adj > OOM_SCORE_ADJ_MAX)
		return error_set(err, -EINVAL, "oom_score_adj is between -%d and %d",
				 OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MAX);
	if (s->cpu_millis > CPU_MILLIS_MAX)
		return error_set(err, -EINVAL, "more than %u CPUs", CPU_MILLIS_MAX / 1000);
	return 0;
}

static int check(const settings_t *s, struct error *err)
{
	int r = check_hostname(s->hostname, err);

	if (r == 0)
		r = check_tmpfs(s, err);
	if (r == 0)
		r = check_paths(s->volumes, s->n_volumes, SETTINGS_MOUNTS_MAX, "volumes", err);
	if (r == 0)
		r = check_paths(s->masked_paths, s->n_masked_paths, SETTINGS_PATHS_MAX,
				"masked paths", err);
	if (r == 0)
		r = check_paths(s->read_only_paths, s->n_read_only_paths, SETTINGS_PATHS_MAX,
				"read-only paths", err);
	if (r == 0)
		r = check_devices(s, err);
	if (r == 0)
		r = check_ulimits(s, err);
	if (r == 0)
		r = check_sysctls(s, err);
	if (r == 0)
		r = check_seccomp(s, err);
	return r == 0 ? check_numbers(s, err) : r;
}

int settings_new(const settings_t *message, settings_t **out, struct error *err)
{
	const settings_t nothing = PROTECT__AGENT__SETTINGS__INIT;
	const settings_t *given = message ? message : &nothing;
	size_t len = protect__agent__settings__get_packed_size(given);
	_cleanup_(freep) uint8_t *packed = malloc(len + 1);
	int r = check(given, err);

	if (r < 0)
		return r;
	if (packed)
		protect__agent__settings__pack(given, packed);
	*out = packed ? protect__agent__settings__unpack(NULL, len, packed) : NULL;
	return *out ? 0 : error_set_errno(err, -ENOMEM, "settings");
}

void settings_free(settings_t *settings)
{
	if (settings)
		protect__agent__settings__free_unpacked(settings, NULL);
}

uint64_t settings_caps(const settings_t *settings)
{
	if (settings->privileged)
		return CAPS_ALL;
	return settings->set_capabilities ? settings->capabilities & CAPS_ALL : CAPS_DEFAULT;
}
