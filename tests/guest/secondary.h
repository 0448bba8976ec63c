// SPDX-License-Identifier: Apache-2.0
/*
 * Further vCPUs for guest programs: started by INIT and SIPI, one at a time, each with a stack of
 * its own.
 */
#pragma once

#include "guest.h"

#define SECONDARY_MAX 8u

/* Sends INIT and SIPI to vCPU `index` (from 1, below SECONDARY_MAX); it will run secondary_main().
 */
void secondary_start(unsigned index);

/* The program's: what such a vCPU does. When it returns, the vCPU halts. */
void secondary_main(unsigned index);

/* Looks up to about a second whether *flag is at least `value`. */
bool secondary_wait(const volatile uint32_t *flag, uint32_t value);
