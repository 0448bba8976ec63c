// SPDX-License-Identifier: Apache-2.0
#include "secondary.h"

#define LAPIC_SPURIOUS	 0xfee000f0u
#define LAPIC_ICR	 0xfee00300u
#define LAPIC_ICR_TARGET 0xfee00310u
#define APIC_ENABLED	 0x1ffu
#define ICR_INIT	 0x4500u
#define ICR_STARTUP	 0x4600u
#define TRAMPOLINE	 0x90000u
#define PATIENCE	 100000u
#define STACK_SIZE	 4096u
#define PORT_LINE_STATUS 0x3fdu

extern uint8_t secondary_trampoline[], secondary_trampoline_end[];
static uint8_t stacks[SECONDARY_MAX][STACK_SIZE] __attribute__((aligned(16)));
/* For the one that starts; its C code takes a copy before the next does. */
uint32_t secondary_stack;
static volatile unsigned starting;

/* It begins in real mode at the trampoline's copy. */
__asm__(".pushsection .data\n"
	".align 8\n"
	"secondary_gdt:\n"
	"	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff\n"
	"	.globl secondary_trampoline, secondary_trampoline_end\n"
	"	.code16\n"
	"secondary_trampoline:\n"
	"	cli\n"
	"	mov %cs, %ax\n"
	"	mov %ax, %ds\n"
	"	lgdtl secondary_table - secondary_trampoline\n"
	"	mov %cr0, %eax\n"
	"	or $1, %al\n"
	"	mov %eax, %cr0\n"
	"	ljmpl $8, $secondary_protected\n"
	"secondary_table:\n"
	"	.word 23\n"
	"	.long secondary_gdt\n"
	"secondary_trampoline_end:\n"
	"	.popsection\n"
	"	.pushsection .text\n"
	"	.code32\n"
	"secondary_protected:\n"
	"	mov $16, %ax\n"
	"	mov %ax, %ds\n"
	"	mov %ax, %es\n"
	"	mov %ax, %ss\n"
	"	mov secondary_stack, %esp\n"
	"	call secondary_enter\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	"	.popsection\n");

__attribute__((used)) void secondary_enter(void);
void secondary_enter(void)
{
	secondary_main(starting);
}

void secondary_start(unsigned index)
{
	volatile uint8_t *to = (volatile uint8_t *)TRAMPOLINE;

	for (const uint8_t *from = secondary_trampoline; from < secondary_trampoline_end; from++)
		*to++ = *from;
	starting = index;
	secondary_stack = (uint32_t)stacks[index] + STACK_SIZE;
	write32(LAPIC_SPURIOUS, APIC_ENABLED);
	write32(LAPIC_ICR_TARGET, index << 24);
	write32(LAPIC_ICR, ICR_INIT);
	write32(LAPIC_ICR_TARGET, index << 24);
	write32(LAPIC_ICR, ICR_STARTUP | TRAMPOLINE >> 12);
}

bool secondary_wait(const volatile uint32_t *flag, uint32_t value)
{
	for (unsigned i = 0; i < PATIENCE && *flag < value; i++)
		(void)inb(PORT_LINE_STATUS);
	return *flag >= value;
}
