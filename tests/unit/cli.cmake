# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(archive REQUIRED IMPORTED_TARGET libarchive)
protect_unit_test(cli_args SOURCES cli_args.c LIBS protect_cli)
protect_unit_test(cli_top SOURCES cli_top.c LIBS protect_cli)
protect_unit_test(cli_tar SOURCES cli_tar.c LIBS protect_cli PkgConfig::archive)
protect_unit_test(cli_program SOURCES cli_program.c cli_daemon.c LIBS idm PkgConfig::jansson PkgConfig::archive util)
target_compile_definitions(unit_cli_program PRIVATE PROTECT_PROGRAM="$<TARGET_FILE:protect>")
add_dependencies(unit_cli_program protect)
