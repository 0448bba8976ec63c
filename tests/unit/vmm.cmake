# SPDX-License-Identifier: Apache-2.0
foreach(name vmm_spec vmm_boot vmm_pci_bus vmm_vcpus vmm_acpi vmm_console_hub vmm_runner_server base_loop base_values)
	protect_unit_test(${name} SOURCES ${name}.c LIBS vmm)
endforeach()
protect_unit_test(vmm_guest_memory SOURCES vmm_guest_memory.c LIBS vmm virtio_driver)
protect_unit_test(vmm_stats SOURCES vmm_stats.c LIBS vmm virtio_driver)
target_link_libraries(unit_vmm_boot PRIVATE PkgConfig::lz4 PkgConfig::lzma PkgConfig::zstd PkgConfig::zlib)

# What the ACPI tables do, as a guest's interpreter runs them.
add_test(NAME unit_vmm_aml COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/vmm_aml.sh ${CMAKE_BINARY_DIR}/vmm)
set_tests_properties(unit_vmm_aml PROPERTIES LABELS unit SKIP_RETURN_CODE 77 TIMEOUT 60)
