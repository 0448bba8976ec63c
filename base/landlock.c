// SPDX-License-Identifier: Apache-2.0
#include "base/landlock.h"

#include <errno.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/landlock.h>

#include "base/cleanup.h"
#include "base/util.h"

/* As of ABI 6 (Documentation/userspace-api/landlock.rst); the build's headers may be older. An
 * older kernel takes the longer structure if what it does not know is 0. */
struct ruleset {
	uint64_t fs, net, scoped;
};

/* How many rights of each kind an ABI knows: bits from 0 on. */
static const struct {
	unsigned fs, net, scoped;
} rights[] = {
	{13, 0, 0}, /* 1: files and folders */
	{14, 0, 0}, /* 2: refer */
	{15, 0, 0}, /* 3: truncate */
	{15, 2, 0}, /* 4: bind and connect of TCP */
	{16, 2, 0}, /* 5: ioctl of devices */
	{16, 2, 2}, /* 6: abstract unix sockets, and signals, to the outside */
};

static uint64_t first_bits(unsigned n)
{
	return (UINT64_C(1) << n) - 1;
}

static int restrict_self(int abi)
{
	unsigned known = (unsigned)abi < ARRAY_SIZE(rights) ? (unsigned)abi : ARRAY_SIZE(rights);
	const struct ruleset all = {
		.fs = first_bits(rights[known - 1].fs),
		.net = first_bits(rights[known - 1].net),
		.scoped = first_bits(rights[known - 1].scoped),
	};
	_cleanup_(close_fdp) int fd =
		(int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);

	if (fd < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return -errno;
	return abi;
}

int landlock_deny_all(void)
{
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, (size_t)0,
			       LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < 0) /* not built in, or not chosen when the host was started */
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	return restrict_self(abi);
}
