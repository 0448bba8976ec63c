# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(archive REQUIRED IMPORTED_TARGET libarchive)
foreach(name reference json layers modules)
	protect_fuzz_target(storage_${name} SOURCES storage_${name}.c LIBS storage)
endforeach()
