# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(sqlite3 REQUIRED IMPORTED_TARGET sqlite3)
add_executable(daemon_fake_zones daemon_fake_zones.c)
target_link_libraries(daemon_fake_zones PRIVATE zone_guest launch)
add_executable(daemon_fake_network daemon_fake_network.c)
target_link_libraries(daemon_fake_network PRIVATE base proto)
protect_unit_test(base_options SOURCES base_options.c LIBS base)
protect_unit_test(daemon_parts SOURCES daemon_parts.c LIBS daemon PkgConfig::jansson PkgConfig::sqlite3)
protect_unit_test(daemon_splice SOURCES daemon_splice.c LIBS daemon)
protect_unit_test(daemon_snoop SOURCES daemon_snoop.c LIBS daemon PkgConfig::jansson)
protect_unit_test(daemon_guest_settings SOURCES daemon_guest_settings.c LIBS daemon PkgConfig::jansson)
protect_unit_test(daemon_policy SOURCES daemon_policy.c LIBS daemon)
protect_unit_test(daemon_metrics SOURCES daemon_metrics.c LIBS daemon)
protect_unit_test(daemon_survival SOURCES daemon_survival.c LIBS daemon PkgConfig::sqlite3)
add_test(NAME unit_daemon_services
	COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/daemon_services.sh $<TARGET_FILE_DIR:protect-daemon>)
set_tests_properties(unit_daemon_services PROPERTIES LABELS "unit;services" TIMEOUT 480 SKIP_RETURN_CODE 77 RESOURCE_LOCK services)
add_test(NAME unit_daemon_services_survive
	COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/daemon_services.sh $<TARGET_FILE_DIR:protect-daemon> survival)
set_tests_properties(unit_daemon_services_survive PROPERTIES LABELS "unit;services" TIMEOUT 480 SKIP_RETURN_CODE 77 RESOURCE_LOCK services)
add_test(NAME unit_daemon_idm
	COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/daemon_services.sh $<TARGET_FILE_DIR:protect-daemon> idm)
set_tests_properties(unit_daemon_idm PROPERTIES LABELS "unit;services" TIMEOUT 480 SKIP_RETURN_CODE 77 RESOURCE_LOCK services)
add_test(NAME unit_daemon_policies
	COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/daemon_services.sh $<TARGET_FILE_DIR:protect-daemon> policies)
set_tests_properties(unit_daemon_policies PROPERTIES LABELS "unit;services" TIMEOUT 480 SKIP_RETURN_CODE 77 RESOURCE_LOCK services)
add_test(NAME unit_daemon_services_volumes
	COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/daemon_services.sh $<TARGET_FILE_DIR:protect-daemon> volumes)
set_tests_properties(unit_daemon_services_volumes PROPERTIES LABELS "unit;services" TIMEOUT 480 SKIP_RETURN_CODE 77 RESOURCE_LOCK services)
add_test(NAME unit_daemon_services_networks
	COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/daemon_services.sh $<TARGET_FILE_DIR:protect-daemon> networks)
set_tests_properties(unit_daemon_services_networks PROPERTIES LABELS "unit;services" TIMEOUT 480 SKIP_RETURN_CODE 77 RESOURCE_LOCK services)
