# SPDX-License-Identifier: Apache-2.0
protect_unit_test(vmm_slots SOURCES vmm_slots.c vmm_pci_host.c LIBS vmm)
protect_unit_test(vmm_control SOURCES vmm_control.c vmm_pci_host.c LIBS vmm PkgConfig::jansson)
