// SPDX-License-Identifier: Apache-2.0
#include "guest.h"

#define PORT_UART  0x3f8
#define PORT_SLEEP 0x600
#define PORT_RESET 0x602
#define SLEEP_S5   0x34

void print(const char *text)
{
	while (*text)
		outb(PORT_UART, (uint8_t)*text++);
}

void print_hex(uint32_t value)
{
	for (int shift = 28; shift >= 0; shift -= 4)
		outb(PORT_UART, (uint8_t) "0123456789abcdef"[value >> shift & 15]);
}

void power_off(void)
{
	outb(PORT_SLEEP, SLEEP_S5);
	for (;;)
		__asm__ volatile("hlt");
}

void reset(void)
{
	outb(PORT_RESET, 1);
	for (;;)
		__asm__ volatile("hlt");
}

void fail(const char *what, uint32_t got)
{
	print("FAIL ");
	print(what);
	print(" got ");
	print_hex(got);
	print("\n");
	power_off();
}

/* The compiler may call these for structures. */
void *memset(void *to, int value, size_t len);
void *memset(void *to, int value, size_t len)
{
	for (volatile char *c = to; len--; c++)
		*c = (char)value;
	return to;
}

void *memcpy(void *to, const void *from, size_t len);
void *memcpy(void *to, const void *from, size_t len)
{
	volatile char *t = to;

	for (const char *f = from; len--;)
		*t++ = *f++;
	return to;
}
