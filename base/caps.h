// SPDX-License-Identifier: Apache-2.0
/* Linux capabilities by name, as masks with a bit for each number. Constants; any thread. */
#pragma once

#include <stdint.h>

/*
 * What a workload's root may do unless asked otherwise: the set that Docker and its kin give,
 * without CAP_MKNOD. They have a device filter behind it; in a zone a node in /dev would open
 * another workload's disk.
 */
#define CAPS_DEFAULT UINT64_C(0xa00425fb)

/* All that this version of Linux's headers knows. */
#define CAPS_ALL UINT64_C(0x1ffffffffff)

/* The mask of "NET_ADMIN", "CAP_NET_ADMIN" or "ALL", in any case of letters; 0 if it is none. */
uint64_t caps_mask(const char *name);
