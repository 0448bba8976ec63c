# SPDX-License-Identifier: Apache-2.0
foreach(name vmm_boot vmm_spec)
	protect_fuzz_target(${name} SOURCES ${name}.c LIBS vmm)
endforeach()
