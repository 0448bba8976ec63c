// SPDX-License-Identifier: Apache-2.0
/* That the leak check of harness.h sees a leak: otherwise no other test would. */
#include "tests/unit/harness.h"

#include <signal.h>

UNIT_SUITE(harness);

Test(harness, clean_test_passes)
{
	void *block = malloc(64);

	cr_assert_not_null(block);
	free(block);
}

#ifdef UNIT_LEAK_CHECK
static void leak(void)
{
	char *volatile block = malloc(64);

	cr_assert_not_null(block);
	block[0] = 1;
	block = NULL;
}

/* The check itself, in the place of .fini: it must abort. */
TestSuite(harness_leak);
Test(harness_leak, leak_aborts, .signal = SIGABRT)
{
	leak();
	unit_leak_check();
}
#endif
