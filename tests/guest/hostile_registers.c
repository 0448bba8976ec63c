// SPDX-License-Identifier: Apache-2.0
/*
 * Registers of every kind hammered by all vCPUs, in every width and with any value: configuration
 * space, the common structure, the device's own, what lies between. The rng, which nobody
 * touches, is used meanwhile.
 */
#include "hostile.h"

#define ROUNDS	   3000u
#define FIRST_USES 30u
#define BAR0	   0x10u
#define BAR_LEN	   0x3000u /* before the MSI-X table: a vector of any kind could stop a vCPU */
#define COMMAND	   4u

static uint32_t homes[HOSTILE_DEVICES_MAX];

/* BAR 0 and the command register aside, which would take the device away from the others. */
static bool spares(uint32_t off)
{
	return off < 0x20;
}

static void hammer(const struct device *dev, uint32_t bar, uint32_t *state)
{
	uint32_t value = hostile_next(state), where = hostile_next(state);
	unsigned len = 1u << value % 3;

	where = where >> 8 & ~(len - 1);
	if (value & 0x100)
		hostile_write(dev->common + where % 64, len, value & 0x200 ? value >> 16 : value);
	if (value & 0x400)
		hostile_write(dev->device + where % 0x1000, len, value >> 12);
	if (value & 0x800)
		hostile_write(bar + where % BAR_LEN, len, value >> 12);
	if (value & 0x1000 && !spares(where % 0x40))
		hostile_write(dev->config + where % 0x40, len, value);
	(void)hostile_read(bar + where % 0x4000, len);
	(void)hostile_read(dev->config + where % 0x1000, len);
	(void)hostile_read(dev->common + where % 64, 4);
}

void hostile_attack(unsigned index)
{
	uint32_t state = index * 77 + 1;

	if (index == 0)
		for (unsigned i = 0; i < FIRST_USES; i++)
			hostile_rng_works();
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned i = hostile_next(&state) % hostile_n_devices;

		if (hostile_devices[i].config != hostile_rng.config)
			hammer(&hostile_devices[i], homes[i], &state);
	}
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	for (unsigned i = 0; i < hostile_n_devices; i++)
		homes[i] = read32(hostile_devices[i].config + BAR0) & ~15u;
	hostile_rng_works();
	hostile_run();
	for (unsigned i = 0; i < hostile_n_devices; i++) {
		CHECK((read32(hostile_devices[i].config + BAR0) & ~15u) == homes[i], i);
		write16(hostile_devices[i].config + COMMAND, 6);
	}
	hostile_reset_all();
	hostile_rng_works();
	hostile_blk_works();
	hostile_end();
}
