# SPDX-License-Identifier: Apache-2.0
foreach(name vmm_boot vmm_spec vmm_cpu_hotplug)
	protect_fuzz_target(${name} SOURCES ${name}.c LIBS vmm)
endforeach()
protect_fuzz_target(vmm_pci_bus SOURCES vmm_pci_bus.c LIBS vmm fuzz_virtio_driver)
