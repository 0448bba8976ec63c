// SPDX-License-Identifier: Apache-2.0
/* Lists of strings and environments: what wins, and their bounds. */
#include "zone-guest/env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/harness.h"

UNIT_SUITE(zone_env);

Test(zone_env, a_later_value_wins_in_place)
{
	char *items[] = {"A=1", "B=2", "A=3", "AB=4", "C="};
	struct strings env = STRINGS_NULL;

	cr_assert_eq(env_set_all(&env, items, 5), 0);
	cr_assert_eq(env.count, 4);
	cr_assert_str_eq(env.items[0], "A=3");
	cr_assert_str_eq(env_get(&env, "AB"), "4");
	cr_assert_str_eq(env_get(&env, "C"), "");
	cr_assert_null(env_get(&env, "D"));
	cr_assert_null(env.items[4]);
	strings_deinit(&env);
	strings_deinit(&env);
}

Test(zone_env, a_default_gives_way)
{
	struct strings env = STRINGS_NULL;

	cr_assert_eq(env_set(&env, "PATH=/mine"), 0);
	cr_assert_eq(env_default(&env, "PATH", "/other"), 0);
	cr_assert_eq(env_default(&env, "HOME", "/root"), 0);
	cr_assert_str_eq(env_get(&env, "PATH"), "/mine");
	cr_assert_str_eq(env_get(&env, "HOME"), "/root");
	strings_deinit(&env);
}

Test(zone_env, what_is_no_assignment_is_refused)
{
	struct strings env = STRINGS_NULL;

	cr_assert_eq(env_set(&env, "NOTHING"), -EINVAL);
	cr_assert_eq(env_set(&env, "=x"), -EINVAL);
	cr_assert_eq(env_set(&env, ""), -EINVAL);
	cr_assert_eq(env.count, 0);
	strings_deinit(&env);
}

Test(zone_env, bytes_are_bounded)
{
	char *big = malloc(STRINGS_BYTES_MAX + 2);
	struct strings env = STRINGS_NULL;

	memset(big, 'x', STRINGS_BYTES_MAX + 1);
	big[STRINGS_BYTES_MAX + 1] = '\0';
	big[1] = '=';
	cr_assert_eq(env_set(&env, big), -E2BIG);
	big[STRINGS_BYTES_MAX - 1] = '\0';
	cr_assert_eq(env_set(&env, big), 0);
	cr_assert_eq(env_set(&env, "y="), -E2BIG);
	cr_assert_eq(env_set(&env, "x=short"), 0);
	cr_assert_eq(env_set(&env, "y="), 0);
	cr_assert_eq(env.bytes, strlen("x=short") + strlen("y=") + 2);
	strings_deinit(&env);
	free(big);
}

Test(zone_env, count_is_bounded)
{
	struct strings list = STRINGS_NULL;

	for (unsigned i = 0; i < STRINGS_MAX; i++)
		cr_assert_eq(strings_add(&list, "a"), 0);
	cr_assert_eq(strings_add(&list, "a"), -E2BIG);
	cr_assert_null(list.items[STRINGS_MAX]);
	strings_deinit(&list);
}
