// SPDX-License-Identifier: Apache-2.0
/*
 * The guest of vcpus_host.c's first test: starts each vCPU that is plugged, and lets go of those it
 * is asked for, while they run on. It also ejects what it may not, and starts what is not there.
 */
#include "secondary.h"

#define PORT_UP	     0xae20
#define PORT_DOWN    0xae28
#define PORT_PRESENT 0xae30
#define PORT_EJECT   0xae38
#define STORM	     50u
#define PAUSE	     2000u
#define LINE_STATUS  0x3fd

static volatile uint32_t counters[SECONDARY_MAX], starts[SECONDARY_MAX];

void secondary_main(unsigned index)
{
	starts[index]++;
	for (;;) {
		counters[index]++;
		(void)inb(LINE_STATUS);
	}
}

static void pause(void)
{
	for (unsigned i = 0; i < PAUSE; i++)
		(void)inb(LINE_STATUS);
}

/* None of these was asked for. */
static void eject_wrong_ones(uint32_t asked)
{
	static const uint32_t wrong[] = {0, 32, 63, 64, 0x10000, 0x7fffffff, 0xffffffff};

	for (unsigned i = 0; i < STORM; i++) {
		for (unsigned j = 0; j < sizeof(wrong) / sizeof(wrong[0]); j++)
			outl(PORT_EJECT, wrong[j]);
		for (unsigned index = 1; index < SECONDARY_MAX; index++)
			if (!(asked & (1u << index)))
				outl(PORT_EJECT, index);
	}
}

static void use(unsigned index)
{
	uint32_t before = counters[index], started = starts[index];

	CHECK(inl(PORT_PRESENT) & (1u << index), index);
	pause();
	CHECK(counters[index] == before, index); /* it waits to be started */
	secondary_start(index);
	CHECK(secondary_wait(&counters[index], before + 10), index);
	CHECK(starts[index] == started + 1, starts[index]);
	print("UP\n");
}

static void let_go(unsigned index)
{
	uint32_t present = inl(PORT_PRESENT), before;

	for (unsigned i = 0; i < STORM; i++)
		outl(PORT_EJECT, index);
	CHECK(inl(PORT_PRESENT) == (present & ~(1u << index)), index);
	pause();
	before = counters[index];
	secondary_start(index);
	pause();
	CHECK(counters[index] == before, index);
	print("DOWN\n");
}

void guest_main(const struct start_info *info)
{
	(void)info;
	CHECK(inl(PORT_PRESENT) == 1, inl(PORT_PRESENT));
	secondary_start(5); /* never plugged: nobody hears it */
	pause();
	CHECK(starts[5] == 0, 0);
	print("PASS\n");
	for (;;) {
		uint32_t up = inl(PORT_UP), down = inl(PORT_DOWN);

		eject_wrong_ones(down);
		for (unsigned index = 1; index < SECONDARY_MAX; index++) {
			if (up & (1u << index))
				use(index);
			if (down & (1u << index))
				let_go(index);
		}
	}
}
