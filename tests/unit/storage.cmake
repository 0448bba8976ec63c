# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(archive REQUIRED IMPORTED_TARGET libarchive)
foreach(name reference layers image kernel registry server volume)
	protect_unit_test(storage_${name} SOURCES storage_${name}.c storage_fixture.c LIBS storage TIMEOUT_S 120)
endforeach()
protect_unit_test(storage_pull SOURCES storage_pull.c storage_fixture.c LIBS storage TIMEOUT_S 120)
target_compile_definitions(unit_storage_pull PRIVATE HOSTILE_REGISTRY="${CMAKE_CURRENT_SOURCE_DIR}/hostile_registry.py")
add_test(NAME unit_image_registry COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/image_registry.sh $<TARGET_FILE_DIR:protect-daemon>)
set_tests_properties(unit_image_registry PROPERTIES LABELS "unit;services" TIMEOUT 240 SKIP_RETURN_CODE 77 RUN_SERIAL ON)
