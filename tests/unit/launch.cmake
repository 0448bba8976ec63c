# SPDX-License-Identifier: Apache-2.0
if(TARGET launch)
	protect_unit_test(launch_cgroup SOURCES launch_cgroup.c LIBS launch)
	protect_unit_test(launch_request SOURCES launch_request.c LIBS launch)
endif()
