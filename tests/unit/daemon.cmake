# SPDX-License-Identifier: Apache-2.0
add_executable(daemon_fake_zones daemon_fake_zones.c)
target_link_libraries(daemon_fake_zones PRIVATE zone_guest launch)
