// SPDX-License-Identifier: Apache-2.0
/* A program that must fail: it leaks, and harness.h has to see it. Otherwise no other test would
 * either. */
#include "tests/unit/harness.h"

UNIT_SUITE(harness_leak);

Test(harness_leak, leak_is_a_failure)
{
	char *volatile block = malloc(64);

	cr_assert_not_null(block);
	block[0] = 1;
	block = NULL;
}
