// SPDX-License-Identifier: Apache-2.0
/*
 * What guest programs share: ports, memory, words to the UART, ends. A guest program tests one
 * property of the VMM from inside: it prints what failed and powers off, or prints PASS. 32-bit, no
 * interrupts, general registers only, since some hosts emulate every instruction.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t read32(uint32_t address)
{
	return *(volatile uint32_t *)address;
}

static inline void write32(uint32_t address, uint32_t value)
{
	*(volatile uint32_t *)address = value;
}

static inline uint16_t read16(uint32_t address)
{
	return *(volatile uint16_t *)address;
}

static inline void write16(uint32_t address, uint16_t value)
{
	*(volatile uint16_t *)address = value;
}

static inline uint8_t read8(uint32_t address)
{
	return *(volatile uint8_t *)address;
}

static inline void write8(uint32_t address, uint8_t value)
{
	*(volatile uint8_t *)address = value;
}

/* Xen's hvm_start_info, as far as it is looked at. */
struct start_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t n_memmap, reserved;
};

/* Prints to the UART. */
void print(const char *text);
void print_hex(uint32_t value);

/* Ends. */
__attribute__((noreturn)) void power_off(void);
__attribute__((noreturn)) void reset(void);

/* Prints what failed and powers off. */
__attribute__((noreturn)) void fail(const char *what, uint32_t got);

#define CHECK(condition, got)                                                                      \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fail(#condition, (uint32_t)(got));                                         \
	} while (0)

/* The program. Returning powers off. */
void guest_main(const struct start_info *info);
