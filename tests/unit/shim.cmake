# SPDX-License-Identifier: Apache-2.0
protect_unit_test(shim_ttrpc SOURCES shim_ttrpc.c LIBS protect_shim)
protect_unit_test(shim_spec SOURCES shim_spec.c LIBS protect_shim)
protect_unit_test(shim_layer SOURCES shim_layer.c LIBS protect_shim PkgConfig::archive)
add_test(NAME unit_daemon_services_containerd
	COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/daemon_services.sh $<TARGET_FILE_DIR:protect-daemon> containerd)
set_tests_properties(unit_daemon_services_containerd PROPERTIES LABELS "unit;services" TIMEOUT 480 SKIP_RETURN_CODE 77 RUN_SERIAL ON)
add_test(NAME unit_daemon_services_pods
	COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/daemon_services.sh $<TARGET_FILE_DIR:protect-daemon> pods)
set_tests_properties(unit_daemon_services_pods PROPERTIES LABELS "unit;services" TIMEOUT 480 SKIP_RETURN_CODE 77 RUN_SERIAL ON)
