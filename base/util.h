// SPDX-License-Identifier: Apache-2.0
/*
 * Checked arithmetic and the few macros every folder uses. Lengths that come from outside are added
 * and multiplied only through these functions; a false return means the sum does not exist and the
 * output is not to be used.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a)			(sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* *sum = a + b; false on overflow. Types may differ; the result must fit *sum. */
#define checked_add(a, b, sum) (!__builtin_add_overflow((a), (b), (sum)))

/* *product = a * b; false on overflow. */
#define checked_mul(a, b, product) (!__builtin_mul_overflow((a), (b), (product)))

/* Whether [start, start + len) lies inside [0, limit). Never overflows. */
static inline bool range_fits(uint64_t start, uint64_t len, uint64_t limit)
{
	return start <= limit && len <= limit - start;
}

/* Whether value is a power of two (0 is not). */
static inline bool is_power_of_two(uint64_t value)
{
	return value && !(value & (value - 1));
}

/* Rounds up to a multiple of align, a power of two; the caller knows that it does not overflow. */
static inline uint64_t align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}
