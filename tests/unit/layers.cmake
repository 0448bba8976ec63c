# SPDX-License-Identifier: Apache-2.0
add_test(NAME layers COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/layers.sh)
set_tests_properties(layers PROPERTIES LABELS unit)
