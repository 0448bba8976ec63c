# SPDX-License-Identifier: Apache-2.0
protect_fuzz_target(zone_image SOURCES zone_image.c LIBS zone_guest)
protect_fuzz_target(zone_settings SOURCES zone_settings.c LIBS zone_guest)
protect_fuzz_target(zone_agent SOURCES zone_agent.c LIBS zone_guest SECONDS 5)
