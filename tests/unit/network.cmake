# SPDX-License-Identifier: Apache-2.0
protect_unit_test(network_parts SOURCES network_parts.c LIBS network)
foreach(name reach forged publish links)
	protect_unit_test(network_${name} SOURCES network_${name}.c network_frames.c network_world.c LIBS base proto TIMEOUT_S 120)
	target_compile_definitions(unit_network_${name} PRIVATE PROTECT_NETWORK="$<TARGET_FILE:protect-network>")
	add_dependencies(unit_network_${name} protect-network)
endforeach()
# Without the rules forged frames come through, and the test says so.
add_test(NAME unit_network_forged_can_fail COMMAND unit_network_forged)
set_tests_properties(unit_network_forged_can_fail PROPERTIES LABELS unit TIMEOUT 240 ENVIRONMENT NETWORK_FORGED_OPEN=1
	PASS_REGULAR_EXPRESSION "[3-9][0-9] of [0-9]+ forged frames came through;SKIP")
