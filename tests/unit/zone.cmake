# SPDX-License-Identifier: Apache-2.0
foreach(name zone_user zone_env zone_ring zone_filter zone_kernel)
	protect_unit_test(${name} SOURCES ${name}.c LIBS zone_guest)
endforeach()
# Need root; a test that cannot have it is skipped.
foreach(name zone_agent zone_settings zone_userns zone_volumes zone_workload)
	protect_unit_test(${name} SOURCES ${name}.c zone_fixture.c LIBS zone_guest TIMEOUT_S 120)
endforeach()
