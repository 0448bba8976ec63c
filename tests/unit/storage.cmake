# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(archive REQUIRED IMPORTED_TARGET libarchive)
foreach(name reference layers image kernel registry server volume)
	protect_unit_test(storage_${name} SOURCES storage_${name}.c storage_fixture.c LIBS storage TIMEOUT_S 120)
endforeach()
