/* SPDX-License-Identifier: Apache-2.0 */
/* Entry of a guest program: PVH gives 32-bit protected mode with flat segments, EBX = start info. */
	.section .note.pvh, "a", @note
	.align 4
	.long 4, 4, 18		/* name and desc sizes, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long start

	.text
	.globl start
start:
	mov $stack_end, %esp
	push %ebx
	call guest_main
	push $0
	call power_off

	.bss
	.align 16
	.space 16384
stack_end:

	.section .note.GNU-stack, "", @progbits
