/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that says "1" on the UART with its third instruction, and then sleeps for good. */
	.section .note.pvh, "a", @note
	.align 4
	.long 4, 4, 18		/* name and desc sizes, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long start

	.text
	.globl start
start:
	mov $0x3f8, %dx
	mov $'1', %al
	out %al, (%dx)
asleep:
	cli
	hlt
	jmp asleep

	.section .note.GNU-stack, "", @progbits
