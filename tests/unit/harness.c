// SPDX-License-Identifier: Apache-2.0
/* That the leak check of harness.h lets a clean test pass. */
#include "tests/unit/harness.h"

UNIT_SUITE(harness);

Test(harness, clean_test_passes)
{
	void *block = malloc(64);

	cr_assert_not_null(block);
	free(block);
}
