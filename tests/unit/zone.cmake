# SPDX-License-Identifier: Apache-2.0
foreach(name zone_user zone_env zone_ring)
	protect_unit_test(${name} SOURCES ${name}.c LIBS zone_guest)
endforeach()
# Need root; a test that cannot have it is skipped.
protect_unit_test(zone_agent SOURCES zone_agent.c zone_fixture.c LIBS zone_guest TIMEOUT_S 120)
protect_unit_test(zone_workload SOURCES zone_workload.c zone_fixture.c LIBS zone_guest TIMEOUT_S 120)
