# SPDX-License-Identifier: Apache-2.0
protect_unit_test(vmm_slots SOURCES vmm_slots.c LIBS vmm)
protect_unit_test(vmm_control SOURCES vmm_control.c LIBS vmm PkgConfig::jansson)
