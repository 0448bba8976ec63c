# SPDX-License-Identifier: Apache-2.0
if(TARGET launch)
	# The runner of these tests sees no file: static, and so without sanitizers.
	add_executable(launch_probe launch_probe.c)
	target_compile_options(launch_probe PRIVATE -fno-sanitize=all)
	target_link_options(launch_probe PRIVATE -fno-sanitize=all -static)

	# So is this copy of zone-fs.
	set(zone_fs ${CMAKE_SOURCE_DIR}/zone-fs)
	set(base ${CMAKE_SOURCE_DIR}/base)
	add_executable(launch_zone_fs ${zone_fs}/attributes.c ${zone_fs}/files.c ${zone_fs}/filters.c ${zone_fs}/fs.c ${zone_fs}/main.c
		${zone_fs}/names.c ${zone_fs}/nodes.c ${base}/error.c ${base}/filter.c ${base}/io.c ${base}/isolate.c)
	target_include_directories(launch_zone_fs PRIVATE ${CMAKE_SOURCE_DIR})
	target_compile_options(launch_zone_fs PRIVATE -fno-sanitize=all)
	target_link_options(launch_zone_fs PRIVATE -fno-sanitize=all -static)
	protect_use_filters(launch_zone_fs zone_fs_filters)

	protect_unit_test(launch_share SOURCES launch_share.c launch_fixture.c LIBS launch)
	add_dependencies(unit_launch_share launch_probe launch_zone_fs)
	target_compile_definitions(unit_launch_share PRIVATE LAUNCH_PROBE="$<TARGET_FILE:launch_probe>"
		LAUNCH_ZONE_FS="$<TARGET_FILE:launch_zone_fs>")
	protect_unit_test(launch_cgroup SOURCES launch_cgroup.c LIBS launch)
	foreach(name launch_request launch_sandbox)
		protect_unit_test(${name} SOURCES ${name}.c launch_fixture.c LIBS launch)
		add_dependencies(unit_${name} launch_probe)
		target_compile_definitions(unit_${name} PRIVATE LAUNCH_PROBE="$<TARGET_FILE:launch_probe>")
	endforeach()
endif()
