// SPDX-License-Identifier: Apache-2.0
/* A guest that follows its power button, or with "deaf" on its command line does not. */
#include "guest.h"

#define PORT_EVENTS  0xae0c
#define POWER_BUTTON 1u

void guest_main(const struct start_info *info)
{
	bool deaf = *(const char *)(uintptr_t)info->cmdline == 'd';

	print("PASS\n");
	while (deaf || !(inl(PORT_EVENTS) & POWER_BUTTON))
		;
}
