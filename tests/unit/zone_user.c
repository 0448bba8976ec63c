// SPDX-License-Identifier: Apache-2.0
/* The image's passwd and group files, as they should be and as an enemy would write them. */
#include "zone-guest/user.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/harness.h"

UNIT_SUITE(zone_user);

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "app:x:1000:1001:An App:/home/app:/bin/sh\n"
			     "broken:x:notanumber:1:::\n"
			     "short:x:5\n"
			     "1234:x:77:78::/srv:/bin/sh\n"
			     "last:x:9:9::/last:/bin/sh";
static const char group[] = "root:x:0:\n"
			    "app:x:1001:\n"
			    "staff:x:50:someone,app\n"
			    "apprentices:x:51:apprentice\n"
			    "wheel:x:10:app,root\n";

static struct user resolve(const char *spec)
{
	struct error err = ERROR_NULL;
	struct user user;

	cr_assert_eq(user_resolve(spec, passwd, group, &user, &err), 0, "%s: %s", spec, err.text);
	return user;
}

static void refuse(const char *spec, const char *text)
{
	struct error err = ERROR_NULL;
	struct user user;

	cr_assert_lt(user_resolve(spec, passwd, group, &user, &err), 0, "%s", spec);
	cr_assert(strstr(err.text, text), "%s: %s", spec, err.text);
}

Test(zone_user, empty_is_root)
{
	struct user user = resolve("");

	cr_assert_eq(user.uid, 0);
	cr_assert_eq(user.gid, 0);
	cr_assert_str_eq(user.home, "/root");
	cr_assert_eq(user.n_groups, 1);
	cr_assert_eq(user.groups[0], 10);
}

Test(zone_user, name_has_its_groups)
{
	struct user user = resolve("app");

	cr_assert_eq(user.uid, 1000);
	cr_assert_eq(user.gid, 1001);
	cr_assert_str_eq(user.home, "/home/app");
	cr_assert_eq(user.n_groups, 2);
	cr_assert_eq(user.groups[0], 50);
	cr_assert_eq(user.groups[1], 10);
}

Test(zone_user, number_with_an_entry_is_that_user)
{
	struct user user = resolve("1000");

	cr_assert_eq(user.gid, 1001);
	cr_assert_eq(user.n_groups, 2);
}

Test(zone_user, number_without_an_entry_is_fine)
{
	struct user user = resolve("4242");

	cr_assert_eq(user.uid, 4242);
	cr_assert_eq(user.gid, 0);
	cr_assert_str_eq(user.home, "/");
	cr_assert_eq(user.n_groups, 0);
}

Test(zone_user, a_given_group_is_the_only_one)
{
	cr_assert_eq(resolve("app:staff").gid, 50);
	cr_assert_eq(resolve("app:staff").n_groups, 0);
	cr_assert_eq(resolve("app:77").gid, 77);
	cr_assert_eq(resolve("5000:6000").uid, 5000);
	cr_assert_eq(resolve("5000:6000").gid, 6000);
	cr_assert_eq(resolve(":50").uid, 0);
}

Test(zone_user, a_name_of_digits_comes_first_by_its_line)
{
	cr_assert_eq(resolve("1234").uid, 77);
}

Test(zone_user, last_line_needs_no_newline)
{
	cr_assert_eq(resolve("last").uid, 9);
}

Test(zone_user, unknown_names_are_named)
{
	refuse("nobody", "user 'nobody'");
	refuse("app:nogroup", "group 'nogroup'");
	refuse("broken", "user 'broken'");
	refuse("short", "user 'short'");
	refuse("-1", "user '-1'");
	refuse("4294967295", "user '4294967295'");
	refuse("99999999999999999999", "user");
	refuse("app:4294967295", "group");
}

Test(zone_user, without_files_only_numbers)
{
	struct error err = ERROR_NULL;
	struct user user;

	cr_assert_eq(user_resolve("12:13", "", "", &user, &err), 0);
	cr_assert_eq(user.gid, 13);
	cr_assert_eq(user_resolve("", "", "", &user, &err), 0);
	cr_assert_str_eq(user.home, "/");
	cr_assert_eq(user_resolve("app", "", "", &user, &err), -ENOENT);
}

Test(zone_user, hostile_files_stay_in_bounds)
{
	static char many[USER_GROUPS_MAX * 40];
	char long_home[1024] = "app:x:1:1::/";
	struct error err = ERROR_NULL;
	struct user user;
	size_t used = 0;

	for (unsigned i = 0; i < USER_GROUPS_MAX * 2; i++)
		used += (size_t)snprintf(many + used, sizeof(many) - used, "g%u:x:%u:app\n", i,
					 100 + i);
	cr_assert_eq(user_resolve("app", passwd, many, &user, &err), 0);
	cr_assert_eq(user.n_groups, USER_GROUPS_MAX);
	memset(long_home + strlen(long_home), 'a', 600);
	cr_assert_eq(user_resolve("app", long_home, ":::::::\n\n::::", &user, &err), 0);
	cr_assert_str_eq(user.home, "/");
}
