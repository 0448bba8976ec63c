// SPDX-License-Identifier: Apache-2.0
/* A kernel that tells pvpanic of its end and then resets has panicked, it did not reboot. */
#include "guest.h"

#define PORT_PVPANIC 0x505

void guest_main(const struct start_info *info)
{
	(void)info;
	CHECK(inb(PORT_PVPANIC) & 1, inb(PORT_PVPANIC));
	outb(PORT_PVPANIC, 1);
	print("PASS\n");
	reset();
}
