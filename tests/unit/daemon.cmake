# SPDX-License-Identifier: Apache-2.0
add_executable(daemon_fake_zones daemon_fake_zones.c)
target_link_libraries(daemon_fake_zones PRIVATE zone_guest launch)
protect_unit_test(daemon_parts SOURCES daemon_parts.c LIBS daemon PkgConfig::jansson)
protect_unit_test(daemon_splice SOURCES daemon_splice.c LIBS daemon)
