# SPDX-License-Identifier: Apache-2.0
protect_unit_test(base_loop_polling SOURCES base_loop.c LIBS base_loop)
target_compile_definitions(unit_base_loop_polling PRIVATE LOOP_NEW=loop_new_polling)
protect_unit_test(base_landlock SOURCES base_landlock.c LIBS base)
