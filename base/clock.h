// SPDX-License-Identifier: Apache-2.0
/* The monotonic clock in nanoseconds, the unit of every deadline (`deadline_ns`); 0 never occurs as
 * a time. */
#pragma once

#include <stdint.h>
#include <time.h>

#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* CLOCK_MONOTONIC now, in nanoseconds. Any thread. */
static inline uint64_t clock_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}
