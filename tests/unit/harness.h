// SPDX-License-Identifier: Apache-2.0
/*
 * What every unit test file includes in place of <criterion/criterion.h>. Criterion's workers leave
 * without running LeakSanitizer's check, so a test that leaks would pass: each suite is therefore
 * declared with UNIT_SUITE(name), which makes the check part of every test. UNIT_SUITE takes
 * further Criterion settings (.init = …, .timeout = …), but not .fini.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#if defined(__SANITIZE_ADDRESS__)
#define UNIT_LEAK_CHECK 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNIT_LEAK_CHECK 1
#endif
#endif

#ifdef UNIT_LEAK_CHECK
int __lsan_do_recoverable_leak_check(void);
#endif

/* Ends the test's process if memory is still allocated that nothing points to. */
static inline void unit_leak_check(void)
{
#ifdef UNIT_LEAK_CHECK
	if (__lsan_do_recoverable_leak_check()) {
		fflush(NULL);
		abort();
	}
#endif
}

#define UNIT_SUITE(name, ...) TestSuite(name, .fini = unit_leak_check, ##__VA_ARGS__)
