// SPDX-License-Identifier: Apache-2.0
/* How long something took, as a histogram since the daemon's start. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#define TIMES_BUCKETS 12u

struct times {
	uint64_t buckets[TIMES_BUCKETS]; /* what fell into each, not into the one before */
	uint64_t n;
	double sum_s;
};

void times_add(struct times *times, uint64_t ms);

/* Writes it as a family of this name. */
void times_write(FILE *out, const char *name, const char *help, const struct times *times);
