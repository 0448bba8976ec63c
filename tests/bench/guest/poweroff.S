/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that switches itself off with its third instruction. */
	.section .note.pvh, "a", @note
	.align 4
	.long 4, 4, 18		/* name and desc sizes, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long start

	.text
	.globl start
start:
	mov $0x600, %dx		/* ACPI's sleep control: S5 */
	mov $0x34, %al
	out %al, (%dx)
asleep:
	cli
	hlt
	jmp asleep

	.section .note.GNU-stack, "", @progbits
