// SPDX-License-Identifier: Apache-2.0
/*
 * A machine as JSON, for people who want to know what it is doing: vCPUs, memory, every device with
 * its registers, queues and counters. Nothing of it is an interface. What the guest's memory says
 * (ring indices) is its word. Loop thread.
 */
#pragma once

#include <stddef.h>

#define DEBUG_TEXT_MAX (48u * 1024)

struct machine;

/*
 * The text of a JSON object, at most DEBUG_TEXT_MAX bytes; the caller frees it. Devices that would
 * make it longer are left out and counted in "devices_left_out". NULL without memory.
 */
char *debug_text(const struct machine *machine);
