// SPDX-License-Identifier: Apache-2.0
#include "vmm/platform.h"

#include <errno.h>

#include "base/clock.h"
#include "base/runner.h"
#include "base/util.h"
#include "vmm/layout.h"

#define SLEEP_ENABLE	 0x20u /* ACPI 6.4 §4.8.3.7 */
#define PVPANIC_PANICKED 1u
#define UART_THR	 0u
#define UART_LCR	 3u
#define UART_LSR	 5u
#define UART_LCR_DLAB	 0x80u
#define UART_LSR_EMPTY	 0x60u
#define UART_PORTS	 8u

/* A kernel that panicked prints its last words before it resets; one that is told to stay (panic=0)
 * does not stay for ever. */
#define PANIC_GRACE_NS (10 * NS_PER_S)

static void end(struct platform *platform, const char *reason)
{
	if (platform->ended)
		return;
	platform->ended = true;
	platform->on_end(platform->user, reason, "");
}

static void panic_grace_over(struct loop_op *op, int res, uint32_t cqe_flags)
{
	(void)cqe_flags;
	if (res == -ETIME)
		end(container_of(op, struct platform, panic_timer.op), RUNNER_EXIT_PANIC);
}

static void power_access(void *user, struct bus_access *access)
{
	struct platform *platform = user;
	uint64_t port = PORT_SLEEP_CONTROL + access->off;

	if (!access->write) {
		access->data[0] = 0;
		return;
	}
	if (port == PORT_SLEEP_CONTROL && access->data[0] & SLEEP_ENABLE)
		end(platform, RUNNER_EXIT_POWEROFF);
	else if (port == PORT_RESET)
		end(platform, platform->panicked ? RUNNER_EXIT_PANIC : RUNNER_EXIT_REBOOT);
}

static void pvpanic_access(void *user, struct bus_access *access)
{
	struct platform *platform = user;

	if (!access->write) {
		access->data[0] = PVPANIC_PANICKED;
	} else if (access->data[0] & PVPANIC_PANICKED && !platform->panicked) {
		platform->panicked = true;
		loop_timer_start(platform->loop, &platform->panic_timer,
				 clock_now_ns() + PANIC_GRACE_NS);
	}
}

static bool uart_fast(void *user, struct bus_access *access)
{
	(void)user;
	if (access->write)
		return false;
	access->data[0] = access->off == UART_LSR ? UART_LSR_EMPTY : 0;
	return true;
}

static void uart_access(void *user, struct bus_access *access)
{
	struct platform *platform = user;

	if (access->off == UART_LCR)
		platform->uart_line_control = access->data[0];
	else if (access->off == UART_THR && !(platform->uart_line_control & UART_LCR_DLAB))
		platform->on_output(platform->user, access->data, 1);
}

void platform_init(struct platform *platform, struct bus *bus, struct loop *loop)
{
	platform->loop = loop;
	platform->panic_timer.op.done = panic_grace_over;
	bus_add_range(bus, &(struct bus_range){.start = PORT_SLEEP_CONTROL,
					       .len = PORT_RESET - PORT_SLEEP_CONTROL + 1,
					       .port = true,
					       .access = power_access,
					       .user = platform});
	bus_add_range(bus, &(struct bus_range){.start = PORT_PVPANIC,
					       .len = 1,
					       .port = true,
					       .access = pvpanic_access,
					       .user = platform});
	bus_add_range(bus, &(struct bus_range){.start = PORT_UART,
					       .len = UART_PORTS,
					       .port = true,
					       .access = uart_access,
					       .fast = uart_fast,
					       .user = platform});
}
