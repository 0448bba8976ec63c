// SPDX-License-Identifier: Apache-2.0
/*
 * Exits as fast as they go, between bytes on the UART: after "1" N_EXITS reads of a port that the
 * vCPU's thread answers, after "2" N_EXITS of one that the loop's thread answers, then "3".
 */
#include "../../guest/guest.h"

#define N_EXITS	    20000u
#define PORT_STATUS 0x3fdu
#define PORT_SLEEP  0x600u

static void read_port(uint16_t port)
{
	uint32_t n = N_EXITS;

	__asm__ volatile("1: inb %%dx, %%al\n\tloop 1b" : "+c"(n) : "d"(port) : "eax");
}

void guest_main(const struct start_info *info)
{
	(void)info;
	print("1");
	read_port(PORT_STATUS);
	print("2");
	read_port(PORT_SLEEP);
	print("3");
}
