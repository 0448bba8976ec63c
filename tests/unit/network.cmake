# SPDX-License-Identifier: Apache-2.0
foreach(name reach)
	protect_unit_test(network_${name} SOURCES network_${name}.c network_world.c LIBS base proto TIMEOUT_S 120)
	target_compile_definitions(unit_network_${name} PRIVATE PROTECT_NETWORK="$<TARGET_FILE:protect-network>")
	add_dependencies(unit_network_${name} protect-network)
endforeach()
