// SPDX-License-Identifier: Apache-2.0
/* Sysctls as a bootstrap sets them, on this kernel, in a UTS namespace of the test's own. */
#include "harness.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "zone-guest/kernel.h"

UNIT_SUITE(zone_kernel);

static int set(const char *text)
{
	struct error err = ERROR_NULL;
	int r = kernel_set_sysctl(text, &err);

	cr_expect_eq(r, err.code);
	cr_expect_eq(r < 0, *err.text != '\0');
	return r;
}

Test(zone_kernel, a_sysctl_is_set_by_dots_and_by_slashes)
{
	char name[64];

	if (unshare(CLONE_NEWUTS) < 0)
		cr_skip_test("SKIP: no namespace of its own (root is needed)");
	cr_assert_eq(set("kernel.hostname=by-dots"), 0);
	gethostname(name, sizeof(name));
	cr_expect_str_eq(name, "by-dots");
	cr_assert_eq(set("kernel/hostname=by=slashes"), 0);
	gethostname(name, sizeof(name));
	cr_expect_str_eq(name, "by=slashes");
}

/* sysctl.d(5): an interface's name has dots of its own. */
Test(zone_kernel, after_a_slash_dots_stay)
{
	cr_expect_eq(set("net/ipv4/conf/no.such/forwarding=0"), -ENOENT);
	cr_expect_eq(set("net.ipv4.conf.no/such.forwarding=0"), -ENOENT);
}

Test(zone_kernel, nonsense_is_told)
{
	char longest[1024];

	memset(longest, 'a', sizeof(longest));
	memcpy(longest + sizeof(longest) - 3, "=1", 3);
	cr_expect_eq(set(""), -EINVAL);
	cr_expect_eq(set("kernel.hostname"), -EINVAL);
	cr_expect_eq(set("=1"), -EINVAL);
	cr_expect_eq(set("../../etc/passwd=1"), -ENOENT); /* a dot first: //.//.etc.passwd */
	cr_expect_eq(set("a.//.//.etc=1"), -EINVAL);	  /* so this is a/../../etc */
	cr_expect_eq(set("kernel/../../../etc/passwd=1"), -EINVAL);
	cr_expect_eq(set(longest), -EINVAL);
	cr_expect_eq(set("kernel.no_such_thing=1"), -ENOENT);
	cr_expect_eq(set("kernel.ostype=other"), -EACCES);
}

Test(zone_kernel, what_is_no_module_is_told)
{
	struct error err = ERROR_NULL;

	cr_expect_eq(kernel_load_module("", &err), -EINVAL);
	cr_expect_eq(kernel_load_module("--remove x", &err), -EINVAL);
	cr_expect_lt(kernel_load_module("no_such_module_anywhere", &err), 0);
}
