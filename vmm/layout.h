// SPDX-License-Identifier: Apache-2.0
/*
 * Where things are in a zone's physical address space and port space. vmm/dsdt.asl tells the guest
 * the same numbers.
 *
 *   0x0000_6000  PVH start info, memory map, module list     0x0002_0000  kernel command line
 *   0x000e_0000  ACPI tables (reserved)   0x000f_f000  VM generation identifier   0x000f_fff0
 * what a jump to the BIOS finds   0x0010_0000  the kernel … up to 3 GiB: memory (initrd at its top)
 * 4 GiB …: the rest of memory 0xc000_0000  PCI memory window                           0xe000_0000
 * ECAM of bus 0 0xfec0_0000  I/O APIC   0xfee0_0000  local APICs         0xfffb_c000  KVM's own
 * pages (Intel)
 */
#pragma once

#define LAYOUT_START_INFO  0x6000u
#define LAYOUT_MEMMAP	   0x7000u
#define LAYOUT_MODLIST	   0x8000u
#define LAYOUT_CMDLINE	   0x20000u
#define LAYOUT_CMDLINE_MAX 4096u /* as SPEC_CMDLINE_MAX */
#define LAYOUT_LOW_END	   0x9fc00u
#define LAYOUT_ACPI	   0xe0000u
#define LAYOUT_ACPI_END	   0x100000u
#define LAYOUT_VMGENID	   0xff000u
#define LAYOUT_BIOS_RESET  0xffff0u /* where real mode goes to reset the machine */
#define LAYOUT_KERNEL_MIN  0x100000u
#define LAYOUT_LOW_MAX	   UINT64_C(0xc0000000)
#define LAYOUT_HIGH	   UINT64_C(0x100000000)

#define LAYOUT_PCI_WINDOW      0xc0000000u
#define LAYOUT_PCI_WINDOW_SIZE 0x20000000u
#define LAYOUT_ECAM	       0xe0000000u
#define LAYOUT_ECAM_SIZE       0x100000u
#define LAYOUT_IOAPIC	       0xfec00000u
#define LAYOUT_LAPIC	       0xfee00000u
#define LAYOUT_IDENTITY_MAP    0xfffbc000u
#define LAYOUT_TSS	       0xfffbd000u

#define PORT_UART	   0x3f8u /* 8 ports; for earlycon, output only */
#define PORT_PVPANIC	   0x505u
#define PORT_SLEEP_CONTROL 0x600u
#define PORT_SLEEP_STATUS  0x601u
#define PORT_RESET	   0x602u
#define PORT_PCI_HOTPLUG                                                                           \
	0xae00u /* u32 each: +0 plugged slots, +4 slots to let go, +8 eject, +12 other events */
#define PORT_CPU_HOTPLUG                                                                           \
	0xae20u /* u32 each: +0, +4 plugged vCPUs, +8, +12 to let go, +16, +20 present; +24 eject  \
		 */

#define IRQ_GED 5u /* I/O APIC pin of the ACPI generic event device */
