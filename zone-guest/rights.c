// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "zone-guest/filter.h"

#define FILES_SOFT 1024u
#define CAPS_MAX   64u

/* Programs that use select(2), or close every descriptor they might have, want a low soft limit. */
static void lower_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > FILES_SOFT) {
		files.rlim_cur = FILES_SOFT;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int set_limits(const settings_t *settings, struct error *err)
{
	for (size_t i = 0; i < settings->n_ulimits; i++) {
		const Protect__Agent__Ulimit *ulimit = settings->ulimits[i];
		const struct rlimit limit = {.rlim_cur = ulimit->soft, .rlim_max = ulimit->hard};

		if (setrlimit((__rlimit_resource_t)ulimit->resource, &limit) < 0)
			return error_set_errno(err, -errno, "set ulimit %u", ulimit->resource);
	}
	return 0;
}

/* The zone's own agent is the last to be killed; nobody inherits that. */
static int set_oom_score(int adj, struct error *err)
{
	_cleanup_(close_fdp) int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", adj);
	int r = fd < 0 ? -errno : io_write_full(fd, text, (size_t)n);

	return r < 0 ? error_set_errno(err, r, "set oom_score_adj to %d", adj) : 0;
}

int rights_limit(const settings_t *settings, struct error *err)
{
	int r = set_oom_score(settings ? settings->oom_score_adj : 0, err);

	lower_limits();
	return r == 0 && settings ? set_limits(settings, err) : r;
}

static int limit_bounding_set(uint64_t mask, struct error *err)
{
	for (unsigned cap = 0; cap < CAPS_MAX; cap++) {
		if (mask & (UINT64_C(1) << cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL)
				return 0; /* beyond the kernel's last one */
			return error_set_errno(err, -errno, "drop capability %u", cap);
		}
	}
	return 0;
}

/* What of the mask this process has at all: a kernel may know fewer than our headers. */
static uint64_t present(uint64_t mask)
{
	for (unsigned cap = 0; cap < CAPS_MAX; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) != 1)
			mask &= ~(UINT64_C(1) << cap);
	return mask;
}

static int set_caps(uint64_t mask, uint64_t inheritable, struct error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = (uint32_t)mask,
		 .permitted = (uint32_t)mask,
		 .inheritable = (uint32_t)inheritable},
		{.effective = (uint32_t)(mask >> 32),
		 .permitted = (uint32_t)(mask >> 32),
		 .inheritable = (uint32_t)(inheritable >> 32)},
	};

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, data) < 0)
		return error_set_errno(err, -errno, "set capabilities");
	return 0;
}

/* A user who is not root keeps over the exec only what is ambient. */
static int set_ambient(uint64_t mask, struct error *err)
{
	int r = set_caps(mask, mask, err);

	for (unsigned cap = 0; r == 0 && cap < CAPS_MAX; cap++)
		if (mask & (UINT64_C(1) << cap) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			r = error_set_errno(err, -errno, "raise capability %u", cap);
	return r;
}

/*
 * So that /dev/stdout and its kin can be opened anew. Only what was made for this process: not the
 * zone's /dev/null.
 */
static void own_stdio(uid_t uid)
{
	struct stat st;

	for (int fd = 0; fd < 3; fd++)
		if (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || isatty(fd)) &&
		    fchown(fd, uid, (gid_t)-1) < 0)
			return; /* then only opening them anew fails */
}

static int become(const struct user *user, struct error *err)
{
	if (user->uid)
		own_stdio(user->uid);
	if (setgroups(user->n_groups, user->groups) < 0)
		return error_set_errno(err, -errno, "set groups");
	if (setresgid(user->gid, user->gid, user->gid) < 0)
		return error_set_errno(err, -errno, "become group %u", (unsigned)user->gid);
	if (setresuid(user->uid, user->uid, user->uid) < 0)
		return error_set_errno(err, -errno, "become user %u", (unsigned)user->uid);
	return 0;
}

static int apply_filters(const settings_t *settings, struct error *err)
{
	struct filter_spec spec = {
		.profile = FILTER_DEFAULT,
		.caps = settings_caps(settings),
		.program = settings->seccomp_program.data,
		.len_bytes = settings->seccomp_program.len,
	};

	if (settings->seccomp == PROTECT__AGENT__SECCOMP__SECCOMP_PROGRAM)
		spec.profile = FILTER_PROGRAM;
	else if (settings->privileged ||
		 settings->seccomp == PROTECT__AGENT__SECCOMP__SECCOMP_UNCONFINED)
		spec.profile = FILTER_UNCONFINED;
	return filter_apply(&spec, err);
}

static int confine(const settings_t *settings, const struct user *user, struct error *err)
{
	uint64_t caps = present(settings_caps(settings));
	/* As late as can be: without no_new_privs a filter takes a right that goes with the user.
	 */
	bool late = settings->no_new_privileges;
	int r = limit_bounding_set(caps, err);

	if (r == 0 && !late)
		r = apply_filters(settings, err);
	if (r == 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		r = error_set_errno(err, -errno, "keep capabilities");
	if (r == 0)
		r = become(user, err);
	if (r == 0)
		r = user->uid ? set_ambient(caps & settings->ambient, err) : set_caps(caps, 0, err);
	if (r == 0 && late && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = error_set_errno(err, -errno, "set no_new_privs");
	return r == 0 && late ? apply_filters(settings, err) : r;
}

int rights_drop(const settings_t *settings, const struct user *user, struct error *err)
{
	int r;

	if (settings)
		return confine(settings, user, err);
	r = become(user, err);
	return r == 0 && user->uid ? set_caps(0, 0, err) : r;
}
