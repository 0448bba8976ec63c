// SPDX-License-Identifier: Apache-2.0
/*
 * What hostile guest programs share: all vCPUs of the zone (the command line's "vcpus=N") attack at
 * once, and what was attacked must work again afterwards. Such a program prints READY once it has
 * touched what it needs, attacks, prints PASS and halts; run_hostile.sh looks at zone-vmm from
 * READY on and ends it.
 */
#pragma once

#include "secondary.h"
#include "virtio.h"

#define HOSTILE_DEVICES_MAX 8u

/* Every virtio device of the zone, in the order of hostile_ids. */
extern struct device hostile_devices[HOSTILE_DEVICES_MAX];
extern unsigned hostile_n_devices, hostile_n_vcpus;
extern struct device hostile_rng, hostile_blk;

/* A disk for each vCPU, of which hostile_blk is the first. */
extern struct device hostile_disks[SECONDARY_MAX];

/* Finds the devices, of which the rng and a disk for each vCPU must be there. */
void hostile_find(const struct start_info *info);

/* virtio_start(), with what the device insists on. */
void hostile_start(struct device *dev);

/* Numbers that are the same in each run; *state is not 0. */
uint32_t hostile_next(uint32_t *state);

/* An access of 1, 2 or 4 bytes. */
void hostile_write(uint32_t address, unsigned len, uint32_t value);
uint32_t hostile_read(uint32_t address, unsigned len);

/* Prints READY, runs hostile_attack() on every vCPU, each with its index, and waits for all. */
void hostile_run(void);

/* The program's. */
void hostile_attack(unsigned index);

/* The rng gives bytes by a fresh start; the first disk a sector; all disks. One vCPU at a time. */
void hostile_rng_works(void);
void hostile_blk_works(void);
void hostile_disks_work(void);

/* Resets every device and waits until it says so: whatever was in flight has ended. */
void hostile_reset_all(void);

/* PASS, and halts. */
__attribute__((noreturn)) void hostile_end(void);
