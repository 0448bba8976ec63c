# SPDX-License-Identifier: Apache-2.0
if(TARGET launch)
	# The runner of these tests sees no file: static, and so without sanitizers.
	add_executable(launch_probe launch_probe.c)
	target_compile_options(launch_probe PRIVATE -fno-sanitize=all)
	target_link_options(launch_probe PRIVATE -fno-sanitize=all -static)

	protect_unit_test(launch_cgroup SOURCES launch_cgroup.c LIBS launch)
	foreach(name launch_request launch_sandbox)
		protect_unit_test(${name} SOURCES ${name}.c launch_fixture.c LIBS launch)
		add_dependencies(unit_${name} launch_probe)
		target_compile_definitions(unit_${name} PRIVATE LAUNCH_PROBE="$<TARGET_FILE:launch_probe>")
	endforeach()
endif()
