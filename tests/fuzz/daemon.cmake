# SPDX-License-Identifier: Apache-2.0
# What the daemon logs would be most of the work.
protect_fuzz_target(daemon_snoop SOURCES daemon_snoop.c LIBS daemon PkgConfig::jansson SECONDS 5)
protect_fuzz_target(daemon_requests SOURCES daemon_requests.c LIBS daemon SECONDS 5)
target_link_options(fuzz_daemon_requests PRIVATE -Wl,--wrap=log_write)
