// SPDX-License-Identifier: Apache-2.0
/*
 * Two vCPUs at once: the second is started by INIT and SIPI and hammers configuration space, BARs,
 * the MSI-X table and doorbells, while the first uses a device, resets it and uses it again.
 */
#include "virtio.h"

#define LAPIC_SPURIOUS	 0xfee000f0u
#define LAPIC_ICR	 0xfee00300u
#define LAPIC_ICR_TARGET 0xfee00310u
#define APIC_ENABLED	 0x1ffu
#define ICR_INIT	 0x4500u
#define ICR_STARTUP	 0x4600u
#define TRAMPOLINE	 0x90000u
#define STARTED_TRIES	 100000u
#define ROUNDS		 40u
#define BAR0		 0x10u
#define PORT_LINE_STATUS 0x3fdu

extern uint8_t trampoline[], trampoline_end[];
static struct queue queue;
static volatile uint8_t buffer[64];
static volatile bool started, finished, stopped;
static struct device console, rng;

/* The second vCPU begins in real mode at the trampoline's copy. */
__asm__(".pushsection .data\n"
	".align 8\n"
	"gdt:\n"
	"	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff\n"
	"	.globl trampoline, trampoline_end\n"
	"	.code16\n"
	"trampoline:\n"
	"	cli\n"
	"	mov %cs, %ax\n"
	"	mov %ax, %ds\n"
	"	lgdtl table_copy - trampoline\n"
	"	mov %cr0, %eax\n"
	"	or $1, %al\n"
	"	mov %eax, %cr0\n"
	"	ljmpl $8, $protected\n"
	"table_copy:\n"
	"	.word 23\n"
	"	.long gdt\n"
	"trampoline_end:\n"
	"	.popsection\n"
	"	.pushsection .text\n"
	"	.code32\n"
	"protected:\n"
	"	mov $16, %ax\n"
	"	mov %ax, %ds\n"
	"	mov %ax, %es\n"
	"	mov %ax, %ss\n"
	"	mov $second_stack + 8192, %esp\n"
	"	call second\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	"	.popsection\n"
	"	.local second_stack\n"
	"	.comm second_stack, 8192, 16\n");

static void hammer_config(void)
{
	uint32_t bar = read32(console.config + BAR0);

	for (uint32_t reg = 0; reg < 256; reg += 4) {
		(void)read32(rng.config + reg);
		(void)read32(console.config + reg);
	}
	write32(console.config + BAR0, 0xffffffff);
	write16(console.config + 4, 0);
	write32(console.config + BAR0, bar);
	write16(console.config + 4, 2);
	for (uint32_t off = 0x3000; off < 0x3100; off += 4)
		write32((bar & ~15u) + off, off);
}

__attribute__((used)) void second(void);
void second(void)
{
	started = true;
	while (!finished) {
		hammer_config();
		for (unsigned i = 0; i < 8; i++) {
			write16(rng.notify, 0);
			(void)read8(rng.common + COMMON_STATUS);
			(void)read32(ECAM + (31u << 15));
		}
	}
	stopped = true;
}

static bool wait_for(const volatile bool *flag)
{
	for (unsigned i = 0; i < STARTED_TRIES && !*flag; i++)
		(void)inb(PORT_LINE_STATUS);
	return *flag;
}

static bool start_second(void)
{
	volatile uint8_t *to = (volatile uint8_t *)TRAMPOLINE;

	for (const uint8_t *from = trampoline; from < trampoline_end; from++)
		*to++ = *from;
	write32(LAPIC_SPURIOUS, APIC_ENABLED);
	write32(LAPIC_ICR_TARGET, 1u << 24);
	write32(LAPIC_ICR, ICR_INIT);
	write32(LAPIC_ICR_TARGET, 1u << 24);
	write32(LAPIC_ICR, ICR_STARTUP | TRAMPOLINE >> 12);
	return wait_for(&started);
}

static void use(void)
{
	uint32_t len;

	virtio_start(&rng);
	virtio_queue(&rng, &queue, 0);
	virtio_driver_ok(&rng);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		queue.desc[i] = (struct desc){(uint32_t)buffer, sizeof(buffer), DESC_WRITE, 0};
	for (uint16_t head = 0; head < 4; head++)
		virtio_submit(&queue, head);
	CHECK(virtio_wait(&queue, &len), virtio_status(&rng));
}

void guest_main(const struct start_info *info)
{
	(void)info;
	CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	CHECK(virtio_find(&console, VIRTIO_CONSOLE), 0);
	CHECK(start_second(), 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		use();
	finished = true;
	CHECK(wait_for(&stopped), 0);
	use();
	CHECK(read16(console.common + COMMON_NUM_QUEUES) == 2, 0);
	print("PASS\n");
}
