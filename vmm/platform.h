// SPDX-License-Identifier: Apache-2.0
/*
 * The few ports of a zone's machine: sleep and reset (ACPI's hardware-reduced registers), pvpanic
 * (QEMU docs/specs/pvpanic), and the output half of a UART for earlycon, so that a kernel that
 * fails before its console is there can still say why. Loop thread, but for constant reads.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "vmm/bus.h"

struct platform {
	struct loop *loop;
	bool panicked, ended;
	uint8_t uart_line_control;
	struct loop_timer panic_timer;
	/* The machine ended by itself; reason is one of base/runner.h. */
	void (*on_end)(void *user, const char *reason, const char *detail);
	void (*on_output)(void *user, const void *data, size_t len);
	void *user;
};

/* Puts the ports into `bus`. The callbacks are set in *platform before. */
void platform_init(struct platform *platform, struct bus *bus, struct loop *loop);
