# SPDX-License-Identifier: Apache-2.0
protect_unit_test(harness SOURCES harness.c LIBS base)
if(PROTECT_SANITIZE)
	protect_unit_test(harness_leak SOURCES harness_leak.c LIBS base)
	set_tests_properties(unit_harness_leak PROPERTIES WILL_FAIL TRUE)
endif()
