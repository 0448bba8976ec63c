# SPDX-License-Identifier: Apache-2.0
# Seccomp filters from annotations: tools/seccomp/README.md.
find_package(PkgConfig REQUIRED)
pkg_check_modules(seccomp REQUIRED IMPORTED_TARGET libseccomp)

# Sanitizers need more than the programs themselves; nothing else does.
set(PROTECT_FILTER_GROUPS "")
if(PROTECT_SANITIZE)
	set(PROTECT_FILTER_GROUPS sanitizer)
endif()

# protect_filters(NAME TARGETS TARGET… [GROUPS GROUP…] [TELL]): makes filters/NAME.h in the current binary directory, with every
# filter that the sources of the TARGETs ask for (and, in each, the GROUPS). TELL: for base/denied.h. NAME is also a target to depend on; whose
# sources include NAME.h gets it by protect_use_filters().
function(protect_filters name)
	cmake_parse_arguments(PARSE_ARGV 1 arg "TELL" "" "TARGETS;GROUPS")
	set(otherwise kill)
	if(arg_TELL)
		set(otherwise tell)
	endif()
	set(dir ${CMAKE_CURRENT_BINARY_DIR}/filters/${name})
	set(sources "")
	foreach(target ${arg_TARGETS})
		get_target_property(files ${target} SOURCES)
		get_target_property(folder ${target} SOURCE_DIR)
		list(FILTER files INCLUDE REGEX "\\.c$")
		list(TRANSFORM files PREPEND ${folder}/)
		foreach(file ${files})
			list(APPEND sources ${file})
			string(REGEX REPLACE "c$" "h" header ${file})
			if(EXISTS ${header})
				list(APPEND sources ${header})
			endif()
		endforeach()
	endforeach()
	list(REMOVE_DUPLICATES sources)
	list(TRANSFORM sources REPLACE "^${CMAKE_SOURCE_DIR}/" "" OUTPUT_VARIABLE relative)
	set(tool ${CMAKE_SOURCE_DIR}/tools/seccomp)
	add_custom_command(
		OUTPUT ${dir}/collected.h
		COMMAND ${tool}/collect ${relative} > ${dir}/collected.h
		DEPENDS ${sources} ${tool}/collect
		WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
		VERBATIM
	)
	# It runs at build time; constants of annotations are this compiler's.
	add_executable(generate_${name} ${tool}/generate.c ${dir}/collected.h)
	target_include_directories(generate_${name} PRIVATE ${dir} ${CMAKE_SOURCE_DIR})
	target_link_libraries(generate_${name} PRIVATE PkgConfig::seccomp)
	set_target_properties(generate_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${dir})
	add_custom_command(
		OUTPUT ${dir}/${name}.h
		COMMAND generate_${name} ${dir}/${name}.h ${otherwise} ${arg_GROUPS}
		DEPENDS generate_${name}
		VERBATIM
	)
	add_custom_target(${name} DEPENDS ${dir}/${name}.h)
	set_target_properties(${name} PROPERTIES FILTERS_DIR ${dir})
endfunction()

# protect_use_filters(TARGET NAME): TARGET's sources may include NAME.h.
function(protect_use_filters target name)
	get_target_property(dir ${name} FILTERS_DIR)
	target_include_directories(${target} PRIVATE ${dir})
	add_dependencies(${target} ${name})
endfunction()
